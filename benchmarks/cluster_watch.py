"""How the nodes of a cluster look from outside, over time: snapshots, memory, disk, stalls."""

import asyncio
import resource
import time
from pathlib import Path
from typing import NamedTuple

from quorate.raft.configuration import NodeId
from quorate.runtime.local_cluster import LocalCluster

PERIOD_S = 0.02

MIB = 1024 * 1024


class Span(NamedTuple):
    """From when to when, in seconds of `perf_counter`: one clock for all processes."""

    begin: float
    end: float


class Stall(NamedTuple):
    """An event loop that stood still; see `watched_server`.

    Attributes:
        end: until when.
        seconds: for how long.
        work: for how much of that time the process was at work.
        collecting: how long it collected garbage.
    """

    end: float
    seconds: float
    work: float
    collecting: float


def resident_mib(pid: int) -> float:
    """The resident memory of a process."""
    pages = Path(f"/proc/{pid}/statm").read_text().split()[1]
    return int(pages) * resource.getpagesize() / MIB


def disk_mib(directory: Path) -> float:
    """What a directory's files take."""
    total = 0
    for path in directory.iterdir():
        try:
            total += path.stat().st_blocks * 512
        except FileNotFoundError:  # removed since
            continue
    return total / MIB


def read_stalls(cluster: LocalCluster, node: NodeId) -> list[Stall]:
    """All that a watched node has noted."""
    path = cluster.data_dir(node).parent / "stalls"
    lines = path.read_text().splitlines() if path.exists() else []
    return [Stall(*map(float, line.split())) for line in lines if line.count(" ") == 3]


class ClusterWatch:
    """Watches the nodes' directories and processes.

    Attributes:
        snapshots: when each node took snapshots, those that are over.
        peak_mib: the most memory of each node since `forget_peak`.
    """

    def __init__(self, cluster: LocalCluster) -> None:
        self._cluster = cluster
        self._begun: dict[NodeId, float] = {}
        self.snapshots: dict[NodeId, list[Span]] = {m.id: [] for m in cluster.members}
        self.peak_mib: dict[NodeId, float] = {}

    def forget_peak(self) -> None:
        """From now on only later memory counts."""
        self.peak_mib = {}

    @property
    def is_quiet(self) -> bool:
        """Whether no node is taking a snapshot."""
        return not self._begun

    async def run(self) -> None:
        """Watches, until it is cancelled."""
        while True:
            for node in self._cluster.running:
                self._look_at(node, time.perf_counter())
            await asyncio.sleep(PERIOD_S)

    async def taken(self, node: NodeId, count: int) -> None:
        """Waits until a node has taken so many more snapshots."""
        goal = len(self.snapshots[node]) + count
        while len(self.snapshots[node]) < goal:  # noqa: ASYNC110 - it is seen from outside
            await asyncio.sleep(PERIOD_S)

    def _look_at(self, node: NodeId, now: float) -> None:
        memory = resident_mib(self._cluster.pid(node))
        self.peak_mib[node] = max(memory, self.peak_mib.get(node, 0.0))
        if (self._cluster.data_dir(node) / "snapshot.own").exists():
            self._begun.setdefault(node, now)
        elif node in self._begun:
            self.snapshots[node].append(Span(self._begun.pop(node), now))
