"""Runs jobs one after another, as real time needs it."""

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future

from quorate.cli.lab.job import Job, prepare_judge
from quorate.cli.lab.judge import judge_packed
from quorate.cli.workers import processes
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
    with processes(1, prepare_judge) as executor:
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
