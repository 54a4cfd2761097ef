"""Coroutines on a scheduler, at either pace."""

from collections.abc import Coroutine
from typing import Any

import pytest

from quorate.sim.errors import LivenessError
from quorate.sim.pace import RealPace, VirtualPace
from quorate.sim.scheduler import Scheduler
from quorate.sim.tasks import Future, Tasks


@pytest.fixture(params=[VirtualPace, RealPace])
def tasks(request: pytest.FixtureRequest) -> Tasks:
    return Tasks(Scheduler(request.param()))


def test_a_sleep_takes_its_time(tasks: Tasks) -> None:
    async def story() -> int:
        before = tasks.now
        await tasks.sleep(3_000)
        return tasks.now - before

    assert tasks.run(story()) >= 3_000


def test_virtual_time_jumps() -> None:
    tasks = Tasks(Scheduler())

    async def story() -> None:
        await tasks.sleep(3_600_000_000)

    tasks.run(story())
    assert tasks.now == 3_600_000_000


def test_those_who_sleep_go_on_in_the_order_of_their_times(tasks: Tasks) -> None:
    woken: list[int] = []

    async def sleeper(duration_us: int) -> None:
        await tasks.sleep(duration_us)
        woken.append(duration_us)

    async def story() -> None:
        for task in [tasks.spawn(sleeper(us)) for us in (3_000, 1_000, 2_000)]:
            await task

    tasks.run(story())
    assert woken == [1_000, 2_000, 3_000]


def test_those_who_are_ready_together_go_on_in_the_order_in_which_they_became_ready(
    tasks: Tasks,
) -> None:
    order: list[int] = []
    gate: Future[str] = Future()

    async def waiter(number: int) -> None:
        assert await gate == "open"
        order.append(number)

    async def story() -> None:
        waiting = [tasks.spawn(waiter(number)) for number in range(5)]
        await tasks.sleep(10)
        gate.set("open")
        assert order == []
        for task in waiting:
            await task

    tasks.run(story())
    assert order == [0, 1, 2, 3, 4]


def test_a_task_gives_its_result_to_all_who_await_it(tasks: Tasks) -> None:
    async def answer() -> int:
        await tasks.sleep(10)
        return 42

    async def asks(task: Coroutine[Any, Any, int] | Any) -> int:
        result: int = await task
        return result

    async def story() -> list[int]:
        task = tasks.spawn(answer())
        others = [tasks.spawn(asks(task)) for _ in range(2)]
        return [await task, await task, *[await other for other in others]]

    assert tasks.run(story()) == [42, 42, 42, 42]


async def fails() -> None:
    raise ValueError("planted")


def test_an_exception_goes_to_whoever_awaits_the_task(tasks: Tasks) -> None:
    async def story() -> str:
        with pytest.raises(ValueError, match="planted"):
            await tasks.spawn(fails())
        return "went on"

    assert tasks.run(story()) == "went on"


def test_an_exception_in_a_task_that_nobody_awaits_ends_the_run(tasks: Tasks) -> None:
    async def story() -> None:
        tasks.spawn(fails())
        await tasks.sleep(1_000_000_000)

    with pytest.raises(ValueError, match="planted"):
        tasks.run(story())


def test_waiting_for_what_never_comes_is_an_error(tasks: Tasks) -> None:
    async def story() -> None:
        await Future[None]()

    with pytest.raises(LivenessError, match="waits for somebody"):
        tasks.run(story())


def test_two_who_wake_each_other_for_ever_are_an_error() -> None:
    tasks = Tasks(Scheduler())

    async def story() -> None:
        while True:
            gate: Future[None] = Future()
            tasks.scheduler.after(0, lambda gate=gate: gate.set(None))  # type: ignore[misc]
            await gate

    with pytest.raises(LivenessError, match="at 0 us"):
        tasks.run(story())


def test_cancelled_tasks_clean_up_and_never_go_on(tasks: Tasks) -> None:
    notes: list[str] = []

    async def sleeper() -> None:
        try:
            await tasks.sleep(10)
            notes.append("went on")
        finally:
            notes.append("cleaned up")

    async def story() -> None:
        tasks.spawn(sleeper())
        await tasks.sleep(1)

    tasks.run(story())
    tasks.cancel_all()
    assert notes == ["cleaned up"]


def test_at_the_real_pace_time_is_that_of_the_machine() -> None:
    pace = RealPace()
    begun = pace.wait_until(0)
    assert pace.wait_until(begun + 2_000) >= begun + 2_000
