"""The servers that a command was given have to be of one cluster, or it would mix what they say."""

from collections.abc import Sequence

from quorate.cli.errors import CommandFailure
from quorate.node.status import NodeStatus


def cluster_of(given: Sequence[NodeStatus | None]) -> str | None:
    """The id of the cluster that the given servers belong to; None if none of them answers.

    Raises:
        CommandFailure: they belong to several.
    """
    clusters = {status.cluster_id: status for status in given if status is not None}
    if len(clusters) > 1:
        nodes = [
            f"node {status.id} at {status.client_address} belongs to cluster {cluster_id}"
            for cluster_id, status in sorted(clusters.items())
        ]
        raise CommandFailure(f"{', '.join(nodes)}: give the servers of one cluster")
    return next(iter(clusters), None)


def of_cluster(cluster_id: str | None, statuses: Sequence[NodeStatus | None]) -> list[NodeStatus]:
    """Those that belong to it. At the address of a former member there may be another's node."""
    return [status for status in statuses if status is not None and status.cluster_id == cluster_id]
