"""`quorate status`: what each node says of itself."""

import asyncio
import sys
from collections.abc import Sequence
from typing import IO

import click
import msgspec

from quorate.cli.amounts import shown_bytes, shown_duration, shown_share
from quorate.cli.errors import ExitStatus
from quorate.cli.parameters import answer_timeout_option, servers_option
from quorate.cli.tables import Row, print_plain_table, print_rich_table
from quorate.node.status import NodeStatus, SnapshotProgress
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
        snapshot_index: up to where in the log its newest snapshot goes; 0 without one.
        snapshot_bytes: the size of that; 0 without one.
        snapshot_age_ms: by how much cluster time has gone on since; None without one.
        snapshot_is_lost: it cannot be read any more, and the leader has not sent another one yet.
        snapshot_has_failed: there was no space for the last one that was begun.
        snapshot_taking: one that is being taken.
        snapshot_receiving: one that comes from the leader.
        snapshot_restoring: one that is being read.
        snapshots_sending: those that go to followers.
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
    snapshot_index: int | None = None
    snapshot_bytes: int | None = None
    snapshot_age_ms: int | None = None
    snapshot_is_lost: bool | None = None
    snapshot_has_failed: bool | None = None
    snapshot_taking: SnapshotProgress | None = None
    snapshot_receiving: SnapshotProgress | None = None
    snapshot_restoring: SnapshotProgress | None = None
    snapshots_sending: tuple[SnapshotProgress, ...] | None = None
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
        snapshot_index=status.snapshot_index,
        snapshot_bytes=status.snapshot_bytes,
        snapshot_age_ms=status.snapshot_age_ms,
        snapshot_is_lost=status.snapshot_is_lost,
        snapshot_has_failed=status.snapshot_has_failed,
        snapshot_taking=status.snapshot_taking,
        snapshot_receiving=status.snapshot_receiving,
        snapshot_restoring=status.snapshot_restoring,
        snapshots_sending=status.snapshots_sending,
        client_address=status.client_address,
        pid=status.pid,
        reachable=True,
    )


@click.command()
@servers_option
@answer_timeout_option
@click.option("--json", "as_json", is_flag=True, help="Print a JSON list.")
@click.pass_context
def status(
    ctx: click.Context,
    servers: tuple[str, ...],
    timeout: float,
    as_json: bool,  # noqa: FBT001 - click's way of calling
) -> None:
    """Shows role, term, indices and snapshots of each of the given nodes.

    The exit status is 1 if none of them can be reached.
    """
    statuses = asyncio.run(ask_statuses(servers, timeout_s=timeout))
    reports = [report_of(server, found) for server, found in zip(servers, statuses, strict=True)]
    if as_json:
        click.echo(msgspec.json.format(msgspec.json.encode(reports)))
    else:
        print_tables(reports, sys.stdout, for_people=sys.stdout.isatty())
    if not any(report.reachable for report in reports):
        ctx.exit(ExitStatus.FAILED)


# ---------------------------------------------------------------------- the nodes

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


# ---------------------------------------------------------------------- their snapshots

_SNAPSHOT_HEADINGS = ("ID", "SNAPSHOT INDEX", "SIZE", "AGE", "UNDER WAY")


def _snapshot_rows(report: NodeReport) -> list[list[str]]:
    """What a node says of snapshots: what it has, and a line for each that is under way."""
    cells = [str(report.id), "-", "-", "-"]
    if report.snapshot_index:
        cells[1] = str(report.snapshot_index)
    if report.snapshot_bytes:
        cells[2] = shown_bytes(report.snapshot_bytes)
    if report.snapshot_age_ms is not None:
        cells[3] = shown_duration(report.snapshot_age_ms)
    first, *further = _under_way(report) or ["-"]
    return [[*cells, first], *(["", "", "", "", line] for line in further)]


def _under_way(report: NodeReport) -> list[str]:
    lines = []
    if report.snapshot_is_lost:
        lines.append("lost: waits for one from the leader")
    if report.snapshot_has_failed:
        lines.append("no room on the disk: tries again")
    for verb, progress in (
        ("taking", report.snapshot_taking),
        ("receiving", report.snapshot_receiving),
        ("restoring", report.snapshot_restoring),
    ):
        if progress is not None:
            lines.append(f"{verb} {progress.index}: {shown_progress(progress)}")
    lines += [
        f"sending {progress.index} to {progress.to}: {shown_progress(progress)}"
        for progress in report.snapshots_sending or ()
    ]
    return lines


def shown_progress(progress: SnapshotProgress) -> str:
    """How far a snapshot has come."""
    if progress.size is None:
        return shown_bytes(progress.offset)
    return shown_share(progress.offset, progress.size)


# ---------------------------------------------------------------------- both


def print_tables(
    reports: Sequence[NodeReport], file: IO[str], *, for_people: bool, width: int | None = None
) -> None:
    """Prints a table of the nodes, and one of the snapshots of those that have answered.

    Args:
        reports: one for each node.
        file: where to print it.
        for_people: whether it is looked at, so that a terminal of 80 columns should have room.
        width: columns of the terminal, as far as that is not known.
    """
    nodes = [_cells(report) for report in reports]
    styles = {"leader": "bold green", None: "red"}
    node_styles = {
        position: styles[report.role]
        for position, report in enumerate(reports)
        if report.role in styles
    }
    answered = [report for report in reports if report.reachable]
    snapshots = [row for report in answered for row in _snapshot_rows(report)]
    tables: list[tuple[Row, list[list[str]], dict[int, str]]] = [(_HEADINGS, nodes, node_styles)]
    if snapshots:
        tables.append((_SNAPSHOT_HEADINGS, snapshots, {}))
    for position, (headings, rows, row_styles) in enumerate(tables):
        if position:
            click.echo(file=file)
        if for_people:
            print_rich_table(headings, rows, row_styles, file, width)
        else:
            print_plain_table(headings, rows, file)
