"""`quorate snapshot`: lets nodes take a snapshot, and waits until it is durable."""

import asyncio
import sys
from collections.abc import AsyncIterator

import click

from quorate.cli.amounts import shown_bytes
from quorate.cli.errors import CommandFailure
from quorate.cli.parameters import Seconds, servers_option
from quorate.cli.status import shown_progress
from quorate.node.status import NodeStatus
from quorate.runtime.ask import NoAnswerError, ask, ask_status
from quorate.wire.resp_reply import ErrorReply

_ANSWER_TIMEOUT_S = 2.0
_POLL_S = 0.1
_SILENT_POLLS = 5
"""A node that has not answered so many times in a row has gone."""
_CLEAR_LINE = "\r\x1b[K"


@click.command()
@servers_option
@click.option(
    "--timeout",
    type=Seconds(0.01, 86_400),
    default=60.0,
    show_default=True,
    help="Seconds to wait for each node.",
)
def snapshot(servers: tuple[str, ...], timeout: float) -> None:
    """Lets each of the given nodes take a snapshot, one after the other.

    Returns when they are durable. A node takes snapshots by itself too, when its log has grown
    enough.
    """
    asyncio.run(_take_snapshots(servers, timeout))


class _SnapshotError(Exception):
    """A node has no new snapshot; the text says why and what to do."""


async def _take_snapshots(servers: tuple[str, ...], timeout_s: float) -> None:
    failures = []
    for server in servers:
        try:
            await _report(server, timeout_s)
        except _SnapshotError as error:
            failures.append(f"{server} {error}")
    if failures:
        raise CommandFailure("; ".join(failures))


async def _report(server: str, timeout_s: float) -> None:
    """Takes a snapshot at one node and prints how it goes.

    Raises:
        _SnapshotError: none is there in time.
    """
    is_terminal = sys.stdout.isatty()
    try:
        async for status in _follow(server, timeout_s):
            if is_terminal:
                click.echo(f"{_CLEAR_LINE}node {status.id}: {_stage(status)}", nl=False)
    finally:
        if is_terminal:
            click.echo(_CLEAR_LINE, nl=False)
    click.echo(
        f"node {status.id}: snapshot up to index {status.snapshot_index}, "
        f"{shown_bytes(status.snapshot_bytes)}"
    )


def _stage(status: NodeStatus) -> str:
    if status.snapshot_taking is None:
        return "waiting"
    return f"taking {status.snapshot_taking.index}: {shown_progress(status.snapshot_taking)}"


async def _follow(server: str, timeout_s: float) -> AsyncIterator[NodeStatus]:
    """Asks a node for a snapshot; yields its status until that is durable, the last one included.

    Raises:
        _SnapshotError: it does not come to that, or not in time.
    """
    loop = asyncio.get_running_loop()
    give_up_at = loop.time() + timeout_s
    answer_timeout_s = min(timeout_s, _ANSWER_TIMEOUT_S)
    before = await ask_status(server, timeout_s=answer_timeout_s)
    if before is None:
        raise _SnapshotError("cannot be reached")
    await _request(server, answer_timeout_s)
    silent = 0
    while True:
        status = await ask_status(server, timeout_s=answer_timeout_s)
        if status is not None:
            silent = 0
            _check(status, before)
            yield status
            if status.snapshot_index >= before.last_applied:
                return
        else:
            silent += 1
            if silent == _SILENT_POLLS:
                raise _SnapshotError("has gone before its snapshot was durable")
        if loop.time() >= give_up_at:
            raise _SnapshotError(
                f"has no snapshot after {timeout_s:g} s; it goes on, see `quorate status`"
            )
        await asyncio.sleep(_POLL_S)


async def _request(server: str, timeout_s: float) -> None:
    try:
        reply = await ask(server, b"QUORATE.SNAPSHOT", timeout_s=timeout_s)
    except NoAnswerError as error:
        raise _SnapshotError("does not answer any more") from error
    if isinstance(reply, ErrorReply):
        raise _SnapshotError(f"refuses: {reply.text}")


def _check(status: NodeStatus, before: NodeStatus) -> None:
    """Sees whether the node is still about it."""
    if status.pid != before.pid:
        raise _SnapshotError("was restarted before its snapshot was durable; ask it again")
    if status.snapshot_has_failed and status.snapshot_index < before.last_applied:
        raise _SnapshotError(
            "has no room on its disk for a snapshot; it keeps the one before, and tries again by "
            "itself"
        )
