"""The entry point: finds the command, and turns its failure into one line and an exit status."""

import importlib
import os
import sys
from typing import NoReturn

import click
from click.core import ParameterSource

from quorate.cli.errors import CommandFailure, ExitStatus
from quorate.cli.parameters import show_help_without_command

_COMMANDS = {
    "serve": "quorate.cli.serve",
    "up": "quorate.cli.up",
    "demo": "quorate.cli.demo.command",
    "torture": "quorate.cli.torture.command",
    "lab": "quorate.cli.lab.command",
    "swarm": "quorate.cli.swarm.command",
    "status": "quorate.cli.status",
    "explain": "quorate.cli.explain",
    "member": "quorate.cli.member.command",
    "snapshot": "quorate.cli.snapshot",
    "recover": "quorate.cli.recover",
    "put": "quorate.cli.operations",
    "append": "quorate.cli.operations",
    "get": "quorate.cli.operations",
    "delete": "quorate.cli.operations",
    "check": "quorate.cli.check",
}


class _LazyGroup(click.Group):
    """Imports a command's module when that command is asked for.

    A `quorate get` in a shell loop should not wait for what only a server needs.
    """

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 - click's signature
        return list(_COMMANDS)

    def get_command(
        self,
        ctx: click.Context,  # noqa: ARG002 - click's signature
        cmd_name: str,
    ) -> click.Command | None:
        module = _COMMANDS.get(cmd_name)
        if module is None:
            return None
        command = getattr(importlib.import_module(module), cmd_name)
        assert isinstance(command, click.Command)
        return command


@click.group(
    cls=_LazyGroup,
    invoke_without_command=True,
    context_settings={"help_option_names": ["-h", "--help"]},
)
@click.version_option(package_name="quorate", message="%(prog)s %(version)s")
@click.pass_context
def cli(ctx: click.Context) -> None:
    """A replicated key/value store on Raft: strongly consistent, exactly once, durable."""
    show_help_without_command(ctx)


def main(context_object: object = None) -> NoReturn:
    """Runs the command line; ends the process.

    Args:
        context_object: what commands find in their context; `serve` a server's surroundings.
    """
    _open_closed_streams()
    if not __debug__:
        _fail(
            "Python runs with assertions off (-O or PYTHONOPTIMIZE), but they guard the data: "
            "start it without",
            ExitStatus.FAILED,
        )
    try:
        status = cli.main(prog_name="quorate", standalone_mode=False, obj=context_object)
    except click.Abort:
        _fail("interrupted", ExitStatus.INTERRUPTED)
    except click.UsageError as error:
        _fail(f"{error.format_message()}{_origin(error)}{_hint(error)}", error.exit_code)
    except CommandFailure as error:
        _fail(str(error), error.status)
    except OSError as error:  # the output cannot be written; click sees to readers that have gone
        _fail(str(error), ExitStatus.FAILED)
    sys.exit(status)


def _open_closed_streams() -> None:
    """Leads standard streams that are closed nowhere.

    Else the next files that are opened, a log for example, have their numbers and what is written
    there. Standard input stays closed for Python: a value of `-` must not be empty by mistake.
    """
    while (number := os.open(os.devnull, os.O_RDWR)) <= 2:
        pass
    os.close(number)
    if sys.stdout is None:
        sys.stdout = os.fdopen(1, "w")
    if sys.stderr is None:
        sys.stderr = os.fdopen(2, "w")


def _fail(message: str, status: int) -> NoReturn:
    one_line = " ".join(message.splitlines())
    print(f"quorate: error: {one_line}", file=sys.stderr)
    sys.exit(status)


def _origin(error: click.UsageError) -> str:
    """Where a bad value comes from, if that is not the command line."""
    if not isinstance(error, click.BadParameter) or error.ctx is None or error.param is None:
        return ""
    assert error.param.name is not None
    match error.ctx.get_parameter_source(error.param.name):
        case ParameterSource.ENVIRONMENT:
            return f" (from the environment variable {error.param.envvar})"
        case ParameterSource.DEFAULT_MAP:
            return f" (from the configuration file {error.ctx.params['config']})"
        case _:
            return ""


def _hint(error: click.UsageError) -> str:
    return "" if error.ctx is None else f" (see `{error.ctx.command_path} --help`)"
