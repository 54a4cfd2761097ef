"""The same load for each system: so many connections, each with so many requests under way.

What speaks RESP gets it from `redis-benchmark`, and the others from `load/main.go`: a generator in
Python would take more of the processors than the servers that are measured beside it.
"""

import json
import os
import re
import resource
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from benchmarks.peers.system import PeerMissingError, Protocol, System, find_program

_GO_SOURCES = Path(__file__).parent.parent / "load"
_GO_PROGRAM = Path("build/load")
_GO_PATH = Path("/usr/share/gocode")
_GO_HINT = "apt-get install golang-go golang-etcd-server-dev"


class Load(NamedTuple):
    """What clients do.

    Attributes:
        operation: `SET` or `GET`.
        connections: how many.
        pipeline: requests under way on each.
        is_spread: over all nodes; else all are with the leader.
        keys: how many different ones.
        value_bytes: of each value.
    """

    operation: str
    connections: int
    pipeline: int = 1
    is_spread: bool = False
    keys: int = 10_000
    value_bytes: int = 64


class Sample(NamedTuple):
    """What became of it.

    Attributes:
        operations: how many were done.
        seconds: how long that took.
        percentiles_ms: of the latency: the 50th, the 99th and the 99.9th.
        server_cpu_s: what the system's processes took of the processors.
        client_cpu_s: what the load generator took.
    """

    operations: int
    seconds: float
    percentiles_ms: tuple[float, float, float]
    server_cpu_s: float
    client_cpu_s: float

    @property
    def rate(self) -> float:
        """Operations per second."""
        return self.operations / self.seconds

    @property
    def server_cpu_us(self) -> float:
        """Of all nodes, for each operation."""
        return self.server_cpu_s / self.operations * 1e6


def prepare(protocol: Protocol) -> None:
    """Sees that there is a generator for this protocol.

    Raises:
        PeerMissingError: there is none; the text says how to get it.
    """
    if protocol is Protocol.RESP:
        find_program(["redis-benchmark"], "apt-get install redis-tools")
        return
    if not (_GO_PATH / "src/go.etcd.io/etcd").exists() or shutil.which("go") is None:
        raise PeerMissingError(_GO_HINT)
    _GO_PROGRAM.parent.mkdir(exist_ok=True)
    subprocess.run(
        ["go", "build", "-o", str(_GO_PROGRAM.absolute()), "."],
        cwd=_GO_SOURCES,
        env=_go_environment(),
        check=True,
    )


def run_load(system: System, load: Load, *, operations: int) -> Sample:
    """Puts a load on a system.

    Args:
        system: it runs.
        load: what to do.
        operations: how many, about.
    """
    servers = system.servers if load.is_spread else system.servers[:1]
    cpu_before, usage = system.cpu_s, resource.getrusage(resource.RUSAGE_CHILDREN)
    run = _run_redis_benchmarks if system.protocol is Protocol.RESP else _run_go
    done, seconds, percentiles = run(system, servers, load, operations)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    client_cpu = after.ru_utime + after.ru_stime - usage.ru_utime - usage.ru_stime
    return Sample(done, seconds, percentiles, system.cpu_s - cpu_before, client_cpu)


class _Outcome(NamedTuple):
    operations: int
    seconds: float
    percentiles_ms: tuple[float, float, float]


_PERCENTILES = (0.5, 0.99, 0.999)
_COMPLETED = re.compile(r"(\d+) requests completed in ([\d.]+) seconds")
_SHORTEST_S = 0.005  # it tells hundredths of a second
_STEP = re.compile(r"<= ([\d.]+) milliseconds \(cumulative count (\d+)\)")


def _run_redis_benchmarks(
    _system: System, servers: Sequence[str], load: Load, operations: int
) -> _Outcome:
    """One for each server, with its share of the connections, all at the same time."""
    running = []
    for number, server in enumerate(servers):
        host, _, port = server.rpartition(":")
        connections = len(range(number, load.connections, len(servers)))
        command = [
            *("redis-benchmark", "-h", host, "-p", port, "-t", load.operation.lower()),
            *("-c", str(connections), "-n", str(operations * connections // load.connections)),
            *("-P", str(load.pipeline), "-d", str(load.value_bytes), "-r", str(load.keys)),
            *("--precision", "3"),
        ]
        running.append(subprocess.Popen(command, stdout=subprocess.PIPE, text=True))
    texts = [process.communicate()[0] for process in running]
    if any(process.returncode for process in running):
        raise RuntimeError(f"redis-benchmark has failed: {texts}")
    counts: dict[float, int] = {}
    done, longest = 0, 0.0
    for text in texts:
        completed = _COMPLETED.search(text)
        assert completed is not None, text
        done += int(completed[1])
        longest = max(longest, float(completed[2]), _SHORTEST_S)
        before = 0
        for limit, count in _STEP.findall(text.partition("Cumulative distribution")[0]):
            counts[float(limit)] = counts.get(float(limit), 0) + int(count) - before
            before = int(count)
    return _Outcome(done, longest, _percentiles(counts))


def _percentiles(counts: dict[float, int]) -> tuple[float, float, float]:
    total, reached = sum(counts.values()), 0
    found: list[float] = []
    for limit in sorted(counts):
        reached += counts[limit]
        while len(found) < len(_PERCENTILES) and reached >= _PERCENTILES[len(found)] * total:
            found.append(limit)
    return found[0], found[1], found[2]


def _run_go(system: System, servers: Sequence[str], load: Load, operations: int) -> _Outcome:
    command = [
        *(str(_GO_PROGRAM), "-protocol", system.protocol.value, "-servers", ",".join(servers)),
        *("-operation", load.operation.lower(), "-connections", str(load.connections)),
        *("-operations", str(operations), "-keys", str(load.keys)),
        *("-value-bytes", str(load.value_bytes)),
    ]
    ended = subprocess.run(command, capture_output=True, check=False, text=True)
    if ended.returncode != 0:
        raise RuntimeError(f"{' '.join(command)}: {ended.stderr}")
    result = json.loads(ended.stdout)
    percentiles = tuple(result["latency_ms"][name] for name in ("p50", "p99", "p99.9"))
    return _Outcome(result["operations"], result["seconds"], percentiles)


def _go_environment() -> dict[str, str]:
    return {
        "PATH": os.environ["PATH"],
        "HOME": os.environ.get("HOME", "/"),
        "GO111MODULE": "off",
        "GOPATH": str(_GO_PATH),
        "GOCACHE": str(Path("build/go-cache").absolute()),
    }
