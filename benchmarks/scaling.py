"""How the cost of a write grows: with connections, values, keys and nodes.

    python -m benchmarks.scaling [--seconds 3] [--only NAME ...] [--chart FILE.svg]

Each row is one load on a new cluster (on the same one, for connections and values): writes per
second, their latency, and what all nodes together take of the processors for each. Where that
jumps from one row to the next there is a limit; on a shared machine, look at it more than once.
`--chart` draws the latency over the throughput for the number of connections.
"""

import argparse
from collections.abc import Iterator
from pathlib import Path

from benchmarks.cluster_watch import resident_mib
from benchmarks.line_chart import Line, Panel, chart
from benchmarks.peers.load import Load, Sample, prepare, run_load
from benchmarks.peers.quorate import Quorate
from benchmarks.peers.system import Protocol

CONNECTIONS = (1, 2, 5, 10, 20, 50, 100, 200, 500, 1000)
VALUE_BYTES = (16, 64, 256, 1024, 4096, 16384, 65536, 262144, 1048576)
KEYS = (10_000, 100_000, 1_000_000, 3_000_000)
NODES = (1, 3, 5, 7)
FIRST_OPERATIONS = 2_000
MAX_LOG_BYTES = 256 * 1024 * 1024
DIRECTORY = Path("build/run/scaling")
COLUMNS = f"{'':>16} {'per second':>11} {'p50 ms':>8} {'p99 ms':>8} {'CPU us':>8} {'MiB':>6}"


def sample(system: Quorate, load: Load, seconds: float) -> Sample:
    """Of about so many seconds, and of no more bytes than a disk likes."""
    first = min(FIRST_OPERATIONS, max(50, MAX_LOG_BYTES // 8 // load.value_bytes))
    rate = run_load(system, load, operations=first).rate
    most = max(first, MAX_LOG_BYTES // load.value_bytes)
    return run_load(system, load, operations=min(round(rate * seconds), most))


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
