"""Machines, each with one node: what an operator starts, stops, loses and replaces.

Unlike those of a `LocalCluster`, its nodes come and go one by one, on new ids, directories and
addresses.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Self

from tests.integration.eventually import eventually

from quorate.node.status import NodeStatus
from quorate.runtime.ask import ask_status, ask_statuses
from quorate.runtime.async_clerk import AsyncClerk
from quorate.runtime.local_ports import LOOPBACK, free_ports
from quorate.storage.identity import FILE_NAME as IDENTITY_NAME

QUORATE = (sys.executable, "-P", "-m", "quorate.cli")
_STATUS_TIMEOUT_S = 1.0
_COMMAND_TIMEOUT_S = 60.0


class Machine:
    """One `quorate serve`, with a directory and addresses of its own."""

    def __init__(self, node: int, directory: Path) -> None:
        self.node = node
        self.directory = directory
        self.data_dir = directory / "data"
        self.move()
        self._process: subprocess.Popen[bytes] | None = None

    def move(self) -> None:
        """Other addresses, for the next start."""
        client, peer = free_ports(2)
        self.client = f"{LOOPBACK}:{client}"
        self.peer = f"{LOOPBACK}:{peer}"

    @property
    def port(self) -> int:
        """Where it serves clients."""
        return int(self.client.rpartition(":")[2])

    @property
    def log(self) -> str:
        return (self.directory / "log").read_text()

    @property
    def data_id(self) -> str:
        identity = json.loads((self.data_dir / IDENTITY_NAME).read_bytes())
        return str(identity["identity"]["data_id"])

    @property
    def is_running(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def start(self, *options: str) -> None:
        """Starts the node, on its directory as it is; returns before it serves."""
        assert not self.is_running
        self.directory.mkdir(parents=True, exist_ok=True)
        with (self.directory / "log").open("ab") as log:
            self._process = subprocess.Popen(
                [
                    *(*QUORATE, "serve", "--stop-with-stdin", f"--id={self.node}"),
                    *(f"--data-dir={self.data_dir}", f"--client={self.client}"),
                    *(f"--peer={self.peer}", *options),
                ],
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=log,
                env={k: v for k, v in os.environ.items() if not k.startswith("QUORATE_")},
            )

    def signal(self, number: signal.Signals) -> None:
        assert self._process is not None
        self._process.send_signal(number)

    def close_stdin(self) -> None:
        """As if this process had ended."""
        assert self._process is not None
        assert self._process.stdin is not None
        self._process.stdin.close()

    def wait(self) -> int:
        """Until it has ended; returns its exit status."""
        assert self._process is not None
        status = self._process.wait(_COMMAND_TIMEOUT_S)
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process = None
        return status

    def stop(self) -> float:
        """Stops it as one should, and returns after how many seconds it had ended."""
        began = time.perf_counter()
        self.signal(signal.SIGTERM)
        status = self.wait()
        assert status == 0, f"node {self.node} ended with status {status}:\n{self.log[-4000:]}"
        return time.perf_counter() - began

    def kill(self) -> None:
        if self._process is not None:
            self._process.kill()
            self.wait()

    def lose_data(self) -> None:
        shutil.rmtree(self.data_dir)

    def status(self) -> NodeStatus | None:
        """What it says of itself, if it answers."""
        return asyncio.run(ask_status(self.client, timeout_s=_STATUS_TIMEOUT_S))


class Machines:
    """All machines of a test, of one cluster or several."""

    eventually = staticmethod(eventually)

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self.all: list[Machine] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for machine in self.all:
            machine.kill()
        for machine in self.all:
            with contextlib.suppress(FileNotFoundError):  # shown if the test has failed
                print(f"--- log of node {machine.node}", machine.log[-20_000:], sep="\n")

    def new(self, node: int) -> Machine:
        """One more machine, on which nothing runs yet."""
        machine = Machine(node, self._directory / f"machine-{len(self.all)}")
        self.all.append(machine)
        return machine

    def found(
        self,
        count: int,
        *,
        cluster_id: str = "c",
        options: Sequence[str] = (),
        prepare: Callable[[Machine], None] = lambda _: None,
    ) -> list[Machine]:
        """Starts a new cluster of nodes 1, 2, ...; it serves.

        What is to be done with a machine before its node starts, `prepare` does.
        """
        founders = [self.new(node) for node in range(1, count + 1)]
        members = [f"--member={m.node}={m.peer},{m.client}" for m in founders]
        for machine in founders:
            prepare(machine)
            machine.start(f"--initialize={cluster_id}", *members, *options)
        self.wait_until_serving(founders)
        return founders

    @property
    def running(self) -> list[Machine]:
        return [machine for machine in self.all if machine.is_running]

    @property
    def servers(self) -> list[str]:
        """The client addresses of all machines, whether something runs there or not."""
        return [machine.client for machine in self.all]

    # ------------------------------------------------------------------ states

    def wait_until_serving(self, machines: list[Machine]) -> None:
        """Until the cluster answers a read, and each of these nodes knows a leader."""

        async def read() -> None:
            async with AsyncClerk([m.client for m in machines]) as clerk:
                await clerk.get(b"", timeout=20)

        asyncio.run(read())
        for machine in machines:
            self.wait_until_following(machine)

    @staticmethod
    def wait_until_up(machine: Machine) -> NodeStatus:
        """Until a node answers, whatever it knows."""
        return eventually(machine.status, f"node {machine.node} answers")

    def wait_until_following(self, machine: Machine) -> NodeStatus:
        """Until a node knows a leader and has applied all that was committed before."""
        goal = max(
            (status.commit_index for status in self.statuses(self.running)),
            default=0,
        )

        def follows() -> NodeStatus | None:
            status = machine.status()
            if status is None or status.leader is None or status.last_applied < goal:
                return None
            return status

        return eventually(follows, f"node {machine.node} follows a leader")

    @staticmethod
    def statuses(machines: list[Machine]) -> list[NodeStatus]:
        """Of those that answer."""
        servers = [machine.client for machine in machines]
        statuses = asyncio.run(ask_statuses(servers, timeout_s=_STATUS_TIMEOUT_S))
        return [status for status in statuses if status is not None]

    def leader(self, machines: list[Machine]) -> Machine:
        """Which of these leads, once each that runs says the same."""

        def agreed() -> Machine | None:
            running = [machine for machine in machines if machine.is_running]
            statuses = self.statuses(running)
            leaders = {status.leader for status in statuses}
            if len(statuses) < len(running) or len(leaders) != 1:
                return None
            (leader,) = leaders
            return next((machine for machine in running if machine.node == leader), None)

        return eventually(agreed, "all agree on a leader that runs")

    def members(self, machines: list[Machine]) -> dict[int, bool]:
        """The ids of the members as the leader knows them, and whether each votes."""
        status = self.leader(machines).status()
        assert status is not None
        return {member.id: member.votes for member in status.members}

    # ------------------------------------------------------------------ the operator

    @staticmethod
    def quorate(*arguments: object) -> subprocess.CompletedProcess[str]:
        """`quorate ARGUMENTS...`, to its end."""
        return subprocess.run(
            [*QUORATE, *map(str, arguments)],
            capture_output=True,
            text=True,
            timeout=_COMMAND_TIMEOUT_S,
            check=False,
        )

    def member(self, *arguments: object, servers: list[Machine] | None = None) -> str:
        """`quorate member ARGUMENTS...`, which has to succeed; returns its one line."""
        ended = self.member_fails_or_not(*arguments, servers=servers)
        assert (ended.returncode, ended.stderr) == (0, ""), ended
        return ended.stdout.removesuffix("\n")

    def member_fails(self, *arguments: object, status: int = 3, **options: Any) -> str:
        """The same for one that has to fail with this exit status: why it does."""
        ended = self.member_fails_or_not(*arguments, **options)
        assert (ended.returncode, ended.stdout) == (status, ""), ended
        (line,) = ended.stderr.splitlines()
        return line.removeprefix("quorate: error: ")

    def member_fails_or_not(
        self, *arguments: object, servers: list[Machine] | None = None
    ) -> subprocess.CompletedProcess[str]:
        known = ",".join(machine.client for machine in servers or self.running)
        return self.quorate("member", *arguments, f"--servers={known}")

    def join(self, machine: Machine) -> None:
        """Starts a node that is to join those that run, and lets it in."""
        asked = [other.client for other in self.running]
        machine.start(*(f"--join={client}" for client in asked))
        self.wait_until_up(machine)
        assert self.member("add", machine.client) == f"node {machine.node} is a voter"

    def remove(self, machine: Machine) -> None:
        """Removes a node that runs from the cluster, and stops it."""
        answer = self.member("remove", machine.node)
        assert answer == f"node {machine.node} is no member any more: stop it, if it runs"
        machine.stop()
