"""Real servers take snapshots under load, restart from them, and bring each other up with them."""

from __future__ import annotations

from statistics import median
from typing import TYPE_CHECKING

import pytest
from tests.integration.append_load import AppendLoad

from quorate.storage.segments import DEFAULT_SEGMENT_SIZE
from quorate.wire.resp_client import encode_command

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.integration.conftest import Cluster, Ledger, StartCluster

    from quorate.raft.configuration import NodeId

pytestmark = [pytest.mark.processes, pytest.mark.load]

MAX_RAFT_STATE = 40_000
SERVE_OPTIONS = ("--max-raft-state", str(MAX_RAFT_STATE))


def snapshot_index(cluster: Cluster, node: NodeId) -> int:
    """The index that a node's newest snapshot ends with, by the name of its file; 0 if none."""
    names = [path.name for path in cluster.local.data_dir(node).glob("*.snapshot")]
    return max((int(name.partition("-")[0]) for name in names), default=0)


class SnapshotCount:
    """How many snapshots of a node were seen, whoever took them."""

    def __init__(self, cluster: Cluster, node: NodeId) -> None:
        self._cluster = cluster
        self._node = node
        self._seen = {snapshot_index(cluster, node)}

    def look(self) -> int:
        """Looks for a new one; how many there were since the beginning."""
        self._seen.add(snapshot_index(self._cluster, self._node))
        return len(self._seen) - 1


def await_snapshots(cluster: Cluster, count: int, *nodes: NodeId) -> None:
    """Waits until these nodes have so many new snapshots each."""
    counts = [SnapshotCount(cluster, node) for node in nodes]
    cluster.eventually(
        lambda: min([each.look() for each in counts]) >= count, f"{count} snapshots of each node"
    )


def check(cluster: Cluster, ledger: Ledger, keys: list[str]) -> None:
    """Each node has what was acknowledged, once and in order, and nothing else."""
    for node in cluster.nodes:
        with cluster.connect(node) as client:
            reply = client.call("MGET", *keys)
        assert isinstance(reply, list)
        values = [value for value in reply if isinstance(value, bytes)]
        ledger.check_exactly_once(values)
        for value in values:
            ledger.check_order(value)


def test_snapshots_are_taken_under_load_and_survive_the_death_of_all(
    healed_cluster: Cluster, new_ledger: Callable[[], Ledger], key: str
) -> None:
    cluster, ledger = healed_cluster, new_ledger()
    with AppendLoad(cluster.servers, ledger, key) as load:
        await_snapshots(cluster, 5, *cluster.nodes)
        cluster.kill(*cluster.nodes)
        before = {node: snapshot_index(cluster, node) for node in cluster.nodes}
        cluster.restart(*cluster.nodes)
        await_snapshots(cluster, 2, *cluster.nodes)
    check(cluster, ledger, load.keys)
    cluster.eventually(
        lambda: all(s.raft_state_bytes < 2 * MAX_RAFT_STATE for s in cluster.statuses().values()),
        "the logs are short",
    )
    for node, index in before.items():
        assert 0 < index < snapshot_index(cluster, node)
        # Each segment has 16 MiB, so there was no need of a second one but for the one ahead.
        assert len(list(cluster.local.data_dir(node).glob("*.wal"))) <= 2


def test_a_node_that_was_away_is_brought_up_by_a_snapshot_while_the_load_goes_on(
    healed_cluster: Cluster, new_ledger: Callable[[], Ledger], key: str
) -> None:
    cluster, ledger = healed_cluster, new_ledger()
    with cluster.connect(cluster.nodes[0]) as client:
        for number in range(40):  # 4 MB: a snapshot of many pieces
            assert client.call("SET", f"{key}-large-{number}", b"v" * 100_000) == b"OK"
    away = cluster.followers()[0]
    others = [node for node in cluster.nodes if node != away]
    with AppendLoad(cluster.servers, ledger, key) as load:
        cluster.kill(away)
        behind = snapshot_index(cluster, away)
        # The log moves on by so many bounds that none of the others has what the node needs.
        await_snapshots(cluster, 3, *others)
        goal = max(cluster.status(node).commit_index for node in others)
        done = load.done
        cluster.local.start_node(away)
        cluster.eventually(
            lambda: away in cluster.statuses() and cluster.status(away).last_applied >= goal,
            "it has caught up",
        )
        assert load.done > done, "clients were served meanwhile"
        assert snapshot_index(cluster, away) > behind
        await_snapshots(cluster, 1, away)  # of its own again
    check(cluster, ledger, load.keys)
    with cluster.connect(away) as client:
        assert client.call("GET", f"{key}-large-39") == b"v" * 100_000


def test_a_duplicate_is_answered_from_the_table_after_a_restart_from_a_snapshot(
    healed_cluster: Cluster, new_ledger: Callable[[], Ledger], key: str
) -> None:
    cluster = healed_cluster
    with cluster.connect(cluster.leader()) as client:
        session = client.call("QUORATE.SESSION")
        assert isinstance(session, int)
        once = ("ONCE", session, 1, 0, "APPEND", key, "abc")
        assert client.call(*once) == 3
        index = cluster.status(cluster.leader()).commit_index
    with AppendLoad(cluster.servers, new_ledger(), f"{key}-load"):
        cluster.eventually(
            lambda: min(snapshot_index(cluster, node) for node in cluster.nodes) > index,
            "each node has a snapshot that covers it",
        )
    cluster.kill(*cluster.nodes)
    cluster.restart(*cluster.nodes)
    with cluster.connect(cluster.leader()) as client:
        assert client.call(*once) == 3
        assert client.call("GET", key) == b"abc"


@pytest.mark.soak
@pytest.mark.timeout(900)
def test_memory_and_disk_stay_flat_over_hundreds_of_snapshots(start_cluster: StartCluster) -> None:
    cluster = start_cluster(serve_options=SERVE_OPTIONS)
    counts = {node: SnapshotCount(cluster, node) for node in cluster.nodes}
    memory: dict[NodeId, list[int]] = {node: [] for node in cluster.nodes}
    disk: dict[NodeId, list[int]] = {node: [] for node in cluster.nodes}
    writes = b"".join(encode_command("SET", f"key-{n}", b"v" * 100) for n in range(100))
    with cluster.connect(cluster.leader()) as client:
        while (taken := min(count.look() for count in counts.values())) < 300:
            client.send(writes)
            assert client.replies(100) == [b"OK"] * 100
            if taken // 3 >= len(memory[cluster.nodes[0]]):
                for node in cluster.nodes:
                    memory[node].append(cluster.memory_bytes(node))
                    files = list(cluster.local.data_dir(node).iterdir())
                    disk[node].append(sum(disk_bytes(path) for path in files))
    for node in cluster.nodes:
        early, late = memory[node][20:50], memory[node][-30:]
        print(f"node {node}: {median(early)} bytes of memory early, {median(late)} late,")
        print(f"  at most {max(disk[node])} bytes of disk")
        assert median(late) < 1.05 * median(early)
        # The active segment, the one ahead, one that is being removed, and the snapshots.
        assert max(disk[node]) < 3 * DEFAULT_SEGMENT_SIZE + 1_000_000


def disk_bytes(path: Path) -> int:
    try:
        return path.stat().st_blocks * 512
    except FileNotFoundError:  # removed since
        return 0
