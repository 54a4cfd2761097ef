"""`quorate status`: what each node says of itself."""

import asyncio
import sys
from collections.abc import Sequence

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
        _print_rich_table(reports)
    else:
        _print_plain_table(reports)
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


def _print_plain_table(reports: Sequence[NodeReport]) -> None:
    rows = [list(_HEADINGS), *map(_cells, reports)]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        cells = (cell.ljust(width) for cell, width in zip(row, widths, strict=True))
        click.echo("  ".join(cells).rstrip())


def _print_rich_table(reports: Sequence[NodeReport]) -> None:
    # Importing it takes a tenth of a second, which only people's eyes are worth.
    from rich.console import Console  # noqa: PLC0415
    from rich.table import Table  # noqa: PLC0415

    table = Table(*_HEADINGS)
    styles = {"leader": "bold green", None: "red"}
    for report in reports:
        table.add_row(*_cells(report), style=styles.get(report.role))
    Console().print(table)
