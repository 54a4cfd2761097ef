"""What snapshots of a large table cost a cluster's clients: three nodes, a million keys.

    python -m benchmarks.snapshot [--keys 1000000] [--seconds 100] [--period 20]

Everything runs on this machine: three nodes, each a process, and a load of writes by 50 clients.
`max_raft_state` is chosen so that a snapshot is due every `--period` seconds. What is shown:

* a restart of all nodes;
* latency of writes at half the rate that the cluster can take, while some node takes a snapshot
  against while none does, in the same run;
* how long the event loops stood still, and how much of that the processes were at work: the rest
  they waited, for the disk or for a processor that others had;
* memory at the peak against before;
* a follower that was down while the log moved on, caught up by a snapshot under that load, and
  under as much load as the cluster takes.
"""

import argparse
import asyncio
import sys
import tempfile
import time
from pathlib import Path

from benchmarks.cluster_watch import MIB, ClusterWatch, Span, Stall, read_stalls, resident_mib
from benchmarks.write_load import Sample, WriteLoad, run

from quorate.node.status import NodeStatus
from quorate.raft.configuration import NodeId
from quorate.runtime.cluster_file import ClusterFile
from quorate.runtime.local_cluster import LocalCluster

VALUE_BYTES = 100
CONNECTIONS = 50
PEAK_S = 5.0
WATCHED_SERVER = (sys.executable, str(Path(__file__).with_name("watched_server.py")))


def percentile(ordered: list[float], fraction: float) -> float:
    """Of sorted numbers."""
    return ordered[min(len(ordered) - 1, int(len(ordered) * fraction))]


def show_latencies(name: str, latencies: list[float]) -> list[float]:
    """Prints a line; returns p50, p99 and p99.9 in milliseconds."""
    ordered = sorted(latencies) or [0.0]
    shown = [percentile(ordered, fraction) * 1e3 for fraction in (0.5, 0.99, 0.999)]
    print(
        f"  {name:30} {len(latencies):9,} {shown[0]:9.2f} {shown[1]:9.2f} {shown[2]:9.2f}"
        f" {ordered[-1] * 1e3:9.2f}",
        flush=True,
    )
    return shown


def is_within(moment: float, spans: list[Span]) -> bool:
    """Whether a moment lies in one of these."""
    return any(span.begin <= moment < span.end for span in spans)


def head_of_latencies() -> None:
    """Prints the line above those of `show_latencies`."""
    print(f"\n{'latency, ms':32} {'writes':>9} {'p50':>9} {'p99':>9} {'p99.9':>9} {'max':>9}")


def head_of_stalls() -> None:
    """Prints the line above those of `show_stalls`."""
    print(f"\n{'event loops, longest ms':32} {'stall':>9} {'at work':>9} {'gc':>9} {'>20 ms':>9}")


def show_stalls(name: str, stalls: list[Stall]) -> None:
    """Prints a line."""
    longest = max((s.seconds for s in stalls), default=0.0)
    work = max((min(s.work, s.seconds) for s in stalls), default=0.0)
    collecting = max((s.collecting for s in stalls), default=0.0)
    long = sum(s.seconds > 0.02 for s in stalls)
    milliseconds = "".join(f" {each * 1e3:9.1f}" for each in (longest, work, collecting))
    print(f"  {name:30}{milliseconds} {long:9}", flush=True)


class Benchmark:
    """One run."""

    def __init__(self, directory: Path, options: argparse.Namespace) -> None:
        self._directory = directory
        self._keys: int = options.keys
        self._period_s: float = options.period
        self._seconds: float = options.seconds

    async def run(self) -> None:
        """All of it."""
        with LocalCluster.create(self._directory) as cluster:
            rate, bytes_a_write = await self._measure_peak(cluster)
        # A snapshot leaves a quarter of the bound as trailing entries.
        bound = round(rate * bytes_a_write * self._period_s / 0.75)
        print(f"steady load: {rate:,.0f} writes a second; max_raft_state: {bound / MIB:.1f} MiB")
        file = ClusterFile.load(self._directory)
        assert file is not None
        with LocalCluster(
            self._directory,
            file,
            serve_options=("--max-raft-state", str(bound)),
            program=WATCHED_SERVER,
        ) as cluster:
            begun = time.perf_counter()
            cluster.start()
            leader = await cluster.wait_until_serving()
            took = time.perf_counter() - begun
            print(f"all nodes killed and started: serving after {took:.1f} s", flush=True)
            load = WriteLoad(leader.client_address, keys=self._keys, value_bytes=VALUE_BYTES)
            await load.connect(CONNECTIONS)
            watch = ClusterWatch(cluster)
            watching = asyncio.create_task(watch.run())
            await measure_snapshots(cluster, watch, load, rate=rate, seconds=self._seconds)
            for is_steady in (True, False):
                await measure_catch_up(cluster, watch, load, rate if is_steady else None)
            load.close()
            watching.cancel()

    async def _measure_peak(self, cluster: LocalCluster) -> tuple[float, float]:
        """Fills the table; returns half of the peak rate, and what a write takes in the log."""
        cluster.start()
        leader = await cluster.wait_until_serving()
        load = WriteLoad(leader.client_address, keys=self._keys, value_bytes=VALUE_BYTES)
        begun = time.perf_counter()
        await load.fill()
        print(f"{self._keys:,} keys written in {time.perf_counter() - begun:.1f} s", flush=True)
        await load.connect(CONNECTIONS)
        watch = ClusterWatch(cluster)
        watching = asyncio.create_task(watch.run())
        await settle(watch)
        before = await leader_status(cluster)
        load.take_sample()
        async with load.closed():
            await asyncio.sleep(PEAK_S)
        sample = load.take_sample()
        after = await leader_status(cluster)
        watching.cancel()
        load.close()
        peak = len(sample.due) / PEAK_S
        print(f"peak: {peak:,.0f} writes a second, {CONNECTIONS} at a time", flush=True)
        growth = after.raft_state_bytes - before.raft_state_bytes
        cluster.kill(*cluster.running)
        return peak / 2, max(growth / len(sample.due), 1.2 * VALUE_BYTES)


