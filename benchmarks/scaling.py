"""How the cost of a write grows: with connections, values, keys, log, sessions and nodes.

    python -m benchmarks.scaling [--seconds 3] [--only NAME ...] [--chart FILE.svg]

Each table is of one cluster (but for the number of nodes), each row of one load on it: writes per
second, their latency, and what all nodes together take of the processors for each. Where that
jumps from one row to the next there is a limit; on a shared machine, look at it more than once.
No sample begins while a node takes a snapshot: `benchmarks.snapshot` asks what that costs.
`--chart` draws the latency over the throughput for the number of connections.
"""

import argparse
import asyncio
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import redis
from benchmarks.cluster_watch import MIB, resident_mib
from benchmarks.line_chart import Line, Panel, chart
from benchmarks.peers.load import Load, Sample, prepare, run_load
from benchmarks.peers.quorate import Quorate
from benchmarks.peers.system import Protocol

from quorate.node.status import NodeStatus

CONNECTIONS = (1, 2, 5, 10, 20, 50, 100, 200, 500, 1000)
VALUE_BYTES = (16, 64, 256, 1024, 4096, 16384, 65536, 262144, 1048576)
KEYS = (10_000, 100_000, 1_000_000, 3_000_000)
LOG_MIB = (16, 64, 256, 1024)
SESSIONS = (1, 100, 1_000, 10_000)
REPLIES_OF_SESSION = 16
"""Stored for each: its client has not said yet that it has got them."""
PIPELINE = 500
NODES = (1, 3, 5, 7)
FIRST_OPERATIONS = 2_000
MAX_LOG_BYTES = 256 * 1024 * 1024
LOG_BYTES_OF_WRITE = 120
"""About what a write of the usual load adds to the log."""
POLL_S = 0.2
DIRECTORY = Path("build/run/scaling")
COLUMNS = f"{'':>16} {'per second':>11} {'p50 ms':>8} {'p99 ms':>8} {'CPU us':>8} {'MiB':>6}"


