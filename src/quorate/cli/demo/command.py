"""The command `quorate demo`: the story on a cluster in a temporary directory, and its end."""

import asyncio
import signal
import sys
import tempfile
from pathlib import Path

import click

from quorate.cli.demo.display import Display, PlainDisplay
from quorate.cli.demo.story import ENOUGH_APPENDS, DemoFailedError, Story, Verdict
from quorate.cli.errors import CommandFailure, ExitStatus
from quorate.runtime.ask import NoAnswerError
from quorate.runtime.cluster_file import LocalClusterError
from quorate.runtime.local_cluster import LocalCluster


@click.command()
@click.pass_context
def demo(ctx: click.Context) -> None:
    """Shows in less than 30 seconds that a cluster of three survives what it promises to survive.

    Real server processes are killed while clients write; then every write is checked. The exit
    status is 0 only if none was lost, none doubled, and at least 5,000 were acknowledged.
    """
    try:
        with tempfile.TemporaryDirectory(prefix="quorate-demo-") as directory:
            verdict = asyncio.run(_tell(Path(directory), _display()))
    except (DemoFailedError, LocalClusterError, NoAnswerError) as error:
        raise CommandFailure(f"the demo has failed: {error}") from error
    except asyncio.CancelledError as error:
        raise click.Abort from error
    _print_verdict(verdict)
    if not verdict.has_passed:
        ctx.exit(ExitStatus.FAILED)


async def _tell(directory: Path, display: Display) -> Verdict:
    task = asyncio.current_task()
    assert task is not None
    # Ctrl-C does the same by itself.
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)
    with LocalCluster.create(directory) as cluster, display:
        return await Story(cluster, display).tell()


def _display() -> Display:
    if not sys.stdout.isatty():
        return PlainDisplay()
    # What draws tables takes a tenth of a second to import, which only people's eyes are worth.
    from quorate.cli.demo.live_display import LiveDisplay  # noqa: PLC0415

    return LiveDisplay()


def _print_verdict(verdict: Verdict) -> None:
    unknown_note = "outcome unknown: there once or not at all"
    click.echo("")
    click.echo(f"{verdict.acknowledged:>10,}  appends acknowledged")
    click.echo(f"{verdict.unknown:>10,}  appends not answered for certain ({unknown_note})")
    click.echo(f"{verdict.lost:>10,}  lost: acknowledged, but not there")
    click.echo(f"{verdict.doubled:>10,}  doubled: there more than once")
    click.echo(f"{verdict.misplaced:>10,}  out of their writer's order, or never to be there")
    click.echo("")
    if verdict.has_passed:
        click.echo("PASSED: every acknowledged append is on all three nodes, once and in order")
    elif verdict.acknowledged < ENOUGH_APPENDS:
        click.echo(f"FAILED: fewer than {ENOUGH_APPENDS:,} appends were acknowledged")
    else:
        click.echo("FAILED: the servers do not hold what they acknowledged")
