"""With forwarding off a server that does not lead refuses at once, and never says too much."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import pytest

from quorate.node.limits import NodeLimits
from quorate.raft.settings import Settings

if TYPE_CHECKING:
    from tests.node.conftest import Client, Cluster, Sent, Server

SECOND = 1_000_000
OFF = Settings(forwarding=False)
UNKNOWN = b"-UNKNOWN the outcome is unknown: it may have been executed, once\r\n"
NO_LEADER = b"-NOTLEADER no leader is known\r\n"
COMMANDS: list[tuple[str | int, ...]] = [
    ("GET", "k"),
    ("SET", "k", "v"),
    ("ONCE", 4, 1, 0, "SET", "k", "v"),
    ("QUORATE.SESSION",),
]


@pytest.fixture
def refusing(new_cluster: type[Cluster]) -> Cluster:
    """Three nodes without forwarding; one leads, and has its own session."""
    cluster = new_cluster(settings=OFF)
    cluster.run_until_led()
    cluster.settle()
    return cluster


def a_leader_cut_off(cluster: Cluster) -> Server:
    """It leads the others no longer, and has not noticed yet."""
    leader = cluster.leader
    cluster.isolate(leader.me)
    return leader


def all_sent(server: Server) -> list[Client]:
    clients = [server.connect() for _ in COMMANDS]
    for client, command in zip(clients, COMMANDS, strict=True):
        client.send(*command)
    return clients


def test_who_does_not_lead_names_the_leader_at_once(refusing: Cluster) -> None:
    clients = all_sent(refusing.followers[0])
    refusing.settle()
    refusal = b"-NOTLEADER client:%d\r\n" % refusing.leader.me
    assert [client.take() for client in clients] == [refusal] * len(COMMANDS)


def test_who_knows_no_leader_says_so_at_once(new_cluster: type[Cluster]) -> None:
    cluster = new_cluster(settings=OFF)
    clients = all_sent(cluster[1])
    cluster.settle()
    assert [client.take() for client in clients] == [NO_LEADER] * len(COMMANDS)


def test_the_leader_serves(refusing: Cluster) -> None:
    client = refusing.leader.connect()
    for command in (("SET", "k", "v"), ("GET", "k"), ("QUORATE.SESSION",)):
        client.send(*command)
    refusing.settle()
    assert client.take_replies() == [b"OK", b"v", refusing.leader.node.raft.last_index]


def test_nothing_is_asked_of_the_leader(refusing: Cluster) -> None:
    asked = [server for server in refusing.followers for _ in all_sent(server)]
    refusing.collect()
    assert asked
    assert not refusing.network


def test_a_whole_pipeline_is_refused_however_long(refusing: Cluster) -> None:
    client = refusing.followers[0].connect()
    client.send_raw(b"GET k\r\nSET k v\r\n" * NodeLimits().connection_pending)
    refusing.settle()
    assert client.take().count(b"-NOTLEADER") == 2 * NodeLimits().connection_pending


def test_what_the_node_answers_alone_it_still_does(refusing: Cluster) -> None:
    client = refusing.followers[0].connect()
    for command in (("GET", "k"), ("PING",), ("QUORATE.LEADER",)):
        client.send(*command)
    refusing.settle()
    refusal = b"-NOTLEADER client:%d\r\n" % refusing.leader.me
    address = b"$8\r\nclient:%d\r\n" % refusing.leader.me
    assert client.take() == refusal + b"+PONG\r\n" + address


def test_a_leader_that_steps_down_says_what_may_have_been_executed(refusing: Cluster) -> None:
    leader = a_leader_cut_off(refusing)
    clients = all_sent(leader)
    refusing.run(OFF.election_timeout_us + OFF.heartbeat_interval_us)
    assert not leader.node.raft.is_leader
    assert [client.take() for client in clients] == [NO_LEADER, UNKNOWN, UNKNOWN, UNKNOWN]


def test_a_leader_that_steps_down_refuses_what_it_had_not_begun(refusing: Cluster) -> None:
    leader = a_leader_cut_off(refusing)
    client = leader.connect()
    for command in (("SET", "k", "v"), ("GET", "k"), ("ONCE", 4, 1, 0, "SET", "k", "v")):
        client.send(*command)
    refusing.run(OFF.election_timeout_us + OFF.heartbeat_interval_us)
    assert client.take() == UNKNOWN + NO_LEADER * 2


def test_a_read_that_was_refused_is_not_answered_when_the_server_leads_again(
    refusing: Cluster,
) -> None:
    leader = a_leader_cut_off(refusing)
    client = leader.connect()
    client.send("GET", "k")
    refusing.run(OFF.election_timeout_us + OFF.heartbeat_interval_us)
    assert client.take() == NO_LEADER
    refusing.heal()
    while (other := refusing.run_until_led()) is not leader:
        refusing.crash(other)
        refusing.run(2 * SECOND)
        refusing.restart(other)
    client.send("GET", "k")
    refusing.settle()
    assert client.take() == b"$-1\r\n"


def test_plain_writes_keep_their_promises_through_changes_of_the_leader(
    refusing: Cluster,
    new_sent: type[Sent],
    check: Callable[[bytes | None, list[list[Sent]]], None],
) -> None:
    connections: list[list[Sent]] = []
    tokens = iter(range(1_000))
    for _ in range(6):
        leader = refusing.leader
        clients = [server.connect() for server in refusing.up]
        for round_ in range(3):
            if round_ == 1:
                refusing.isolate(leader.me)
            sent_by = [[new_sent(b"<%d>" % next(tokens), refusing.now)] for _ in clients]
            for client, (sent,) in zip(clients, sent_by, strict=True):
                client.send("APPEND", "k", sent.token)
            refusing.run(2 * SECOND)
            for client, (sent,) in zip(clients, sent_by, strict=True):
                (reply,) = client.take_replies()
                if not is_refused(reply):
                    sent.answer(reply)
                    connections.append([sent])
        refusing.heal()
        refusing.run(2 * SECOND)
    client = refusing.leader.connect()
    client.send("GET", "k")
    refusing.settle()
    (value,) = client.take_replies()
    refused = set(range(next(tokens))) - {int(sent.token[1:-1]) for (sent,) in connections}
    assert refused, "or there is nothing to see here"
    assert not any(b"<%d>" % token in value for token in refused)
    check(value, connections)


def is_refused(reply: Any) -> bool:
    return str(reply).startswith("NOTLEADER")
