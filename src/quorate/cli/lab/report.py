"""What `quorate lab` prints besides the course's own lines: failures, summaries, the verdict."""

from collections import defaultdict
from collections.abc import Sequence

import click

from quorate.cli.lab.job import Job
from quorate.lab.results import SECOND_US
from quorate.lab.runner import ClockKind, Outcome
from quorate.lab.suite import VARIANTS


class Printed:
    """What is on the terminal of tests that run once: the course's lines, below headings."""

    def __init__(self) -> None:
        self._variant = ""
        self._begun: set[Job] = set()

    def line(self, job: Job, line: str) -> None:
        """A line of the course, as soon as it is known."""
        self._begin(job)
        click.echo(line)

    def outcome(self, job: Job, outcome: Outcome) -> None:
        """What became of a job; with its lines, if they have not come one by one."""
        if job not in self._begun:
            self._begin(job)
            for line in outcome.lines:
                click.echo(line)
        if outcome.failure is not None:
            print_failure(job, outcome)

    def _begin(self, job: Job) -> None:
        self._begun.add(job)
        if job.variant != self._variant:
            self._variant = job.variant
            click.echo(f"--- {VARIANTS[job.variant]}")


def print_failure(job: Job, outcome: Outcome) -> None:
    """What Go prints of a failed test, and how to see it again."""
    seconds = outcome.duration_us / SECOND_US
    click.echo(f"--- FAIL: {job.name} ({seconds:.2f}s)")
    click.echo(f"    {outcome.failure}")
    for line in outcome.details.splitlines():
        click.echo(f"    {line}")
    click.echo(f"    seed {job.seed}; run it again with: {job.command}")


def print_summary(outcomes: Sequence[tuple[Job, Outcome]]) -> None:
    """How often each test ran and failed, and how to see each failure again."""
    runs: defaultdict[tuple[str, str], list[Outcome]] = defaultdict(list)
    for job, outcome in outcomes:
        runs[job.name, job.variant].append(outcome)
    click.echo(f"{'test':<44} {'variant':<12} {'runs':>5} {'failed':>6} {'seconds each':>16}")
    for (name, variant), found in runs.items():
        failed = sum(outcome.failure is not None for outcome in found)
        durations = sorted(outcome.duration_us / SECOND_US for outcome in found)
        spread = f"{durations[0]:.1f} to {durations[-1]:.1f}"
        click.echo(f"{name:<44} {variant:<12} {len(found):>5} {failed:>6} {spread:>16}")
    for job, outcome in outcomes:
        if outcome.failure is not None:
            print_failure(job, outcome)


def print_verdict(outcomes: Sequence[tuple[Job, Outcome]], wall_s: float) -> None:
    """What was judged of clients' histories; `PASS` or `FAIL`, and how long it took."""
    judged = [outcome.judged for _, outcome in outcomes if outcome.judged]
    if judged:
        runs = f"{len(judged)} run{'' if len(judged) == 1 else 's'}"
        click.echo(f"linearizable: the histories of {runs}, {sum(judged):,} operations")
    failed = any(outcome.failure is not None for _, outcome in outcomes)
    lived = sum(outcome.duration_us for _, outcome in outcomes) / SECOND_US
    is_virtual = any(job.clock is ClockKind.VIRTUAL for job, _ in outcomes)
    note = f" ({lived:,.1f} s of virtual time)" if is_virtual else ""
    click.echo("FAIL" if failed else "PASS")
    click.echo(f"{'FAIL' if failed else 'ok'}  quorate/lab  {wall_s:.3f}s{note}")
