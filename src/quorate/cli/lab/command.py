"""The command `quorate lab`."""

import contextlib
import time
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path

import click

from quorate.cli.errors import CommandFailure, ExitStatus
from quorate.cli.lab.job import Job, play_job, run_job
from quorate.cli.lab.pool import run_one_after_another
from quorate.cli.lab.record import Record
from quorate.cli.lab.report import (
    Printed,
    print_summary,
    print_verdict,
)
from quorate.cli.progress import progress
from quorate.cli.workers import run_on_all_cores
from quorate.lab.edition import Edition
from quorate.lab.runner import ClockKind, Outcome
from quorate.lab.scenario import Scenario
from quorate.lab.suite import VARIANTS, choose

UNFINISHED = Path("quorate-lab.jsonl")
"""Where a run of many seeds notes what it has done, unless told otherwise."""

Done = Iterator[tuple[Job, Outcome]]
Report = Callable[[Job, str], None]
"""Is given each line of the course, with whose it is, as soon as it is known."""


@click.command(context_settings={"show_default": True})
@click.argument("tests", nargs=-1)
@click.option(
    "--clock",
    type=click.Choice([clock.value for clock in ClockKind]),
    default=ClockKind.VIRTUAL.value,
    help="Whether time jumps, and a seed decides everything; or passes, one test after another.",
)
@click.option("--seed", default=1, help="Of the first run of each test.")
@click.option("--count", type=click.IntRange(min=1), default=1, help="How many seeds.")
@click.option(
    "--edition",
    type=click.Choice([str(edition.value) for edition in Edition]),
    default="2018",
    help="Of the course: titles, columns, sizes of clusters.",
)
@click.option("--variant", type=click.Choice(list(VARIANTS)), help="Only on this one.")
@click.option(
    "--record",
    "record_path",
    type=click.Path(dir_okay=False, path_type=Path),
    metavar="FILE",
    help="Keep all outcomes; what the file holds already is not run again.",
)
@click.pass_context
def lab(
    ctx: click.Context,
    tests: tuple[str, ...],
    clock: str,
    seed: int,
    count: int,
    edition: str,
    variant: str | None,
    record_path: Path | None,
) -> None:
    """Runs the course's tests of Raft and of the key/value service, and prints its lines.

    TESTS are parts (2A, 3B), names of the course's test functions, or beginnings of either; all if
    there are none.

    With --count each test runs with that many seeds; if that is interrupted, the same command goes
    on where it was.
    """
    begun = time.monotonic()
    jobs = [
        Job(
            name=scenario.name,
            variant=scenario.variant,
            seed=each,
            clock=ClockKind(clock),
            edition=Edition(int(edition)),
        )
        for each in range(seed, seed + count)
        for scenario in _choose(tests, variant)
    ]
    unfinished = UNFINISHED if count > 1 and record_path is None else None
    with _record(record_path or unfinished) as record:
        outcomes = _run_many(jobs, record) if count > 1 else _run_once(jobs, record)
    if unfinished is not None:
        unfinished.unlink()
    print_verdict(outcomes, time.monotonic() - begun)
    if any(outcome.failure is not None for _, outcome in outcomes):
        ctx.exit(ExitStatus.FAILED)


def _choose(tests: tuple[str, ...], variant: str | None) -> list[Scenario]:
    try:
        return choose(tests, variant)
    except ValueError as error:
        raise click.BadParameter(str(error), param_hint="TESTS") from error


@contextlib.contextmanager
def _record(path: Path | None) -> Iterator[Record | None]:
    if path is None:
        yield None
        return
    try:
        record = Record(path)
    except (OSError, ValueError) as error:
        raise CommandFailure(f"cannot use the record: {error}") from error
    with record:
        yield record


def _run(jobs: Sequence[Job], record: Record | None, report: Report) -> Done:
    """Runs what the record does not hold, and adds it; in any order."""
    done = {} if record is None else record.done
    yield from ((job, done[job]) for job in jobs if job in done)
    for job, outcome in _run_left([job for job in jobs if job not in done], report):
        if record is not None:
            record.add(job, outcome)
        yield job, outcome


def _run_left(jobs: Sequence[Job], report: Report) -> Done:
    if any(job.clock is ClockKind.REAL for job in jobs):
        return run_one_after_another(jobs, lambda job: play_job(job, partial(report, job)))
    if len(jobs) > 1:
        return run_on_all_cores(jobs, run_job)
    return ((job, run_job(job, partial(report, job))) for job in jobs)


def _run_once(jobs: Sequence[Job], record: Record | None) -> list[tuple[Job, Outcome]]:
    """Each test once, with the course's lines in the course's order.

    In real time they come as they are known. Then a history may be judged only after the next test.
    """
    printed = Printed()
    done = _run(jobs, record, printed.line)
    if any(job.clock is ClockKind.VIRTUAL for job in jobs):
        done = _in_order(jobs, done)
    known = {}
    for job, outcome in done:
        known[job] = outcome
        printed.outcome(job, outcome)
    return [(job, known[job]) for job in jobs]


def _in_order(jobs: Sequence[Job], done: Done) -> Done:
    early: dict[Job, Outcome] = {}
    for job in jobs:
        while job not in early:
            finished, outcome = next(done)
            early[finished] = outcome
        yield job, early[job]


def _run_many(jobs: Sequence[Job], record: Record | None) -> list[tuple[Job, Outcome]]:
    """Each test with many seeds, with a summary."""
    known = {}
    with progress(len(jobs)) as advance:
        for job, outcome in _run(jobs, record, _ignore):
            known[job] = outcome
            advance(f"{job.name}, seed {job.seed}", failed=outcome.failure is not None)
    outcomes = [(job, known[job]) for job in jobs]
    print_summary(outcomes)
    return outcomes


def _ignore(_job: Job, _line: str) -> None:
    """Nobody watches the lines as they come."""