async def leader_status(cluster: LocalCluster) -> NodeStatus:
    """What the leader says of itself."""
    return await cluster.wait_until_serving()


async def settle(watch: ClusterWatch) -> None:
    """Waits until no node has taken a snapshot for a while."""
    quiet_since = time.perf_counter()
    while time.perf_counter() - quiet_since < 2:
        if not watch.is_quiet:
            quiet_since = time.perf_counter()
        await asyncio.sleep(0.05)


async def measure_snapshots(
    cluster: LocalCluster, watch: ClusterWatch, load: WriteLoad, *, rate: float, seconds: float
) -> None:
    """The steady load, while snapshots come and go."""
    await settle(watch)
    before = {node: resident_mib(cluster.pid(node)) for node in cluster.running}
    watch.forget_peak()
    load.take_sample()
    start = time.perf_counter()
    async with load.steady(rate):
        await asyncio.sleep(seconds)
    end = time.perf_counter()
    spans = {n: [s for s in own if s.end > start] for n, own in watch.snapshots.items()}
    for node, own in spans.items():
        shown = ", ".join(f"{s.begin - start:.1f} to {s.end - start:.1f}" for s in own)
        print(f"node {node} took snapshots, second {shown}")
    show_comparison(load.take_sample(), [s for own in spans.values() for s in own], start)
    head_of_stalls()
    for node in cluster.running:
        stalls = [s for s in read_stalls(cluster, node) if start + 1 < s.end < end]
        within = [s for s in stalls if is_within(s.end, spans[node])]
        show_stalls(f"node {node}, snapshot", within)
        show_stalls(f"node {node}, none", [s for s in stalls if s not in within])
    print("\nmemory, MiB: before, at the peak, times")
    for node, peak in watch.peak_mib.items():
        print(f"  node {node}: {before[node]:.0f}, {peak:.0f}, {peak / before[node]:.2f}")


def show_comparison(sample: Sample, spans: list[Span], start: float) -> None:
    """Latencies of writes that were due while some node took a snapshot, and of the others."""
    during: list[float] = []
    otherwise: list[float] = []
    for due, latency in zip(sample.due, sample.latency, strict=True):
        if due > start + 1:
            (during if is_within(due, spans) else otherwise).append(latency)
    head_of_latencies()
    shown = show_latencies("some node takes a snapshot", during)
    reference = show_latencies("none does", otherwise)
    p50, p99, p999 = (a / b for a, b in zip(shown, reference, strict=True))
    print(f"  ratio: p50 {p50:.2f}, p99 {p99:.2f}, p99.9 {p999:.2f}", flush=True)


async def measure_catch_up(
    cluster: LocalCluster, watch: ClusterWatch, load: WriteLoad, rate: float | None
) -> None:
    """A follower is killed, the log moves on, and it comes back; the load goes on all the time."""
    leader = NodeId((await leader_status(cluster)).id)
    follower = next(node for node in cluster.running if node != leader)
    cluster.kill(follower)
    async with load.closed() if rate is None else load.steady(rate):
        # The first one may have begun before the death, or keep what the follower needs.
        await watch.taken(leader, 3)
        load.take_sample()
        begun = time.perf_counter()
        await asyncio.sleep(PEAK_S)
        alone = len(load.take_sample().due) / (time.perf_counter() - begun)
        begun = time.perf_counter()
        cluster.start_node(follower)
        await caught_up(cluster, follower, leader)
        took = time.perf_counter() - begun
        sample = load.take_sample()
        ended = time.perf_counter()
        await asyncio.sleep(PEAK_S)
        after = len(load.take_sample().due) / (time.perf_counter() - ended)
    meanwhile = len(sample.due) / took
    kind = "as much load as possible" if rate is None else "steady load"
    print(f"\n{kind}: a follower that was down has caught up {took:.1f} s after its start")
    print(
        f"  {alone:,.0f} writes a second before, {meanwhile:,.0f} meanwhile, {after:,.0f} after: "
        f"{meanwhile / alone:.2f} and {meanwhile / after:.2f} times"
    )
    head_of_latencies()
    show_latencies("meanwhile", list(sample.latency))
    head_of_stalls()
    for node in cluster.running:
        show_stalls(f"node {node}", [s for s in read_stalls(cluster, node) if s.end > begun])


async def caught_up(cluster: LocalCluster, follower: NodeId, leader: NodeId) -> None:
    """Waits until the follower has applied what was committed just now."""
    goal: int | None = None
    async with asyncio.timeout(300):
        while True:
            statuses = {s.id: s for s in await cluster.statuses() if s is not None}
            if follower in statuses and leader in statuses:
                goal = goal or statuses[leader].commit_index
                if statuses[follower].last_applied >= goal:
                    return
            await asyncio.sleep(0.05)


async def main() -> None:
    """Prints what it measures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--keys", type=int, default=1_000_000)
    parser.add_argument("--seconds", type=float, default=100.0, help="of the steady load")
    parser.add_argument("--period", type=float, default=20.0, help="between snapshots, about")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="quorate-snapshot-") as directory:
        await Benchmark(Path(directory), options).run()


if __name__ == "__main__":
    run(main())
