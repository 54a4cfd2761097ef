"""Members come, go, are replaced and restarted while clients write, who hardly notice."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable
from typing import TYPE_CHECKING

import pytest
from tests.integration.machine_stalls import MachineStalls
from tests.integration.steady_load import SteadyLoad, await_appends

from quorate.runtime.clerk import Clerk

if TYPE_CHECKING:
    from pathlib import Path

    from tests.integration.conftest import Ledger
    from tests.integration.machines import Machine, Machines

pytestmark = [pytest.mark.processes, pytest.mark.load]

NewLedger = Callable[[], "Ledger"]

LONGEST_P99_S = 0.25
HEARTBEAT_S = 0.1
COMMAND_TIMEOUT_S = 3.0


def check_ledger(ledger: Ledger, load: SteadyLoad, servers: list[Machine]) -> None:
    """Nothing was lost or doubled, as all of these nodes say."""
    values: list[list[bytes]] = []
    for machine in servers:
        with Clerk(machine.client) as clerk:
            values.append([clerk.get(key) for key in load.keys])
    assert values[1:] == values[:-1]
    ledger.check_exactly_once(values[0])
    for value in values[0]:
        ledger.check_order(value)


# --------------------------------------------------------------------- coming and going


class Change:
    """Members that come and go under load."""

    def __init__(self, machines: Machines, load: SteadyLoad, *, pause: int) -> None:
        self._machines = machines
        self._load = load
        self._pause = pause

    def join(self, *newcomers: Machine) -> None:
        for machine in newcomers:
            self._machines.join(machine)
            self._go_on()

    def leave(self, machine: Machine) -> None:
        self._machines.remove(machine)
        self._go_on()

    def _go_on(self) -> None:
        await_appends(self._load, self._pause, self._machines.eventually)


def test_members_come_and_go_under_load(machines: Machines, new_ledger: NewLedger) -> None:
    # From one to three, and then the first one, which led until then, makes room for a fourth.
    first, two, three, four = [*machines.found(1), *map(machines.new, (2, 3, 4))]
    ledger = new_ledger()
    with SteadyLoad(machines.servers, ledger, "members") as load:
        change = Change(machines, load, pause=100)
        change.join(two, three)
        assert machines.leader(machines.running) is first
        change.join(four)
        change.leave(first)
        assert machines.members([two, three, four]) == {2: True, 3: True, 4: True}
    print(load.report())
    check_ledger(ledger, load, [two, three, four])
    assert load.failures == []


@pytest.mark.soak
@pytest.mark.timeout(600)
def test_a_cluster_grows_shrinks_and_is_replaced_under_load(
    machines: Machines, new_ledger: NewLedger
) -> None:
    # From 1 to 3 to 5 and back to 3 nodes; then each of these makes room for a new machine.
    first, *others = [*machines.found(1), *map(machines.new, range(2, 9))]
    ledger = new_ledger()
    with SteadyLoad(machines.servers, ledger, "members") as load:
        change = Change(machines, load, pause=2000)
        change.join(*others[:4])
        assert machines.members(machines.running) == dict.fromkeys(range(1, 6), True)
        change.leave(machines.leader(machines.running))
        change.leave(machines.running[0])
        old = list(machines.running)
        assert machines.members(old) == dict.fromkeys((m.node for m in old), True)
        for machine, replacement in zip(old, others[4:], strict=True):
            change.join(replacement)
            change.leave(machine)
        assert machines.members(others[4:]) == {6: True, 7: True, 8: True}
    print(load.report())
    check_ledger(ledger, load, others[4:])
    assert load.failures == []
    for kind in ("Clerk", "AsyncClerk", "redis-py"):
        assert load.percentile(kind, 0.99) < LONGEST_P99_S
    assert first.log.count("was removed from the cluster") > 0


# --------------------------------------------------------------------- restarts


def rolling_restart(machines: Machines, members: list[Machine], load: SteadyLoad) -> None:
    """Each is stopped and started again, the leader first."""
    leader = machines.leader(members)
    for machine in [leader, *(m for m in members if m is not leader)]:
        await_appends(load, 200, machines.eventually)
        took = machine.stop()
        print(f"node {machine.node} had stopped after {took * 1000:.0f} ms")
        await_appends(load, 200, machines.eventually)
        machine.start()
        machines.wait_until_following(machine)
    await_appends(load, 200, machines.eventually)


def check_nobody_has_noticed(load: SteadyLoad, stalls: MachineStalls) -> None:
    gap_s = load.longest_gap_beyond_s(stalls)
    print(f"{load.report()}; longest gap beyond the machine's stalls {gap_s * 1000:.0f} ms")
    assert load.failures == []
    for kind in ("Clerk", "AsyncClerk", "redis-py"):
        assert load.percentile(kind, 0.99) < LONGEST_P99_S
    assert gap_s < 3 * HEARTBEAT_S


def test_nobody_notices_a_rolling_restart(
    machines: Machines, new_ledger: NewLedger, tmp_path: Path
) -> None:
    members = machines.found(3)
    ledger = new_ledger()
    with (
        MachineStalls(tmp_path / "synced") as stalls,
        SteadyLoad(machines.servers, ledger, "rolling") as load,
    ):
        rolling_restart(machines, members, load)
    check_ledger(ledger, load, members)
    check_nobody_has_noticed(load, stalls)


@pytest.mark.soak
@pytest.mark.timeout(900)
def test_nobody_notices_twenty_rolling_restarts(
    machines: Machines, new_ledger: NewLedger, tmp_path: Path
) -> None:
    members = machines.found(3)
    ledger = new_ledger()
    with (
        MachineStalls(tmp_path / "synced") as stalls,
        SteadyLoad(machines.servers, ledger, "rolling") as load,
    ):
        for _ in range(20):
            rolling_restart(machines, members, load)
    check_ledger(ledger, load, members)
    check_nobody_has_noticed(load, stalls)


def stop_all(machines: Machines, members: list[Machine], load: SteadyLoad) -> None:
    """Stops all at once under load, and starts them again."""
    await_appends(load, 300, machines.eventually)
    began = time.perf_counter()
    for machine in members:
        machine.signal(signal.SIGTERM)
    assert [machine.wait() for machine in members] == [0, 0, 0]
    took = time.perf_counter() - began
    print(f"all had stopped after {took:.2f} s")
    assert took < COMMAND_TIMEOUT_S / 2
    for machine in members:
        machine.start()
    await_appends(load, 100, machines.eventually)


def test_all_nodes_stopped_at_once_end_soon_and_lose_nothing(
    machines: Machines, new_ledger: NewLedger
) -> None:
    members = machines.found(3)
    ledger = new_ledger()
    with SteadyLoad(machines.servers, ledger, "all") as load:
        stop_all(machines, members, load)
    print(load.report())
    check_ledger(ledger, load, members)


@pytest.mark.soak
@pytest.mark.timeout(900)
def test_all_nodes_stopped_at_once_twenty_times_lose_nothing(
    machines: Machines, new_ledger: NewLedger
) -> None:
    members = machines.found(3)
    ledger = new_ledger()
    with SteadyLoad(machines.servers, ledger, "all") as load:
        for _ in range(20):
            stop_all(machines, members, load)
    print(load.report())
    check_ledger(ledger, load, members)
