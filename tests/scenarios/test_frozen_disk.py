"""3 with real processes: the file system of the leader stands still for ten seconds.

The story is told in `test_stalled_disk.py`. A frozen file system lets no write and no sync end
until it is thawed; whoever waits for one cannot even be killed.
"""

from __future__ import annotations

import contextlib
import itertools
import subprocess
import time
from typing import TYPE_CHECKING

import pytest
from tests.integration.conftest import Connection
from tests.integration.eventually import eventually

from quorate.runtime.clerk import Clerk
from quorate.runtime.local_ports import LOOPBACK
from quorate.wire.resp_reply import ErrorReply

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.integration.machines import Machine, Machines

pytestmark = pytest.mark.processes

STALL_S = 10.0


def run(*command: str | Path) -> None:
    subprocess.run(command, check=True, capture_output=True)


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of its own, that can be frozen."""
    image, mounted = tmp_path / "image", tmp_path / "disk"
    mounted.mkdir()
    with image.open("wb") as file:
        file.truncate(300 * 1024 * 1024)
    try:
        run("mkfs.ext4", "-q", image)
        run("mount", "-o", "loop", image, mounted)
    except (OSError, subprocess.CalledProcessError) as error:
        pytest.skip(f"no file system can be mounted here: {error}")
    try:
        yield mounted
    finally:
        run("umount", mounted)


@contextlib.contextmanager
def frozen(disk: Path) -> Iterator[None]:
    run("fsfreeze", "--freeze", disk)
    try:
        yield
    finally:
        run("fsfreeze", "--unfreeze", disk)


class Appends:
    """What plain clients of two nodes were told, who append one after the other."""

    def __init__(self) -> None:
        self.done = 0
        self.in_doubt = 0
        self.slowest_s = 0.0

    def append_for(self, seconds: float, machines: list[Machine]) -> None:
        end = time.perf_counter() + seconds
        with contextlib.ExitStack() as stack:
            clients = itertools.cycle(
                [stack.enter_context(Connection((LOOPBACK, m.port))) for m in machines]
            )

            def append() -> bool:
                begun = time.perf_counter()
                reply = next(clients).call("APPEND", "k", "x")
                self.slowest_s = max(self.slowest_s, time.perf_counter() - begun)
                if isinstance(reply, int):
                    self.done += 1
                else:
                    self.in_doubt += 1
                return begun > end

            eventually(append, "the time is over", timeout_s=seconds + 10)


def test_the_cluster_serves_on_while_the_disk_of_its_leader_is_frozen(
    disk: Path, machines: Machines
) -> None:
    def prepare(machine: Machine) -> None:
        if machine.node == 1:
            machine.data_dir = disk / "data"

    appends = Appends()
    try:
        one, two, three = machines.found(3, prepare=prepare)
        if machines.leader(machines.all) is not one:
            machines.member("transfer", one.node)
        eventually(lambda: machines.leader(machines.all) is one, "node 1 leads")
        with Connection((LOOPBACK, one.port)) as client:
            with frozen(disk):
                client.send(b"APPEND other x\r\n")
                appends.append_for(STALL_S, [two, three])
            reply = client.reply()
        print(f"{appends.done} appends, the slowest in {appends.slowest_s * 1000:.0f} ms")
        assert appends.in_doubt <= 1, "an election takes less than the time of a command"
        assert appends.done > 10 * STALL_S
        machines.wait_until_following(one)
        with Clerk(one.client) as clerk:
            length = len(clerk.get("k"))
            assert appends.done <= length <= appends.done + appends.in_doubt
            other = clerk.get("other")
        told = reply.code if isinstance(reply, ErrorReply) else reply
        assert told in {b"": ("UNKNOWN", "NOTEXECUTED"), b"x": ("UNKNOWN", 1)}[other]
    finally:
        for machine in machines.all:
            machine.kill()  # before its file system goes
