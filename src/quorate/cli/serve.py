"""`quorate serve`: one node."""

import logging
import os
import signal
import sys
import threading
import time
from pathlib import Path

import click
import msgspec

from quorate.cli.config_file import use_config_file
from quorate.cli.errors import CommandFailure, ExitStatus
from quorate.cli.parameters import Seconds, Size
from quorate.cli.serve_options import ConfigError, ServeOptions, server_config
from quorate.kv.table import DEFAULT_MAX_VALUE_BYTES
from quorate.node.limits import NodeLimits
from quorate.raft.configuration import MAX_NODE_ID
from quorate.raft.settings import Settings
from quorate.replica.snapshot_taker import NEVER, SnapshotSettings
from quorate.runtime.server import ServerConfig, StartError, longest_leave_s, run_server
from quorate.runtime.surroundings import Surroundings
from quorate.storage.errors import StorageError

_RAFT = Settings()
_LIMITS = NodeLimits()
_SNAPSHOTS = SnapshotSettings()
_ONE_HOUR_MS = 3_600_000
_STOP_MARGIN_S = 6.0
"""So much longer than it may take to leave, the process lives on without its standard input."""


@click.command(context_settings={"show_default": True})
@click.option(
    "--config",
    type=click.Path(path_type=Path, dir_okay=False),
    envvar="QUORATE_CONFIG",
    is_eager=True,
    callback=use_config_file,
    help="A TOML file with any of these options; environment variables and options go first.",
)
@click.option(
    "--id",
    type=click.IntRange(1, MAX_NODE_ID),
    envvar="QUORATE_ID",
    required=True,
    help="This node's number.",
)
@click.option(
    "--data-dir",
    envvar="QUORATE_DATA_DIR",
    required=True,
    help="Its data directory, of this node alone.",
)
@click.option(
    "--client",
    metavar="HOST:PORT",
    envvar="QUORATE_CLIENT",
    help="Where it serves clients. If left out: as its --member says.",
)
@click.option(
    "--peer",
    metavar="HOST:PORT",
    envvar="QUORATE_PEER",
    help="Where it listens to the other nodes. If left out: as its --member says.",
)
@click.option(
    "--member",
    "members",
    metavar="ID=PEERHOST:PORT,CLIENTHOST:PORT",
    multiple=True,
    envvar="QUORATE_MEMBERS",
    help="A member of the cluster; once for each, this node included. The environment variable "
    "takes them with spaces in between.",
)
@click.option(
    "--initialize",
    metavar="CLUSTER_ID",
    help="Make the data directory that of a new node of a new cluster with this id. For the "
    "first start only, the same on all its nodes.",
)
@click.option(
    "--join",
    metavar="HOST:PORT",
    multiple=True,
    envvar="QUORATE_JOIN",
    help="Where clients reach a node of a cluster that exists; may be repeated. If the data "
    "directory is empty, make it that of a new node of that cluster. `quorate member add` lets the "
    "node in.",
)
@click.option(
    "--insecure",
    is_flag=True,
    envvar="QUORATE_INSECURE",
    help="Allow addresses that other machines can reach, though nothing is encrypted.",
)
@click.option(
    "--election-timeout-ms",
    type=click.IntRange(10, _ONE_HOUR_MS),
    default=_RAFT.election_timeout_us // 1000,
    envvar="QUORATE_ELECTION_TIMEOUT_MS",
    help="The least time without a leader before an election. The same on all nodes.",
)
@click.option(
    "--heartbeat-ms",
    type=click.IntRange(1, _ONE_HOUR_MS),
    default=_RAFT.heartbeat_interval_us // 1000,
    envvar="QUORATE_HEARTBEAT_MS",
    help="How long a leader is silent at most. The same on all nodes.",
)
@click.option(
    "--command-timeout-s",
    type=Seconds(0.1, 3600),
    default=_LIMITS.command_timeout_us / 1_000_000,
    envvar="QUORATE_COMMAND_TIMEOUT_S",
    help="How long a client's command waits for its outcome.",
)
@click.option(
    "--max-connections",
    type=click.IntRange(min=1),
    default=_LIMITS.max_connections,
    envvar="QUORATE_MAX_CONNECTIONS",
    help="Of clients.",
)
@click.option(
    "--max-key-bytes",
    type=click.IntRange(1, _LIMITS.request.max_bulk_bytes),
    default=_LIMITS.max_key_bytes,
    envvar="QUORATE_MAX_KEY_BYTES",
    help="Of one key; this node refuses longer ones.",
)
@click.option(
    "--max-value-bytes",
    type=click.IntRange(1, DEFAULT_MAX_VALUE_BYTES),
    default=_LIMITS.max_value_bytes,
    envvar="QUORATE_MAX_VALUE_BYTES",
    help="Of the value in one command; this node refuses longer ones.",
)
@click.option(
    "--max-raft-state",
    metavar="SIZE",
    type=Size(unbounded=NEVER),
    default=f"{_SNAPSHOTS.max_raft_state // 2**20}MiB",
    envvar="QUORATE_MAX_RAFT_STATE",
    help="How large its log may grow before a snapshot takes its place: bytes, or with KiB, MiB "
    "or GiB; or `never`: not before it is asked for one.",
)
@click.option(
    "--stop-with-stdin",
    is_flag=True,
    help="Stop when standard input is closed, so as not to outlive the process at its other end.",
)
@click.pass_context
def serve(ctx: click.Context, /, stop_with_stdin: bool, **_: object) -> None:  # noqa: FBT001 - click's
    """Runs one node until SIGTERM or Ctrl-C.

    Each option can also be given by the environment variable that its name makes with QUORATE_ in
    front, or by the configuration file; the option wins over the variable, which wins over the
    file.
    """
    config = _config_of(ctx)
    _log_to_stderr()
    if stop_with_stdin:
        timeout_s = longest_leave_s(config.settings) + _STOP_MARGIN_S
        stopper = threading.Thread(
            target=_stop_when_stdin_closes, args=(timeout_s,), name="stdin", daemon=True
        )
        stopper.start()
    try:
        run_server(config, ctx.ensure_object(Surroundings))
    except (StartError, StorageError) as error:
        raise CommandFailure(str(error)) from error


def _config_of(ctx: click.Context) -> ServerConfig:
    try:
        return server_config(msgspec.convert(ctx.params, ServeOptions))
    except ConfigError as error:
        raise CommandFailure(str(error), ExitStatus.USAGE) from error


def _log_to_stderr() -> None:
    formatter = logging.Formatter(
        "%(asctime)s.%(msecs)03dZ %(levelname)s %(message)s", datefmt="%Y-%m-%dT%H:%M:%S"
    )
    formatter.converter = time.gmtime
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(formatter)
    logging.basicConfig(level=logging.INFO, handlers=[handler])


def _stop_when_stdin_closes(timeout_s: float) -> None:
    while os.read(0, 4096):
        pass
    os.kill(os.getpid(), signal.SIGTERM)
    # The event loop has to take that up. One that hangs must not keep the process alive.
    time.sleep(timeout_s)
    os.kill(os.getpid(), signal.SIGKILL)
