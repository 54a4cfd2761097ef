"""The command `quorate torture`."""

import asyncio
import importlib.util
import secrets
import shutil
import signal
import tempfile
from datetime import UTC, datetime
from pathlib import Path

import click
import uvloop

from quorate.checker.page import render as render_history
from quorate.cli.errors import CommandFailure, ExitStatus
from quorate.cli.parameters import Directory, Seconds
from quorate.runtime.cluster_file import LocalClusterError


@click.command(context_settings={"show_default": True})
@click.option(
    "--seconds", type=Seconds(1, 7_200), default=120.0, help="For how long faults are inflicted."
)
@click.option("--nodes", type=click.IntRange(3, 9), default=3, help="How many servers there are.")
@click.option("--seed", type=click.IntRange(min=0), help="Of the faults; drawn if left out.")
@click.option(
    "--directory",
    type=Directory(),
    help="Where everything is kept. If left out: a temporary one, which stays if something is "
    "wrong.",
)
@click.option(
    "--report",
    "page",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="FILE.html",
    help="Write a page with latency over time and the faults.",
)
@click.pass_context
def torture(
    ctx: click.Context,
    seconds: float,
    nodes: int,
    seed: int | None,
    directory: Path | None,
    page: Path | None,
) -> None:
    """Puts real servers into a hostile world, and judges what their clients were told.

    Servers are killed, paused, restarted and wiped, their disks stall, fail and fill up, their
    network is cut, delayed and broken, while clients write and read through Clerks and redis-py.
    The exit status is 0 only if every promise was kept.
    """
    if importlib.util.find_spec("redis") is None:
        raise CommandFailure("some of the clients are redis-py: `pip install redis` first")
    if page is not None:
        page.touch()  # if that cannot be, better now than after all the work
    # Only now, for redis-py need not be there for any other command.
    from quorate.cli.torture.findings import Findings, Plan  # noqa: PLC0415
    from quorate.cli.torture.page import render  # noqa: PLC0415
    from quorate.cli.torture.report import report  # noqa: PLC0415
    from quorate.cli.torture.torture import Torture  # noqa: PLC0415

    place = directory or Path(tempfile.mkdtemp(prefix="quorate-torture-"))
    plan = Plan(
        seconds=seconds,
        nodes=nodes,
        seed=secrets.randbelow(1_000_000) if seed is None else seed,
        directory=place,
    )
    # The servers' logs tell the time in UTC.
    begun = f"{datetime.now(UTC):%H:%M:%S.%f}"[:-3]
    click.echo(f"seed {plan.seed}; everything is kept in {place}; 0.0 s is {begun} UTC")

    async def run() -> Findings:
        task = asyncio.current_task()
        assert task is not None
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)
        return await Torture(plan, _say).run()

    try:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            findings = runner.run(run())
    except LocalClusterError as error:
        raise CommandFailure(f"the torture could not begin: {error}") from error
    except asyncio.CancelledError as error:
        raise click.Abort from error
    click.echo(f"\n{report(findings)}")
    if page is not None:
        page.write_text(render(findings), "utf-8")
        click.echo(f"page: {page}")
    if not findings.has_passed:
        worst = findings.judgement.worst
        if worst is not None:
            (place / "history.html").write_text(render_history(worst), "utf-8")
        click.echo(f"what the servers have logged, and kept, is in {place}")
        ctx.exit(ExitStatus.FAILED)
    if directory is None:
        shutil.rmtree(place)


def _say(at_s: float, text: str) -> None:
    click.echo(f"{at_s:6.1f} s  {text}")
