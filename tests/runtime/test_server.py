"""One server as a process: what it does when the system fails it, and how it ends."""

from __future__ import annotations

import asyncio
import contextlib
import os
import resource
import signal
import socket
import subprocess
import sys
import threading
import time
from functools import partial
from typing import TYPE_CHECKING

import pytest
from tests.integration.machines import Machines

from quorate.clerk.errors import ClerkError
from quorate.raft.configuration import NodeId
from quorate.runtime.clerk import Clerk
from quorate.runtime.driver import FAREWELL_S, HAND_OVER_AFTER_S
from quorate.runtime.local_cluster import LocalCluster, NodeExit

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

pytestmark = [pytest.mark.processes, pytest.mark.load]

ONLY = NodeId(1)
MIB = 1024 * 1024


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[LocalCluster]:
    """A cluster of one node, which does not run yet."""
    with LocalCluster.create(tmp_path / "cluster", nodes=1) as cluster:
        yield cluster


def serve(cluster: LocalCluster) -> None:
    cluster.start()
    asyncio.run(cluster.wait_until_serving())


def append_until_it_fails(cluster: LocalCluster) -> int:
    """Appends MiB for MiB to one key after the other; returns how many were acknowledged."""
    with Clerk(cluster.servers) as clerk:
        for number in range(1000):
            try:
                clerk.append(f"{number % 10}", bytes(MIB // 2), timeout=1)
                clerk.delete(f"{number % 10}", timeout=1)
                clerk.append("acknowledged", f"{number};", timeout=1)
            except ClerkError:
                return number
    pytest.fail("it never failed")


def the_end(cluster: LocalCluster) -> NodeExit:
    """How the node ended, or will soon."""
    give_up_at = time.perf_counter() + 10
    while not (ends := cluster.take_exits()):
        assert time.perf_counter() < give_up_at, "it goes on"
        time.sleep(0.02)
    return ends[0]


def check_that_it_recovers(cluster: LocalCluster, acknowledged: int) -> None:
    serve(cluster)
    with Clerk(cluster.servers) as clerk:
        found = clerk.get("acknowledged").split(b";")[:-1]
        # The last one may have been written, though it was not acknowledged.
        expected = [b"%d" % number for number in range(acknowledged)]
        assert found in (expected, [*expected, b"%d" % acknowledged])
        assert clerk.append("k", "goes on") == 7


# --------------------------------------------------------------------- the disk


@pytest.fixture
def small_disk(cluster: LocalCluster) -> Iterator[Path]:
    """A file system of 40 MiB below the node's data directory."""
    directory = cluster.data_dir(ONLY).parent
    directory.mkdir(parents=True)
    mounting = ["mount", "-t", "tmpfs", "-o", "size=40m", "none", str(directory)]
    try:
        subprocess.run(mounting, check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError) as error:
        pytest.skip(f"no file system can be mounted here: {error}")
    try:
        yield directory
    finally:
        cluster.stop()
        subprocess.run(["umount", str(directory)], check=True)


def test_a_full_disk_stops_the_node_which_recovers_when_there_is_space(
    cluster: LocalCluster, small_disk: Path
) -> None:
    serve(cluster)
    acknowledged = append_until_it_fails(cluster)
    reason = the_end(cluster).reason
    assert "exit status 1" in reason
    assert "no space left to" in reason
    assert "free some space and start the node again" in reason
    assert "Traceback" not in cluster.log_path(ONLY).read_text()
    subprocess.run(["mount", "-o", "remount,size=200m", str(small_disk)], check=True)
    check_that_it_recovers(cluster, acknowledged)


def test_a_disk_that_refuses_a_write_stops_the_node(cluster: LocalCluster) -> None:
    # No file may grow beyond 1 MiB any more: the next segment cannot be made.
    serve(cluster)
    resource.prlimit(cluster.pid(ONLY), resource.RLIMIT_FSIZE, (MIB, MIB))
    acknowledged = append_until_it_fails(cluster)
    reason = the_end(cluster).reason
    assert "exit status 1" in reason
    assert "the disk failed to" in reason
    assert "Traceback" not in cluster.log_path(ONLY).read_text()
    check_that_it_recovers(cluster, acknowledged)


# --------------------------------------------------------------------- open files


def test_a_low_limit_on_open_files_is_raised(cluster: LocalCluster) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (256, hard))
    try:
        cluster.start()
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    asyncio.run(cluster.wait_until_serving())
    raised, _ = resource.prlimit(cluster.pid(ONLY), resource.RLIMIT_NOFILE)
    assert raised > 256


def test_more_clients_than_open_files_cost_the_node_no_file_that_it_needs(
    tmp_path: Path, cluster: LocalCluster
) -> None:
    serve(cluster)
    # Nothing but clients may take the last descriptors: the limit holds from the next start on.
    cluster.stop()
    members = [f"--member={m.id}={m.peer},{m.client}" for m in cluster.members]
    log_path = tmp_path / "log"
    with log_path.open("wb") as log:
        server = subprocess.Popen(
            [
                *("sh", "-c", 'ulimit -n 120; exec "$@"', "-"),
                *(sys.executable, "-m", "quorate.cli", "serve", "--id", "1", *members),
                *("--data-dir", cluster.data_dir(ONLY)),
            ],
            stderr=log,
        )
    try:
        with contextlib.ExitStack() as stack, Clerk(cluster.servers) as clerk:
            assert clerk.append("k", "x", timeout=20) == 1
            host, _, port = cluster.servers[0].rpartition(":")
            for _ in range(150):
                stack.enter_context(socket.create_connection((host, int(port))))
            # Enough to need several segments, each of them a file to be opened.
            for _ in range(60):
                clerk.put("large", bytes(MIB), timeout=20)
            assert server.poll() is None
    finally:
        server.kill()
        server.wait()
    assert "at most 56 clients may connect, not 10000" in log_path.read_text()


# --------------------------------------------------------------------- the end


def stop_while_they_work(
    cluster: LocalCluster, clients: Sequence[Callable[[], None]], *, is_busy: Callable[[], bool]
) -> None:
    """Ends the node by SIGTERM once all have got somewhere; the clients end by themselves."""
    threads = [threading.Thread(target=client) for client in clients]
    for thread in threads:
        thread.start()
    while not is_busy():
        assert cluster.running
    os.kill(cluster.pid(ONLY), signal.SIGTERM)
    end = the_end(cluster)
    for thread in threads:
        thread.join()
    assert end.reason.startswith("exit status 0")
    assert end.reason.endswith("node 1 has stopped")


def test_a_stop_under_load_is_clean_and_loses_nothing(cluster: LocalCluster) -> None:
    serve(cluster)
    acknowledged: list[int] = []

    def append() -> None:
        with Clerk(cluster.servers) as clerk:
            while True:
                try:
                    clerk.append("k", "x", timeout=0.5)
                except ClerkError:
                    return
                acknowledged.append(1)

    clients: list[Callable[[], None]] = [append] * 4
    stop_while_they_work(cluster, clients, is_busy=lambda: len(acknowledged) >= 200)
    serve(cluster)
    with Clerk(cluster.servers) as clerk:
        assert len(acknowledged) <= len(clerk.get("k")) <= len(acknowledged) + len(clients)


def test_what_a_stopped_node_has_not_answered_was_never_executed(cluster: LocalCluster) -> None:
    # Each client sends without waiting for replies, so much is under way when the node stops. A
    # connection that was reset, because something on it was not read, could lose replies.
    serve(cluster)
    host, _, port = cluster.servers[0].rpartition(":")
    answered = [0] * 4
    stopping = threading.Event()

    def append(client: int) -> None:
        with socket.create_connection((host, int(port)), timeout=20) as connection:
            sender = threading.Thread(target=send, args=(connection, client))
            sender.start()
            while data := connection.recv(64 * 1024):
                answered[client] += data.count(b"\r\n")
            stopping.set()
            connection.shutdown(socket.SHUT_WR)
            sender.join()

    def send(connection: socket.socket, client: int) -> None:
        number = 0
        with contextlib.suppress(OSError):
            while not stopping.is_set():
                connection.sendall(b"APPEND k%d %d;\r\n" % (client, number))
                number += 1

    clients = [partial(append, client) for client in range(len(answered))]
    stop_while_they_work(cluster, clients, is_busy=lambda: min(answered) >= 200)
    serve(cluster)
    with Clerk(cluster.servers) as clerk:
        for client, count in enumerate(answered):
            executed = clerk.get(f"k{client}").split(b";")[:-1]
            assert executed == [b"%d" % number for number in range(count)]


def test_idle_clients_do_not_keep_a_node_that_is_stopped(cluster: LocalCluster) -> None:
    serve(cluster)
    host, _, port = cluster.servers[0].rpartition(":")
    with socket.create_connection((host, int(port))) as client:
        client.sendall(b"PING\r\n")
        assert client.recv(100) == b"+PONG\r\n"
        began = time.perf_counter()
        os.kill(cluster.pid(ONLY), signal.SIGTERM)
        end = the_end(cluster)
        assert time.perf_counter() - began < 4 * FAREWELL_S
        assert client.recv(100) == b""
    assert end.reason.startswith("exit status 0")


@contextlib.contextmanager
def slow_client(server: str) -> Iterator[None]:
    """One that reads hardly anything of far more replies than the sockets' buffers hold."""
    host, _, port = server.rpartition(":")
    with Clerk(server) as clerk, socket.create_connection((host, int(port))) as slow:
        clerk.put("k", bytes(MIB))
        slow.sendall(b"GET k\r\n" * 20)
        assert slow.recv(1) == b"$"
        yield


def test_a_leader_that_is_stopped_hands_over_though_a_client_keeps_it(tmp_path: Path) -> None:
    options = ["--command-timeout-s", "600"]
    with LocalCluster.create(tmp_path / "cluster", serve_options=options) as cluster:
        cluster.start()
        leader = asyncio.run(cluster.wait_until_serving())
        with slow_client(leader.client_address):
            began = time.perf_counter()
            os.kill(leader.pid, signal.SIGTERM)
            while asyncio.run(cluster.wait_until_serving()).id == leader.id:
                assert time.perf_counter() < began + 10
            assert time.perf_counter() - began < 6 * HAND_OVER_AFTER_S
            # It would wait for that client for minutes; a second signal ends it at once.
            assert leader.id in cluster.running
            os.kill(leader.pid, signal.SIGTERM)
            end = the_end(cluster)
        assert (end.node, end.reason[:13]) == (leader.id, "exit status 0")
        log = cluster.log_path(NodeId(leader.id)).read_text()
        assert "ending before all clients have what they wait for" in log


def test_a_client_that_keeps_a_stopped_node_does_not_keep_the_others(
    cluster: LocalCluster,
) -> None:
    """They go to another node, and would wait here for nothing."""
    serve(cluster)
    host, _, port = cluster.servers[0].rpartition(":")
    with slow_client(cluster.servers[0]), socket.create_connection((host, int(port))) as idle:
        idle.settimeout(20)
        idle.sendall(b"PING\r\n")
        assert idle.recv(100) == b"+PONG\r\n"
        began = time.perf_counter()
        os.kill(cluster.pid(ONLY), signal.SIGTERM)
        assert idle.recv(100) == b""
        assert time.perf_counter() - began < 6 * HAND_OVER_AFTER_S
        assert cluster.running
        os.kill(cluster.pid(ONLY), signal.SIGTERM)
        the_end(cluster)


@pytest.mark.parametrize(
    ("command_timeout_s", "election_timeout_ms"),
    [(1, 1000), pytest.param(12, 500, marks=pytest.mark.soak)],
)
def test_a_node_without_its_standard_input_leaves_in_order_however_long_that_may_take(
    tmp_path: Path, command_timeout_s: int, election_timeout_ms: int
) -> None:
    """It was killed after ten seconds, with answers on the way, if its commands may take longer."""
    longest_s = command_timeout_s + 2 * election_timeout_ms / 1000
    with Machines(tmp_path) as machines:
        (machine,) = machines.found(
            1,
            options=(
                f"--command-timeout-s={command_timeout_s}",
                f"--election-timeout-ms={election_timeout_ms}",
            ),
        )
        with slow_client(machine.client):
            began = time.perf_counter()
            machine.close_stdin()
            assert machine.wait() == 0
            took = time.perf_counter() - began
        assert longest_s <= took < longest_s + 5
        assert "ending before all clients have what they wait for" in machine.log
