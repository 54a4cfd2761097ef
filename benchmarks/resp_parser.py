"""What guarding hiredis costs: microseconds per command, beside hiredis without any guard.

    python benchmarks/resp_parser.py

Each row is the best of many short rounds in which both take turns, so that a busy machine
disturbs it little.
"""

import time
from collections.abc import Callable

import hiredis

from quorate.wire.resp_client import encode_command
from quorate.wire.resp_guard import RequestLimits
from quorate.wire.resp_parser import RequestParser

ROUNDS = 60
ROUND_SECONDS = 0.004

KEY = "key:000000012345"
WORKLOADS = {
    "SET of 3 bytes": encode_command("SET", KEY, "xxx"),
    "GET": encode_command("GET", KEY),
    "SET of 3 bytes, pipeline of 16": encode_command("SET", KEY, "xxx") * 16,
    "SET of 64 bytes, pipeline of 1000": encode_command("SET", KEY, "x" * 64) * 1000,
    "ONCE APPEND, pipeline of 16": encode_command("ONCE", 12, 345, 340, "APPEND", KEY, "xxx") * 16,
    "SET of 1 KiB": encode_command("SET", KEY, "x" * 1024),
    "SET of 1 KiB, pipeline of 16": encode_command("SET", KEY, "x" * 1024) * 16,
    "SET of 1 MiB": encode_command("SET", KEY, "x" * 1024 * 1024),
    "MSET of 10 keys": encode_command("MSET", *[KEY, "xxx"] * 10),
    "MSET of 1000 keys": encode_command("MSET", *[KEY, "xxx"] * 1000),
}


def bare() -> Callable[[bytes], list[object]]:
    """The parser as it is."""
    reader = hiredis.Reader(notEnoughData=None)

    def receive(data: bytes) -> list[object]:
        reader.feed(data)
        return list(iter(reader.gets, None))

    return receive


def microseconds(receive: Callable[[bytes], object], data: bytes, repeats: int) -> float:
    """For one round, per call."""
    start = time.perf_counter()
    for _ in range(repeats):
        receive(data)
    return (time.perf_counter() - start) / repeats * 1e6


def main() -> None:
    """Prints a table, one workload a line."""
    print(f"{'per command, in microseconds':36} {'bare':>8} {'guarded':>8} {'ratio':>6}")
    for name, data in WORKLOADS.items():
        unguarded, guarded = bare(), RequestParser(RequestLimits()).receive
        commands = len(guarded(data))
        assert len(unguarded(data)) == commands
        repeats = max(1, int(ROUND_SECONDS * 1e6 / microseconds(guarded, data, 20)))
        rounds = [
            (microseconds(unguarded, data, repeats), microseconds(guarded, data, repeats))
            for _ in range(ROUNDS)
        ]
        before, after = (min(times) / commands for times in zip(*rounds, strict=True))
        print(f"{name:36} {before:8.3f} {after:8.3f} {after / before:6.2f}")


if __name__ == "__main__":
    main()
