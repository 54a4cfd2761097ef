"""`quorate status`: what each node says of itself."""

import asyncio
import sys
from collections.abc import Sequence
from typing import IO

import click
import msgspec

from quorate.cli.errors import ExitStatus
from quorate.cli.parameters import Seconds, servers_option
from quorate.node.status import NodeStatus
from quorate.runtime.ask import ask_statuses


class NodeReport(msgspec.Struct, frozen=True, kw_only=True):
    """One node, as `quorate status --json` lists it; what only the node knows is None without it.

    Attributes:
        id: its number.
        role: `follower`, `pre-candidate`, `candidate` or `leader`.
        term: its current term.
        commit_index: up to which index it knows the log to be committed.
        last_applied: up to which index it has applied the log.
        raft_state_bytes: its persisted Raft state, in bytes.
        client_address: where it serves clients; where it was asked if it does not answer.
        pid: its process.
        reachable: whether it has answered.
    """

    id: int | None = None
    role: str | None = None
    term: int | None = None
    commit_index: int | None = None
    last_applied: int | None = None
    raft_state_bytes: int | None = None
    client_address: str
    pid: int | None = None
    reachable: bool


def report_of(server: str, status: NodeStatus | None) -> NodeReport:
    """The report on the node at this address.

    Args:
        server: where it was asked.
        status: what it has answered; None if nothing.
    """
    if status is None:
        return NodeReport(client_address=server, reachable=False)
    return NodeReport(
        id=status.id,
        role=status.role,
        term=status.term,
        commit_index=status.commit_index,
        last_applied=status.last_applied,
        raft_state_bytes=status.raft_state_bytes,
        client_address=status.client_address,
        pid=status.pid,
        reachable=True,
    )


@click.command()
@servers_option
@click.option(
    "--timeout",
    type=Seconds(0.01, 3600),
    default=2.0,
    show_default=True,
    help="Seconds to wait for each node.",
)
@click.option("--json", "as_json", is_flag=True, help="Print a JSON list.")
@click.pass_context
def status(
    ctx: click.Context,
    servers: tuple[str, ...],
    timeout: float,
    as_json: bool,  # noqa: FBT001 - click's way of calling
) -> None:
    """Shows role, term and indices of each of the given nodes.

    The exit status is 1 if none of them can be reached.
    """
    statuses = asyncio.run(ask_statuses(servers, timeout_s=timeout))
    reports = [report_of(server, found) for server, found in zip(servers, statuses, strict=True)]
    if as_json:
        click.echo(msgspec.json.format(msgspec.json.encode(reports)))
    elif sys.stdout.isatty():
        print_rich_table(reports, sys.stdout, width=None)
    else:
        _print_plain_table([_cells(report) for report in reports], sys.stdout)
    if not any(report.reachable for report in reports):
        ctx.exit(ExitStatus.FAILED)


_HEADINGS = (
    "ID",
    "ROLE",
    "TERM",
    "COMMIT INDEX",
    "LAST APPLIED",
    "RAFT STATE BYTES",
    "CLIENT ADDRESS",
    "PID",
)


_GAP = 1  # columns between two cells


def _cells(report: NodeReport) -> list[str]:
    values = (
        report.id,
        report.role or "unreachable",
        report.term,
        report.commit_index,
        report.last_applied,
        report.raft_state_bytes,
        report.client_address,
        report.pid,
    )
    return ["-" if value is None else str(value) for value in values]


def _print_plain_table(rows: Sequence[Sequence[str]], file: IO[str]) -> None:
    lines = [_HEADINGS, *rows]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    for line in lines:
        cells = (cell.ljust(width) for cell, width in zip(line, widths, strict=True))
        click.echo("  ".join(cells).rstrip(), file=file)


def print_rich_table(reports: Sequence[NodeReport], file: IO[str], width: int | None) -> None:
    """Prints the table for people, so that a terminal of 80 columns has room for it.

    Headings take several lines where that saves room, cells never do, and are never cut off: for a
    terminal that is too narrow for them this is the plain table.

    Args:
        reports: one for each row.
        file: where to print it.
        width: columns; those of the terminal if None.
    """
    # Importing it takes a tenth of a second, which only people's eyes are worth.
    from rich import box  # noqa: PLC0415
    from rich.console import Console  # noqa: PLC0415
    from rich.table import Column, Table  # noqa: PLC0415

    rows = [_cells(report) for report in reports]
    widths = [
        max(len(word) for word in (*heading.split(), *cells))
        for heading, *cells in zip(_HEADINGS, *rows, strict=True)
    ]
    console = Console(file=file, width=width)
    if sum(widths) + _GAP * (len(widths) - 1) > console.width:
        _print_plain_table(rows, file)
        return
    columns = [Column(name, width=n) for name, n in zip(_HEADINGS, widths, strict=True)]
    table = Table(*columns, box=box.SIMPLE_HEAD, show_edge=False, padding=0)
    styles = {"leader": "bold green", None: "red"}
    for report, row in zip(reports, rows, strict=True):
        table.add_row(*row, style=styles.get(report.role))
    console.print(table)
