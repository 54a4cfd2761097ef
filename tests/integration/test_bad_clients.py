"""Clients that break the protocol, never read, send too much, or vanish: nobody else suffers."""

from __future__ import annotations

import contextlib
import select
import socket
import time
from typing import TYPE_CHECKING

import pytest

from quorate.wire.resp_client import encode_command
from quorate.wire.resp_reply import ErrorReply

if TYPE_CHECKING:
    from tests.integration.conftest import Cluster, Connection, StartCluster

    from quorate.raft.configuration import NodeId

pytestmark = [pytest.mark.processes, pytest.mark.load]

MIB = 1024 * 1024


@pytest.fixture
def cluster(shared_cluster: Cluster) -> Cluster:
    return shared_cluster


# --------------------------------------------------------------------- what breaks the protocol


@pytest.mark.parametrize(
    ("sent", "error"),
    [
        (b"*1\r\n$x\r\n", "Protocol error: invalid bulk length"),
        (b"*1\r\n:5\r\n", "Protocol error: expected '$', got ':'"),
        (b"*x\r\n", "Protocol error: invalid multibulk length"),
        (b"*1000000000\r\n", "Protocol error: invalid multibulk length"),
        (b"*2\r\n$3\r\nGET\r\n$1\r\nkXX", "Protocol error: expected CRLF after a bulk string"),
        (b"*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$999999999\r\n", "Protocol error: invalid bulk length"),
        (b"GET 'k\r\n", "Protocol error: unbalanced quotes in request"),
        (b"x" * 100_000, "Protocol error: too big inline request"),
    ],
    ids=[
        "length",
        "type",
        "count",
        "many arguments",
        "no end",
        "large bulk",
        "quotes",
        "long line",
    ],
)
def test_a_malformed_request_is_answered_and_ends_its_connection_alone(
    cluster: Cluster, sent: bytes, error: str
) -> None:
    node = cluster.nodes[0]
    with cluster.connect(node) as other, cluster.connect(node) as bad:
        assert other.call("SET", "k", "v") == b"OK"
        bad.send(b"GET k\r\n" + sent)
        # What came before is answered before, and behind the error the connection ends.
        assert bad.replies(3) == [b"v", ErrorReply("ERR", error)]
        assert bad.is_ended
        assert other.call("GET", "k") == b"v"


def test_the_last_error_arrives_though_the_client_went_on_sending(cluster: Cluster) -> None:
    # To close a socket while something is unread would reset the connection, error and all.
    with cluster.connect(cluster.nodes[0]) as client:
        client.send(b"*1\r\n:5\r\n" + b"x" * 4 * MIB)
        assert client.replies(2) == [ErrorReply("ERR", "Protocol error: expected '$', got ':'")]
        assert client.is_ended


def test_a_client_that_sends_for_ever_after_its_error_is_cut_off(cluster: Cluster) -> None:
    with cluster.connect(cluster.nodes[0]) as client:
        client.send(b"*1\r\n:5\r\n")
        with pytest.raises(OSError, match=r"reset|Broken pipe"):
            send_without_reading(client, b"PING\r\n", seconds=20)


@pytest.mark.parametrize(
    ("request_", "error"),
    [
        (("SET", "k", b"x" * (MIB + 1)), "string exceeds maximum allowed size"),
        (("APPEND", "k", b"x" * (MIB + 1)), "string exceeds maximum allowed size"),
        (("SET", b"k" * (64 * 1024 + 1), "v"), "key exceeds maximum allowed size"),
        (("GET", b"k" * (64 * 1024 + 1)), "key exceeds maximum allowed size"),
        (("NOSUCH", "a", "b"), "unknown command 'NOSUCH', with args beginning with: 'a' 'b' "),
        (("GET",), "wrong number of arguments for 'get' command"),
        (("MSET", "a"), "wrong number of arguments for 'mset' command"),
        (("SET", "k", "v", "EX", "10"), "syntax error"),
        (("ONCE", "1", "1", "0", "GET", "k"), "ONCE takes a write command; 'GET' is none"),
        (("ONCE", "x", "1", "0", "SET", "k", "v"), "session is not a whole number"),
    ],
    ids=lambda value: " ".join(str(part)[:8] for part in value) if type(value) is tuple else "",
)
def test_a_bad_command_is_answered_and_the_connection_goes_on(
    cluster: Cluster, request_: tuple[bytes | str, ...], error: str
) -> None:
    with cluster.connect(cluster.nodes[0]) as client:
        reply = client.call(*request_)
        assert isinstance(reply, ErrorReply)
        assert reply.code == "ERR"
        assert error.strip() in reply.text
        assert client.call("PING") == b"PONG"


def test_the_largest_key_and_value_are_taken(cluster: Cluster) -> None:
    key, value = b"k" * 64 * 1024, b"v" * MIB
    with cluster.connect(cluster.nodes[0]) as client:
        assert client.call("SET", key, value) == b"OK"
        assert client.call("GET", key) == value
        full = client.call("APPEND", key, "x")
        assert isinstance(full, ErrorReply)
        assert client.call("STRLEN", key) == MIB
        assert client.call("DEL", key) == 1


# --------------------------------------------------------------------- what takes too much


