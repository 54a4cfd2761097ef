"""A long life with a short log: memory and disk of each node, over hundreds of snapshots.

    python -m benchmarks.snapshot_history [--snapshots 400] [--svg docs/snapshot-history.svg]

Three nodes, each a process of this machine, with a small `max_raft_state`, and 50 clients that
write to the same keys again and again. Once each node has taken so many snapshots, it prints how
memory and disk have developed, and writes a chart of that.
"""

import argparse
import asyncio
import tempfile
import time
from pathlib import Path
from statistics import median
from typing import NamedTuple

from benchmarks.cluster_watch import disk_mib, resident_mib
from benchmarks.line_chart import Line, Panel, chart
from benchmarks.write_load import WriteLoad, run

from quorate.raft.configuration import NodeId
from quorate.runtime.local_cluster import LocalCluster

KEYS = 2_000
VALUE_BYTES = 100
CONNECTIONS = 50
MAX_RAFT_STATE = 128 * 1024
PERIOD_S = 0.01
SAMPLES = 400
"""About so many points each line of the chart has."""


class Observation(NamedTuple):
    """What a node took up when it had taken so many snapshots."""

    snapshots: int
    memory_mib: float
    disk_mib: float


class NodeHistory:
    """What was seen of one node."""

    def __init__(self, cluster: LocalCluster, node: NodeId) -> None:
        self._pid = cluster.pid(node)
        self._directory = cluster.data_dir(node)
        self._newest = ""
        self.snapshots = 0
        self.observations: list[Observation] = []

    def look(self) -> None:
        """Looks for a new snapshot."""
        newest = max((path.name for path in self._directory.glob("*.snapshot")), default="")
        if newest > self._newest:
            self._newest = newest
            self.snapshots += 1

    def observe(self) -> None:
        """Notes memory and disk."""
        self.observations.append(
            Observation(self.snapshots, resident_mib(self._pid), disk_mib(self._directory))
        )


async def observe(histories: list[NodeHistory], snapshots: int) -> None:
    """Watches until each node has taken so many."""
    noted = -1
    while (taken := min(history.snapshots for history in histories)) < snapshots:
        for history in histories:
            history.look()
        if taken * SAMPLES // snapshots > noted:
            noted = taken * SAMPLES // snapshots
            for history in histories:
                history.observe()
        await asyncio.sleep(PERIOD_S)


def show(node: NodeId, observations: list[Observation]) -> None:
    """Prints a line: the middle of the second quarter against that of the last."""
    quarter = len(observations) // 4
    early, late = observations[quarter : 2 * quarter], observations[-quarter:]
    columns = []
    for values in (lambda o: o.memory_mib), (lambda o: o.disk_mib):
        before, after = median(map(values, early)), median(map(values, late))
        columns.append(f"{before:6.1f} {after:6.1f} {max(map(values, observations)):6.1f}")
    print(f"node {node}: {observations[-1].snapshots:5} snapshots;  " + ";  ".join(columns))


def draw(histories: dict[NodeId, NodeHistory]) -> str:
    """The chart."""
    x_name = "snapshots taken"
    memory = [
        Line(f"node {node}", [(o.snapshots, o.memory_mib) for o in history.observations])
        for node, history in histories.items()
    ]
    disk = [
        Line(f"node {node}", [(o.snapshots, o.disk_mib) for o in history.observations])
        for node, history in histories.items()
    ]
    return chart(
        "Memory and disk of three nodes over hundreds of snapshots",
        [Panel("memory, MiB", x_name, memory), Panel("disk, MiB", x_name, disk)],
    )


async def main() -> None:
    """Prints what it measures, and writes the chart."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--snapshots", type=int, default=400)
    parser.add_argument("--svg", type=Path)
    options = parser.parse_args()
    with (
        tempfile.TemporaryDirectory(prefix="quorate-history-") as directory,
        LocalCluster.create(
            Path(directory), serve_options=("--max-raft-state", str(MAX_RAFT_STATE))
        ) as cluster,
    ):
        cluster.start()
        leader = await cluster.wait_until_serving()
        load = WriteLoad(leader.client_address, keys=KEYS, value_bytes=VALUE_BYTES)
        await load.fill()
        await load.connect(CONNECTIONS)
        histories = {node: NodeHistory(cluster, node) for node in cluster.running}
        begun = time.perf_counter()
        async with load.closed():
            await observe(list(histories.values()), options.snapshots)
        seconds = time.perf_counter() - begun
        load.close()
    writes = len(load.take_sample().due)
    print(f"{writes:,} writes in {seconds:.0f} s; max_raft_state {MAX_RAFT_STATE // 1024} KiB")
    print("memory, then disk, in MiB: the second quarter, the last one, the largest")
    for node, history in histories.items():
        show(node, history.observations)
    if options.svg is not None:
        options.svg.write_text(draw(histories))


if __name__ == "__main__":
    run(main())
