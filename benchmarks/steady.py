"""How steady the latency of writes is: as many as 50 connections can make, snapshots included.

    python -m benchmarks.steady [--seconds 60] [--connections 50]

The load is closed: each connection has one write under way.
"""

import argparse
import asyncio
from pathlib import Path

from benchmarks.peers.load import Load, run_load
from benchmarks.peers.quorate import Quorate


def main() -> None:
    """Runs it."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--connections", type=int, default=50)
    arguments = parser.parse_args()
    load = Load("SET", arguments.connections)
    with Quorate(Path("build/run/steady")) as system:
        rate = run_load(system, load, operations=20_000).rate
        taken = run_load(system, load, operations=round(rate * arguments.seconds))
        covered = [status.snapshot_index for status in asyncio.run(system.statuses())]
    p50, p99, p999 = taken.percentiles_ms
    print(f"{taken.operations:,} writes in {taken.seconds:.0f} s: {taken.rate:,.0f} a second")
    print(f"p50 {p50:.2f}, p99 {p99:.2f}, p99.9 {p999:.2f} ms; p99 is {p99 / p50:.1f} times p50")
    print(f"snapshots were taken by {sum(map(bool, covered))} of {len(covered)} nodes")


if __name__ == "__main__":
    main()
