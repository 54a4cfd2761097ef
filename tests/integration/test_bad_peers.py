"""Whoever calls at the peer port but is no member in good standing: refused, with one line."""

from __future__ import annotations

import contextlib
import shutil
import subprocess
import sys
import time
from functools import partial
from typing import TYPE_CHECKING

import msgspec
import pytest
from tests.integration.strangers import Strangers

from quorate.raft.configuration import NodeId
from quorate.raft.messages import RequestVote
from quorate.wire.peer_hello import PROTOCOL_VERSION, Hello
from quorate.wire.peer_link import MAGIC, PeerConnection

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.integration.conftest import Cluster, StartCluster

    from quorate.node.status import LinkStatus

pytestmark = pytest.mark.processes


@pytest.fixture
def hello(shared_cluster: Cluster) -> Hello:
    """What node 2 would say to node 1, but for the data directory: nobody here can know that."""
    return Hello(
        cluster_id=shared_cluster.local.cluster_id,
        sender=NodeId(2),
        to=NodeId(1),
        data_id="another directory",
        boot=1,
        client_address="127.0.0.1:1",
    )


def greeting(hello: Hello) -> bytes:
    return PeerConnection(hello).greet()


def vote_for(hello: Hello) -> bytes:
    """A greeting, and behind it what would make the cluster change its term if it were believed."""
    caller = PeerConnection(hello)
    listener = PeerConnection(msgspec.structs.replace(hello, sender=NodeId(1), to=None))
    data = caller.greet()
    listener.receive(data)
    caller.receive(listener.greet())
    caller.accept()
    return data + caller.encode(RequestVote(1, 1_000_000, 1_000_000, 1_000_000))


def new_lines(cluster: Cluster, node: NodeId, before: str) -> list[str]:
    return cluster.log(node)[len(before) :].splitlines()


def check_refusal(cluster: Cluster, sent: bytes, *expected: str) -> None:
    """The connection is ended, one line says who and why, and the cluster does not mind."""
    node = NodeId(1)
    before, statuses = cluster.log(node), cluster.statuses()
    with cluster.connect_as_peer(node) as caller:
        host, port = caller.getsockname()
        caller.sendall(sent)
        while caller.recv(4096):
            pass
    (line,) = cluster.eventually(lambda: new_lines(cluster, node, before), "it is in the log")
    for words in (f"{host}:{port}", "WARNING", *expected):
        assert words in line
    after = cluster.statuses()
    assert [s.term for s in after.values()] == [s.term for s in statuses.values()]
    with cluster.connect(node) as client:
        assert client.call("SET", "k", "v") == b"OK"


@pytest.mark.parametrize(
    ("garbage", "why"),
    [
        (b"GET / HTTP/1.1\r\n\r\n", "not a quorate server, it sent b'GET / HTTP/1.1"),
        (b"*1\r\n$4\r\nPING\r\n", "not a quorate server"),
        (bytes(100), "not a quorate server"),
        (MAGIC + bytes(9), "a stranger broke the protocol between servers"),
        (MAGIC + b"\xff" * 20, "a stranger broke the protocol between servers"),
    ],
    ids=["HTTP", "RESP", "zeros", "no kind of frame", "too long a frame"],
)
def test_garbage(shared_cluster: Cluster, garbage: bytes, why: str) -> None:
    check_refusal(shared_cluster, garbage, why)


def test_another_cluster(shared_cluster: Cluster, hello: Hello) -> None:
    stranger = msgspec.structs.replace(hello, cluster_id="elsewhere")
    check_refusal(shared_cluster, vote_for(stranger), "node 2 belongs to cluster 'elsewhere'")


def test_another_version(shared_cluster: Cluster, hello: Hello) -> None:
    stranger = msgspec.structs.replace(hello, version=PROTOCOL_VERSION + 1)
    check_refusal(shared_cluster, vote_for(stranger), "node 2 speaks version", "same release")


def test_a_server_that_means_another_one(shared_cluster: Cluster, hello: Hello) -> None:
    stranger = msgspec.structs.replace(hello, to=NodeId(3))
    check_refusal(shared_cluster, vote_for(stranger), "node 2 means to reach node 3")


def test_a_second_server_of_the_same_id(shared_cluster: Cluster, hello: Hello) -> None:
    stranger = msgspec.structs.replace(hello, sender=NodeId(1))
    check_refusal(shared_cluster, vote_for(stranger), "say that they are node 1")


def test_a_second_process_on_a_copy_of_the_data(shared_cluster: Cluster, hello: Hello) -> None:
    copy = msgspec.structs.replace(hello, data_id=shared_cluster.data_id(NodeId(2)))
    check_refusal(shared_cluster, vote_for(copy), "another process says that it is node 2")