def sample(system: Quorate, load: Load, seconds: float) -> Sample:
    """Of about so many seconds, and of no more bytes than a disk likes."""
    first = min(FIRST_OPERATIONS, max(50, MAX_LOG_BYTES // 8 // load.value_bytes))
    rate = run_load(system, load, operations=first).rate
    wait_for_snapshots(system)
    most = max(first, MAX_LOG_BYTES // load.value_bytes)
    return run_load(system, load, operations=min(round(rate * seconds), most))


def wait_for_snapshots(system: Quorate) -> None:
    """Until no node takes one."""
    while any(status.snapshot_taking for status in all_statuses(system)):
        time.sleep(POLL_S)


def all_statuses(system: Quorate) -> list[NodeStatus]:
    """Of all nodes, when all answer."""
    while True:
        statuses = asyncio.run(system.statuses())
        if len(statuses) == len(system.pids):
            return statuses


def row(name: object, taken: Sample, system: Quorate) -> str:
    """A row of the table."""
    p50, p99, _ = taken.percentiles_ms
    memory = max(map(resident_mib, system.pids))
    cells = f"{taken.rate:11,.0f} {p50:8.2f} {p99:8.2f} {taken.server_cpu_us:8.1f} {memory:6.0f}"
    return f"{name:>16,} {cells}"


def connections(seconds: float) -> Iterator[tuple[int, Sample, str]]:
    """With more and more connections to the leader."""
    with Quorate(DIRECTORY) as system:
        for count in CONNECTIONS:
            taken = sample(system, Load("SET", count), seconds)
            yield count, taken, row(count, taken, system)


def values(seconds: float) -> Iterator[tuple[int, Sample, str]]:
    """With larger and larger values, over 50 connections."""
    with Quorate(DIRECTORY) as system:
        for size in VALUE_BYTES:
            load = Load("SET", 50, keys=min(10_000, MAX_LOG_BYTES // size), value_bytes=size)
            taken = sample(system, load, seconds)
            yield size, taken, row(size, taken, system)


def keys(seconds: float) -> Iterator[tuple[int, Sample, str]]:
    """With more and more keys, which are filled before, over 50 connections."""
    with Quorate(DIRECTORY) as system:
        for count in KEYS:
            run_load(system, Load("SET", 50, pipeline=64, keys=count), operations=3 * count)
            taken = sample(system, Load("SET", 50, keys=count), seconds)
            yield count, taken, row(count, taken, system)


def log(seconds: float) -> Iterator[tuple[int, Sample, str]]:
    """With more and more MiB of log, at least, and no snapshot, over 50 connections."""
    with Quorate(DIRECTORY, serve_options=("--max-raft-state", "never")) as system:
        for mib in LOG_MIB:
            while (missing := mib * MIB - log_bytes(system)) > 0:
                operations = 1 + missing // LOG_BYTES_OF_WRITE
                run_load(system, Load("SET", 50, pipeline=64), operations=operations)
            taken = sample(system, Load("SET", 50), seconds)
            yield mib, taken, row(mib, taken, system)


def log_bytes(system: Quorate) -> int:
    """How much Raft state the nodes have."""
    return max(status.raft_state_bytes for status in all_statuses(system))


def sessions(seconds: float) -> Iterator[tuple[int, Sample, str]]:
    """With more and more sessions of clients, each with replies stored, over 50 connections."""
    with Quorate(DIRECTORY) as system:
        opened = 0
        for count in SESSIONS:
            open_sessions(system, count - opened)
            opened = count
            taken = sample(system, Load("SET", 50), seconds)
            yield count, taken, row(count, taken, system)


def open_sessions(system: Quorate, count: int) -> None:
    """Opens so many more sessions, and writes in each."""
    host, _, port = system.servers[0].rpartition(":")
    with redis.Redis(host, int(port)) as client:
        opened = pipeline(client, [("QUORATE.SESSION",)] * count)
        writes = [
            ("ONCE", session, number, 0, "SET", f"session-{session}", number)
            for session in opened
            for number in range(1, REPLIES_OF_SESSION + 1)
        ]
        pipeline(client, writes)


def pipeline(client: redis.Redis, commands: Sequence[tuple[Any, ...]]) -> list[Any]:
    """The replies to commands, of which some are under way at a time."""
    replies: list[Any] = []
    for begin in range(0, len(commands), PIPELINE):
        with client.pipeline(transaction=False) as some:
            for command in commands[begin : begin + PIPELINE]:
                some.execute_command(*command)  # type: ignore[no-untyped-call]
            replies += some.execute()
    return replies


def nodes(seconds: float) -> Iterator[tuple[int, Sample, str]]:
    """With more and more nodes, over 50 connections."""
    for count in NODES:
        with Quorate(DIRECTORY, count) as system:
            taken = sample(system, Load("SET", 50), seconds)
            yield count, taken, row(count, taken, system)


MEASUREMENTS = {
    "connections": connections,
    "values": values,
    "keys": keys,
    "log": log,
    "sessions": sessions,
    "nodes": nodes,
}


def main() -> None:
    """Runs them."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--seconds", type=float, default=3.0, help="of each sample, about")
    parser.add_argument("--only", nargs="*", choices=MEASUREMENTS, default=list(MEASUREMENTS))
    parser.add_argument("--chart", type=Path, help="of latency over throughput, as SVG")
    arguments = parser.parse_args()
    prepare(Protocol.RESP)
    for name in arguments.only:
        print(f"\n{MEASUREMENTS[name].__doc__}\n{COLUMNS}")
        samples: list[Sample] = []
        for _, taken, text in MEASUREMENTS[name](arguments.seconds):
            samples.append(taken)
            print(text, flush=True)
        if name == "connections" and arguments.chart is not None:
            arguments.chart.write_text(latency_chart(samples))


def latency_chart(samples: list[Sample]) -> str:
    """Latency over throughput, of more and more connections."""
    lines = [
        Line(title, [(taken.rate, taken.percentiles_ms[at]) for taken in samples])
        for at, title in enumerate(("p50", "p99"))
    ]
    counts = f"{min(CONNECTIONS):,} to {max(CONNECTIONS):,}"
    title = f"Latency (ms) over writes per second, with {counts} connections"
    return chart(title, [Panel(title, "writes per second", lines)])


if __name__ == "__main__":
    main()
