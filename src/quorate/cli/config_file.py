"""The configuration file of `quorate serve`: TOML, with the names of the options as keys.

A file says how a node is run, whenever it is started. What belongs to one start alone, like
`--initialize`, is an option only.
"""

import tomllib
from pathlib import Path

import click
import msgspec

from quorate.cli.errors import CommandFailure, ExitStatus


class ConfigFile(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The keys; those left out are for the environment, the command line or the defaults."""

    id: int | None = None
    data_dir: str | None = None
    client: str | None = None
    peer: str | None = None
    members: tuple[str, ...] | None = None
    join: tuple[str, ...] | None = None
    insecure: bool | None = None
    election_timeout_ms: int | None = None
    heartbeat_ms: int | None = None
    command_timeout_s: float | None = None
    max_connections: int | None = None
    max_key_bytes: int | None = None
    max_value_bytes: int | None = None
    max_raft_state: int | str | None = None


def load_config_file(path: Path) -> ConfigFile:
    """Reads a configuration file.

    Raises:
        CommandFailure: it cannot be read (status 1), or is wrong (status 2).
    """
    try:
        return msgspec.convert(tomllib.loads(path.read_text()), ConfigFile)
    except OSError as error:
        raise CommandFailure(
            f"cannot read the configuration file {path}: {error.strerror}"
        ) from error
    except msgspec.ValidationError as error:
        keys = ", ".join(ConfigFile.__struct_fields__)
        raise CommandFailure(
            f"the configuration file {path} is wrong: {error}. Its keys are {keys}",
            ExitStatus.USAGE,
        ) from error
    except (ValueError, RecursionError) as error:  # tomllib leaves some to Python's own parsers
        raise CommandFailure(
            f"the configuration file {path} is not TOML: {error}", ExitStatus.USAGE
        ) from error


def use_config_file(
    ctx: click.Context,
    _parameter: click.Parameter,
    path: Path | None,
) -> Path | None:
    """Makes the file's values the defaults of the options: environment and command line go first.

    A callback of click, for an eager option.
    """
    if path is not None:
        values = msgspec.to_builtins(load_config_file(path))
        ctx.default_map = {key: value for key, value in values.items() if value is not None}
    return path