def test_a_server_that_has_lost_its_data(shared_cluster: Cluster, hello: Hello) -> None:
    check_refusal(shared_cluster, vote_for(hello), "node 2 has lost its data", "member rejoin")


def test_a_fault_after_the_handshake_names_the_node(shared_cluster: Cluster, hello: Hello) -> None:
    # Who is no member may be one that has joined since, so it is talked to.
    stranger = msgspec.structs.replace(hello, sender=NodeId(9), peer_address="no address")
    check_refusal(shared_cluster, greeting(stranger) + b"\xff" * 20, "node 9 broke the protocol")


def test_a_refused_server_that_keeps_calling_does_not_flood_the_log(
    shared_cluster: Cluster, hello: Hello
) -> None:
    wrong = msgspec.structs.replace(hello, to=NodeId(3), sender=NodeId(3))
    before = shared_cluster.log(NodeId(1))
    for _ in range(50):
        with shared_cluster.connect_as_peer(NodeId(1)) as caller:
            caller.sendall(greeting(wrong))
            while caller.recv(4096):
                pass
    lines = shared_cluster.eventually(
        lambda: new_lines(shared_cluster, NodeId(1), before), "it is in the log"
    )
    assert len(lines) == 1
    # Something else about the same server is told.
    check_refusal(
        shared_cluster, greeting(msgspec.structs.replace(wrong, cluster_id="x")), "cluster 'x'"
    )


def links_of(cluster: Cluster) -> list[LinkStatus]:
    return [link for status in cluster.statuses().values() for link in status.links]


def test_strangers_who_never_stop_calling_keep_no_server_out(start_cluster: StartCluster) -> None:
    cluster = start_cluster()
    back, *others = cluster.nodes
    before = {node: cluster.memory_bytes(node) for node in others}
    with contextlib.ExitStack() as stack:
        floods = [
            stack.enter_context(Strangers(partial(cluster.connect_as_peer, node)))
            for node in others
        ]
        cluster.eventually(lambda: all(flood.calls > 1_000 for flood in floods), "they call")
        cluster.kill(back)
        began = time.perf_counter()
        cluster.restart(back)
        cluster.wait_until_caught_up()
        cluster.eventually(lambda: all(link.is_up for link in links_of(cluster)), "it is let in")
        took_s = time.perf_counter() - began
    calls = sum(flood.calls for flood in floods)
    growth = max(cluster.memory_bytes(node) - before[node] for node in others)
    print(f"{calls} strangers; a server was back in {took_s:.1f} s; growth {growth} bytes")
    assert growth < 32 * 1024 * 1024
    for node in others:
        assert len(cluster.log(node).splitlines()) < 200


@contextlib.contextmanager
def initialised_anew(cluster: Cluster, node: NodeId) -> Iterator[subprocess.Popen[bytes]]:
    """The node as somebody would start it who does not know that it must not forget its votes."""
    members = [f"--member={m.id}={m.peer},{m.client}" for m in cluster.local.members]
    with cluster.local.log_path(node).open("ab") as log:
        process = subprocess.Popen(
            [
                *(sys.executable, "-m", "quorate.cli", "serve", "--id", str(node), *members),
                *("--data-dir", cluster.local.data_dir(node)),
                *("--initialize", cluster.local.cluster_id),
            ],
            stdout=log,
            stderr=log,
        )
    try:
        yield process
    finally:
        process.kill()
        process.wait()


def test_a_wiped_node_stays_out_and_says_why(start_cluster: StartCluster) -> None:
    cluster = start_cluster()
    wiped, *others = cluster.nodes
    cluster.kill(wiped)
    shutil.rmtree(cluster.local.data_dir(wiped))
    terms = {cluster.status(node).term for node in others}
    with initialised_anew(cluster, wiped) as process:
        cluster.eventually(lambda: wiped in cluster.statuses(), "the wiped node answers")
        watch_until = time.perf_counter() + 2
        while time.perf_counter() < watch_until:
            with cluster.connect(others[0]) as client:
                assert isinstance(client.call("APPEND", "k", "v"), int)
        status = cluster.status(wiped)
        assert (status.leader, status.last_index, status.role) == (None, 0, "pre-candidate")
        assert process.poll() is None
    terms |= {cluster.status(node).term for node in others}
    assert len(terms) <= 2  # it may have been the leader that was killed
    for node in others:
        told = [line for line in cluster.log(node).splitlines() if "lost its data" in line]
        assert len(told) == 1
        assert f"node {wiped} has lost its data" in told[0]
    own = [line for line in cluster.log(wiped).splitlines() if "refuses this server" in line]
    assert 1 <= len(own) <= 4  # by each of the others, in each direction
