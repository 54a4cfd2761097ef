"""One run of one scenario, as it is given to a process, recorded and replayed."""

import os
from collections.abc import Callable
from multiprocessing.connection import Connection

import msgspec

from quorate.cli.lab.judge import judge
from quorate.cli.workers import prepare_worker
from quorate.lab.edition import Edition
from quorate.lab.runner import ClockKind, Outcome, Run, play_scenario
from quorate.lab.suite import find

_NICENESS = 10
"""Of a process whose work must not disturb a test that runs in real time."""


class Job(msgspec.Struct, frozen=True, kw_only=True):
    """What to run, and how; two runs of one job on the virtual clock are the same.

    Attributes:
        name: the scenario's.
        variant: the scenario's.
        seed: decides all that is left to chance.
        clock: how time passes.
        edition: of the course.
    """

    name: str
    variant: str
    seed: int
    clock: ClockKind
    edition: Edition

    @property
    def command(self) -> str:
        """The command that runs this again."""
        words = ["quorate lab", self.name, f"--variant {self.variant}", f"--seed {self.seed}"]
        if self.clock is not ClockKind.VIRTUAL:
            words.append(f"--clock {self.clock}")
        if self.edition is not Edition.Y2018:
            words.append(f"--edition {self.edition}")
        return " ".join(words)


def play_job(job: Job, report: Callable[[str], None] = lambda _: None) -> Run:
    """Runs it to its end, without a judgement on its histories; see `play_scenario`."""
    scenario = find(job.name, job.variant)
    try:
        return play_scenario(
            scenario, seed=job.seed, clock=job.clock, edition=job.edition, report=report
        )
    except Exception as error:
        error.add_note(f"run this again with: {job.command}")
        raise


def run_job(job: Job, report: Callable[[str], None] = lambda _: None) -> Outcome:
    """Runs it to its end, and judges its histories."""
    run = play_job(job, report)
    return judge(run.histories).applied_to(run.outcome)


def prepare_judge(lifeline: Connection) -> None:
    """Begins the life of a process that judges while another one runs jobs in real time."""
    prepare_worker(lifeline)
    os.nice(_NICENESS)
