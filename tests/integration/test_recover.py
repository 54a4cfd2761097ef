"""A majority is lost for ever: one survivor's data goes on in a new cluster, and others join it."""

from __future__ import annotations

import contextlib
import re
import shutil
import subprocess
from typing import TYPE_CHECKING

import pytest

from quorate import Clerk, ClerkSettings
from quorate.raft.configuration import NodeId
from quorate.runtime.local_cluster import QUORATE

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.integration.conftest import Cluster, StartCluster

pytestmark = pytest.mark.processes

CURIOUS = ClerkSettings(leader_check_us=1)
"""It asks with each request which servers there are."""


def run(*arguments: object) -> str:
    """`quorate ARGUMENTS`, which succeeds; what it prints."""
    ended = subprocess.run(
        [*QUORATE, *map(str, arguments)], capture_output=True, text=True, timeout=60, check=False
    )
    assert ended.returncode == 0, ended.stderr
    return ended.stdout


def addresses(cluster: Cluster, node: NodeId) -> list[str]:
    """The options that tell a node where to listen, and what it is."""
    member = cluster.local.members[node - 1]
    directory = cluster.local.data_dir(node)
    return [f"--id={node}", f"--data-dir={directory}", f"--client={member.client}",
            f"--peer={member.peer}"]  # fmt: skip


@contextlib.contextmanager
def serving(cluster: Cluster, node: NodeId, *options: str) -> Iterator[None]:
    """A node that is no part of the old cluster any more."""
    with cluster.local.log_path(node).open("ab") as log:
        process = subprocess.Popen(
            [*QUORATE, "serve", "--stop-with-stdin", *addresses(cluster, node), *options],
            stdin=subprocess.PIPE,
            stdout=log,
            stderr=log,
        )
    try:
        yield
    finally:
        process.kill()
        process.communicate()


def last_entry(cluster: Cluster, node: NodeId) -> tuple[int, int]:
    """Term and index, as an operator compares survivors."""
    shown = run("recover", f"--id={node}", f"--data-dir={cluster.local.data_dir(node)}")
    found = re.search(r"last entry: term (\d+), index (\d+)", shown)
    assert found is not None
    return int(found[1]), int(found[2])


def test_a_new_cluster_goes_on_with_all_that_the_best_survivor_had(
    start_cluster: StartCluster,
) -> None:
    cluster = start_cluster()
    with Clerk(cluster.servers) as clerk:
        for number in range(50):
            clerk.append("orders", f"{number};", timeout=20)
    with cluster.connect(cluster.nodes[0]) as client:
        session = client.call("QUORATE.SESSION")
        assert isinstance(session, int)
        assert client.call("ONCE", session, 1, 0, "APPEND", "once", "x") == 1
    cluster.kill(*cluster.nodes)
    best = max(cluster.nodes, key=lambda node: last_entry(cluster, node))
    others = [node for node in cluster.nodes if node != best]
    run("recover", "--force-new-cluster", "--cluster-id=phoenix", *addresses(cluster, best))
    for node in others:
        shutil.rmtree(cluster.local.data_dir(node))

    expected = b"".join(b"%d;" % number for number in range(50))
    survivor = cluster.local.members[best - 1].client
    with contextlib.ExitStack() as nodes:
        first = nodes.enter_context(contextlib.ExitStack())
        first.enter_context(serving(cluster, best))
        clerk = nodes.enter_context(Clerk(survivor, settings=CURIOUS))
        assert clerk.get("orders", timeout=20) == expected
        with cluster.connect(best) as client:
            again = client.call("ONCE", session, 1, 0, "APPEND", "once", "x")
            assert again == 1, "sessions are as they were, so it is executed once"
        assert clerk.get("once", timeout=20) == b"x"

        for node in others:
            nodes.enter_context(serving(cluster, node, f"--join={survivor}"))
        for node in others:
            add(cluster, best, node)
        assert clerk.append("orders", "more", timeout=20) == len(expected) + 4
        for node in others:
            with cluster.connect(node) as client:
                assert client.call("GET", "orders") == expected + b"more"

        # The Clerk was given the survivor alone, and has learned of the others.
        for _ in range(2):  # the answer to its question comes after the first one's reply
            assert clerk.get("orders", timeout=20) == expected + b"more"
        first.close()
        assert clerk.append("orders", "!", timeout=20) == len(expected) + 5


def add(cluster: Cluster, leader: NodeId, node: NodeId) -> None:
    """Makes a node a member that votes."""
    member = cluster.local.members[node - 1]

    def is_added() -> bool:
        status = cluster.statuses().get(node)
        if status is None:
            return False
        with cluster.connect(leader) as client:
            added = client.call(
                "QUORATE.MEMBER", "ADD", node, member.peer, member.client, status.data_id
            )
            print(added)
        known = cluster.status(leader)
        return known.configuration_is_committed and any(
            each.id == node and each.votes for each in known.members
        )

    cluster.eventually(is_added, f"node {node} is a voter")


def test_a_node_of_the_old_cluster_is_not_let_in(start_cluster: StartCluster) -> None:
    cluster = start_cluster()
    cluster.kill(*cluster.nodes)
    first, second = cluster.nodes[:2]
    run("recover", "--force-new-cluster", "--cluster-id=phoenix", *addresses(cluster, first))
    with serving(cluster, first), Clerk(cluster.local.members[0].client) as clerk:
        clerk.put("k", "new", timeout=20)
        cluster.local.start_node(second)
        cluster.status(second)
        assert clerk.get("k", timeout=20) == b"new"
        status = cluster.status(second)
        assert status.leader is None
        assert status.cluster_id != "phoenix"