def send_without_reading(client: Connection, request: bytes, *, seconds: float) -> int:
    """Sends the same again and again as fast as it is taken; returns how many bytes were."""
    client.socket.setblocking(False)
    data = request * max(1, 256 * 1024 // len(request))
    sent = 0
    give_up_at = time.perf_counter() + seconds
    while (left := give_up_at - time.perf_counter()) > 0:
        if select.select([], [client.socket], [], left)[1]:
            with contextlib.suppress(BlockingIOError):
                sent += client.socket.send(data[sent % len(data) :])
    client.socket.settimeout(20)
    return sent


def check_others_are_served(cluster: Cluster) -> None:
    """Through each node, well within the time that a command has."""
    for node in cluster.nodes:
        with cluster.connect(node) as client:
            assert client.call("SET", "k", "v") == b"OK"
            assert client.call("GET", "k") == b"v"


@pytest.fixture(params=["leader", "follower"])
def node(request: pytest.FixtureRequest, cluster: Cluster) -> NodeId:
    return cluster.leader() if request.param == "leader" else cluster.followers()[0]


@pytest.mark.parametrize(
    ("role", "request_", "connections", "limit"),
    [
        ("leader", ("GET", "large"), 1, 32 * MIB),
        ("follower", ("GET", "large"), 1, 32 * MIB),
        ("leader", ("GET", "large"), 8, 64 * MIB),
        # For all clients together: 64 MiB of replies and one that is made when there is a byte of
        # room, 64 MiB of pending requests, 16 MiB that were read and not taken in, and of each
        # client 4 KiB that were parsed, which take up 30 KiB: 151 MiB. The rest is what the
        # allocators keep. It was 80 to 140 MiB on quick machines and on slow ones.
        ("leader", ("GET", "large"), 200, 192 * MIB),
        ("follower", ("GET", "large"), 200, 192 * MIB),
        ("leader", ("SET", "small", "v"), 4, 64 * MIB),
        ("leader", ("SET", "large", b"v" * MIB), 4, 192 * MIB),
        ("follower", ("SET", "large", b"v" * MIB), 4, 192 * MIB),
        ("leader", ("PING",), 4, 64 * MIB),
        ("leader", ("COMMAND",), 4, 64 * MIB),
        ("leader", ("INFO",), 4, 64 * MIB),
        ("leader", ("NOSUCH",), 4, 64 * MIB),
    ],
    ids=lambda value: " ".join(map(str, value))[:10] if type(value) is tuple else None,
)
def test_a_client_that_never_reads_takes_bounded_memory_and_time(
    cluster: Cluster,
    role: str,
    request_: tuple[bytes | str, ...],
    connections: int,
    limit: int,
) -> None:
    node = cluster.leader() if role == "leader" else cluster.followers()[0]
    term = cluster.status(node).term
    with contextlib.ExitStack() as stack:
        clients = [stack.enter_context(cluster.connect(node)) for _ in range(connections)]
        assert clients[0].call("SET", "large", b"v" * MIB) == b"OK"
        before = cluster.memory_bytes(node)
        log_before = cluster.status(node).raft_state_bytes
        sent = [
            send_without_reading(client, encode_command(*request_), seconds=0.6 / connections)
            for client in clients
        ]
        check_others_are_served(cluster)
        growth = cluster.memory_bytes(node) - before
        # What was committed stays in the log; how much that is, is a matter of the machine's speed.
        growth -= cluster.status(node).raft_state_bytes - log_before
    print(f"sent {sum(sent) / MIB:.1f} MiB, the node grew by {growth / MIB:.1f} MiB")
    assert growth < limit
    assert cluster.status(node).term == term


def test_more_writes_than_commit_take_bounded_memory(start_cluster: StartCluster) -> None:
    cluster = start_cluster(serve_options=["--command-timeout-s", "1"])
    node, followers = cluster.leader(), cluster.followers()
    with contextlib.ExitStack() as stack:
        clients = [stack.enter_context(cluster.connect(node)) for _ in range(8)]
        before = cluster.memory_bytes(node)
        with cluster.paused(*followers):
            request = encode_command("APPEND", "flood", b"x" * 1000)
            sent = sum(send_without_reading(client, request, seconds=0.15) for client in clients)
            growth = cluster.memory_bytes(node) - before
            (reply,) = clients[0].replies(1)
    # Most of what was sent is in the kernel's buffers, several MiB at each end.
    print(f"sent {sent / MIB:.1f} MiB, the node grew by {growth / MIB:.1f} MiB")
    assert growth < 64 * MIB
    assert isinstance(reply, ErrorReply)
    assert reply.code in {"NOTEXECUTED", "UNKNOWN"}


# --------------------------------------------------------------------- who comes and goes


@pytest.mark.parametrize("ending", ["close", "reset"])
def test_a_client_that_vanishes_in_the_middle_of_a_pipeline(
    cluster: Cluster, node: NodeId, ending: str
) -> None:
    key = f"vanished-{node}-{ending}"
    with cluster.connect(node) as other:
        with cluster.connect(node) as client:
            pipeline = b"".join(encode_command("APPEND", key, f"{n};") for n in range(3_000))
            client.send(pipeline[:-5])
            if ending == "reset":
                client.reset()
        assert other.call("SET", "k", "v") == b"OK"
        cluster.eventually(lambda: cluster.status(node).connections <= 2, "it is gone")
        value = other.call("GET", key) or b""
        # What was executed of it was executed in order, from the first on, without a gap.
        assert isinstance(value, bytes)
        assert "".join(f"{n};" for n in range(3_000)).encode().startswith(value)


def test_half_a_connection_still_gets_its_replies(cluster: Cluster, node: NodeId) -> None:
    with cluster.connect(node) as client:
        client.call("DEL", "half")
        client.send(encode_command("APPEND", "half", "x") * 100 + encode_command("GET", "half"))
        client.socket.shutdown(socket.SHUT_WR)
        assert client.replies(200) == [*range(1, 101), b"x" * 100]
        assert client.is_ended
