"""What `quorate swarm` prints: how the lives were, what came in them, and which failed."""

import statistics
from collections import Counter
from collections.abc import Callable, Iterable, Sequence

import click

from quorate.sim.faults import KINDS
from quorate.sim.rare_turns import TURNS
from quorate.sim.report import Report
from quorate.sim.runner import Outcome
from quorate.sim.world import SECOND_US

_MEASURES: tuple[tuple[str, Callable[[Report], int]], ...] = (
    ("operations acknowledged", lambda report: report.acknowledged + report.reads),
    ("of these appends", lambda report: report.acknowledged),
    ("appends whose outcome is unknown", lambda report: report.unknown),
    ("appends that were not executed", lambda report: report.not_executed),
    ("terms with a leader", lambda report: report.leaders),
    ("crashes", lambda report: report.happened.get("ended", 0)),
    ("entries committed", lambda report: report.committed),
    ("snapshots taken", lambda report: report.happened.get("snapshots taken", 0)),
    ("states restored from one", lambda report: report.happened.get("states restored", 0)),
    ("changes of members", lambda report: report.changes),
    ("messages between servers", lambda report: report.messages),
)


def print_summary(outcomes: Sequence[Outcome]) -> None:
    """How the lives were, how often there was trouble of each kind, and each rare turn taken."""
    reports = [outcome.report for outcome in outcomes if outcome.report is not None]
    if reports:
        click.echo(f"{'in each life':<50} {'median':>9} {'least':>9} {'most':>9}")
        for name, measure in _MEASURES:
            values = sorted(map(measure, reports))
            middle = int(statistics.median(values))
            click.echo(f"{name:<50} {middle:>9,} {values[0]:>9,} {values[-1]:>9,}")
    _print_coverage("trouble", KINDS, [outcome.faults for outcome in outcomes])
    names = [turn.name for turn in TURNS]
    _print_coverage("rare turns", names, [outcome.turns for outcome in outcomes])


def _print_coverage(title: str, names: Iterable[str], counts: Sequence[dict[str, int]]) -> None:
    times: Counter[str] = Counter()
    lives: Counter[str] = Counter()
    for some in counts:
        times.update(some)
        lives.update(name for name, count in some.items() if count)
    click.echo(f"\n{title:<50} {'times':>9} {'in lives':>9}")
    for name in names:
        click.echo(f"{name:<50} {times[name]:>9,} {lives[name]:>9,}")
    never = [name for name in names if not times[name]]
    if never:
        click.echo(f"never: {', '.join(never)}")


def print_failure(outcome: Outcome) -> None:
    """What a life came to, and how to live it again."""
    failure = outcome.failure
    assert failure is not None
    seconds = failure.at_us / SECOND_US
    click.echo(f"seed {outcome.life.seed} FAILED after {seconds:.3f} virtual seconds")
    click.echo(f"    {failure.kind} at {failure.where}: {failure.text}")
    click.echo(f"    live it again with: {outcome.life.command}")


def print_smallest(outcome: Outcome) -> None:
    """A life that is as small as it gets."""
    failure = outcome.failure
    assert failure is not None
    click.echo(f"\nas small as seed {outcome.life.seed} gets, it fails with")
    click.echo(f"    {failure.kind} at {failure.where}: {failure.text}")
    click.echo(f"    live it again with: {outcome.life.command}")


def print_verdict(outcomes: Sequence[Outcome], wall_s: float) -> None:
    """`PASS` or `FAIL`, and what it took."""
    failed = sum(outcome.failure is not None for outcome in outcomes)
    churn = sum(outcome.life.churn for outcome in outcomes)
    hours = sum(o.report.virtual_us for o in outcomes if o.report is not None) / SECOND_US / 3600
    cpu_s = sum(outcome.cpu_s for outcome in outcomes)
    lives = "life" if len(outcomes) == 1 else "lives"
    click.echo(
        f"\n{len(outcomes):,} {lives}, in {churn:,} of them members come and go; "
        f"{hours:.2f} virtual hours in {wall_s:,.0f} s, {cpu_s:,.0f} s of processors"
    )
    click.echo(f"FAIL: {failed} of {len(outcomes):,}" if failed else "PASS")
