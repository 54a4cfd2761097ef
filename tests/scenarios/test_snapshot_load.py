"""9. etcd-io/etcd#10225 (Dgraph: dgraph-io/dgraph, pull request 2707) and logcabin/logcabin#174.

A follower was killed while it received a snapshot. The leader waited for an answer that could not
come any more, and sent nothing else (Dgraph, on etcd's Raft); or it went on with the next piece,
for which the follower had not got those before it, so it died, again and again (LogCabin). And what
a restart finds of such a snapshot must not stand in its way: some could not start any more
(etcd-io/etcd#7628, RedisLabs/redisraft#654).

Here a piece that is not answered is sent again, a follower says where it wants the leader to go on,
a snapshot counts when all of it is on the disk and not before, and a state is replaced when all
of the new one was read. So a node may die at any piece, in either way, and while it reads: it is
brought up all the same, soon, and has the same state as the others.
"""

from __future__ import annotations

from itertools import product

from tests.scenarios.cluster import MS, SECOND, Cluster, settings, table_of

from quorate.raft.settings import Settings
from quorate.replica.snapshot_taker import SnapshotSettings

PIECES = 4
LARGE = 60_000
"""Of each of so many values: a snapshot has several sections and pieces."""
BROUGHT_UP_WITHIN = SECOND
SETTINGS = settings(
    raft=Settings(max_chunk_bytes=60_000), snapshots=SnapshotSettings(max_raft_state=50_000)
)


class Story:
    """A cluster of three, and one follower that is left behind again and again."""

    def __init__(self) -> None:
        self.cluster = Cluster(settings=SETTINGS)
        self.follower = self.cluster.followers[0]
        self.round = 0
        self._pieces_before = 0

    def leave_behind(self) -> None:
        """It is cut off, until it needs a snapshot; then it is heard again."""
        cluster, follower = self.cluster, self.follower
        cluster.network.cut(cluster.links(follower))
        self.round += 1
        for number in range(PIECES):
            value = f"{self.round}.{number}.".ljust(LARGE, "x")
            assert cluster.ask(cluster.leader, "SET", f"large-{number}", value) == b"OK"
        leader, behind = cluster.leader.node, follower.node
        assert leader is not None
        assert behind is not None
        needed = behind.raft.last_index
        cluster.until(lambda: leader.raft.log_start.index > needed, "it is left behind")
        self._pieces_before = follower.happened["pieces of snapshots received"]
        cluster.network.heal()

    @property
    def is_reading(self) -> bool:
        """Whether it has read some of a snapshot, and not all."""
        node = self.follower.node
        assert node is not None
        progress = node.status().snapshot_restoring
        return progress is not None and progress.offset > 0

    def check_brought_up(self) -> None:
        self.cluster.agree(within_us=BROUGHT_UP_WITHIN)
        for number in range(PIECES):
            value = table_of(self.follower, b"large-%d" % number)
            assert value is not None
            assert value.startswith(b"%d.%d." % (self.round, number))
            assert len(value) == LARGE

    def await_piece(self, number: int) -> None:
        """Until it has got so many pieces of the snapshot that it needs; not a moment longer."""
        goal = self._pieces_before + number
        end = self.cluster.now + BROUGHT_UP_WITHIN
        while self.follower.happened["pieces of snapshots received"] < goal:
            assert self.cluster.now < end, f"piece {number} does not come"
            self.cluster.run(20)


def test_a_node_that_dies_while_it_gets_a_snapshot_is_brought_up() -> None:
    story = Story()
    for piece, power in product(range(1, PIECES + 1), (False, True)):
        story.leave_behind()
        story.await_piece(piece)
        story.follower.kill(power=power)
        story.follower.start()
        story.check_brought_up()


def test_a_node_that_dies_while_it_reads_a_snapshot_is_brought_up() -> None:
    story = Story()
    hits = 0
    for moment, power in product(range(0, 2 * MS, 200), (False, True)):
        story.leave_behind()
        story.await_piece(PIECES)
        for _ in range(2):  # while it reads what has come, and while it reads it at its next start
            story.cluster.run(moment)
            hits += story.is_reading
            story.follower.kill(power=power)
            story.follower.start()
        story.check_brought_up()
    assert hits >= 3, "it is to be hit while it reads"
