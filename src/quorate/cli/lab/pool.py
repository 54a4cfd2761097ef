"""Runs jobs: on all cores; or one after another, as real time needs it."""

import contextlib
import multiprocessing
import os
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from multiprocessing.connection import Connection

from quorate.cli.lab.job import Job, prepare_judge, prepare_worker, run_job
from quorate.cli.lab.judge import judge_packed
from quorate.lab.judgement import Judgement
from quorate.lab.packed_history import pack
from quorate.lab.runner import Outcome, Run

Play = Callable[[Job], Run]
Judge = Callable[[list[bytes]], Judgement]


def run_one_after_another(
    jobs: Sequence[Job], play: Play, judge: Judge = judge_packed
) -> Iterator[tuple[Job, Outcome]]:
    """Runs them in this process, while a second one judges the histories of those before.

    Each outcome comes when it is final: not before its histories are judged, and never in the
    middle of a later job.

    Args:
        jobs: which.
        play: runs one.
        judge: judges the histories of one, as they are packed.
    """
    with _processes(1, prepare_judge) as executor:
        unjudged: deque[tuple[Job, Outcome, Future[Judgement]]] = deque()
        for job in jobs:
            outcome, histories = _play_and_pack(job, play)
            if histories:
                unjudged.append((job, outcome, executor.submit(judge, histories)))
            else:
                yield job, outcome
            while unjudged and unjudged[0][2].done():
                yield _final(*unjudged.popleft())
        while unjudged:
            yield _final(*unjudged.popleft())


def _play_and_pack(job: Job, play: Play) -> tuple[Outcome, list[bytes]]:
    run = play(job)
    return run.outcome, list(map(pack, run.histories))


def _final(job: Job, outcome: Outcome, judgement: Future[Judgement]) -> tuple[Job, Outcome]:
    return job, judgement.result().applied_to(outcome)


def run_on_all_cores(jobs: Sequence[Job]) -> Iterator[tuple[Job, Outcome]]:
    """Runs them at once, as far as there are cores; each outcome comes when it is known."""
    cores = max(1, min(len(jobs), os.cpu_count() or 1))
    with _processes(cores, prepare_worker) as executor:
        yield from _in_order_of_completion(executor, jobs, at_once=4 * cores)


@contextlib.contextmanager
def _processes(count: int, prepare: Callable[[Connection], None]) -> Iterator[ProcessPoolExecutor]:
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


def _in_order_of_completion(
    executor: ProcessPoolExecutor, jobs: Sequence[Job], *, at_once: int
) -> Iterator[tuple[Job, Outcome]]:
    left = _from_both_ends(jobs)
    under_way: dict[Future[Outcome], Job] = {}
    while True:
        while len(under_way) < at_once and (job := next(left, None)) is not None:
            under_way[executor.submit(run_job, job)] = job
        if not under_way:
            return
        done, _ = wait(under_way, return_when=FIRST_COMPLETED)
        for future in sorted(done, key=list(under_way).index):
            yield under_way.pop(future), future.result()


def _from_both_ends(jobs: Sequence[Job]) -> Iterator[Job]:
    """The first, the last, the second: long ones are last in the suite, and are to begin early."""
    left = deque(jobs)
    while left:
        yield left.popleft()
        if left:
            yield left.pop()
