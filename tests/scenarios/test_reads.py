"""4. etcd-io/etcd#20418 ("Stale reads caused by process pausing"), mended by pull request 21399.

A follower asked the leader for a read index, and asked again under the same id when no answer came.
The leader was paused, with the repetition and old confirmations in its queue; meanwhile another one
was elected, and wrote. When it went on, it took the old confirmations for those of the new
question, and told a read index of the past: a read was stale that had begun after the write.

Here each question has an id of its own, a round of confirmations counts only answers to requests
that were sent after it began, and a leader that was paused steps down before it looks at its queue.
In the script a leader is stopped with such messages in its queue, and goes on at each of many
moments after the next one was elected, of whom it has not heard; that one is slow to answer. Its
clock went on meanwhile, so that it can notice, or stood still.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from tests.scenarios.cluster import MS, SECOND, Call, Cluster, settings

from quorate.raft.settings import Settings
from quorate.sim.network import links_between
from quorate.wire.resp_reply import ErrorReply

if TYPE_CHECKING:
    from tests.scenarios.cluster import Client

QUICK = Settings(
    election_timeout_us=100 * MS, heartbeat_interval_us=20 * MS, append_timeout_us=30 * MS
)
"""Questions are asked again soon."""
SLOW = 40 * MS
"""So much longer it takes what the followers say to each other, and the next leader's answers."""
QUEUED = 80 * MS
"""For so long the leader that was stopped gets what the others go on saying to it."""
LONG = 2 * SECOND


class User:
    """Reads again and again without waiting, and appends whenever its last append has ended."""

    def __init__(self, client: Client) -> None:
        self.reads: list[Call] = []
        self.appends: list[Call] = []
        self._client = client

    def read(self) -> None:
        self.reads.append(self._client.send("GET", "k"))

    def append(self) -> None:
        if not self.appends or self.appends[-1].is_answered:
            self.appends.append(self._client.send("APPEND", "k", "x"))


class World:
    """A cluster of three; at each server somebody reads, and at the followers appends too."""

    def __init__(self) -> None:
        self.cluster = Cluster(settings=settings(raft=QUICK))
        self.leader = self.cluster.leader
        one, other = self.cluster.followers
        self.cluster.network.slow_down(links_between({one.id}, {other.id}), SLOW)
        # Their appends have connections of their own: a read would wait for those of its own.
        self._readers = [User(self.cluster.client(s)) for s in self.cluster.servers.values()]
        self._writers = [User(self.cluster.client(server)) for server in (one, other)]
        self.live(50 * MS)

    @property
    def is_replaced(self) -> bool:
        """Whether another leader has committed something."""
        node = self.cluster.leader.node
        assert node is not None
        return self.cluster.leader is not self.leader and node.raft.has_committed_in_term

    def live(self, duration_us: int) -> None:
        """Everybody goes on for a while."""
        end = self.cluster.now + duration_us
        while self.cluster.now < end:
            for writer in self._writers:
                writer.append()
            for reader in self._readers:
                reader.read()
            self.cluster.run(min(8 * MS, end - self.cluster.now))

    def stop_leader(self, duration_us: int, *, clock_goes_on: bool) -> None:
        """It stands still from now on, and does not hear that it is replaced."""
        if clock_goes_on:
            self.leader.pause(duration_us)
        else:
            self.leader.suspend(duration_us)
        self.live(QUEUED)
        self.cluster.network.cut((server.id, self.leader.id) for server in self.cluster.followers)

    def check(self) -> None:
        """Everything is answered in the end, and no read is older than what was acknowledged."""
        self.cluster.network.heal()
        self.cluster.run(SECOND)
        lengths = [
            (append.ended, append.reply)
            for writer in self._writers
            for append in writer.appends
            if append.ended is not None and isinstance(append.reply, int)
        ]
        for read in (read for reader in self._readers for read in reader.reads):
            assert read.is_answered
            least = max((length for ended, length in lengths if ended < read.begun), default=0)
            if isinstance(read.reply, ErrorReply):
                continue
            seen = len(read.reply) if isinstance(read.reply, bytes) else 0
            assert seen >= least, f"a stale read: {seen}, though {least} was acknowledged before"


def time_until_replaced(*, clock_goes_on: bool) -> int:
    """How long the leader has to stand still for that."""
    world = World()
    begun = world.cluster.now
    world.stop_leader(LONG, clock_goes_on=clock_goes_on)
    while not world.is_replaced:
        assert world.cluster.now < begun + LONG
        world.live(5 * MS)
    return world.cluster.now - begun


@pytest.mark.parametrize("clock_goes_on", [True, False])
def test_no_answer_of_a_leader_that_was_stopped_serves_a_later_read(
    clock_goes_on: bool,  # noqa: FBT001  # one of two cases
) -> None:
    replaced_after = time_until_replaced(clock_goes_on=clock_goes_on)
    for later in range(0, 4 * SLOW, 20 * MS):
        world = World()
        duration = replaced_after + later
        world.stop_leader(duration, clock_goes_on=clock_goes_on)
        world.live(duration - QUEUED + 2 * SLOW)
        world.check()
