"""3 with real processes: the file system of the leader stands still for ten seconds.

The story is told in `test_stalled_disk.py`. A frozen file system lets no write and no sync end
until it is thawed; whoever waits for one cannot even be killed.
"""

from __future__ import annotations

import contextlib
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
BOUND_S = 3.0
"""An election takes a second, and the machine has other things to do."""


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


def append_for(seconds: float, servers: list[str]) -> tuple[int, float]:
    """Appends now and again: how often, and how long the slowest took."""
    took: list[float] = []
    end = time.perf_counter() + seconds
    with Clerk(servers) as clerk:

        def append() -> bool:
            begun = time.perf_counter()
            assert clerk.append("k", "x") == len(took) + 1
            took.append(time.perf_counter() - begun)
            return begun > end

        eventually(append, "the time is over", timeout_s=seconds + 10)
    return len(took), max(took)


def test_the_cluster_serves_on_while_the_disk_of_its_leader_is_frozen(
    disk: Path, machines: Machines
) -> None:
    def prepare(machine: Machine) -> None:
        if machine.node == 1:
            machine.data_dir = disk / "data"

    try:
        one, two, three = machines.found(3, prepare=prepare)
        if machines.leader(machines.all) is not one:
            machines.member("transfer", one.node)
        with Connection((LOOPBACK, one.port)) as client:
            with frozen(disk):
                client.send(b"APPEND other x\r\n")
                count, slowest = append_for(STALL_S, [two.client, three.client])
            reply = client.reply()
        print(f"{count} appends in {STALL_S:g} s, the slowest in {slowest * 1000:.0f} ms")
        assert slowest < BOUND_S
        assert count > STALL_S
        machines.wait_until_following(one)
        with Clerk(one.client) as clerk:
            assert clerk.get("k") == b"x" * count
            other = clerk.get("other")
        told = reply.code if isinstance(reply, ErrorReply) else reply
        assert told in {b"": ("UNKNOWN", "NOTEXECUTED"), b"x": ("UNKNOWN", 1)}[other]
    finally:
        for machine in machines.all:
            machine.kill()  # before its file system goes
