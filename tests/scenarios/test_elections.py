"""Servers that are cut off in part or for a while, and what they do to the leader."""

from __future__ import annotations

import pytest
from tests.scenarios.cluster import SECOND, TIMEOUT, Cluster, settings, table_of, term_of

from quorate.raft.settings import Settings
from quorate.sim.network import links_between
from quorate.sim.server import SimulatedServer
from quorate.wire.resp_reply import ErrorReply

AWAY = 20 * TIMEOUT


def writes_are_served(cluster: Cluster, *at: SimulatedServer, within_us: int = SECOND) -> None:
    """Each of these servers acknowledges a write in time."""
    for server in at:
        reply = cluster.ask(server, "APPEND", "k", "x", within_us=within_us)
        assert isinstance(reply, int), reply


# ---------------------------------------------------------------------- 1: a leader is deposed


def a_node_rejoins(raft: Settings) -> None:
    cluster = Cluster(settings=settings(raft=raft))
    leader, (absent, other) = cluster.leader, cluster.followers
    term = term_of(leader)
    cluster.network.cut(cluster.links(absent))
    for _ in range(AWAY // TIMEOUT):
        writes_are_served(cluster, leader, other)
        cluster.run(TIMEOUT)
    cluster.network.heal()
    for _ in range(10):
        cluster.run(TIMEOUT // 4)
        writes_are_served(cluster, *cluster.servers.values())
    assert cluster.leader is leader, "it was deposed"
    assert [term_of(server) for server in cluster.up] == [term] * 3
    cluster.agree()


def test_a_node_that_rejoins_deposes_nobody() -> None:
    """1a. hashicorp/raft, pull request 530, and etcd-io/etcd#9241 ("Handling election storms").

    A node that was cut off stood for election again and again, and raised its term each time. When
    it was heard again, the leader saw the greater term and stepped down, though all was well; with
    a link that comes and goes, again and again.

    Here it asks first (PreVote), gets no answer, and raises nothing. When it comes back, term and
    leader are what they were, and no write waits for an election.
    """
    a_node_rejoins(Settings())


def a_link_fails_alone(raft: Settings) -> None:
    cluster = Cluster(settings=settings(raft=raft))
    leader, (one, other) = cluster.leader, cluster.followers
    term = term_of(leader)
    cluster.network.cut(links_between({leader.id}, {one.id}))
    for _ in range(AWAY // TIMEOUT):
        writes_are_served(cluster, leader, other)
        cluster.run(TIMEOUT)
    # Nobody tells it what became of a write: it must say so in time, and execute it once at most.
    reply = cluster.ask(one, "APPEND", "lonely", "x")
    assert isinstance(reply, ErrorReply)
    assert reply.code in ("UNKNOWN", "NOTEXECUTED")
    assert cluster.leader is leader, "it was deposed"
    assert term_of(leader) == term
    cluster.network.heal()
    cluster.run(2 * TIMEOUT)
    writes_are_served(cluster, *cluster.servers.values())
    cluster.agree()
    assert table_of(one, b"lonely") in ((None,) if reply.code == "NOTEXECUTED" else (None, b"x"))


def test_a_link_that_fails_alone_deposes_nobody() -> None:
    """1b. Cloudflare, 2020-11-02: https://blog.cloudflare.com/a-byzantine-failure-in-the-real-world

    A switch was half broken, so that one of three etcd nodes did not reach the leader, and both
    reached the third. The one stood for election again and again, and the cluster was left without
    a leader that could write; a cascade of failovers followed.

    Here the third hears the leader and says no. Leader and term stay; clients of the leader and of
    the third notice nothing, and those of the node that is cut off are told in time.
    """
    a_link_fails_alone(Settings())


def nodes_at_the_edge(raft: Settings) -> None:
    cluster = Cluster(5, settings=settings(raft=raft))
    three = cluster.leader
    one, two, four, five = cluster.followers
    cluster.network.cut(links_between({four.id}, {one.id, three.id, five.id}))
    cluster.network.cut(links_between({five.id}, {one.id, two.id}))
    term = term_of(three)
    for _ in range(AWAY // TIMEOUT):
        writes_are_served(cluster, one, two, three, five)
        cluster.run(TIMEOUT)
    assert (cluster.leader, term_of(three)) == (three, term), "it was deposed"
    cluster.network.heal()
    cluster.run(2 * TIMEOUT)
    assert (cluster.leader, term_of(three)) == (three, term), "it was deposed"
    writes_are_served(cluster, *cluster.up)
    cluster.agree()


def test_nodes_at_the_edge_depose_nobody() -> None:
    """1c. "Raft does not Guarantee Liveness in the face of Network Faults", on that incident:
    https://decentralizedthoughts.github.io/2020-12-12-raft-liveness-full-omission/

    Of five servers 1, 2 and 3 reach each other, 4 reaches 2 alone, and 5 reaches 3 alone. Whoever
    leads, 4 or 5 does not hear it, and by its term, passed on, deposes it: no leader ever stays.

    Here the leader that is there stays.
    """
    nodes_at_the_edge(Settings())


def one_in_the_middle(raft: Settings, *, seed: int = 1) -> None:
    cluster = Cluster(5, settings=settings(raft=raft), seed=seed)
    middle, *others = cluster.followers
    around = [cluster.leader, *others]
    for server in around:
        rest = {other.id for other in around if other.id > server.id}
        cluster.network.cut(links_between({server.id}, rest))
    cluster.await_leader(middle, within_us=10 * TIMEOUT)
    assert cluster.leaders == [middle], "the one before it believes in itself still"
    term = term_of(middle)
    writes_are_served(cluster, *cluster.up)
    cluster.run(AWAY)
    assert (cluster.leader, term_of(middle)) == (middle, term)
    cluster.network.heal()
    cluster.run(2 * TIMEOUT)
    assert (cluster.leader, term_of(middle)) == (middle, term)
    writes_are_served(cluster, *cluster.up)
    cluster.agree()


@pytest.mark.parametrize("seed", range(3))
def test_the_only_node_that_reaches_a_majority_is_elected(seed: int) -> None:
    """1d. The other side of it: all links fail but those of one follower. A leader that went on
    without its majority, or a follower that kept faith with it, would leave the cluster without
    service as long as that lasts, though one node reaches them all.

    Here the leader steps down (CheckQuorum), and the one in the middle is elected.
    """
    one_in_the_middle(Settings(), seed=seed)


# ---------------------------------------------------------------------- 2: a lower term


@pytest.mark.parametrize("seed", range(3))
def test_a_node_of_a_lower_term_learns_the_new_one(seed: int) -> None:
    """2. etcd-io/etcd#8243 ("Node with smaller term can get stuck in election when PreVote is
    true").

    C is cut off in term 1, while A and B go through several elections. Then C is heard again and
    the leader, B, dies at the same moment. What C said was ignored for its old term, and of A's
    questions C did not learn the new one, as a question before an election changes no term: so
    neither was ever elected.

    Here who is asked for a term that is past says which one it is, so C learns it and votes for A.
    (The other way round, an old term with a longer log, is etcd-io/etcd#8501: both are in
    `tests/raft/test_dissertation.py`, on cores alone.)
    """
    cluster = Cluster(seed=seed)
    absent = cluster.followers[0]
    old_term = term_of(absent)
    cluster.network.cut(cluster.links(absent))
    for _ in range(3):
        leader = cluster.leader
        leader.kill(power=False)
        cluster.run(TIMEOUT)
        leader.start()
        cluster.await_leader()
        writes_are_served(cluster, cluster.leader)
    assert term_of(absent) == old_term < term_of(cluster.leader) - 1
    survivor = next(server for server in cluster.followers if server is not absent)
    cluster.agree(absent)
    cluster.leader.kill(power=False)
    cluster.network.heal()
    cluster.await_leader(survivor, within_us=10 * TIMEOUT)
    writes_are_served(cluster, absent, survivor)
    cluster.agree()
