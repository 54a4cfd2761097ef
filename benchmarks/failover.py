"""How long nobody is served after the leader is killed, and elections that nobody needs.

    python -m benchmarks.failover [--kills 10] [--minutes 10]

Clerks append without a pause. The gap is the longest time without any acknowledgement around a
`kill -9` of the leader, with the default settings. Then the cluster is under full load for some
minutes, in which the term should not change.
"""

import argparse
import asyncio
import contextlib
import statistics
import subprocess
import tempfile
import time
from itertools import pairwise
from pathlib import Path

from benchmarks.write_load import run

from quorate.raft.configuration import NodeId
from quorate.runtime.async_clerk import AsyncClerk
from quorate.runtime.local_cluster import LocalCluster

CLERKS = 8
SETTLE_S = 3.0
AFTER_S = 4.0


class Acknowledgements:
    """When appends were acknowledged."""

    def __init__(self) -> None:
        self.times: list[float] = []

    async def append(self, servers: list[str], key: str) -> None:
        """Appends for ever."""
        async with AsyncClerk(servers) as clerk:
            while True:
                await clerk.append(key, "x", timeout=60)
                self.times.append(time.perf_counter())

    def longest_gap_s(self, since: float) -> float:
        """The longest time without one, from a moment on."""
        times = [since, *(moment for moment in self.times if moment > since)]
        return max(after - before for before, after in pairwise(times))


async def gap_after_kill(cluster: LocalCluster, acknowledged: Acknowledgements) -> float:
    """Kills the leader, and starts it again when the others have gone on for a while."""
    leader = await cluster.wait_until_serving()
    await asyncio.sleep(SETTLE_S)
    killed = time.perf_counter()
    cluster.kill(NodeId(leader.id))
    await asyncio.sleep(AFTER_S)
    cluster.start_node(NodeId(leader.id))
    await asyncio.sleep(SETTLE_S)
    return acknowledged.longest_gap_s(killed)


async def measure_gaps(cluster: LocalCluster, kills: int) -> list[float]:
    """The gap of each kill, in seconds."""
    acknowledged = Acknowledgements()
    async with asyncio.TaskGroup() as group:
        clerks = [
            group.create_task(acknowledged.append(cluster.servers, f"key-{number}"))
            for number in range(CLERKS)
        ]
        gaps = [await gap_after_kill(cluster, acknowledged) for _ in range(kills)]
        for clerk in clerks:
            clerk.cancel()
    return gaps


async def terms_passed(cluster: LocalCluster, minutes: float) -> int:
    """How many terms begin under full load."""
    before = await cluster.wait_until_serving()
    host, _, port = before.client_address.rpartition(":")
    load = await asyncio.create_subprocess_exec(
        *("redis-benchmark", "-h", host, "-p", port, "-t", "set", "-c", "50", "-d", "64"),
        *("-r", "100000", "-l", "-q"),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        await asyncio.sleep(minutes * 60)
    finally:
        load.terminate()
        await load.wait()
    return (await cluster.wait_until_serving()).term - before.term


async def main() -> None:
    """Runs it."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--kills", type=int, default=10)
    parser.add_argument("--minutes", type=float, default=10)
    arguments = parser.parse_args()
    with contextlib.ExitStack() as stack:
        directory = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        cluster = stack.enter_context(LocalCluster.create(directory / "cluster"))
        cluster.start()
        gaps = await measure_gaps(cluster, arguments.kills)
        shown = ", ".join(f"{gap * 1000:.0f}" for gap in gaps)
        print(f"gap after kill -9 of the leader: {statistics.median(gaps) * 1000:.0f} ms ({shown})")
        passed = await terms_passed(cluster, arguments.minutes)
        print(f"elections in {arguments.minutes:g} minutes under full load: {passed}")


if __name__ == "__main__":
    run(main())
