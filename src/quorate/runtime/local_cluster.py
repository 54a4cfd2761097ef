"""A cluster of real processes on this machine: start, kill and restart its nodes, wait for it.

For `quorate up`, the demo, tests and benchmarks. Each node is a `quorate serve` that ends with
its parent: it holds the read end of a pipe as its standard input and stops when that closes,
which the kernel sees to however the parent ends. (`PR_SET_PDEATHSIG` would need code between fork
and exec, is not portable, and strikes when the *thread* that started the child ends.)
"""

import asyncio
import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import NamedTuple, Self

import msgspec

from quorate.clerk.errors import UnavailableError
from quorate.node.status import NodeStatus
from quorate.raft.configuration import NodeId
from quorate.runtime.ask import ask_statuses, leader_among
from quorate.runtime.async_clerk import AsyncClerk
from quorate.runtime.cluster_file import ClusterFile, LocalClusterError, LocalMember
from quorate.runtime.local_ports import free_ports
from quorate.storage.identity import FILE_NAME as IDENTITY_NAME

# By name, not by import: a process of its own is no part of this one. -P: what lies in the
# working directory is not imported.
QUORATE = (sys.executable, "-P", "-m", "quorate.cli")
_STOP_TIMEOUT_S = 10.0
_STATUS_TIMEOUT_S = 0.5
_READ_TIMEOUT_S = 0.5
_POLL_S = 0.05
_TAIL_BYTES = 4096
_SIGNAL_NAMES = {number.value: number.name for number in signal.Signals}


class NodeExit(NamedTuple):
    """A node whose process has ended though nobody asked for it.

    Attributes:
        node: which one.
        reason: for people: by which signal, or with which status and last words.
    """

    node: NodeId
    reason: str


