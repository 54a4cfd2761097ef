"""`quorate recover`: a new cluster from one survivor's data, when a majority is lost for ever."""

import secrets
import sys
from pathlib import Path

import click

from quorate.cli.errors import CommandFailure, ExitStatus
from quorate.cli.parameters import Directory
from quorate.cli.serve_options import (
    ConfigError,
    check_cluster_id,
    check_own_address,
    is_loopback,
)
from quorate.cli.tables import print_plain_table
from quorate.raft.configuration import MAX_NODE_ID, Configuration, Member, NodeId
from quorate.runtime.disk import DirectoryDisk
from quorate.storage.disaster import Survivor, examine_survivor, make_new_cluster
from quorate.storage.errors import StorageError

_WARNING = """\
With --force-new-cluster this node becomes the only member of a new cluster, with all that its
directory holds. There is no way back. Before that:
  - Be sure that a majority of cluster {cluster_id} is lost for ever. If not, start that again.
  - Writes that were acknowledged, and that only lost nodes had, are lost. What is in this log and
    was never acknowledged becomes valid.
  - Run this command on every survivor, and take the one with the greatest term of its last entry;
    among equal terms, with the greatest index.
  - Never start another node of the old cluster on its data again. Wipe it; then it can join the new
    cluster, which has a new id and so refuses the old nodes.
Nothing was changed."""


@click.command()
@click.option(
    "--force-new-cluster",
    is_flag=True,
    help="Do it. Without this, nothing is changed, and you are told what would be.",
)
@click.option("--data-dir", type=Directory(), required=True, help="The survivor's data directory.")
@click.option(
    "--id",
    "node",
    type=click.IntRange(1, MAX_NODE_ID),
    required=True,
    help="The survivor's number; it keeps that.",
)
@click.option("--cluster-id", metavar="ID", help="Of the new cluster; another than before.")
@click.option(
    "--client", metavar="HOST:PORT", help="Where clients will reach the node from now on."
)
@click.option("--peer", metavar="HOST:PORT", help="Where other nodes will reach it from now on.")
def recover(
    *,
    force_new_cluster: bool,
    data_dir: Path,
    node: int,
    cluster_id: str | None,
    client: str | None,
    peer: str | None,
) -> None:
    """Makes a new cluster of one from a survivor, when a majority is lost for ever.

    The node must not run. Without --force-new-cluster this only shows what the directory holds, so
    that survivors can be compared, and what may be lost. It can be repeated if it was interrupted.
    """
    try:
        _check(cluster_id, client, peer)
    except ConfigError as error:
        raise CommandFailure(str(error), ExitStatus.USAGE) from error
    if force_new_cluster and (cluster_id is None or client is None or peer is None):
        raise click.UsageError(
            "--force-new-cluster needs --cluster-id, --client and --peer: what the new cluster is "
            "called, and where its only node is to be reached"
        )
    try:
        with DirectoryDisk(data_dir) as disk:
            member = None
            if cluster_id is not None and client is not None and peer is not None:
                member = Member(NodeId(node), peer, client, secrets.token_hex(16))
                if force_new_cluster:
                    _recover(disk, cluster_id, member, data_dir)
                    return
            _show(examine_survivor(disk, NodeId(node), cluster_id=cluster_id, member=member))
    except StorageError as error:
        raise CommandFailure(str(error)) from error


def _check(cluster_id: str | None, client: str | None, peer: str | None) -> None:
    if cluster_id is not None:
        check_cluster_id(cluster_id, "--cluster-id")
    for name, address in (("--client", client), ("--peer", peer)):
        if address is not None:
            check_own_address(address, name)
    if client is not None and client == peer:
        raise ConfigError(
            f"clients and servers cannot both connect to {client}: give --client and --peer "
            "different ports"
        )


def _show(survivor: Survivor) -> None:
    identity = survivor.identity
    click.echo(f"node {identity.node} of cluster {identity.cluster_id}, data {identity.data_id}")
    click.echo(f"last entry: term {survivor.last_term}, index {survivor.last_index}")
    for warning in survivor.warnings:
        click.echo(f"warning: {warning}")
    click.echo("members, as this node knows them:")
    rows = [
        (
            str(member.id),
            _role(survivor.configuration, member),
            member.peer_address,
            member.client_address,
        )
        for member in survivor.configuration.members
    ]
    print_plain_table(("ID", "ROLE", "PEER ADDRESS", "CLIENT ADDRESS"), rows, sys.stdout)
    if not survivor.configuration.is_voter(identity.node):
        click.echo(
            f"warning: node {identity.node} is not among those that vote. Its data may be old"
        )
    click.echo()
    click.echo(_WARNING.format(cluster_id=identity.cluster_id))


def _role(configuration: Configuration, member: Member) -> str:
    return "voter" if configuration.is_voter(member.id) else "learner"


def _recover(disk: DirectoryDisk, cluster_id: str, member: Member, data_dir: Path) -> None:
    identity = make_new_cluster(disk, cluster_id=cluster_id, member=member)
    foundation = identity.foundation
    assert foundation is not None
    click.echo(
        f"node {identity.node} is the only member of the new cluster {cluster_id}, with all that "
        f"it had up to index {foundation.index - 1}"
    )
    addresses = (member.client_address, member.peer_address)
    insecure = "" if all(map(is_loopback, addresses)) else " --insecure"
    click.echo(
        f"start it:     quorate serve --id {identity.node} --data-dir {data_dir} "
        f"--client {member.client_address} --peer {member.peer_address}{insecure}"
    )
    click.echo(
        f"others join:  quorate serve --join {member.client_address} ..., each with a new, empty "
        "data directory; then quorate member add"
    )
