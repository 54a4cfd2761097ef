"""The command `quorate lab`."""

import contextlib
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import click

from quorate.cli.errors import CommandFailure, ExitStatus
from quorate.cli.lab.job import Job
from quorate.cli.lab.pool import run_here, run_on_all_cores
from quorate.cli.lab.record import Record
from quorate.cli.lab.report import (
    heading,
    print_failure,
    print_summary,
    print_verdict,
    print_waiting,
)
from quorate.lab.edition import Edition
from quorate.lab.runner import ClockKind, Outcome
from quorate.lab.scenario import Scenario
from quorate.lab.suite import VARIANTS, choose

UNFINISHED = Path("quorate-lab.jsonl")
"""Where a run of many seeds notes what it has done, unless told otherwise."""

Done = Iterator[tuple[Job, Outcome]]


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
    scenarios = _choose(tests, variant)
    jobs = [
        Job(
            name=scenario.name,
            variant=scenario.variant,
            seed=each,
            clock=ClockKind(clock),
            edition=Edition(int(edition)),
        )
        for each in range(seed, seed + count)
        for scenario in scenarios
        if not scenario.waits_for
    ]
    unfinished = UNFINISHED if count > 1 and record_path is None else None
    with _record(record_path or unfinished) as record:
        outcomes = _run_many(jobs, record) if count > 1 else _run_once(jobs, record)
    if unfinished is not None:
        unfinished.unlink()
    print_waiting(scenarios)
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


def _run(jobs: Sequence[Job], record: Record | None, report: Callable[[str], None]) -> Done:
    """Runs what the record does not hold, and adds it; in any order."""
    done = {} if record is None else record.done
    yield from ((job, done[job]) for job in jobs if job in done)
    left = [job for job in jobs if job not in done]
    takes_cores = len(left) > 1 and left[0].clock is ClockKind.VIRTUAL
    for job, outcome in run_on_all_cores(left) if takes_cores else run_here(left, report):
        if record is not None:
            record.add(job, outcome)
        yield job, outcome


def _run_once(jobs: Sequence[Job], record: Record | None) -> list[tuple[Job, Outcome]]:
    """Each test once, with the course's lines, in the course's order."""
    is_live = len(jobs) == 1 or any(job.clock is ClockKind.REAL for job in jobs)
    done = _run(jobs, record, click.echo if is_live else _ignore)
    early: dict[Job, Outcome] = {}
    outcomes: list[tuple[Job, Outcome]] = []
    variant = None
    for job in jobs:
        if job.variant != variant:
            variant = job.variant
            click.echo(heading(variant))
        while job not in early:
            finished, outcome = next(done)
            early[finished] = outcome
        outcome = early[job]
        if not is_live:
            for line in outcome.lines:
                click.echo(line)
        if outcome.failure is not None:
            print_failure(job, outcome)
        outcomes.append((job, outcome))
    return outcomes


def _run_many(jobs: Sequence[Job], record: Record | None) -> list[tuple[Job, Outcome]]:
    """Each test with many seeds, with a summary."""
    known = {}
    with _progress(len(jobs)) as advance:
        for job, outcome in _run(jobs, record, _ignore):
            known[job] = outcome
            advance(job, outcome)
    outcomes = [(job, known[job]) for job in jobs]
    print_summary(outcomes)
    return outcomes


@contextlib.contextmanager
def _progress(total: int) -> Iterator[Callable[[Job, Outcome], None]]:
    """A bar on a terminal; nothing in a pipe."""
    if not sys.stderr.isatty():
        yield lambda job, outcome: None  # noqa: ARG005 - nobody watches
        return
    # What draws bars takes a tenth of a second to import, which only people's eyes are worth.
    from quorate.cli.lab.progress import ProgressBar  # noqa: PLC0415

    with ProgressBar(total) as bar:
        yield bar.advance


def _ignore(_: str) -> None:
    """Nobody watches the lines as they come."""
