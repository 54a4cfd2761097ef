"""The command `quorate swarm`."""

import time
from collections.abc import Sequence
from pathlib import Path

import click

from quorate.cli.errors import CommandFailure, ExitStatus
from quorate.cli.progress import progress
from quorate.cli.swarm.page import render
from quorate.cli.swarm.report import print_failure, print_summary, print_verdict
from quorate.cli.workers import run_on_all_cores
from quorate.sim.faults import KINDS
from quorate.sim.life import Life, drawn_life
from quorate.sim.runner import Outcome, live, record, shrink
from quorate.sim.world import is_part


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
    help="So many times as seldom clients call and trouble comes.  [default: as the seed says]",
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
    failed = [outcome for outcome in outcomes if outcome.failure is not None]
    smallest = [shrink(outcome) for outcome in failed]
    for outcome, smaller in zip(failed, smallest, strict=True):
        print_failure(outcome, smaller)
    if page is not None:
        _write_page(page, (smallest or outcomes)[0].life)
    print_verdict(outcomes, time.monotonic() - begun)
    if failed:
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
    if len(lives) == 1:
        return [live(lives[0])]
    known: dict[Life, Outcome] = {}
    with progress(len(lives)) as advance:
        for life, outcome in run_on_all_cores(lives, live):
            known[life] = outcome
            advance(f"seed {life.seed}", failed=outcome.failure is not None)
    return [known[life] for life in lives]
