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

SETTINGS = settings(
    snapshots=SnapshotSettings(max_raft_state=10_000, retry_us=100 * MS), segment_size=4_096
)
"""The log needs space again and again."""
ELEMENT = "x" * 300


def a_disk_fills_up(*, victim_leads: bool, room: int) -> None:
    """One server's disk has room for so many more bytes, for a while; the others' go on."""
    cluster = Cluster(settings=SETTINGS)
    victim = cluster.leader if victim_leads else cluster.followers[0]
    others = [server for server in cluster.servers.values() if server is not victim]
    clients = [cluster.client(server) for server in others]
    calls: list[Call] = []

    def live(duration_us: int) -> None:
        for _ in range(duration_us // (20 * MS)):
            calls.extend(
                client.send("APPEND", f"key-{len(calls) % 9}", ELEMENT) for client in clients
            )
            cluster.run(20 * MS)

    live(100 * MS)
    used = sum(victim.disk.open(name).size for name in victim.disk.names())
    victim.disk.limit_capacity(used + room)
    live(800 * MS)
    assert not victim.is_up
    assert victim.failure is not None
    assert "free some space and start the node again" in victim.failure
    victim.disk.limit_capacity(None)
    victim.start()
    assert victim.is_up, victim.failure
    live(200 * MS)
    cluster.answered(calls)
    assert all(isinstance(call.reply, int) for call in calls)
    slowest = max(call.ended - call.begun for call in calls if call.ended is not None)
    assert slowest < 3 * TIMEOUT
    cluster.agree()
    length = sum(len(table_of(victim, b"key-%d" % number) or b"") for number in range(9))
    assert length == len(calls) * len(ELEMENT)


@pytest.mark.parametrize("victim_leads", [False, True])
def test_a_node_whose_disk_was_full_comes_back_with_all_data(
    victim_leads: bool,  # noqa: FBT001  # one of two cases
) -> None:
    for room in (0, 100, 700, 2_500):
        a_disk_fills_up(victim_leads=victim_leads, room=room)
