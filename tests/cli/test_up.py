"""`quorate up`: the life of a local cluster in the foreground."""

import asyncio
import contextlib
import fcntl
import json
import os
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from queue import Queue

import pytest
from tests.integration.eventually import eventually

from quorate.runtime.ask import ask_status
from quorate.runtime.clerk import Clerk
from quorate.runtime.local_ports import reserve

pytestmark = pytest.mark.processes

SECONDS = 30.0


class Up:
    """A running `quorate up`."""

    def __init__(self, *arguments: object) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-m", "quorate.cli", "up", *map(str, arguments)],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        self.lines: list[str] = []
        self.pids: list[int] = []
        self._queue: Queue[str | None] = Queue()
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self._queue.put(line.rstrip("\n"))
        self._queue.put(None)

    def wait_for(self, beginning: str) -> str:
        """The next line that begins so."""
        while (line := self._queue.get(timeout=SECONDS)) is not None:
            self.lines.append(line)
            if line.startswith(beginning):
                return line
        raise AssertionError(f"no line begins with {beginning!r}: {self.lines}")

    def end(self, number: int) -> tuple[int, str]:
        """Sends a signal; returns the exit status and what was said on standard error."""
        self.process.send_signal(number)
        return self.wait()

    def wait(self) -> tuple[int, str]:
        assert self.process.stderr is not None
        status = self.process.wait(SECONDS)
        return status, self.process.stderr.read()

    def wait_until_ready(self) -> str:
        """The line that says so; `pids` are known then."""
        ready = self.wait_for("ready")
        started = [line for line in self.lines if line.startswith("node") and "started" in line]
        self.pids = [int(line.split("pid ")[1].split(",")[0]) for line in started]
        return ready


@pytest.fixture
def base_port() -> int:
    """Ports from here on are free, and those for peers too."""
    for base in range(16_000 + os.getpid() % 4000, 30_000, 3):
        if all(reserve(base + node) and reserve(base + 1000 + node) for node in range(3)):
            return base
    raise AssertionError("no ports are free")


@contextlib.contextmanager
def up(*arguments: object) -> Iterator[Up]:
    running = Up(*arguments)
    try:
        yield running
    finally:
        running.process.kill()
        running.process.wait()
        assert running.process.stderr is not None
        running.process.stderr.close()


def wait_until_gone(directory: Path) -> None:
    """Returns once no node holds its data directory any more; its lock ends with its process."""
    for path in directory.glob("node-*/data"):
        descriptor = os.open(path, os.O_RDONLY)
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        os.close(descriptor)


def test_a_cluster_starts_serves_stops_and_goes_on_where_it_was(
    tmp_path: Path, base_port: int
) -> None:
    directory = tmp_path / "new" / "cluster"
    servers = ",".join(f"127.0.0.1:{base_port + node}" for node in range(3))

    with up("--dir", directory, "--base-port", base_port, "--nodes", 3) as first:
        ready = first.wait_until_ready()
        assert ready.removeprefix("ready: node ")[1:] == f" leads; clients: {servers}"
        assert first.lines[0].startswith("new cluster local-")
        with Clerk(servers) as clerk:
            clerk.put("k", "v", timeout=SECONDS)
        assert first.end(signal.SIGINT) == (0, "")
        assert first.wait_for("stopped") == "stopped"
        wait_until_gone(directory)

    with up("--dir", directory) as second:
        assert second.wait_for("ready").endswith(servers)
        assert second.lines[0].replace("known", "new") == first.lines[0]
        with Clerk(servers) as clerk:
            assert clerk.get("k", timeout=SECONDS) == b"v"
        assert second.end(signal.SIGTERM) == (0, "")
        wait_until_gone(directory)


def test_the_size_of_the_logs_is_passed_on(tmp_path: Path, base_port: int) -> None:
    server = f"127.0.0.1:{base_port}"
    options = ("--base-port", base_port, "--nodes", 1, "--max-raft-state", "1KiB")
    with up("--dir", tmp_path, *options) as running:
        running.wait_until_ready()
        with Clerk(server) as clerk:
            for number in range(20):
                clerk.put("k", f"{number}" * 100, timeout=SECONDS)

        def is_short() -> bool:
            status = asyncio.run(ask_status(server, timeout_s=SECONDS))
            assert status is not None
            return status.snapshot_index > 0 and status.raft_state_bytes < 2048

        # The log goes on growing until the disk has the snapshot that takes its place.
        eventually(is_short, "a snapshot has taken the place of the log")


def test_a_node_that_dies_is_reported_and_the_others_go_on(tmp_path: Path, base_port: int) -> None:
    with up("--dir", tmp_path, "--base-port", base_port) as running:
        leader = int(running.wait_until_ready().split()[2])
        os.kill(running.pids.pop(leader - 1), signal.SIGKILL)
        assert running.wait_for("node") == f"node {leader}: died, killed by SIGKILL"
        assert running.wait_for("new leader").split()[3] != str(leader)
        for pid in running.pids:
            os.kill(pid, signal.SIGKILL)
        status, error = running.wait()
        assert (status, error) == (1, "quorate: error: no node runs any more\n")


