"""Clients that are many, or want more than there is: the others are served as before."""

from __future__ import annotations

import contextlib
import socket
import statistics
import threading
import time
from typing import TYPE_CHECKING

import pytest
from tests.integration.flood import Flood
from tests.integration.open_files import open_files

from quorate.wire.resp_client import encode_command

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.integration.conftest import Cluster, Connection

    from quorate.raft.configuration import NodeId

pytestmark = [pytest.mark.processes, pytest.mark.load]

SERVE_OPTIONS = ("--election-timeout-ms", "2000")
"""With less it would be measured what else the machine does."""
KIB, MIB = 1024, 1024 * 1024
IDLE = 9_990
"""As many as may connect, but for a few who are to be served."""
BATCHES, SETS_OF_BATCH = 40, 40
IDLE_BYTES = 8 * KIB
"""More than an idle connection takes up in a node; what it takes in the kernel is not counted."""
FLOOD_BYTES = 384 * MIB
"""More than a node grows by in a flood: by a log of 64 MiB, which takes twice that in memory, by
`node_pending_bytes`, by `MAX_UNTAKEN_BYTES`, and by what allocators keep."""
DIGESTION_S = 6
"""What was read before it ended is done, or given up, within twice a command's time."""
LATE_S = 1.5
"""In the last part of a flood some are still answered."""
CALM = 3.0
"""After trouble the median of the latencies is at most so many times what it was before."""


@pytest.fixture
def cluster(shared_cluster: Cluster) -> Cluster:
    return shared_cluster


def latency_s(cluster: Cluster, node: NodeId) -> float:
    """The median time of a single SET, in the best of some batches: the machine has other work."""
    with cluster.connect(node) as client:
        return min(statistics.median(times_of_sets(client)) for _ in range(BATCHES))


def times_of_sets(client: Connection) -> Iterator[float]:
    """How long each of some SETs takes."""
    for number in range(SETS_OF_BATCH):
        began = time.perf_counter()
        assert client.call("SET", "measured", number) == b"OK"
        yield time.perf_counter() - began


@contextlib.contextmanager
def connected(address: tuple[str, int], count: int) -> Iterator[list[socket.socket]]:
    """So many connections that do nothing by themselves."""
    with contextlib.ExitStack() as stack:
        yield [
            stack.enter_context(socket.create_connection(address, timeout=20)) for _ in range(count)
        ]


def received(connection: socket.socket, size: int) -> bytes:
    """So many bytes, or less if the connection ends."""
    data = b""
    while len(data) < size and (more := connection.recv(4096)):
        data += more
    return data


# --------------------------------------------------------------------- very many


def test_as_many_idle_connections_as_may_be_are_no_burden(cluster: Cluster) -> None:
    node, other = cluster.leader(), cluster.followers()[0]
    term = cluster.status(node).term
    before_s, before = latency_s(cluster, node), cluster.memory_bytes(node)
    other_before_s = latency_s(cluster, other)
    with open_files(IDLE + 200), connected(cluster.address(node), IDLE) as idle:
        beside_s, growth = latency_s(cluster, node), cluster.memory_bytes(node) - before
        assert cluster.status(node).connections >= IDLE
        print(
            f"each of {IDLE} idle connections takes {growth / IDLE / KIB:.1f} KiB; a SET takes "
            f"{beside_s * 1000:.2f} ms beside them, {before_s * 1000:.2f} ms without"
        )
        # Those beyond the limit are told so, and it is the same with the next ones.
        with connected(cluster.address(node), 50) as more:
            for refused in more[20:]:
                assert received(refused, 1000) == b"-ERR max number of clients reached\r\n"
        # All wake up at once.
        for connection in idle:
            connection.sendall(b"SET awake yes\r\n")
        assert {received(connection, 5) for connection in idle} == {b"+OK\r\n"}
        assert latency_s(cluster, other) < CALM * other_before_s
    assert growth < IDLE * IDLE_BYTES
    assert beside_s < CALM * before_s
    cluster.eventually(lambda: cluster.status(node).connections < 10, "the connections are gone")
    assert cluster.status(node).term == term
    assert latency_s(cluster, node) < CALM * before_s


@pytest.mark.parametrize("role", ["leader", "follower"])
def test_a_pipeline_of_a_hundred_thousand_commands(cluster: Cluster, role: str) -> None:
    node = cluster.leader() if role == "leader" else cluster.followers()[0]
    count, portion = 100_000, 1_000
    waits_s = []
    with cluster.connect(node) as client, cluster.connect(node) as other:
        client.call("DEL", "list")
        pipeline = encode_command("APPEND", "list", "x") * count
        sender = threading.Thread(target=client.send, args=(pipeline,))
        sender.start()
        for first in range(1, count + 1, portion):
            assert client.replies(portion) == list(range(first, first + portion))
            began = time.perf_counter()
            assert other.call("GET", "other") is None
            waits_s.append(time.perf_counter() - began)
        sender.join()
    print(f"another client waited {max(waits_s) * 1000:.0f} ms at most")
    assert max(waits_s) < 1


# --------------------------------------------------------------------- too much


def check_flood(cluster: Cluster, seconds: float) -> None:
    """Writes beyond all capacity for so long: nothing breaks, and afterwards all is as before."""
    leader = cluster.leader()
    term = cluster.status(leader).term
    before_s = latency_s(cluster, leader)
    memory = {node: cluster.memory_bytes(node) for node in cluster.nodes}
    peaks = dict.fromkeys(cluster.nodes, 0)
    with Flood([cluster.address(node) for node in cluster.nodes]) as flood:
        ends_at = time.perf_counter() + seconds
        told_late = 0
        while (now := time.perf_counter()) < ends_at:
            if now < ends_at - LATE_S:
                told_late = flood.told.total()
            for node in cluster.nodes:  # also of who is too busy to answer
                peaks[node] = max(peaks[node], cluster.memory_bytes(node) - memory[node])
            for status in cluster.statuses().values():
                assert status.term == term
                assert status.leader in {leader, None}  # None: it has not heard of it for a moment
        assert flood.told.total() > told_late, "nobody was answered any more"
    ended_at = time.perf_counter()
    with cluster.connect(leader) as client:
        cluster.eventually(
            lambda: client.call("SET", "calm", "yes") == b"OK", "it has digested that"
        )
    digested_s = time.perf_counter() - ended_at
    assert cluster.local.running == cluster.nodes
    cluster.wait_until_caught_up()
    for node in cluster.nodes:
        with cluster.connect(node) as client:
            assert client.call("SET", "calm", node) == b"OK"
    after_s = latency_s(cluster, leader)
    print(
        f"{dict(flood.told)}, {flood.ended} connections were ended; the nodes grew by "
        f"{', '.join(f'{peak / MIB:.0f}' for peak in peaks.values())} MiB; "
        f"served {digested_s:.1f} s later; "
        f"a SET takes {after_s * 1000:.2f} ms afterwards, {before_s * 1000:.2f} ms before"
    )
    assert flood.told["OK"] > 0
    assert flood.told.keys() <= {"OK", "UNKNOWN", "NOTEXECUTED"}
    assert max(peaks.values()) < FLOOD_BYTES
    assert digested_s < DIGESTION_S
    assert cluster.leader() == leader
    assert cluster.status(leader).term == term
    assert after_s < CALM * before_s


def test_a_flood_of_writes(cluster: Cluster) -> None:
    check_flood(cluster, seconds=4)


@pytest.mark.soak
def test_a_flood_of_writes_for_a_minute(cluster: Cluster) -> None:
    check_flood(cluster, seconds=60)
