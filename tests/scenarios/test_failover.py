"""What a new leader, and a server that starts again, has of the data: all of it, once."""

from __future__ import annotations

import pytest
from tests.scenarios.cluster import MS, SECOND, Cluster, settings, table_of

from quorate.raft.settings import Settings
from quorate.replica.snapshot_taker import SnapshotSettings

# ---------------------------------------------------------------------- 7: a leader starts empty


def test_each_new_leader_has_all_data() -> None:
    """7. RedisLabs/redisraft#14 ("Total data loss on failover"), found by Jepsen:
    https://jepsen.io/analyses/redis-raft-1b3fbf6

    With each failover, for whatever cause, and in healthy clusters too, all data were gone: the
    next leader began with an empty table.

    Here leaders are killed, lose power, are cut off and all die together, and whoever leads next
    answers at once with everything that was acknowledged, its clients' sessions included.
    """
    cluster = Cluster()
    session = cluster.ask(cluster.leader, "QUORATE.SESSION")
    assert isinstance(session, int)
    for failover in range(9):
        leader = cluster.leader
        element = b"%d;" % failover
        assert cluster.ask(leader, "SET", element, element) == b"OK"
        call = ("ONCE", session, failover + 1, failover, "APPEND", "all", element)
        length = cluster.ask(leader, *call)
        assert length == 2 * (failover + 1)
        candidates = cluster.followers
        match failover % 4:
            case 0:
                leader.kill(power=False)
            case 1:
                leader.kill(power=True)
            case 2:
                cluster.network.cut(cluster.links(leader))
            case _:
                candidates = list(cluster.servers.values())
                for server in candidates:
                    server.kill(power=True)
                for server in candidates:
                    server.start()
        new = cluster.await_leader(*candidates)
        elements = [b"%d;" % number for number in range(failover + 1)]
        assert cluster.ask(new, "MGET", *elements, "all") == [*elements, b"".join(elements)]
        assert cluster.ask(new, *call) == length, "it was executed again"
        cluster.network.heal()
        if not leader.is_up:
            leader.start()
        cluster.run(SECOND)
        cluster.agree()


# ---------------------------------------------------------------------- 8: the applied index

EVERY_ENTRY = SnapshotSettings(max_raft_state=1, part_bytes=1, pause_us=0)
"""A snapshot after each entry: the only record there is of how much is applied."""
ONE_BY_ONE = Settings(max_committed_bytes=1)
"""Each entry is applied by itself, so that servers can die between any two."""


@pytest.mark.parametrize("snapshots", [EVERY_ENTRY, SnapshotSettings()], ids=["many", "none"])
def test_after_a_crash_no_entry_is_applied_twice_or_left_out(snapshots: SnapshotSettings) -> None:
    """8. etcd-io/etcd#13766 and its postmortem (etcd-io/etcd, pull request 13967): "consistent
    index not being saved atomically".

    What was applied and how far that went were written apart. A member that was killed between the
    two had entries that it never applied, or applied them again when it started: its data differed
    from the others' from then on, and nothing showed it.

    Here the state is in memory, and on the disk only in snapshots that say in the same file which
    entry they end with. A server that dies at any moment of applying, or of taking a snapshot,
    starts again from that, and has each append once.
    """
    cluster = Cluster(settings=settings(raft=ONE_BY_ONE, snapshots=snapshots))
    appended = 0
    for number, moment in enumerate(range(0, 6 * MS, 200)):
        victim = list(cluster.servers.values())[number % 3]
        clients = [cluster.client(s) for s in cluster.servers.values() if s is not victim]
        calls = [client.send("APPEND", "k", b"x") for client in clients for _ in range(3)]
        appended += len(calls)
        cluster.run(moment)
        victim.kill(power=number % 2 == 0)
        victim.start()
        cluster.answered(calls)
        cluster.agree()
        for server in cluster.servers.values():
            assert table_of(server, b"k") == b"x" * appended
