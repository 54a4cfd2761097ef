"""Where the leader's time goes, in microseconds for each operation, and its calls of the system.

    python -m benchmarks.budget [--seconds 5] [--only NAME ...]

py-spy looks at the leader's stack again and again while it is under load (`make bench` installs
it); what it was doing is told by the outermost function that stands for a stage. Waiting for the
disk counts, waiting for something to happen does not. What is left over is the event loop itself:
it polls, and reads from sockets.
"""

import argparse
import signal
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Iterable
from pathlib import Path

from benchmarks.peers.load import Load, Sample, run_load
from benchmarks.peers.quorate import Quorate

LOADS = {
    "SET, 1 connection": Load("SET", 1),
    "SET, 50 connections": Load("SET", 50),
    "SET, 200 connections": Load("SET", 200),
    "SET, 50 connections, pipelines of 16": Load("SET", 50, pipeline=16),
    "GET, 50 connections": Load("GET", 50),
}
STAGES = {
    "parse requests": "RequestParser.receive",
    "understand, keep": "ClientProtocol.buffer_updated",
    "propose, encode": "Replica.propose",
    "send to followers": "PeerLinks.send",
    "write the log": "DirectoryFile.write_at",
    "sync the log": "DirectoryFile.sync",
    "write: frames, books": "LogWriter.write",
    "answers of followers": "PeerProtocol.data_received",
    "apply": "ReplicatedState.apply",
    "answer reads": "Gateway._answer_reads",
    "settle": "Gateway.take_ready",
    "send replies": "Clients.send",
    "rest of Raft": "Raft.",
    "rest of the turn": "Driver.",
}
THE_REST = "event loop, reading"
SAMPLES_PER_SECOND = 500
_PY_SPY = Path("build/peers-venv/bin/py-spy")
_FIRST_OPERATIONS = 2_000
_NOT_THE_LOOP = ("Thread._bootstrap", "_stop_when_stdin_closes")


def stage_of(frames: list[str]) -> str:
    """What a stack of functions is doing: of the stages it is in, the one that is named first."""
    for stage, part in STAGES.items():
        if any(frame.startswith(part) for frame in frames):
            return stage
    return THE_REST


def count_stages(stacks: Iterable[str]) -> Counter[str]:
    """How often each stage was seen, by py-spy's lines `outermost;...;innermost count`."""
    counts: Counter[str] = Counter()
    for line in stacks:
        stack, _, count = line.rpartition(" ")
        frames = stack.split(";")
        if not any(frame.startswith(_NOT_THE_LOOP) for frame in frames):
            counts[stage_of(frames)] += int(count)
    return counts


def system_calls(pid: int) -> int:
    """How often a process has read or written so far."""
    fields = dict(line.split(": ") for line in Path(f"/proc/{pid}/io").read_text().splitlines())
    return int(fields["syscr"]) + int(fields["syscw"])


def profile(system: Quorate, load: Load, seconds: float) -> tuple[Sample, Counter[str], float]:
    """Puts a load on; returns what came of it, the stages, and the leader's reads and writes."""
    rate = run_load(system, load, operations=_FIRST_OPERATIONS).rate
    calls = system_calls(system.leader_pid)
    quiet = run_load(system, load, operations=round(rate * seconds))
    calls = system_calls(system.leader_pid) - calls
    with tempfile.NamedTemporaryFile(mode="r") as stacks:
        command = [
            *(str(_PY_SPY), "record", "--format", "raw", "--output", stacks.name, "--nonblocking"),
            *("--rate", str(SAMPLES_PER_SECOND), "--pid", str(system.leader_pid)),
        ]
        with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as spy:
            taken = run_load(system, load, operations=quiet.operations)
            spy.send_signal(signal.SIGINT)  # else it forgets what it has seen
        counts = count_stages(stacks.read().splitlines())
    print(f"  {taken.rate:,.0f}/s while it is looked at, {quiet.rate:,.0f}/s otherwise")
    return taken, counts, calls / quiet.operations


def main() -> None:
    """Prints a table for each load."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--seconds", type=float, default=5.0, help="of each load, about")
    parser.add_argument("--only", nargs="*", choices=LOADS, default=list(LOADS), metavar="NAME")
    arguments = parser.parse_args()
    if not _PY_SPY.exists():
        sys.exit("py-spy is not there: `make build/peers-venv/.installed` installs it")
    with Quorate(Path("build/run/budget")) as system:
        for name in arguments.only:
            print(name)
            taken, counts, calls = profile(system, LOADS[name], arguments.seconds)
            for stage in (*STAGES, THE_REST):
                if counts[stage]:
                    each = counts[stage] / SAMPLES_PER_SECOND / taken.operations * 1e6
                    print(f"  {stage:24}{each:8.2f} us")
            total = counts.total() / SAMPLES_PER_SECOND / taken.operations * 1e6
            print(f"  {'together':24}{total:8.2f} us, {calls:.2f} reads and writes")


if __name__ == "__main__":
    main()
