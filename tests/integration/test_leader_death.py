"""The service goes on when the leader dies, and nobody else is elected while it lives."""

from __future__ import annotations

import asyncio
import shutil
import statistics
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest

from quorate.runtime.ask import ask

if TYPE_CHECKING:
    from tests.integration.conftest import Cluster, StartCluster

pytestmark = [pytest.mark.processes, pytest.mark.load]


async def time_until_written(servers: list[str], value: bytes) -> float:
    """Seconds until a write through each of these servers has succeeded."""
    began = time.perf_counter()

    async def write(server: str) -> None:
        while await ask(server, b"SET", b"k", value, timeout_s=20) != b"OK":
            pass

    await asyncio.gather(*map(write, servers))
    return time.perf_counter() - began


def test_writes_through_the_surviving_ports_succeed_again_within_a_second(
    healed_cluster: Cluster,
) -> None:
    cluster = healed_cluster
    pauses = []
    for death in range(5):
        leader = cluster.leader()
        survivors = [m.client for m in cluster.local.members if m.id != leader]
        cluster.kill(leader)
        pauses.append(asyncio.run(time_until_written(survivors, b"%d" % death)))
        cluster.restart(leader)
        cluster.wait_until_caught_up()
    print("pauses in ms:", [round(pause * 1000) for pause in pauses])
    assert statistics.median(pauses) < 1


def test_a_paused_leader_that_wakes_up_serves_nothing_stale(healed_cluster: Cluster) -> None:
    cluster = healed_cluster
    leader, (other, _) = cluster.leader(), cluster.followers()
    with cluster.connect(leader) as old, cluster.connect(other) as new:
        assert old.call("SET", "k", "before") == b"OK"
        with cluster.paused(leader):
            cluster.eventually(
                lambda: cluster.status(other).leader not in (None, leader), "another one leads"
            )
            assert new.call("SET", "k", "after") == b"OK"
            # Two questions wait in the sockets of the leader that was, and a write.
            old.send(b"GET k\r\nAPPEND k !\r\nGET k\r\n")
        assert old.replies(3) == [b"after", 6, b"after!"]
        assert new.call("GET", "k") == b"after!"


# --------------------------------------------------------------------- full load


@contextmanager
def full_load(cluster: Cluster) -> Iterator[list[subprocess.Popen[bytes]]]:
    """50 closed-loop connections on each node, by one process for each."""
    loads = [
        subprocess.Popen(
            [
                *("redis-benchmark", "-p", str(cluster.port(node)), "-c", "50", "-t", "set,get"),
                *("-n", "1000000", "-r", "100000", "-l", "-q"),
            ],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        for node in cluster.nodes
    ]
    try:
        yield loads
    finally:
        for load in loads:
            load.kill()
            load.wait()


def watch_for_elections(cluster: Cluster, *, seconds: float) -> None:
    (term,) = {status.term for status in cluster.statuses().values()}
    began = time.perf_counter()
    committed = cluster.statuses()[cluster.leader()].commit_index
    with full_load(cluster) as loads:
        while time.perf_counter() - began < seconds:
            statuses = cluster.statuses().values()
            assert {status.term for status in statuses} <= {term}
            assert all(load.poll() is None for load in loads), "an error reply ended the load"
            time.sleep(0.5)
    committed = cluster.statuses()[cluster.leader()].commit_index - committed
    assert {status.term for status in cluster.statuses().values()} == {term}
    assert committed > 10 * seconds
    print(f"{committed} entries committed in {seconds:g} s of full load, in one term")


needs_redis_benchmark = pytest.mark.skipif(
    shutil.which("redis-benchmark") is None, reason="redis-benchmark is not installed (redis-tools)"
)


@needs_redis_benchmark
def test_no_election_without_a_cause_under_full_load(healed_cluster: Cluster) -> None:
    watch_for_elections(healed_cluster, seconds=3)


@needs_redis_benchmark
@pytest.mark.soak
@pytest.mark.timeout(600)
def test_no_election_without_a_cause_in_five_minutes_under_full_load(
    start_cluster: StartCluster,
) -> None:
    watch_for_elections(start_cluster(), seconds=300)
