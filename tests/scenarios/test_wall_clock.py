"""14 with real processes: the wall clock of the leader's machine is set a year ahead under it.

The story is told in `test_clocks.py`. libfaketime gives each node a wall clock of its own, that a
file sets while the node runs; all other clocks are the machine's.
"""

from __future__ import annotations

import shutil
import subprocess
import time
from typing import TYPE_CHECKING

import pytest
from tests.integration.conftest import Connection
from tests.integration.eventually import eventually

from quorate.runtime.local_ports import LOOPBACK
from quorate.wire.resp_reply import ErrorReply

if TYPE_CHECKING:
    from tests.integration.machines import Machine, Machines

pytestmark = pytest.mark.processes

NOTICED_WITHIN_S = 2.0
"""Each node looks once a second how its clock is set."""


@pytest.fixture
def cluster(machines: Machines, monkeypatch: pytest.MonkeyPatch) -> list[Machine]:
    """Three nodes on machines whose wall clocks can be set."""
    if shutil.which("faketime") is None:
        pytest.skip("faketime is not installed")
    asked = ["faketime", "-m", "-f", "+0", "printenv", "LD_PRELOAD"]
    library = subprocess.run(asked, check=True, capture_output=True, text=True).stdout.strip()

    def prepare(machine: Machine) -> None:
        machine.directory.mkdir(parents=True)
        set_clock(machine, "+0")
        monkeypatch.setenv("FAKETIME_TIMESTAMP_FILE", str(machine.directory / "clock"))

    with monkeypatch.context() as patches:
        patches.setenv("LD_PRELOAD", library)
        patches.setenv("FAKETIME_DONT_FAKE_MONOTONIC", "1")
        patches.setenv("FAKETIME_CACHE_DURATION", "1")
        return machines.found(3, prepare=prepare)


def set_clock(machine: Machine, offset: str) -> None:
    """Sets the wall clock of a machine, as seen from the true one."""
    new = machine.directory / "new clock"
    new.write_text(offset)
    new.rename(machine.directory / "clock")


class Session:
    """A client's session, in which it repeats each append at any node until it has a length."""

    def __init__(self, machine: Machine) -> None:
        self._id = eventually(lambda: ask(machine, "QUORATE.SESSION"), "a session is opened")

    def append(self, machine: Machine, number: int, element: str) -> int:
        """The append of this number; nothing new if it was executed before."""

        def answered() -> int | None:
            return ask(machine, "ONCE", self._id, number, number - 1, "APPEND", "k", element)

        return eventually(answered, f"append {number} is answered")


def ask(machine: Machine, *arguments: bytes | str | int) -> int | None:
    """The number that is the answer; None if the cluster was busy with itself: with an election.

    That a session has expired is no such thing.
    """
    with Connection((LOOPBACK, machine.port)) as connection:
        reply = connection.call(*arguments)
    if isinstance(reply, ErrorReply):
        assert reply.code in ("UNKNOWN", "NOTEXECUTED"), reply
        return None
    assert isinstance(reply, int)
    return reply


def year_of(machine: Machine) -> int:
    """That of the time in front of the last line of its log."""
    return int(machine.log.splitlines()[-1][:4])


def test_nothing_expires_when_the_wall_clock_of_the_leader_jumps_a_year_ahead(
    cluster: list[Machine], machines: Machines
) -> None:
    session = Session(cluster[0])
    assert session.append(cluster[0], 1, "x") == 1
    leader = machines.leader(cluster)
    set_clock(leader, "+1y")
    jumped_at = time.perf_counter() + NOTICED_WITHIN_S

    def jumps() -> bool:
        assert [session.append(machine, 1, "x") for machine in cluster] == [1, 1, 1]
        return time.perf_counter() > jumped_at

    eventually(jumps, "the clock jumps")
    assert machines.leader(cluster) is leader, "it was to be the leader's clock"
    assert session.append(leader, 2, "y") == 2

    # The jump had reached it: its last words are of next year. The next leader goes on from there.
    leader.stop()
    others = [machine for machine in cluster if machine is not leader]
    assert [year_of(machine) - year_of(leader) for machine in others] == [-1, -1]
    for machine in others:
        assert session.append(machine, 2, "y") == 2
    assert session.append(others[0], 3, "z") == 3
