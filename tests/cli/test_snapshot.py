"""`quorate snapshot`: on a real cluster, and on servers that play what seldom happens."""

from __future__ import annotations

import asyncio
import contextlib
import json
import socketserver
import subprocess
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from quorate.runtime.local_cluster import LocalCluster
from quorate.runtime.local_ports import free_ports

pytestmark = pytest.mark.processes

Quorate = Callable[..., subprocess.CompletedProcess[bytes]]


def one_line(ended: subprocess.CompletedProcess[bytes]) -> str:
    (line,) = ended.stderr.decode().splitlines()
    return line.removeprefix("quorate: error: ")


def test_each_node_has_a_snapshot_of_all_that_was_applied(
    quorate: Quorate, cluster: LocalCluster, servers: str
) -> None:
    quorate("put", servers, "k", "v")
    before = asyncio.run(cluster.statuses())
    ended = quorate("snapshot", servers)
    assert (ended.returncode, ended.stderr) == (0, b"")
    after = asyncio.run(cluster.statuses())
    lines = ended.stdout.decode().splitlines()
    for node, (line, old, new) in enumerate(zip(lines, before, after, strict=True), 1):
        assert old is not None
        assert new is not None
        assert new.snapshot_index >= old.last_applied > 0
        assert line.startswith(f"node {node}: snapshot up to index {new.snapshot_index}, ")
    # The cluster goes on from it; and to ask again does no harm.
    assert quorate("get", servers, "k").stdout == b"v"
    assert quorate("snapshot", servers).returncode == 0


def test_those_that_can_be_reached_take_theirs_all_the_same(
    quorate: Quorate, cluster: LocalCluster
) -> None:
    nobody = f"127.0.0.1:{free_ports(1)[0]}"
    ended = quorate("snapshot", f"--servers={nobody},{cluster.servers[0]}")
    assert ended.returncode == 1
    assert one_line(ended) == f"{nobody} cannot be reached"
    assert ended.stdout.startswith(b"node 1: snapshot up to index ")


# ---------------------------------------------------------------------- what seldom happens

STATUS: dict[str, Any] = {
    "id": 1,
    "role": "follower",
    "term": 1,
    "leader": 2,
    "commit_index": 10,
    "last_applied": 10,
    "last_index": 10,
    "last_term": 1,
    "raft_state_bytes": 1000,
    "snapshot_index": 5,
    "snapshot_bytes": 500,
    "snapshot_age_ms": 100,
    "snapshot_is_lost": False,
    "snapshot_has_failed": False,
    "snapshot_taking": None,
    "snapshot_receiving": None,
    "snapshot_restoring": None,
    "snapshots_sending": [],
    "members": [],
    "configuration_index": 0,
    "configuration_is_committed": True,
    "is_transferring": False,
    "links": [],
    "client_address": "127.0.0.1:1",
    "peer_address": "127.0.0.1:2",
    "cluster_id": "cluster",
    "data_id": "data-1",
    "pid": 4000,
    "connections": 1,
    "version": "1.2.3",
}

STARTED = b"+Background snapshot started\r\n"


@contextlib.contextmanager
def playing(answer: bytes, *statuses: dict[str, Any]) -> Iterator[str]:
    """A server with this answer to QUORATE.SNAPSHOT, and these statuses, the last for ever."""
    left = list(statuses)

    class Player(socketserver.StreamRequestHandler):
        def handle(self) -> None:
            self.rfile.readline()
            self.rfile.readline()
            if self.rfile.readline() == b"QUORATE.SNAPSHOT\r\n":
                self.wfile.write(answer)
                return
            status = STATUS | (left.pop(0) if len(left) > 1 else left[0])
            if status["pid"]:  # else it says nothing
                data = json.dumps(status).encode()
                self.wfile.write(b"$%d\r\n%b\r\n" % (len(data), data))

    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), Player) as server:
        server.daemon_threads = True
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield f"--servers=127.0.0.1:{server.server_address[1]}"
        server.shutdown()
        thread.join()


def test_it_returns_when_the_snapshot_is_durable_and_not_before(quorate: Quorate) -> None:
    taking = {"snapshot_taking": {"index": 10, "offset": 7, "size": None, "to": None}}
    # At first it has the word of a failure that was before.
    statuses = ({"snapshot_has_failed": True}, taking, taking, {"snapshot_index": 9}, taking)
    done = {"snapshot_index": 10, "snapshot_bytes": 2048, "last_applied": 12}
    with playing(STARTED, *statuses, done) as server:
        ended = quorate("snapshot", server)
    assert ended.stdout == b"node 1: snapshot up to index 10, 2.0 KiB\n"
    assert ended.returncode == 0


@pytest.mark.parametrize(
    ("answer", "statuses", "words"),
    [
        (b"-ERR this node restores a snapshot\r\n", [{}], "refuses: this node restores a snapshot"),
        (b"-ERR unknown command\r\n", [{}], "refuses: unknown command"),
        (b"", [{}], "does not answer any more"),
        (STARTED, [{}, {}, {"snapshot_has_failed": True}], "has no room on its disk"),
        (STARTED, [{}, {}, {"pid": 4001}], "was restarted before its snapshot was durable"),
        (STARTED, [{}, {}, {"pid": 0}], "has gone before its snapshot was durable"),
        (STARTED, [{}], "has no snapshot after 0.7 s; it goes on"),
    ],
)
def test_what_went_wrong_is_said_in_one_line(
    quorate: Quorate, answer: bytes, statuses: list[dict[str, Any]], words: str
) -> None:
    with playing(answer, *statuses) as server:
        ended = quorate("snapshot", server, "--timeout=0.7")
    assert (ended.returncode, ended.stdout) == (1, b"")
    assert one_line(ended).startswith(f"{server.removeprefix('--servers=')} {words}")


def test_a_node_that_misses_an_answer_has_not_gone(quorate: Quorate) -> None:
    silent = {"pid": 0}
    with playing(STARTED, {}, silent, silent, {}, silent, {"snapshot_index": 10}) as server:
        assert quorate("snapshot", server).returncode == 0


@pytest.mark.parametrize("arguments", [(), ("--servers=x",), ("--servers=a:1", "--timeout=0")])
def test_a_wrong_command_line_is_a_usage_error(
    quorate: Quorate, arguments: tuple[str, ...]
) -> None:
    ended = quorate("snapshot", *arguments)
    assert ended.returncode == 2
    assert "--help" in one_line(ended)
