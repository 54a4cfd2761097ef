"""The command `quorate swarm`."""

import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TypeVar

import click

from quorate.cli.errors import CommandFailure, ExitStatus
from quorate.cli.progress import progress
from quorate.cli.swarm.page import render
from quorate.cli.swarm.report import print_failure, print_smallest, print_summary, print_verdict
from quorate.cli.workers import run_on_all_cores
from quorate.sim.faults import KINDS
from quorate.sim.life import Life, drawn_life
from quorate.sim.runner import Outcome, live, record, shrink
from quorate.sim.world import is_part

Job = TypeVar("Job")

_SHRUNK = 3
"""So many lives that failed are made smaller: that takes a dozen or two lives each."""


@click.command(context_settings={"show_default": True})
@click.option("--seeds", type=click.IntRange(min=1), default=1, help="How many lives.")
@click.option("--first-seed", default=1, help="The seed of the first.")
@click.option(
    "--seconds", type=click.IntRange(min=1), default=60, help="Virtual ones of trouble in each."
)
@click.option(
    "--churn/--no-churn",
    default=None,
    help="Whether members come and go, and disks are lost.  [default: as the seed says]",
)
@click.option(
    "--tempo",
    type=click.IntRange(min=1),
    help="So many times as seldom trouble comes; all else is slower.  [default: as the seed says]",
)
@click.option(
    "--without", multiple=True, metavar="NAME", help="A kind of trouble, or a client, to leave out."
)
@click.option(
    "--record",
    "page",
    type=click.Path(dir_okay=False, path_type=Path),
    metavar="FILE.html",
    help="Write a page on the life, to look at in a browser; of several, on the first that fails.",
)
@click.pass_context
def swarm(
    ctx: click.Context,
    *,
    seeds: int,
    first_seed: int,
    seconds: int,
    churn: bool | None,
    tempo: int | None,
    without: tuple[str, ...],
    page: Path | None,
) -> None:
    """Lives whole clusters of production code in a hostile world, each drawn from one seed.

    A life has trouble of all kinds at first; then the world heals, and everything has to become as
    it should be. If one fails, it is made smaller, and the command that lives it again is printed.
    """
    begun = time.monotonic()
    _check_names(without)
    lives = [
        drawn_life(seed, seconds=seconds, churn=churn, tempo=tempo, without=without)
        for seed in range(first_seed, first_seed + seeds)
    ]
    outcomes = _live_all(lives)
    print_summary(outcomes)
    print_verdict(outcomes, time.monotonic() - begun)
    smallest = _shrink([outcome for outcome in outcomes if outcome.failure is not None])
    for outcome in smallest:
        print_smallest(outcome)
    if page is not None:
        _write_page(page, (smallest or outcomes)[0].life)
    if smallest:
        ctx.exit(ExitStatus.FAILED)


def _check_names(without: tuple[str, ...]) -> None:
    for name in without:
        if name not in KINDS and not is_part(name):
            raise click.BadParameter(
                f"{name!r} is neither a kind of trouble nor a client. Clients are called as in "
                f"`clerk-0`, `plain-0`, `reader-0`; the kinds are {', '.join(KINDS)}",
                param_hint="--without",
            )


def _write_page(path: Path, life: Life) -> None:
    html = render(record(life), title=f"seed {life.seed}", replay=life.command)
    try:
        path.write_text(html, "utf-8")
    except OSError as error:
        raise CommandFailure(f"cannot write the page: {error}") from error
    click.echo(f"\na page on seed {life.seed}: {path}")


def _live_all(lives: Sequence[Life]) -> list[Outcome]:
    """Lives them all; what fails is told as soon as it is known."""
    known: dict[Life, Outcome] = {}
    with progress(len(lives)) as advance:
        for life, outcome in _on_cores(lives, live):
            known[life] = outcome
            if outcome.failure is not None:
                print_failure(outcome)
            advance(f"seed {life.seed}", failed=outcome.failure is not None)
    return [known[life] for life in lives]


def _shrink(failed: Sequence[Outcome]) -> list[Outcome]:
    """The first few of them, as small as they get."""
    some = failed[:_SHRUNK]
    smallest = {outcome.life: smaller for outcome, smaller in _on_cores(some, shrink)}
    return [smallest[outcome.life] for outcome in some]


def _on_cores(jobs: Sequence[Job], work: Callable[[Job], Outcome]) -> Iterator[tuple[Job, Outcome]]:
    """On all cores, but a single one in this process."""
    return run_on_all_cores(jobs, work) if len(jobs) > 1 else ((job, work(job)) for job in jobs)
