"""A store as the comparison sees it: processes, addresses, and the protocol that they speak."""

import os
import shutil
import socket
import subprocess
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from enum import Enum
from pathlib import Path
from types import TracebackType
from typing import Self

START_TIMEOUT_S = 60.0
_STOP_TIMEOUT_S = 10.0
_TICKS_PER_SECOND = os.sysconf("SC_CLK_TCK")


class PeerMissingError(Exception):
    """The system is not installed; the text says how to get it."""


class Protocol(Enum):
    """What its clients speak."""

    RESP = "resp"
    ETCD = "etcd"
    ZOOKEEPER = "zookeeper"


class System(ABC):
    """One system. In its context it runs, with nothing in it.

    Attributes:
        name: for the table.
        protocol: what its clients speak.
        is_replicated: three nodes; else it is one alone.
        is_durable: it syncs each write to the disk before it acknowledges it.
    """

    name: str
    protocol = Protocol.RESP
    is_replicated = True
    is_durable = True

    def __init__(self, directory: Path) -> None:
        self.directory = directory.absolute()
        self._processes: list[subprocess.Popen[bytes]] = []

    @abstractmethod
    def version(self) -> str:
        """What it says of itself.

        Raises:
            PeerMissingError: it is not installed.
        """

    @abstractmethod
    def start(self) -> None:
        """Starts it; returns when it serves."""

    @property
    @abstractmethod
    def servers(self) -> list[str]:
        """The client addresses, the leader's first."""

    def stop(self) -> None:
        """Ends its processes."""
        for process in self._processes:
            process.terminate()
        give_up_at = time.perf_counter() + _STOP_TIMEOUT_S
        for process in self._processes:
            try:
                process.wait(max(0.0, give_up_at - time.perf_counter()))
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        self._processes.clear()

    @property
    def pids(self) -> list[int]:
        """Its processes."""
        return [process.pid for process in self._processes]

    @property
    def cpu_s(self) -> float:
        """What its processes have taken of the processors so far, in seconds."""
        return sum(map(_cpu_s, self.pids))

    def _run(self, command: Sequence[str], *, name: str, **environment: str) -> None:
        """Starts one of its processes, whose output goes into a file of that name."""
        directory = self.directory / name
        directory.mkdir(parents=True)
        with (directory / "log").open("wb") as log:
            process = subprocess.Popen(
                command, stdout=log, stderr=log, cwd=directory, env={**os.environ, **environment}
            )
        self._processes.append(process)

    def _wait_until(self, serves: Callable[[], bool]) -> None:
        give_up_at = time.perf_counter() + START_TIMEOUT_S
        while not serves():
            gone = [process.args for process in self._processes if process.poll() is not None]
            if gone or time.perf_counter() > give_up_at:
                raise RuntimeError(f"{self.name} does not start; see {self.directory}/*/log")
            time.sleep(0.1)

    def __enter__(self) -> Self:
        shutil.rmtree(self.directory, ignore_errors=True)
        self.directory.mkdir(parents=True)
        try:
            self.start()
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.stop()
        shutil.rmtree(self.directory, ignore_errors=True)


def find_program(names: Sequence[str], hint: str) -> str:
    """The first of these programs that is there.

    Raises:
        PeerMissingError: none of them is.
    """
    for name in names:
        found = shutil.which(name)
        if found is not None:
            return str(Path(found).absolute())
    raise PeerMissingError(hint)


def answers(address: str, question: bytes, word: bytes) -> bool:
    """Whether a server's answer to a line has a word in it."""
    host, _, port = address.rpartition(":")
    try:
        with socket.create_connection((host, int(port)), timeout=1) as connection:
            connection.sendall(question)
            return word in connection.recv(65536)
    except OSError:
        return False


def _cpu_s(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    user, system = int(fields[11]), int(fields[12])
    return (user + system) / _TICKS_PER_SECOND
