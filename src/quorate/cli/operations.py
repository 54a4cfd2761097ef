"""`quorate put`, `append`, `get` and `delete`: one call of a Clerk each.

What they print is what Redis would answer. How they end says what became of the operation.
"""

import contextlib
import os
import sys
from collections.abc import Callable, Iterator
from typing import Any

import click

from quorate.clerk.errors import NotExecutedError, OutcomeUnknownError, UnavailableError
from quorate.cli.errors import CommandFailure, ExitStatus
from quorate.cli.parameters import Seconds, servers_option
from quorate.runtime.clerk import Clerk

_timeout_option: Callable[[Callable[..., Any]], Callable[..., Any]] = click.option(
    "--timeout",
    type=Seconds(min=0),
    default=10.0,
    show_default=True,
    help="Seconds to keep trying.",
)


def _to_bytes(_ctx: click.Context, _parameter: click.Parameter, text: str) -> bytes:
    """The bytes that the shell passed on, whatever their encoding."""
    return os.fsencode(text)


def _to_bytes_or_stdin(_ctx: click.Context, _parameter: click.Parameter, text: str) -> bytes:
    """The same, and `-` stands for what standard input holds."""
    if text != "-":
        return os.fsencode(text)
    if sys.stdin is None:
        raise click.BadParameter("- is standard input, which is closed")
    return sys.stdin.buffer.read()


_key_argument = click.argument("key", callback=_to_bytes)
_value_argument = click.argument("value", callback=_to_bytes_or_stdin)


@click.command()
@servers_option
@_timeout_option
@_key_argument
@_value_argument
def put(servers: tuple[str, ...], timeout: float, key: bytes, value: bytes) -> None:
    """Replaces the value of KEY.

    A VALUE of - is read from standard input.
    """
    with _clerk(servers) as clerk:
        clerk.put(key, value, timeout=timeout)
    click.echo("OK")


@click.command()
@servers_option
@_timeout_option
@_key_argument
@_value_argument
def append(servers: tuple[str, ...], timeout: float, key: bytes, value: bytes) -> None:
    """Appends VALUE to the value of KEY, and prints the length that it has then.

    A VALUE of - is read from standard input. A missing KEY counts as empty.
    """
    with _clerk(servers) as clerk:
        length = clerk.append(key, value, timeout=timeout)
    click.echo(length)


@click.command()
@servers_option
@_timeout_option
@_key_argument
def get(servers: tuple[str, ...], timeout: float, key: bytes) -> None:
    """Prints the value of KEY, byte for byte; on a terminal with a line break after it.

    A missing KEY is an error (exit status 1).
    """
    with _clerk(servers) as clerk:
        value = clerk.get_or_none(key, timeout=timeout)
    if value is None:
        raise CommandFailure(f"there is no key {os.fsdecode(key)!r}")
    click.echo(value, nl=sys.stdout.isatty())


@click.command()
@servers_option
@_timeout_option
@_key_argument
def delete(servers: tuple[str, ...], timeout: float, key: bytes) -> None:
    """Removes KEY, and prints 1 if it existed, 0 if not."""
    with _clerk(servers) as clerk:
        existed = clerk.delete(key, timeout=timeout)
    click.echo(int(existed))


@contextlib.contextmanager
def _clerk(servers: tuple[str, ...]) -> Iterator[Clerk]:
    """A Clerk whose errors end the command."""
    try:
        with Clerk(servers) as clerk:
            yield clerk
    except OutcomeUnknownError as error:
        raise CommandFailure(
            f"the outcome is unknown, it may have been executed once: {error}",
            ExitStatus.OUTCOME_UNKNOWN,
        ) from error
    except UnavailableError as error:
        raise CommandFailure(str(error), ExitStatus.UNAVAILABLE) from error
    except NotExecutedError as error:
        raise CommandFailure(f"not executed: {error}", ExitStatus.NOT_EXECUTED) from error
