"""`QUORATE.SERVERS`: where clients reach the members, and as of which entry of the log."""

from __future__ import annotations

from typing import TYPE_CHECKING

from quorate.raft.configuration import Member, NodeId

if TYPE_CHECKING:
    from tests.node.conftest import Cluster, Server

SECOND = 1_000_000
FOUNDERS = [b"client:1", b"client:2", b"client:3"]


def servers(cluster: Cluster, server: Server) -> tuple[int, list[bytes]]:
    """The index and the addresses that a server answers."""
    client = server.connect()
    client.send("QUORATE.SERVERS")
    cluster.settle()
    ((index, *addresses),) = client.take_replies()
    return index, addresses


def do(cluster: Cluster, *words: str | int) -> None:
    """An operator's command to the leader, and a second later."""
    client = cluster.leader.connect()
    client.send("QUORATE.MEMBER", *words)
    cluster.settle()
    assert client.take_replies() == [b"OK"]
    cluster.run(SECOND)


def test_every_node_tells_the_clients_addresses_of_all_members(cluster: Cluster) -> None:
    answers = [servers(cluster, server) for server in cluster.up]
    assert answers == [(0, FOUNDERS)] * 3


def test_voters_come_first_and_a_later_index_is_a_later_list(cluster: Cluster) -> None:
    cluster.add(4)
    cluster.add(5)
    do(cluster, "ADD", 4, "peer:4", "client:4", "data-4", "LEARNER")
    do(cluster, "ADD", 5, "peer:5", "client:5", "data-5")
    with_both = [servers(cluster, server) for server in cluster.up]
    assert with_both == [with_both[0]] * 5
    assert with_both[0][0] == cluster.leader.node.raft.membership.index
    assert with_both[0][1] == [*FOUNDERS, b"client:5", b"client:4"]
    do(cluster, "REMOVE", 4)
    index, addresses = servers(cluster, cluster.leader)
    assert index > with_both[0][0]
    assert addresses == [*FOUNDERS, b"client:5"]


def test_a_change_that_may_be_taken_back_is_not_told(cluster: Cluster) -> None:
    leader = cluster.leader
    cluster.add(4)
    cluster.isolate(leader.me)
    client = leader.connect()
    client.send("QUORATE.MEMBER", "ADD", 4, "peer:4", "client:4", "data-4", "LEARNER")
    cluster.settle()
    assert client.take_replies() == [b"OK"]
    assert leader.node.raft.configuration.member(NodeId(4)) is not None
    assert servers(cluster, leader) == (0, FOUNDERS)


def test_members_without_an_address_for_clients_are_left_out(cluster: Cluster) -> None:
    raft = cluster.leader.node.raft
    cluster.add(4)
    silent = Member(NodeId(4), peer_address="peer:4", data_id="data-4")
    raft.change_configuration(raft.configuration.with_learner(silent, promote=False), cluster.now)
    cluster.leader.has_input = True
    cluster.run(SECOND)
    index, addresses = servers(cluster, cluster.leader)
    assert index == raft.membership.index
    assert addresses == FOUNDERS


def test_a_node_that_knows_no_members_yet_tells_none(cluster: Cluster) -> None:
    assert servers(cluster, cluster.add(4)) == (0, [])


def test_the_list_outlives_a_restart_with_a_snapshot(cluster: Cluster) -> None:
    cluster.add(4)
    do(cluster, "ADD", 4, "peer:4", "client:4", "data-4")
    server = cluster.leader
    before = servers(cluster, server)
    client = server.connect()
    client.send("QUORATE.SNAPSHOT")
    cluster.settle()
    assert b"started" in client.take()
    cluster.run(SECOND)
    cluster.crash(server)
    cluster.restart(server)
    index, addresses = servers(cluster, server)
    assert addresses == before[1]
    assert index >= before[0]
