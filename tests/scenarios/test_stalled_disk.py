"""3. etcd-io/etcd#15247 and #13527: a leader whose fsync does not end.

A leader waited for its disk, and all else in it waited too: it did not notice that it had lost its
leadership, so there were two of them (#13527), and when the disk went on, it had all leases
revoked, though their owners had kept them alive at the next leader (#15247).

Here a sync that takes long goes on in a thread, and the leader leads on: two other disks are a
majority. If it is the first slow one, it stalls the event loop and so the whole node: then another
is elected, and the first one steps down before it looks at anything that has come meanwhile.
Sessions live by cluster time, which no single server makes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from tests.scenarios.cluster import MS, SECOND, TIMEOUT, Cluster, settings, term_of

from quorate.replica.sessions import SessionLimits

if TYPE_CHECKING:
    from tests.scenarios.cluster import Call

    from quorate.sim.server import SimulatedServer

STALL = 10 * SECOND
QUICK_SESSIONS = SessionLimits(ttl_ms=3_000, protected_ms=100)
"""They expire well within the stall, unless they are used."""


def use_a_session(cluster: Cluster, servers: list[SimulatedServer], duration_us: int) -> list[Call]:
    """Appends in a session, at one of the servers after the other, ten times a second."""
    session = cluster.ask(servers[0], "QUORATE.SESSION")
    assert isinstance(session, int)
    clients = [cluster.client(server) for server in servers]
    calls = []
    for number in range(1, duration_us // (100 * MS) + 1):
        client = clients[number % len(clients)]
        calls.append(client.send("ONCE", session, number, number - 1, "APPEND", "k", "x"))
        cluster.run(100 * MS)
    return calls


def check_exactly_once(cluster: Cluster, calls: list[Call], *, within_us: int) -> None:
    """All have taken effect, in order, and none took longer than that."""
    cluster.answered(calls)
    assert [call.reply for call in calls] == list(range(1, len(calls) + 1))
    slowest = max(call.ended - call.begun for call in calls if call.ended is not None)
    assert slowest < within_us
    cluster.agree()


def test_while_the_disk_of_the_leader_stalls_it_leads_on() -> None:
    cluster = Cluster(settings=settings(sessions=QUICK_SESSIONS))
    leader = cluster.leader
    term = term_of(leader)
    leader.stall_disk(STALL)
    calls = use_a_session(cluster, list(cluster.servers.values()), STALL + SECOND)
    assert (cluster.leader, term_of(leader)) == (leader, term)
    check_exactly_once(cluster, calls, within_us=20 * MS)


def test_a_leader_that_its_disk_holds_up_entirely_is_replaced() -> None:
    cluster = Cluster(settings=settings(sessions=QUICK_SESSIONS))
    leader = cluster.leader
    term = term_of(leader)
    leader.stall_disk(STALL)
    leader.pause(STALL)
    calls = use_a_session(cluster, cluster.followers, STALL + SECOND)
    assert cluster.leader is not leader
    assert cluster.leaders == [cluster.leader], "it believes in itself still"
    assert term_of(leader) > term
    check_exactly_once(cluster, calls, within_us=3 * TIMEOUT)


@pytest.mark.parametrize("is_held_up", [False, True])
def test_a_leader_that_is_cut_off_too_serves_nothing_any_more(
    is_held_up: bool,  # noqa: FBT001  # one of two cases
) -> None:
    """#13527: the machine had lost its volume and its network."""
    cluster = Cluster(settings=settings(sessions=QUICK_SESSIONS))
    old, others = cluster.leader, cluster.followers
    assert cluster.ask(old, "SET", "other", "before") == b"OK"
    cluster.network.cut(cluster.links(old))
    old.stall_disk(STALL)
    if is_held_up:
        old.pause(STALL)
    write = cluster.client(old).send("APPEND", "other", "!")
    cluster.await_leader(*others)
    assert cluster.ask(cluster.leader, "SET", "other", "after") == b"OK"
    read = cluster.client(old).send("GET", "other")
    cluster.run(TIMEOUT)
    assert is_held_up or cluster.leaders == [cluster.leader], "it believes in itself still"
    calls = use_a_session(cluster, others, STALL)
    assert read.reply != b"before"
    assert cluster.leaders == [cluster.leader], "it believes in itself still"
    cluster.network.heal()
    cluster.answered([read, write])
    assert read.reply != b"before"
    check_exactly_once(cluster, calls, within_us=3 * TIMEOUT)
    executed = cluster.ask(old, "GET", "other") == b"after!"
    assert not executed or write.reply == len(b"after!")
