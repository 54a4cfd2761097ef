"""Work that a thread does for the event loop."""

from __future__ import annotations

import asyncio
import threading
from functools import partial
from typing import TYPE_CHECKING

from quorate.runtime.disk_thread import DiskThread
from quorate.storage.errors import DiskFailedError, StorageError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    Run = Callable[[Callable[[], Awaitable[None]]], None]


def new_thread(failures: list[StorageError]) -> DiskThread:
    return DiskThread(asyncio.get_running_loop(), "work", on_failure=failures.append)


def test_one_piece_of_work_follows_the_other_and_the_event_loop_gets_the_results(
    run_on_loop: Run,
) -> None:
    async def test() -> None:
        results: asyncio.Queue[tuple[int, bool]] = asyncio.Queue()
        threads: set[threading.Thread] = set()

        def work(number: int) -> int:
            threads.add(threading.current_thread())
            return number

        def take(number: int) -> None:
            results.put_nowait((number, threading.current_thread() is threading.main_thread()))

        thread = new_thread([])
        for number in range(100):
            thread.do(partial(work, number), take)
        assert [await results.get() for _ in range(100)] == [(n, True) for n in range(100)]
        assert len(threads) == 1
        assert threading.main_thread() not in threads
        thread.close()

    run_on_loop(test)


def test_what_the_storage_raises_is_a_failure_and_no_result(run_on_loop: Run) -> None:
    async def test() -> None:
        failures: list[StorageError] = []
        results: asyncio.Queue[str] = asyncio.Queue()
        error = DiskFailedError("file", "sync", "I/O error")

        def fail() -> str:
            raise error

        thread = new_thread(failures)
        thread.do(fail, results.put_nowait)
        thread.do(lambda: "later", results.put_nowait)
        assert await results.get() == "later"
        assert failures == [error]
        thread.close()

    run_on_loop(test)


def test_a_bug_of_ours_reaches_who_handles_those_of_the_event_loop(run_on_loop: Run) -> None:
    async def test() -> None:
        caught: asyncio.Queue[BaseException] = asyncio.Queue()
        loop = asyncio.get_running_loop()
        loop.set_exception_handler(lambda _, context: caught.put_nowait(context["exception"]))
        thread = new_thread([])
        bug = AssertionError("ours")

        def fail() -> None:
            raise bug

        thread.do(fail, lambda _: None)
        assert await caught.get() is bug
        thread.close()

    run_on_loop(test)


def test_closing_waits_for_the_work_and_tells_nobody(run_on_loop: Run) -> None:
    async def test() -> None:
        done: list[str] = []
        told: list[str] = []
        may_go_on = threading.Event()

        def work() -> str:
            may_go_on.wait()
            done.append("work")
            return "result"

        thread = new_thread([])
        thread.do(work, told.append)
        threading.Timer(0.05, may_go_on.set).start()
        thread.close()
        assert done == ["work"]
        for _ in range(3):  # what it would have told comes with the next turns
            await asyncio.sleep(0)
        assert told == []

    run_on_loop(test)