class LocalCluster:
    """The nodes of one local cluster, as child processes.

    Leaving the context stops all nodes. Not to be shared between threads.

    Args:
        directory: where everything is kept.
        file: what the cluster is.
        serve_options: further options of `quorate serve`, the same for each node.
        program: what to run in place of the `quorate` command.
    """

    def __init__(
        self,
        directory: Path,
        file: ClusterFile,
        *,
        serve_options: Sequence[str] = (),
        program: Sequence[str] = QUORATE,
    ) -> None:
        self.directory = directory
        self._file = file
        self._program = tuple(program)
        self._serve_options = tuple(serve_options)
        self._processes: dict[NodeId, subprocess.Popen[bytes]] = {}

    @classmethod
    def create(
        cls,
        directory: Path,
        *,
        nodes: int = 3,
        serve_options: Sequence[str] = (),
        program: Sequence[str] = QUORATE,
    ) -> Self:
        """A new cluster on free ports; nothing runs yet.

        Raises:
            LocalClusterError: the directory holds a cluster already, or cannot be written.
        """
        if ClusterFile.load(directory) is not None:
            raise LocalClusterError(f"{directory} holds a cluster already")
        ports = free_ports(2 * nodes)
        file = ClusterFile.of_ports(ports[:nodes], ports[nodes:])
        file.save(directory)
        return cls(directory, file, serve_options=serve_options, program=program)

    @property
    def members(self) -> tuple[LocalMember, ...]:
        """All nodes of the cluster, running or not."""
        return self._file.members

    @property
    def cluster_id(self) -> str:
        """The id of the cluster."""
        return self._file.cluster_id

    @property
    def servers(self) -> list[str]:
        """The client addresses of all nodes, as a Clerk takes them."""
        return [member.client for member in self.members]

    @property
    def running(self) -> list[NodeId]:
        """The nodes whose process lives."""
        return [node for node, process in self._processes.items() if process.poll() is None]

    def pid(self, node: NodeId) -> int:
        """The process of a node that was started."""
        return self._processes[node].pid

    def log_path(self, node: NodeId) -> Path:
        """What the node logs."""
        return self._node_directory(node) / "log"

    def data_dir(self, node: NodeId) -> Path:
        """The node's data directory."""
        return self._node_directory(node) / "data"

    # ------------------------------------------------------------------ processes

    def start(self) -> None:
        """Starts all nodes that do not run."""
        for member in self.members:
            if member.id not in self.running:
                self.start_node(member.id)

    def start_node(self, node: NodeId, *, join: bool = False) -> None:
        """Starts a node that does not run; returns before it serves.

        Args:
            node: which.
            join: it has lost its data: it asks the others whose it is, and waits to be let in.

        Raises:
            LocalClusterError: its directory cannot be written.
        """
        assert node not in self.running
        self._note_initialized()
        path = self.log_path(node)
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            with path.open("ab") as log:
                self._processes[node] = subprocess.Popen(  # noqa: S603 -- our own program
                    self._command(node, join=join),
                    stdin=subprocess.PIPE,
                    stdout=log,
                    stderr=log,
                    # Ctrl-C at the terminal is for the parent, which then stops its nodes.
                    process_group=0,
                    env={k: v for k, v in os.environ.items() if not k.startswith("QUORATE_")},
                )
        except OSError as error:
            raise LocalClusterError(f"cannot start node {node}: {error}") from error

    def kill(self, *nodes: NodeId) -> None:
        """Kills running nodes at once (SIGKILL), and waits until they are gone."""
        processes = [self._processes.pop(node) for node in nodes]
        for process in processes:
            process.kill()
        for process in processes:
            _reap(process)

    def stop(self) -> None:
        """Stops all nodes: politely, and after 10 s by force."""
        self._note_initialized()
        processes = list(self._processes.values())
        self._processes.clear()
        for process in processes:
            process.terminate()
        give_up_at = time.monotonic() + _STOP_TIMEOUT_S
        for process in processes:
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(max(0.0, give_up_at - time.monotonic()))
            process.kill()
            _reap(process)

    def take_exits(self) -> list[NodeExit]:
        """The nodes that have ended by themselves since the last time."""
        self._note_initialized()
        exits = []
        for node, process in list(self._processes.items()):
            status = process.poll()
            if status is not None:
                del self._processes[node]
                _reap(process)
                exits.append(NodeExit(node, self._exit_reason(node, status)))
        return exits

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        exception_type: type[BaseException] | None,
        exception: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.stop()

    # ------------------------------------------------------------------ what it does

    async def statuses(self) -> list[NodeStatus | None]:
        """What each member says of itself; None for those that cannot be reached."""
        return await ask_statuses(self.servers, timeout_s=_STATUS_TIMEOUT_S)

    async def wait_until_serving(self, timeout_s: float = 30.0) -> NodeStatus:
        """Waits until the cluster has answered a linearizable read; returns the leader's status.

        Raises:
            LocalClusterError: it did not in time, or no node runs any more.
        """
        try:
            async with asyncio.timeout(timeout_s):
                await self._read()
                while True:
                    leader = leader_among(await self.statuses())
                    if leader is not None:
                        return leader
                    await asyncio.sleep(_POLL_S)
        except TimeoutError as error:
            raise LocalClusterError(
                f"the cluster does not serve after {timeout_s:g} s; its nodes' logs are in "
                f"{self.directory}"
            ) from error

    async def _read(self) -> None:
        async with AsyncClerk(self.servers) as clerk:
            while True:
                try:
                    await clerk.get(b"", timeout=_READ_TIMEOUT_S)
                except UnavailableError:
                    if not self.running:
                        raise LocalClusterError(self._why_none_runs()) from None
                else:
                    return

    # ------------------------------------------------------------------ inside

    def _node_directory(self, node: NodeId) -> Path:
        return self.directory / f"node-{node}"

    def _command(self, node: NodeId, *, join: bool) -> list[str]:
        command = [*self._program, "serve", "--stop-with-stdin"]
        command += ["--id", str(node), "--data-dir", str(self.data_dir(node))]
        for member in self.members:
            if not join:
                command += ["--member", f"{member.id}={member.peer},{member.client}"]
            elif member.id == node:
                command += ["--client", member.client, "--peer", member.peer]
            else:
                command += ["--join", member.client]
        if not self._file.initialized and not self._has_identity(node):
            command += ["--initialize", self.cluster_id]
        return command + list(self._serve_options)

    def _has_identity(self, node: NodeId) -> bool:
        return (self.data_dir(node) / IDENTITY_NAME).exists()

    def _note_initialized(self) -> None:
        if not self._file.initialized and all(self._has_identity(m.id) for m in self.members):
            self._file = msgspec.structs.replace(self._file, initialized=True)
            self._file.save(self.directory)

    def _exit_reason(self, node: NodeId, status: int) -> str:
        if status < 0:
            return f"killed by {_SIGNAL_NAMES.get(-status, f'signal {-status}')}"
        return f"exit status {status}: {self._last_words(node)}"

    def _last_words(self, node: NodeId) -> str:
        tail = self.log_path(node).read_bytes()[-_TAIL_BYTES:].decode(errors="replace")
        lines = tail.splitlines()
        return lines[-1] if lines else "(it has logged nothing)"

    def _why_none_runs(self) -> str:
        words = "; ".join(f"node {m.id}: {self._last_words(m.id)}" for m in self.members)
        return f"no node of the cluster runs any more. {words}"


def _reap(process: subprocess.Popen[bytes]) -> None:
    process.wait()
    assert process.stdin is not None
    process.stdin.close()
