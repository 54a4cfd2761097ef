"""A node that is about to end: whom it still answers, and how soon."""

from __future__ import annotations

from typing import TYPE_CHECKING

from quorate.node.limits import NodeLimits
from quorate.raft.settings import Settings

if TYPE_CHECKING:
    from tests.node.conftest import Cluster, Server

ELECTION_TIMEOUT = Settings().election_timeout_us
COMMAND_TIMEOUT = NodeLimits().command_timeout_us
UNKNOWN = b"-UNKNOWN the outcome is unknown: it may have been executed, once\r\n"
NOT_EXECUTED = b"-NOTEXECUTED it did not reach a log in time, and will never be executed\r\n"
UNAVAILABLE = b"-UNAVAILABLE the read could not be confirmed in time\r\n"


def leave(server: Server) -> None:
    server.node.leave()
    server.has_input = True


def test_clients_of_a_node_that_ends_wait_for_a_leader_as_long_as_an_election_takes(
    cluster: Cluster,
) -> None:
    # All nodes are stopped at once, and this one is the last.
    last = cluster.followers[0]
    for server in list(cluster.up):
        if server is not last:
            cluster.crash(server)
    cluster.run(2 * ELECTION_TIMEOUT)  # by now it knows that there is no leader
    writer, reader = last.connect(), last.connect()
    writer.send("SET", "k", "v")
    reader.send("GET", "k")
    cluster.settle()
    leave(last)
    cluster.run(ELECTION_TIMEOUT - 1)
    assert not last.node.is_idle
    cluster.run(1)
    assert (writer.take(), reader.take()) == (NOT_EXECUTED, UNAVAILABLE)
    assert last.node.is_idle


def test_what_may_have_been_executed_is_unknown(cluster: Cluster) -> None:
    leader = cluster.leader
    for server in list(cluster.up):
        if server is not leader:
            cluster.crash(server)
    writer = leader.connect()
    writer.send("SET", "k", "v")
    cluster.settle()  # it is in the log of the leader, which does not know yet that it is alone
    leave(leader)
    cluster.run(COMMAND_TIMEOUT - 1)
    assert writer.take() == UNKNOWN


def test_as_long_as_there_is_a_leader_a_node_that_ends_waits_for_it(cluster: Cluster) -> None:
    last = cluster.followers[0]
    leave(last)
    cluster.crash(cluster.leader)
    writer = last.connect()
    writer.send("SET", "k", "v")
    cluster.run(3 * ELECTION_TIMEOUT)
    assert writer.take() == b"+OK\r\n"
