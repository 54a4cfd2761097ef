"""Runs work on all cores: in processes that share nothing with this one, and end with it."""

import contextlib
import multiprocessing
import os
import signal
import threading
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from multiprocessing.connection import Connection
from multiprocessing.connection import wait as wait_for_connections
from typing import TypeVar

Job = TypeVar("Job")
Result = TypeVar("Result")


def run_on_all_cores(
    jobs: Sequence[Job], work: Callable[[Job], Result]
) -> Iterator[tuple[Job, Result]]:
    """Runs them at once, as far as there are cores; each result comes when it is known."""
    cores = max(1, min(len(jobs), os.cpu_count() or 1))
    with processes(cores, prepare_worker) as executor:
        yield from _in_order_of_completion(executor, jobs, work, at_once=4 * cores)


@contextlib.contextmanager
def processes(count: int, prepare: Callable[[Connection], None]) -> Iterator[ProcessPoolExecutor]:
    """Processes that share nothing with this one but the two ends of a pipe.

    If this comes to no good end, they end at once: nobody wants what they were doing any more.
    """
    context = multiprocessing.get_context("spawn")
    lifeline, held = context.Pipe(duplex=False)
    with (
        lifeline,
        held,
        ProcessPoolExecutor(
            count, mp_context=context, initializer=prepare, initargs=(lifeline,)
        ) as executor,
    ):
        try:
            yield executor
        except BaseException:
            held.close()
            executor.shutdown(cancel_futures=True)
            raise


def prepare_worker(lifeline: Connection) -> None:
    """Begins the life of a process that works. Ctrl-C is for its parent, with whom it ends.

    Args:
        lifeline: when nobody holds the other end any more, this process ends, whatever it does.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with, args=(lifeline,), daemon=True).start()


def _end_with(lifeline: Connection) -> None:
    wait_for_connections([lifeline])
    os._exit(1)


def _in_order_of_completion(
    executor: ProcessPoolExecutor,
    jobs: Sequence[Job],
    work: Callable[[Job], Result],
    *,
    at_once: int,
) -> Iterator[tuple[Job, Result]]:
    left = _from_both_ends(jobs)
    under_way: dict[Future[Result], Job] = {}
    while True:
        while len(under_way) < at_once and (job := next(left, None)) is not None:
            under_way[executor.submit(work, job)] = job
        if not under_way:
            return
        done, _ = wait(under_way, return_when=FIRST_COMPLETED)
        for future in sorted(done, key=list(under_way).index):
            yield under_way.pop(future), future.result()


def _from_both_ends(jobs: Sequence[Job]) -> Iterator[Job]:
    """The first, the last, the second: if long ones are last, they are to begin early."""
    left = deque(jobs)
    while left:
        yield left.popleft()
        if left:
            yield left.pop()