def test_no_node_outlives_a_parent_that_is_killed(tmp_path: Path, base_port: int) -> None:
    with up("--dir", tmp_path, "--base-port", base_port) as running:
        running.wait_until_ready()
        running.process.kill()
    with up("--dir", tmp_path) as running:  # at once: what is still going is waited for
        running.wait_until_ready()
        running.process.kill()
        wait_until_gone(tmp_path)


def test_a_node_without_its_data_is_not_given_new_data(tmp_path: Path, base_port: int) -> None:
    with up("--dir", tmp_path, "--base-port", base_port) as running:
        running.wait_for("ready")
        assert running.end(signal.SIGTERM)[0] == 0
    assert json.loads((tmp_path / "cluster.json").read_bytes())["initialized"] is True
    shutil.rmtree(tmp_path / "node-2" / "data")
    with up("--dir", tmp_path) as running:
        line = running.wait_for("node 2: died")
        assert "exit status 1: quorate: error: cannot use" in line
        running.wait_for("ready")
    assert not (tmp_path / "node-2" / "data").exists()


def test_a_cluster_of_which_no_node_can_start(tmp_path: Path, base_port: int) -> None:
    with up("--dir", tmp_path, "--base-port", base_port, "--nodes", 1) as running:
        running.wait_for("ready")
        assert running.end(signal.SIGTERM)[0] == 0
    segment = next((tmp_path / "node-1" / "data").glob("*.wal"))
    segment.write_bytes(b"damaged" + segment.read_bytes()[7:])
    with up("--dir", tmp_path) as running:
        assert f"{segment} is damaged at byte 0" in running.wait_for("node 1: died")
        assert running.wait() == (1, "quorate: error: no node runs any more\n")


def refusal(*arguments: object) -> tuple[int, str]:
    with up(*arguments) as running:
        status, error = running.wait()
        assert error.startswith("quorate: error: ")
        assert error.count("\n") == 1
        return status, error.removeprefix("quorate: error: ").rstrip()


def test_arguments_that_contradict_the_directory(tmp_path: Path, base_port: int) -> None:
    with up("--dir", tmp_path, "--base-port", base_port) as running:
        running.wait_for("new cluster")
    status, text = refusal("--dir", tmp_path, "--nodes", 5)
    assert status == 2
    assert "holds a cluster of 3 nodes, not of 5" in text
    status, text = refusal("--dir", tmp_path, "--base-port", base_port + 1)
    assert status == 2
    assert f"holds a cluster from port {base_port} on, not from {base_port + 1}" in text


def test_a_port_in_use(tmp_path: Path, base_port: int) -> None:
    with up("--dir", tmp_path / "a", "--base-port", base_port, "--nodes", 1) as running:
        running.wait_for("ready")
        status, text = refusal("--dir", tmp_path / "b", "--base-port", base_port)
        assert status == 1
        assert text.startswith(f"127.0.0.1:{base_port} is in use")
        assert not (tmp_path / "b").exists()
        assert running.end(signal.SIGTERM) == (0, "")


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{}",
        b'{"cluster_id": "c", "members": 3}',
        b'{"cluster_id": "c", "members": []}',
        b'{"cluster_id": "c", "members": [{"id": 1, "client": "here", "peer": "127.0.0.1:2"}]}',
        b'{"cluster_id": "c", "members": [{"id": 1, "client": "[::1]:99999", "peer": "[::1]:2"}]}',
        b'{"cluster_id": "c", "members": [{"id": 0, "client": "[::1]:1", "peer": "[::1]:2"}]}',
        b'{"cluster_id": "c", "members": [{"id": 2147483648, "client": "a:1", "peer": "a:2"}]}',
        b'{"cluster_id": "\xff", "members": []}',  # once a traceback, as the next
        b'{"cluster_id": "c", "members": [{"id": 1, "client": "a:1", "peer": "a:2", "x": '
        + b"[" * 100_000,
    ],
)
def test_a_cluster_file_that_is_damaged(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "cluster.json").write_bytes(content)
    status, text = refusal("--dir", tmp_path)
    assert status == 1
    assert "cluster.json does not describe a cluster" in text


def test_a_directory_without_a_name() -> None:
    # As of a variable of the shell that is not set: it is not the working directory.
    status, text = refusal("--dir", "")
    assert status == 2
    assert "the name of the directory is empty" in text


def test_a_directory_that_cannot_be_written(tmp_path: Path, base_port: int) -> None:
    (tmp_path / "file").touch()
    status, text = refusal("--dir", tmp_path / "file" / "below", "--base-port", base_port)
    assert status == 1
    assert "Not a directory" in text
