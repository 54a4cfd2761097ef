"""Quorate beside the systems that one would take in its place, on this machine.

    python -m benchmarks.comparison [--rounds 5] [--seconds 4] [--only NAME ...]

Each system runs as a durable cluster of three nodes, Redis alone as the bound of what one server
can do. They take turns, round by round, so that a ratio is one of two figures that were taken
within minutes; in each round every system begins empty. Written are `build/comparison.md` and
`build/comparison.json`.
"""

import argparse
import json
import os
import platform
import statistics
import sys
from collections.abc import Sequence
from pathlib import Path

from benchmarks.peers.etcd import Etcd
from benchmarks.peers.load import Load, Sample, prepare, run_load
from benchmarks.peers.pysyncobj import PySyncObj
from benchmarks.peers.quorate import Quorate
from benchmarks.peers.redis import Redis
from benchmarks.peers.system import PeerMissingError, Protocol, System
from benchmarks.peers.zookeeper import ZooKeeper

SYSTEMS: tuple[type[System], ...] = (Quorate, Redis, Etcd, ZooKeeper, PySyncObj)
LOADS = {
    "SET, 1 connection": Load("SET", 1),
    "SET, 50 connections": Load("SET", 50),
    "SET, 200 connections": Load("SET", 200),
    "SET, 50 connections, pipelines of 16": Load("SET", 50, pipeline=16),
    "SET, 50 connections over all nodes": Load("SET", 50, is_spread=True),
    "GET, 50 connections": Load("GET", 50),
    "GET, 50 connections over all nodes": Load("GET", 50, is_spread=True),
}
COLUMNS = (
    *("", "per second", "from - to", "Quorate's is"),
    *("p50 ms", "p99 ms", "p99.9 ms", "server CPU us"),
)
FIRST_OPERATIONS = 2_000
ATTEMPTS = 5
OUTPUT = Path("build")

Results = dict[str, dict[str, list[Sample]]]
"""The samples by load and by system, one for each round."""


def can(system: type[System], load: Load) -> bool:
    """Whether the system can be put under this load."""
    if load.is_spread and not system.is_replicated:
        return False
    if load.operation == "GET" and system is PySyncObj:
        return False  # its reads are not linearizable
    return load.pipeline == 1 or system.protocol is Protocol.RESP


def installed(names: Sequence[str]) -> dict[type[System], str]:
    """Those of the systems that are there, with their versions; says what is not."""
    found: dict[type[System], str] = {}
    for kind in SYSTEMS:
        if names and kind.name not in names:
            continue
        try:
            prepare(kind.protocol)
            found[kind] = kind(OUTPUT / "run").version()
        except PeerMissingError as error:
            print(f"{kind.name} is left out, as it is not installed: {error}")
    return found


def measure(kinds: Sequence[type[System]], *, rounds: int, seconds: float) -> Results:
    """Takes all samples."""
    results: Results = {name: {kind.name: [] for kind in kinds} for name in LOADS}
    for number in range(rounds):
        for kind in kinds:
            for name, sample in take_round(kind, seconds).items():
                results[name][kind.name].append(sample)
                print(f"round {number + 1}: {kind.name}: {name}: {sample.rate:,.0f}/s", flush=True)
    return results


def take_round(kind: type[System], seconds: float) -> dict[str, Sample]:
    """One sample of each load.

    ZooKeeper does not always serve when it says so, and then is begun anew.
    """
    for attempts_left in reversed(range(ATTEMPTS)):
        try:
            with kind(OUTPUT / "run" / kind.name.replace(" ", "-")) as system:
                return {
                    name: take_sample(system, load, seconds)
                    for name, load in LOADS.items()
                    if can(kind, load)
                }
        except RuntimeError as error:
            if not attempts_left:
                raise
            print(f"{kind.name} is begun anew: {error}", flush=True)
    raise AssertionError


def take_sample(system: System, load: Load, seconds: float) -> Sample:
    """Of about so many seconds."""
    rate = run_load(system, load, operations=FIRST_OPERATIONS).rate
    return run_load(system, load, operations=round(rate * seconds))


def table(results: Results, versions: dict[str, str]) -> str:
    """All medians, and the ratios to Quorate's, as Markdown."""
    lines = [hardware(), ""]
    for name, samples in results.items():
        lines += [
            f"**{name}**",
            "",
            f"| {' | '.join(COLUMNS)} |",
            f"|{'---|' * len(COLUMNS)}",
        ]
        ours = samples.get(Quorate.name, [])
        for system, taken in samples.items():
            if taken:
                lines.append(_row(f"{system} {versions[system]}", taken, ours))
        lines.append("")
    return "\n".join(lines)


def _row(system: str, taken: list[Sample], ours: list[Sample]) -> str:
    rates = [sample.rate for sample in taken]
    ratios = [mine.rate / theirs.rate for mine, theirs in zip(ours, taken, strict=False)]
    ratio = "" if not ratios or taken is ours else f"{statistics.median(ratios):.2f} x"
    percentiles = [
        f"{statistics.median(sample.percentiles_ms[number] for sample in taken):.2f}"
        for number in range(3)
    ]
    cpu = statistics.median(sample.server_cpu_us for sample in taken)
    cells = [
        system,
        f"{statistics.median(rates):,.0f}",
        f"{min(rates):,.0f} - {max(rates):,.0f}",
        ratio,
        *percentiles,
        f"{cpu:.1f}",
    ]
    return f"| {' | '.join(cells)} |"


def hardware() -> str:
    """The machine, in a line."""
    model = next(
        line.partition(":")[2].strip()
        for line in Path("/proc/cpuinfo").read_text().splitlines()
        if line.startswith("model name")
    )
    return (
        f"{os.cpu_count()} cores of {model}, {platform.system()} {platform.release()}, "
        f"Python {platform.python_version()}"
    )


def main() -> None:
    """Runs the comparison."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=4.0, help="of each sample, about")
    parser.add_argument("--only", nargs="*", default=[], metavar="NAME", help="these systems alone")
    arguments = parser.parse_args()
    versions = installed(arguments.only)
    if not versions:
        sys.exit("none of the systems is there")
    results = measure(list(versions), rounds=arguments.rounds, seconds=arguments.seconds)
    named = {kind.name: version for kind, version in versions.items()}
    text = table(results, named)
    print(text)
    (OUTPUT / "comparison.md").write_text(text)
    samples = {
        name: {system: [s._asdict() for s in taken] for system, taken in by_system.items()}
        for name, by_system in results.items()
    }
    content = {"hardware": hardware(), "versions": named, "samples": samples}
    (OUTPUT / "comparison.json").write_text(json.dumps(content, indent=1))


if __name__ == "__main__":
    main()
