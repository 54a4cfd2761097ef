"""`quorate up`: a local cluster in the foreground."""

import asyncio
import signal
from pathlib import Path

import click

from quorate.cli.errors import CommandFailure, ExitStatus
from quorate.cli.parameters import Directory, Size
from quorate.node.status import NodeStatus
from quorate.replica.snapshot_taker import NEVER
from quorate.runtime.ask import leader_among
from quorate.runtime.cluster_file import ClusterFile, LocalClusterError
from quorate.runtime.local_cluster import LocalCluster
from quorate.runtime.local_ports import becomes_free

DEFAULT_BASE_PORT = 7001
DEFAULT_NODES = 3
PEER_PORT_DISTANCE = 1000
"""From a node's client port to its peer port."""
_MAX_NODES = 16
_PORTS_FREE_WITHIN_S = 3.0
_POLL_S = 0.2
_LEADERLESS_POLLS = 15
"""So many polls without a leader, about 3 s, are worth a line."""


@click.command()
@click.option(
    "--dir",
    "directory",
    type=Directory(),
    required=True,
    help="Where the cluster is kept: made if need be, started again if it holds one.",
)
@click.option(
    "--base-port",
    type=click.IntRange(1, 65_535 - PEER_PORT_DISTANCE - _MAX_NODES),
    help="The client port of node 1; the others follow, and peers are "
    f"{PEER_PORT_DISTANCE} above.  [default: {DEFAULT_BASE_PORT}]",
)
@click.option(
    "--nodes",
    type=click.IntRange(1, _MAX_NODES),
    help=f"How many.  [default: {DEFAULT_NODES}]",
)
@click.option(
    "--max-raft-state",
    metavar="SIZE",
    type=Size(unbounded=NEVER),
    help="As of `quorate serve`, for each node, this time.",
)
def up(
    directory: Path, base_port: int | None, nodes: int | None, max_raft_state: int | None
) -> None:
    """Runs a cluster on this machine until Ctrl-C or SIGTERM.

    A node that dies is reported and not restarted. Run again with the same --dir, the same
    cluster goes on.
    """
    try:
        file = _open(directory, base_port, nodes)
        serve_options = [] if max_raft_state is None else [f"--max-raft-state={max_raft_state}"]
        asyncio.run(_run(LocalCluster(directory, file, serve_options=serve_options)))
    except LocalClusterError as error:
        raise CommandFailure(str(error)) from error


def _open(directory: Path, base_port: int | None, nodes: int | None) -> ClusterFile:
    """The cluster that the directory holds, or a new one there; its ports are free."""
    kept = ClusterFile.load(directory)
    file = kept or _new_cluster(base_port or DEFAULT_BASE_PORT, nodes or DEFAULT_NODES)
    if kept is not None:
        _check_is_same(directory, kept, base_port, nodes)
    for member in file.members:
        for address in (member.client, member.peer):
            # A cluster that was killed a moment ago may still be about to let its ports go.
            patience_s = 0.0 if kept is None else _PORTS_FREE_WITHIN_S
            if not becomes_free(_port(address), within_s=patience_s):
                raise LocalClusterError(
                    f"{address} is in use: stop what uses it, maybe this very cluster"
                    + (", or choose another --base-port" if kept is None else "")
                )
    if kept is None:
        file.save(directory)
    click.echo(
        f"{'new' if kept is None else 'known'} cluster {file.cluster_id} of "
        f"{len(file.members)} nodes in {directory}"
    )
    return file


def _new_cluster(base_port: int, nodes: int) -> ClusterFile:
    client_ports = range(base_port, base_port + nodes)
    return ClusterFile.of_ports(client_ports, [port + PEER_PORT_DISTANCE for port in client_ports])


def _check_is_same(
    directory: Path, kept: ClusterFile, base_port: int | None, nodes: int | None
) -> None:
    kept_port = _port(kept.members[0].client)
    if nodes not in {None, len(kept.members)}:
        raise CommandFailure(
            f"{directory} holds a cluster of {len(kept.members)} nodes, not of {nodes}: leave "
            "--nodes out, or choose another --dir",
            ExitStatus.USAGE,
        )
    if base_port not in {None, kept_port}:
        raise CommandFailure(
            f"{directory} holds a cluster from port {kept_port} on, not from {base_port}: leave "
            "--base-port out, or choose another --dir",
            ExitStatus.USAGE,
        )


def _port(address: str) -> int:
    return int(address.rpartition(":")[2])


async def _run(cluster: LocalCluster) -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop.set)
    with cluster:
        cluster.start()
        for member in cluster.members:
            click.echo(
                f"node {member.id}: started, pid {cluster.pid(member.id)}, clients "
                f"{member.client}, peers {member.peer}, log {cluster.log_path(member.id)}"
            )
        await _watch(cluster, stop)
        click.echo("stopping")
    click.echo("stopped")


async def _watch(cluster: LocalCluster, stop: asyncio.Event) -> None:
    """Reports what happens, until it is to stop.

    Raises:
        LocalClusterError: no node runs any more.
    """
    reporter = _Reporter(cluster.servers)
    # Its failure needs no report: that no node runs is seen here as well.
    serving = asyncio.create_task(cluster.wait_until_serving(float("inf")))
    try:
        while not stop.is_set():
            for node, reason in cluster.take_exits():
                click.echo(f"node {node}: died, {reason}")
            if not cluster.running:
                raise LocalClusterError("no node runs any more")
            if serving.done():
                reporter.report(leader_among(await cluster.statuses()))
            try:
                await asyncio.wait_for(stop.wait(), _POLL_S)
            except TimeoutError:
                continue
    finally:
        serving.cancel()
        await asyncio.gather(serving, return_exceptions=True)


class _Reporter:
    """Says when the cluster is ready and when the leader changes."""

    def __init__(self, servers: list[str]) -> None:
        self._servers = servers
        self._leader: tuple[int, int] | None = None
        self._polls_without = 0

    def report(self, leader: NodeStatus | None) -> None:
        """Takes in who leads now."""
        if leader is None:
            self._polls_without += 1
            if self._polls_without == _LEADERLESS_POLLS:
                click.echo("no leader: no majority of the nodes can elect one")
            return
        self._polls_without = 0
        if self._leader is None:
            click.echo(f"ready: node {leader.id} leads; clients: {','.join(self._servers)}")
        elif self._leader != (leader.id, leader.term):
            click.echo(f"new leader: node {leader.id} leads term {leader.term}")
        self._leader = (leader.id, leader.term)
