"""Runs jobs: in this process one after another, or on all cores."""

import multiprocessing
import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait

from quorate.cli.lab.job import Job, prepare_worker, run_job
from quorate.lab.runner import Outcome


def run_here(jobs: Sequence[Job], report: Callable[[str], None]) -> Iterator[tuple[Job, Outcome]]:
    """Runs them one after another.

    Args:
        jobs: which.
        report: is given each line of the course as soon as it is known.
    """
    for job in jobs:
        yield job, run_job(job, report)


def run_on_all_cores(jobs: Sequence[Job]) -> Iterator[tuple[Job, Outcome]]:
    """Runs them at once, as far as there are cores; each outcome comes when it is known."""
    # A process of its own for each core, which shares nothing with this one.
    context = multiprocessing.get_context("spawn")
    cores = max(1, min(len(jobs), os.cpu_count() or 1))
    with ProcessPoolExecutor(cores, mp_context=context, initializer=prepare_worker) as executor:
        try:
            yield from _in_order_of_completion(executor, jobs, at_once=4 * cores)
        except BaseException:
            executor.shutdown(cancel_futures=True)
            raise


def _in_order_of_completion(
    executor: ProcessPoolExecutor, jobs: Sequence[Job], *, at_once: int
) -> Iterator[tuple[Job, Outcome]]:
    left = iter(jobs)
    under_way: dict[Future[Outcome], Job] = {}
    while True:
        while len(under_way) < at_once and (job := next(left, None)) is not None:
            under_way[executor.submit(run_job, job)] = job
        if not under_way:
            return
        done, _ = wait(under_way, return_when=FIRST_COMPLETED)
        for future in sorted(done, key=list(under_way).index):
            yield under_way.pop(future), future.result()
