"""The commands of one connection take effect, and are answered, in the order sent."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from quorate.raft.messages import AppendEntries, Forward, ForwardAnswer, ReadIndexAnswer

if TYPE_CHECKING:
    from tests.node.conftest import Client, Cluster, Packet, Server

SECOND = 1_000_000


@pytest.fixture(params=["leader", "follower"])
def server(request: pytest.FixtureRequest, cluster: Cluster) -> Server:
    """The server that the client talks to."""
    return cluster.leader if request.param == "leader" else cluster.followers[0]


def is_forward(packet: Packet) -> bool:
    return isinstance(packet.message, Forward)


def test_reads_and_writes_in_a_pipeline_see_each_other(cluster: Cluster, server: Server) -> None:
    client = server.connect()
    for number in range(20):
        client.send("APPEND", "k", "x")
        client.send("STRLEN", "k")
        client.send("PING")
        client.send("SET", "l", number)
        client.send("GET", "l")
        client.send("GET", "nothing")
    cluster.settle()
    expected = [
        [length, length, b"PONG", b"OK", b"%d" % (length - 1), None] for length in range(1, 21)
    ]
    assert client.take_replies() == [reply for round_ in expected for reply in round_]


def test_one_chunk_may_hold_the_whole_pipeline(cluster: Cluster, server: Server) -> None:
    client = server.connect()
    client.send_raw(b"SET k a\r\nGET k\r\nAPPEND k b\r\nGET k\r\nDEL k\r\nGET k\r\n")
    cluster.settle()
    assert client.take_replies() == [b"OK", b"a", 2, b"ab", 1, None]


def test_writes_of_a_pipeline_travel_together_and_so_do_reads(
    cluster: Cluster, server: Server
) -> None:
    client = server.connect()
    before = cluster.leader.node.raft.last_index
    for _ in range(50):
        client.send("APPEND", "k", "x")
    for _ in range(50):
        client.send("GET", "k")
    cluster.settle()
    assert client.take_replies() == [*range(1, 51), *[b"x" * 50] * 50]
    assert cluster.leader.node.raft.last_index == before + 1


def test_replies_wait_for_those_before_them(cluster: Cluster) -> None:
    follower = cluster.followers[0]
    client = follower.connect()
    cluster.holds = is_forward
    client.send("SET", "k", "v")
    client.send("PING")
    client.send("NOSUCH")
    client.send("GET", "k")
    client.send("SELECT", "0")
    cluster.settle()
    assert client.take() == b""
    cluster.release()
    *before, _, _ = replies = client.take_replies()
    assert [str(reply).partition(",")[0] for reply in before] == [
        "b'OK'",
        "b'PONG'",
        "ERR unknown command 'NOSUCH'",
    ]
    assert replies[-2:] == [b"v", b"OK"]


def test_connections_do_not_wait_for_each_other(cluster: Cluster) -> None:
    follower = cluster.followers[0]
    slow, quick = follower.connect(), follower.connect()
    cluster.holds = is_forward
    slow.send("SET", "k", "v")
    slow.send("GET", "k")
    cluster.settle()
    quick.send("GET", "k")
    quick.send("PING")
    cluster.settle()
    assert quick.take_replies() == [None, b"PONG"]
    assert slow.take() == b""


def test_a_write_waits_for_the_reads_before_it(cluster: Cluster) -> None:
    follower = cluster.followers[0]
    client, other = follower.connect(), cluster.leader.connect()
    other.send("SET", "k", "old")
    cluster.settle()
    cluster.holds = lambda packet: isinstance(packet.message, ReadIndexAnswer)
    client.send("GET", "k")
    client.send("SET", "k", "new")
    cluster.settle()
    other.send("GET", "k")
    cluster.settle()
    assert other.take_replies() == [b"OK", b"old"]
    cluster.release()
    assert client.take_replies() == [b"old", b"OK"]


def test_a_lost_write_holds_back_those_behind_it(cluster: Cluster) -> None:
    follower = cluster.followers[0]
    client = follower.connect()
    cluster.loses = is_forward
    client.send("APPEND", "k", "a")
    cluster.settle()
    cluster.loses = lambda _: False
    client.send("APPEND", "k", "b")
    cluster.settle()
    # The second came to the leader and was refused there, so that both come again, in order.
    client.send("GET", "k")
    cluster.settle()
    assert client.take_replies() == [1, 2, b"ab"]


def test_a_call_of_a_session_waits_for_the_plain_writes_before_it(cluster: Cluster) -> None:
    follower = cluster.followers[0]
    client = follower.connect()
    client.send("QUORATE.SESSION")
    cluster.settle()
    (session,) = client.take_replies()
    lost: list[Packet] = []

    def loses(packet: Packet) -> bool:
        if is_forward(packet) and not lost:
            lost.append(packet)
        return packet in lost

    cluster.loses = loses
    client.send("APPEND", "k", "a")
    cluster.settle()
    client.send("ONCE", session, 1, 0, "APPEND", "k", "b")
    client.send("APPEND", "k", "c")
    client.send("GET", "k")
    cluster.run(2 * SECOND)
    assert client.take_replies() == [1, 2, 3, b"abc"]


def test_plain_writes_wait_for_the_calls_before_them(cluster: Cluster) -> None:
    follower = cluster.followers[0]
    client = follower.connect()
    client.send("QUORATE.SESSION")
    cluster.settle()
    (session,) = client.take_replies()
    cluster.loses = is_forward
    client.send("ONCE", session, 1, 0, "APPEND", "k", "a")
    client.send("ONCE", session, 2, 0, "APPEND", "k", "a")
    cluster.settle()
    cluster.loses = lambda _: False
    client.send("APPEND", "k", "b")
    cluster.run(2 * SECOND)
    assert sorted(client.take_replies()[:2]) == [1, 2]
    client.send("GET", "k")
    cluster.settle()
    assert client.take_replies() == [b"aab"]


def test_a_read_waits_for_the_calls_before_it(cluster: Cluster) -> None:
    follower = cluster.followers[0]
    client = follower.connect()
    client.send("QUORATE.SESSION")
    cluster.settle()
    (session,) = client.take_replies()
    cluster.loses = is_forward
    client.send("ONCE", session, 1, 0, "APPEND", "k", "a")
    client.send("GET", "k")
    cluster.settle()
    assert client.take() == b""
    cluster.loses = lambda _: False
    cluster.run(2 * SECOND)
    assert client.take_replies() == [1, b"a"]


def test_order_holds_when_the_leader_dies(cluster: Cluster) -> None:
    follower = cluster.followers[0]
    client = follower.connect()
    leader = cluster.leader
    cluster.loses = lambda packet: isinstance(packet.message, AppendEntries | ForwardAnswer)
    for number in range(5):
        client.send("APPEND", "k", number)
        client.send("GET", "k")
    cluster.settle()
    cluster.loses = lambda _: False
    cluster.crash(leader)
    cluster.run(2 * SECOND)
    assert client.take_replies() == [1, b"0", 2, b"01", 3, b"012", 4, b"0123", 5, b"01234"]


# ---------------------------------------------------------------------- how a connection ends


def test_quit_is_answered_after_everything_before_it(cluster: Cluster) -> None:
    client = cluster.followers[0].connect()
    cluster.holds = is_forward
    client.send("SET", "k", "v")
    client.send("GET", "k")
    client.send("QUIT")
    client.send("SET", "k", "too late")
    cluster.settle()
    assert client.take() == b""
    assert not client.is_closed
    cluster.release()
    assert client.take() == b"+OK\r\n$1\r\nv\r\n+OK\r\n"
    assert client.is_closed


def test_a_protocol_error_is_told_after_everything_before_it(cluster: Cluster) -> None:
    client = cluster.followers[0].connect()
    cluster.holds = is_forward
    client.send_raw(b"SET k v\r\nGET k\r\n*1\r\n:5\r\nSET k late\r\n", b"SET k later\r\n")
    cluster.settle()
    assert client.take() == b""
    assert not client.is_closed
    cluster.release()
    error = b"-ERR Protocol error: expected '$', got ':'\r\n"
    assert client.take() == b"+OK\r\n$1\r\nv\r\n" + error
    assert client.is_closed
    other = cluster.leader.connect()
    other.send("GET", "k")
    cluster.settle()
    assert other.take() == b"$1\r\nv\r\n"


def test_a_client_that_sends_no_more_gets_all_its_answers(cluster: Cluster) -> None:
    client = cluster.followers[0].connect()
    cluster.holds = is_forward
    client.send("SET", "k", "v")
    client.send("GET", "k")
    client.send("PING")
    cluster.settle()
    client.finish()
    cluster.settle()
    assert not client.is_closed
    cluster.release()
    assert client.take() == b"+OK\r\n$1\r\nv\r\n+PONG\r\n"
    assert client.is_closed


def test_a_client_that_sends_no_more_and_waits_for_nothing_is_closed(cluster: Cluster) -> None:
    client = cluster.followers[0].connect()
    client.finish()
    cluster.settle()
    assert client.is_closed


def test_what_a_client_had_sent_before_it_went_may_still_be_executed(cluster: Cluster) -> None:
    follower = cluster.followers[0]
    client, other = follower.connect(), follower.connect()
    cluster.holds = is_forward
    client.send("SET", "k", "v")
    client.send("GET", "k")
    client.send("SET", "k", "waits for the read, and so is never begun")
    cluster.settle()
    client.close()
    cluster.release()
    other.send("GET", "k")
    cluster.settle()
    assert other.take_replies() == [b"v"]
    assert follower.node.status().connections == 1


# ---------------------------------------------------------------------- anything at once


class Model:
    """One connection's commands and the replies that they have if they run in that order."""

    def __init__(self, name: str) -> None:
        self.key = f"key-{name}"
        self.value = b""
        self.expected: list[object] = []

    def send(self, client: Client, rng: random.Random) -> None:
        match rng.randrange(6):
            case 0:
                client.send("SET", self.key, "x")
                self.value = b"x"
                self.expected.append(b"OK")
            case 1 | 2:
                client.send("APPEND", self.key, "abc")
                self.value += b"abc"
                self.expected.append(len(self.value))
            case 3:
                client.send("GET", self.key)
                self.expected.append(self.value or None)
            case 4:
                client.send("STRLEN", self.key)
                self.expected.append(len(self.value))
            case _:
                client.send("PING")
                self.expected.append(b"PONG")


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 2**32))
def test_pipelines_on_all_nodes_through_lost_messages(
    new_cluster: type[Cluster], seed: int
) -> None:
    rng = random.Random(seed)
    cluster = new_cluster(seed=seed)
    cluster.run_until_led()
    connections = [
        (server.connect(), Model(f"{server.me}-{number}"))
        for server in cluster.up
        for number in range(2)
    ]
    for _ in range(30):
        loss = rng.choice([0.0, 0.1, 0.5])
        cluster.loses = lambda _, loss=loss: rng.random() < loss  # type: ignore[misc]
        for client, model in connections:
            for _ in range(rng.randrange(6)):
                model.send(client, rng)
        cluster.settle()
        cluster.run(rng.randrange(100_000))
    cluster.heal()
    cluster.run(3 * SECOND)
    for client, model in connections:
        assert client.take_replies() == model.expected
