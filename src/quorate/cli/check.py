"""`quorate check`: whether a recorded history is linearizable, and where it broke."""

import sys
from collections.abc import Sequence
from pathlib import Path

import click

from quorate import checker
from quorate.checker.explanation import describe, explain, quote
from quorate.checker.history import Operation
from quorate.checker.lines import HistoryFormatError, read_history
from quorate.checker.page import render
from quorate.checker.search import Outcome
from quorate.checker.verdict import KeyVerdict, Verdict
from quorate.cli.errors import CommandFailure, ExitStatus
from quorate.cli.parameters import Seconds
from quorate.runtime.clock import monotonic_us

_STATUS = {Outcome.OK: 0, Outcome.ILLEGAL: ExitStatus.FAILED, Outcome.UNKNOWN: ExitStatus.USAGE}

_MAX_LISTED = 8
"""How many operations of a kind are listed; the page has more."""


@click.command()
@click.argument("history", metavar="HISTORY.jsonl")
@click.option(
    "--html",
    metavar="FILE",
    help="Write a page that shows the key where it broke. Without this, the page is written if the "
    "history is illegal, to HISTORY.jsonl.html.",
)
@click.option(
    "--timeout",
    type=Seconds(min=0),
    default=60.0,
    show_default=True,
    help="Seconds after which the search gives up.",
)
@click.pass_context
def check(ctx: click.Context, history: str, html: str | None, timeout: float) -> None:
    """Decides whether a recorded history is linearizable.

    The format is described in docs/checker.md; `-` stands for standard input. The exit status is 0
    if the history is linearizable, 1 if not, and 2 if it can't be read or the search gave up.
    """
    operations = _read(history)
    deadline = monotonic_us() + int(timeout * 1_000_000)
    verdict = checker.check(
        operations, max_steps=None, is_expired=lambda: monotonic_us() >= deadline
    )
    click.echo(_headline(verdict))
    if verdict.worst is not None:
        _print_break(verdict.worst)
    page = html or (_default_page(history) if verdict.outcome is Outcome.ILLEGAL else None)
    if page is not None and verdict.keys:
        _write_page(page, verdict)
    ctx.exit(_STATUS[verdict.outcome])


def _read(history: str) -> list[Operation]:
    try:
        if history == "-":
            return list(read_history(sys.stdin.buffer))
        with Path(history).open("rb") as lines:
            return list(read_history(lines))
    except HistoryFormatError as error:
        raise CommandFailure(
            f"{history}, {error}; docs/checker.md describes the format", ExitStatus.USAGE
        ) from error
    except OSError as error:
        raise CommandFailure(
            f"cannot read {history}: {error.strerror}; name a file of JSON lines, or - for "
            "standard input",
            ExitStatus.USAGE,
        ) from error


def _headline(verdict: Verdict) -> str:
    operations = [operation for key in verdict.keys for operation in key.operations]
    pending = sum(operation.returned is None for operation in operations)
    clients = len({operation.client for operation in operations})
    size = (
        f"{_count(len(operations), 'operation')} ({pending:,} pending) of "
        f"{_count(clients, 'client')} on {_count(len(verdict.keys), 'key')}"
    )
    concerned = sum(key.outcome is verdict.outcome for key in verdict.keys)
    match verdict.outcome:
        case Outcome.OK:
            return f"ok: linearizable; {size}"
        case Outcome.ILLEGAL:
            return f"illegal: not linearizable, at {_count(concerned, 'key')}; {size}"
        case Outcome.UNKNOWN:
            return f"unknown: not decided in time, at {_count(concerned, 'key')}; {size}"


def _count(number: int, noun: str) -> str:
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def _print_break(verdict: KeyVerdict) -> None:
    explanation = explain(verdict)
    click.echo(f"\nkey {quote(verdict.key)}: {explanation.headline}")
    for sentence in explanation.details:
        click.echo(f"  {sentence}")
    _print_list("the last of it:", verdict.linearization[-_MAX_LISTED:], len(verdict.linearization))
    _print_list(
        "without a place in it:",
        explanation.unplaced[:_MAX_LISTED],
        len(explanation.unplaced),
    )


def _print_list(title: str, operations: Sequence[Operation], total: int) -> None:
    if operations:
        more = f" ({len(operations)} of {total:,})" if len(operations) < total else ""
        click.echo(f"  {title}{more}")
        for operation in operations:
            click.echo(f"    {describe(operation)}")


def _default_page(history: str) -> str:
    return "history.html" if history == "-" else f"{history}.html"


def _write_page(path: str, verdict: Verdict) -> None:
    """Shows the key where it broke; if none did, the one with the most operations."""
    shown = verdict.worst or max(verdict.keys, key=lambda key: len(key.operations))
    try:
        Path(path).write_text(render(shown), "utf-8")
    except OSError as error:
        raise CommandFailure(
            f"cannot write {path}: {error.strerror}; choose another file with --html",
            ExitStatus.FAILED if verdict.outcome is Outcome.ILLEGAL else ExitStatus.USAGE,
        ) from error
    click.echo(f"\npage: {path}")
