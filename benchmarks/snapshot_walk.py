"""What a snapshot of a large state costs, beside commands that go on meanwhile.

    python benchmarks/snapshot_walk.py [keys]

Prints the longest of each kind of call, because that is how long an event loop would stand still,
and what memory a snapshot takes beside the table. All times are those of the processor, so that a
busy machine disturbs them little. Sections are thrown away once they are made.
"""

import gc
import random
import sys
import time
from collections.abc import Callable
from itertools import islice

import psutil  # type: ignore[import-untyped]

from quorate.codec.batch import OpenSession, Submission
from quorate.kv.commands import Put, encode_command
from quorate.kv.queries import Count, Get
from quorate.kv.table import Table
from quorate.replica.sessions import SessionLimits, SessionTable

KEYS = 1_000_000
VALUE_BYTES = 100
WRITES_PER_SECTION = 40
"""While 10 MB of snapshot are fetched a second, these are 6,000 writes a second."""

CLIENTS = 10_000
REPLIES = 20

MIB = 1024 * 1024


class Calls:
    """How long the calls of one kind took."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._seconds: list[float] = []

    def add(self, start: float) -> None:
        """One that began then, and is over now."""
        self._seconds.append(time.thread_time() - start)

    def show(self) -> None:
        """Prints a line."""
        ordered = sorted(self._seconds) or [0.0]
        print(
            f"  {self._name:32} {len(self._seconds):9,} {sum(ordered) * 1e3:10.1f} ms"
            f" {ordered[len(ordered) // 2] * 1e6:9.1f} us {ordered[-1] * 1e3:8.2f} ms"
        )


def head(title: str) -> None:
    """Prints the line above those of `Calls`."""
    print(f"\n{title:34} {'calls':>9} {'together':>13} {'median':>12} {'longest':>11}")


def key(number: int) -> bytes:
    """Of 16 bytes."""
    return b"key:%012d" % number


def put(number: int) -> bytes:
    """A write of a new value."""
    return encode_command(Put(key(number), bytes(VALUE_BYTES)))


def resident() -> float:
    """Memory of this process, in MiB."""
    return float(psutil.Process().memory_info().rss / MIB)


def walk(state: Table | SessionTable, writes: Callable[[], None]) -> float:
    """Takes a snapshot, with writes before each section; returns the memory at the peak."""
    beginning, full, empty = Calls("begin"), Calls("fetch a section"), Calls("fetch an empty one")
    peak = resident()
    size = count = 0
    start = time.thread_time()
    sections = state.snapshot()
    beginning.add(start)
    while True:
        writes()
        start = time.thread_time()
        section = next(sections, None)
        if section is None:
            break
        (full if section else empty).add(start)
        size += len(section)
        count += 1
        if count % 50 == 0:
            peak = max(peak, resident())
    for calls in (beginning, full, empty):
        calls.show()
    print(f"  {size / MIB:.1f} MiB")
    return max(peak, resident())


def restore(sections: list[bytes], state: Table | SessionTable) -> None:
    """Takes the sections in."""
    calls = Calls("take in a section")
    for section in sections:
        start = time.thread_time()
        state.restore(section)
        calls.add(start)
    calls.show()


def nanoseconds(call: Callable[[int], object], keys: int, rng: random.Random) -> float:
    """For one call with a random key; the best of some rounds."""
    rounds = []
    for _ in range(20):
        numbers = [rng.randrange(keys) for _ in range(2_000)]
        start = time.thread_time()
        for number in numbers:
            call(number)
        rounds.append((time.thread_time() - start) / len(numbers))
    return min(rounds) * 1e9


def measure_table(keys: int, rng: random.Random) -> None:
    """In the order of a table's life."""
    table = Table()
    writes = Calls("a write")

    before = resident()
    for number in range(keys):
        table.apply(put(number))
    gc.collect()
    full = resident()
    print(f"{keys:,} keys of 16 bytes with values of {VALUE_BYTES}: {full - before:.0f} MiB")

    def write() -> None:
        for _ in range(WRITES_PER_SECTION):
            command = put(rng.randrange(keys))
            start = time.thread_time()
            table.apply(command)
            writes.add(start)

    head("a snapshot, no writes")
    peak = walk(table, lambda: None)
    print(f"  {peak - full:.0f} MiB of memory beside the table")

    head(f"a snapshot, {WRITES_PER_SECTION} writes with each section")
    peak = walk(table, write)
    writes.show()
    print(f"  {peak - full:.0f} MiB of memory beside the table")

    def get(number: int) -> object:
        return table.query(Get(key(number)))

    def set_again(number: int) -> object:
        return table.apply(put(number))

    def show_commands(when: str) -> None:
        costs = [nanoseconds(call, keys, rng) for call in (set_again, get)]
        print(f"  {when:32} {costs[0]:9.0f} ns {costs[1]:9.0f} ns")

    print(f"\n{'':34} {'a put':>12} {'a get':>12}, with what makes them")
    show_commands("no snapshot is under way")
    sections = table.snapshot()
    show_commands("one is")
    kept = [section for section in sections if section]
    show_commands("it is over")

    head("a table restored")
    gc.collect()
    before = resident()
    copy = Table()
    restore(kept, copy)
    after = resident()
    print(f"  {after - before:.0f} MiB")
    assert copy.query(Count()) == keys


def measure_sessions() -> None:
    """Of clients with some replies, and of a node that has its window full."""
    table = SessionTable(SessionLimits())
    last = CLIENTS + 1
    replies = tuple(b"%08d" % number for number in range(32_768))

    def submit(session: int, seq: int, *commands: bytes) -> None:
        submission = Submission(session, 0, seq, commands, 1 if session == last else 0)
        table.submit(submission, time_ms=0, apply=bytes)

    for index in range(1, last + 1):
        table.open_session(OpenSession(int(index == last), 1), index=index, time_ms=0)
        submit(index, 1, *(replies if index == last else replies[:REPLIES]))
    gc.collect()

    changing = Calls("a write to a session")
    changed = iter(range(last, 0, -1))

    def write() -> None:
        for session in islice(changed, 500):
            start = time.thread_time()
            submit(session, len(replies) + 1 if session == last else REPLIES + 1, b"another")
            changing.add(start)

    print(f"\n{CLIENTS:,} sessions with {REPLIES} replies, and a node's with {len(replies):,}")
    head("a snapshot, 500 writes a section")
    walk(table, write)
    changing.show()
    sections = list(table.snapshot())
    restore(sections, SessionTable(SessionLimits()))


def main() -> None:
    """Prints what it measures."""
    measure_table(int(sys.argv[1]) if len(sys.argv) > 1 else KEYS, random.Random(1))
    measure_sessions()


if __name__ == "__main__":
    main()
