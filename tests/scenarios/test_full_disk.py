"""10. cockroachdb/cockroach#32631, etcd-io/etcd#2819, #3591: a disk that is full, and freed again.

A node's disk filled up under load, and some space was freed again while it ran. It had gone on as
if what did not fit had been written, so its log had a hole: "Was the raft log corrupted, truncated,
or lost?" (CockroachDB). Or the node stopped, and could not read its own log when there was space
again (etcd).

Here a segment of the log has its space before anything is written to it. If there is none, that
ends the node before anything is promised that depends on the write, and the others serve on. What
was begun of the segment the next start removes; so with space the node comes back by itself and
catches up. (With a file system that is really full: `tests/runtime/test_server.py`.)
"""

from __future__ import annotations

import pytest
from tests.scenarios.cluster import MS, TIMEOUT, Call, Cluster, settings, table_of

from quorate.replica.snapshot_taker import SnapshotSettings
from quorate.sim.rare_turns import counted_turns

SETTINGS = settings(
    snapshots=SnapshotSettings(max_raft_state=10_000, retry_us=100 * MS), segment_size=4_096
)
"""The log needs space again and again."""
LACKS_SPACE = "there is no space for a spare segment"
ELEMENT = "x" * 300
STEP = 20 * MS


class Story:
    """A cluster of three, clients at two of its servers, and the disk of the third one."""

    def __init__(self, *, victim_leads: bool) -> None:
        self.cluster = Cluster(settings=SETTINGS)
        self.victim = self.cluster.leader if victim_leads else self.cluster.followers[0]
        others = [server for server in self.cluster.servers.values() if server is not self.victim]
        self._clients = [self.cluster.client(server) for server in others]
        self._calls: list[Call] = []

    def live(self, duration_us: int) -> None:
        for _ in range(duration_us // STEP):
            self._calls += [
                client.send("APPEND", f"key-{len(self._calls) % 9}", ELEMENT)
                for client in self._clients
            ]
            self.cluster.run(STEP)

    def leave_room(self, room: int) -> None:
        """The disk takes so many more bytes."""
        used = sum(self.victim.disk.open(name).size for name in self.victim.disk.names())
        self.victim.disk.limit_capacity(used + room)

    def check_all_is_there(self) -> None:
        """Every call was executed, soon, and the victim has what the others have."""
        self.cluster.answered(self._calls)
        assert all(isinstance(call.reply, int) for call in self._calls)
        slowest = max(call.ended - call.begun for call in self._calls if call.ended is not None)
        assert slowest < 3 * TIMEOUT
        self.cluster.agree()
        length = sum(len(table_of(self.victim, b"key-%d" % number) or b"") for number in range(9))
        assert length == len(self._calls) * len(ELEMENT)


def a_disk_fills_up(*, victim_leads: bool, room: int) -> None:
    """One server's disk has room for so many more bytes, for a while; the others' go on."""
    story = Story(victim_leads=victim_leads)
    victim = story.victim
    story.live(100 * MS)
    story.leave_room(room)
    story.live(800 * MS)
    assert not victim.is_up
    assert victim.failure is not None
    assert "free some space and start the node again" in victim.failure
    victim.disk.limit_capacity(None)
    victim.start()
    assert victim.is_up, victim.failure
    story.live(200 * MS)
    story.check_all_is_there()


def a_disk_is_freed_in_time(*, victim_leads: bool) -> None:
    """Space lacks for the segment to come, and is there again before that is needed."""
    story = Story(victim_leads=victim_leads)
    victim = story.victim
    story.live(100 * MS)
    for _ in range(3):
        story.leave_room(0)
        with counted_turns() as turns:
            for _ in range(50):
                if not turns[LACKS_SPACE]:
                    story.live(STEP)
        assert turns[LACKS_SPACE]
        assert victim.is_up, victim.failure
        victim.disk.limit_capacity(None)
        story.live(400 * MS)
        assert victim.is_up, victim.failure
        victim.kill(power=True)
        victim.start()
        assert victim.is_up, victim.failure
        story.live(100 * MS)
    story.check_all_is_there()


@pytest.mark.parametrize("victim_leads", [False, True])
def test_a_node_whose_disk_was_full_comes_back_with_all_data(
    victim_leads: bool,  # noqa: FBT001  # one of two cases
) -> None:
    for room in (0, 100, 700, 2_500):
        a_disk_fills_up(victim_leads=victim_leads, room=room)


@pytest.mark.parametrize("victim_leads", [False, True])
def test_a_node_whose_disk_is_freed_in_time_goes_on_with_all_data(
    victim_leads: bool,  # noqa: FBT001  # one of two cases
) -> None:
    a_disk_is_freed_in_time(victim_leads=victim_leads)
