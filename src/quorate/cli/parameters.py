"""What several commands take from the command line."""

import math
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar

import click

from quorate.clerk.addresses import parse_servers
from quorate.cli.errors import ExitStatus


def show_help_without_command(ctx: click.Context) -> None:
    """Ends a group of commands with its help if none of them was given."""
    if ctx.invoked_subcommand is None:
        click.echo(ctx.get_help(), err=True)
        ctx.exit(ExitStatus.USAGE)


class Seconds(click.FloatRange):
    """A duration: a number within its bounds, which "nan" is not though it is a float."""

    name = "seconds"

    def convert(
        self,
        value: Any,  # noqa: ANN401 - click's signature
        param: click.Parameter | None,
        ctx: click.Context | None,
    ) -> float:
        """See click."""
        seconds: float = super().convert(value, param, ctx)
        if math.isnan(seconds):
            self.fail(f"{value!r} is not a number of seconds", param, ctx)
        return seconds


class Size(click.ParamType):  # type: ignore[type-arg]  # generic only for type checkers
    """A number of bytes, alone or with a unit behind it. What has no bound has a word for it.

    Args:
        unbounded: what the word `never` stands for.
    """

    name = "size"
    _UNITS: ClassVar = {"": 1, "KIB": 2**10, "MIB": 2**20, "GIB": 2**30}

    def __init__(self, *, unbounded: int) -> None:
        self._unbounded = unbounded

    def convert(
        self,
        value: Any,  # noqa: ANN401 - click's signature
        param: click.Parameter | None,
        ctx: click.Context | None,
    ) -> int:
        """See click."""
        text = str(value).strip()
        if text in {"never", str(self._unbounded)}:
            return self._unbounded
        found = re.fullmatch(r"([0-9]{1,15}) ?([A-Z]*)", text.upper(), re.ASCII)
        if found is None or found[2] not in self._UNITS:
            self.fail(
                f"{value!r} is no size: write a number of bytes, one with KiB, MiB or GiB behind "
                "it, or never",
                param,
                ctx,
            )
        return int(found[1]) * self._UNITS[found[2]]


class Directory(click.Path):
    """A directory, which need not exist. Its name is not empty, as that of an unset variable is."""

    def __init__(self) -> None:
        super().__init__(path_type=Path, file_okay=False)

    def convert(
        self,
        value: Any,  # noqa: ANN401 - click's signature
        param: click.Parameter | None,
        ctx: click.Context | None,
    ) -> Any:  # noqa: ANN401 - click's signature
        """See click."""
        if value == "":
            self.fail("the name of the directory is empty", param, ctx)
        return super().convert(value, param, ctx)


def _parse(_ctx: click.Context, _parameter: click.Parameter, text: str) -> tuple[str, ...]:
    try:
        return parse_servers(text)
    except ValueError as error:
        raise click.BadParameter(str(error)) from error


answer_timeout_option: Callable[[Callable[..., Any]], Callable[..., Any]] = click.option(
    "--timeout",
    type=Seconds(0.01, 3600),
    default=2.0,
    show_default=True,
    help="Seconds to wait for each node.",
)

servers_option: Callable[[Callable[..., Any]], Callable[..., Any]] = click.option(
    "--servers",
    metavar="HOST:PORT,...",
    envvar="QUORATE_SERVERS",
    show_envvar=True,
    required=True,
    callback=_parse,
    help="Client addresses of the cluster's nodes.",
)
