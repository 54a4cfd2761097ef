"""Whatever a client sends: it harms its own connection at most, and each request has one answer."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import hiredis
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from quorate.node.commands import COMMANDS

if TYPE_CHECKING:
    from tests.node.conftest import Client, Cluster

MEBIBYTE = 1024 * 1024

MALFORMED = [
    (b"*1\r\n:1\r\n", "expected '$', got ':'"),
    (b"*1\r\n*1\r\n$4\r\nPING\r\n", "expected '$', got '*'"),
    (b"*1\r\n+PING\r\n", "expected '$', got '+'"),
    (b"*2\r\n$4\r\nECHO\r\n$-1\r\n", "invalid bulk length"),
    (b"*1\r\n$x\r\n", "invalid bulk length"),
    (b"*1\r\n$4\r\nPINGxx", "expected CRLF"),
    (b"*x\r\n", "invalid multibulk length"),
    (b"*1000000000\r\n", "invalid multibulk length"),
    (b"*1\r\n$1000000000\r\n", "invalid bulk length"),
    (b'GET "k\r\n', "unbalanced quotes"),
    (b"GET 'k'k\r\n", "unbalanced quotes"),
    (b"x" * 70_000, "too big inline request"),
    (b"\x00" * 70_000, "too big inline request"),
]


def is_alive(cluster: Cluster) -> bool:
    """Whether each node still serves."""
    clients = [server.connect() for server in cluster.up]
    for client in clients:
        client.send("SET", "alive", "yes")
        client.send("GET", "alive")
    cluster.settle()
    replies = [client.take_replies() for client in clients]
    for client in clients:
        client.close()
    return replies == [[b"OK", b"yes"]] * len(clients)


@pytest.mark.parametrize(("request_", "error"), MALFORMED, ids=lambda value: repr(value)[:30])
def test_a_malformed_frame_ends_that_connection_after_an_error(
    cluster: Cluster, request_: bytes, error: str
) -> None:
    server = cluster.followers[0]
    client, other = server.connect(), server.connect()
    client.send_raw(b"SET k v\r\n" + request_ + b"\r\nPING\r\n", b"PING\r\n")
    cluster.settle()
    first, second = client.take_replies()
    assert first == b"OK"
    assert isinstance(second, hiredis.ReplyError)
    assert str(second).startswith("ERR Protocol error: ")
    assert error in str(second)
    assert client.is_closed
    assert not other.is_closed
    assert is_alive(cluster)


@pytest.mark.parametrize("method", ["POST", "GET", "PUT"])
def test_a_web_page_cannot_write_by_the_browser_of_this_machine(
    cluster: Cluster, method: str
) -> None:
    # To connect to a loopback port needs no rights, and a browser does so for any page: the body
    # of its request would be read as inline commands.
    client = cluster.followers[0].connect()
    body = "SET stolen yes\r\n"
    client.send_raw(
        f"{method} / HTTP/1.1\r\nHost: localhost:7001\r\nOrigin: http://evil.example\r\n"
        f"Content-Type: text/plain\r\nContent-Length: {len(body)}\r\n\r\n{body}".encode()
    )
    cluster.settle()
    assert client.take().endswith(b"-ERR Protocol error: this is HTTP, not RESP\r\n")
    assert client.is_closed
    other = cluster.leader.connect()
    other.send("EXISTS", "stolen")
    cluster.settle()
    assert other.take() == b":0\r\n"


@pytest.mark.parametrize("nothing", [b"*0\r\n", b"*-1\r\n", b"*-100\r\n", b"\r\n", b"\n", b" \r\n"])
def test_a_request_for_nothing_is_ignored(cluster: Cluster, nothing: bytes) -> None:
    client = cluster.leader.connect()
    client.send_raw(nothing * 3 + b"PING\r\n" + nothing)
    cluster.settle()
    assert client.take() == b"+PONG\r\n"


def test_what_is_too_large_for_the_wire_ends_the_connection(cluster: Cluster) -> None:
    client = cluster.leader.connect()
    client.send_raw(b"*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$%d\r\n" % (3 * MEBIBYTE))
    cluster.settle()
    assert client.take() == b"-ERR Protocol error: invalid bulk length\r\n"
    assert client.is_closed


def test_what_is_too_large_for_a_command_does_not(cluster: Cluster) -> None:
    client = cluster.leader.connect()
    client.send("SET", "k", b"v" * (MEBIBYTE + 1))
    client.send("SET", b"k" * (64 * 1024 + 1), "v")
    client.send("SET", b"k" * (64 * 1024), b"v" * MEBIBYTE)
    cluster.settle()
    too_long, too_long_key, ok = client.take_replies()
    assert str(too_long) == "ERR string exceeds maximum allowed size (1048576 bytes)"
    assert str(too_long_key) == "ERR key exceeds maximum allowed size (65536 bytes)"
    assert ok == b"OK"


HARD_WORK = {
    "HELLO with many options": ["HELLO", "3", *["SETNAME", "a"] * 32_000],
    "many patterns": ["CONFIG", "GET", *[f"a{number}*" for number in range(60_000)]],
    "a long pattern": ["CONFIG", "GET", "*a" * 500_000],
    "many descriptions": ["COMMAND", "INFO", *["get"] * 65_000],
    "a long name": ["CLIENT", "SETNAME", "x" * 2_000_000],
    "many unknown arguments": ["NOSUCH", *["x"] * 65_000],
    "ONCE within ONCE": ["ONCE", "1", "1", "0"] * 16_000,
    "many keys": ["EXISTS", *["k"] * 65_000],
}


@pytest.mark.parametrize("words", HARD_WORK.values(), ids=HARD_WORK.keys())
@pytest.mark.timeout(5)
def test_no_single_request_keeps_a_node_busy_for_long(cluster: Cluster, words: list[str]) -> None:
    # Each of the first three once took several seconds; a leader that is silent for half a second
    # is replaced. The time-out leaves room for a slow machine.
    client = cluster.leader.connect()
    client.send(*words)
    cluster.settle()
    assert len(client.take_replies()) == 1
    assert not client.is_closed


def seconds_of(cluster: Cluster, command: str) -> float:
    """How much of a processor some hundred such commands in a row take."""
    client = cluster.leader.connect()
    client.send_raw(f"{command}\r\n".encode() * 300)
    began = time.process_time()
    cluster.settle()
    took = time.process_time() - began
    assert len(client.take_replies()) == 300
    client.close()
    return took


@pytest.mark.parametrize("command", ["INFO", "HELLO"])
def test_a_node_can_be_asked_about_itself_as_often_as_one_likes(
    cluster: Cluster, command: str
) -> None:
    # Ten clients who asked for nothing else made all others wait for a second on a busy machine:
    # each answer took six times as long as that to a PING, for all that it might have told.
    # They take turns, for how fast a processor is changes from one moment to the next.
    rounds = [(seconds_of(cluster, command), seconds_of(cluster, "PING")) for _ in range(15)]
    quickest, quickest_ping = map(min, zip(*rounds, strict=True))
    assert quickest < 4 * quickest_ping


# ---------------------------------------------------------------------- anything

arguments = st.one_of(
    st.binary(max_size=6),
    st.sampled_from([b"k", b"0", b"1", b"-1", b"3", b"GET", b"SETNAME", b"INFO", b"DOCS", b"*"]),
    st.integers(-(2**70), 2**70).map(lambda number: b"%d" % number),
)
names = st.one_of(
    st.sampled_from([name for name in COMMANDS if name != b"QUIT"]),
    st.sampled_from([name.lower() for name in COMMANDS if name != b"QUIT"]),
    st.binary(max_size=5),
)
requests = st.builds(lambda name, rest: [name, *rest], names, st.lists(arguments, max_size=6))


def connect(new_cluster: type[Cluster]) -> tuple[Cluster, Client]:
    cluster = new_cluster(1)
    cluster.run_until_led()
    return cluster, cluster.leader.connect()


@settings(max_examples=150, deadline=None)
@given(requests=st.lists(requests, max_size=8))
def test_each_request_has_one_answer(
    new_cluster: type[Cluster], requests: list[list[bytes]]
) -> None:
    cluster, client = connect(new_cluster)
    for request in requests:
        client.send(*request)
    cluster.settle()
    assert len(client.take_replies()) == len(requests)
    assert not client.is_closed
    assert is_alive(cluster)
