"""How long the checker takes, on one core; each history is as a right service would make it.

    python benchmarks/checker.py

The goals are for the first two. The others are what makes searches explode: everything on one key,
writes of unknown outcome that pile up, and histories that are wrong at their end, so that the
search has to rule out every explanation.
"""

import random
import time
from collections.abc import Callable

import msgspec

from quorate.checker import Kind, Operation, check

MIXED = {Kind.GET: 45, Kind.APPEND: 45, Kind.PUT: 10}
REGISTER = {Kind.GET: 50, Kind.PUT: 50}


def recorded(
    *,
    operations: int,
    clients: int,
    key_of: Callable[[random.Random, int], bytes],
    mix: dict[Kind, int],
    value_bytes: int,
    lost: float = 0.0,
) -> list[Operation]:
    """A linearizable history: each operation takes effect at some instant of its interval.

    Args:
        operations: how many.
        clients: each has one at a time.
        key_of: of a client's next operation.
        mix: how often each kind comes.
        value_bytes: when a value has grown to this length it is put anew.
        lost: the part of the operations that are never answered; half of those never happen.
    """
    rng = random.Random(1)
    table: dict[bytes, bytes] = {}
    due = [(rng.randrange(1000), client) for client in range(clients)]
    history: list[Operation] = []
    intervals = []
    for number in range(operations):
        called, client = min(due)
        happened = called + 1 + rng.randrange(1000)
        returned = happened + 1 + rng.randrange(1000)
        due.remove((called, client))
        due.append((returned + rng.randrange(100), client))
        intervals.append((happened, number, client, called, returned))
    for _, number, client, called, returned in sorted(intervals):
        key = key_of(rng, client)
        kind = rng.choices(list(mix), list(mix.values()))[0]
        if kind is not Kind.GET and len(table.get(key, b"")) >= value_bytes:
            kind = Kind.PUT
        argument = None if kind is Kind.GET else b"x %d %d y" % (client, number)
        is_lost = rng.random() < lost
        if argument is not None and not (is_lost and rng.random() < 0.5):
            table[key] = argument if kind is Kind.PUT else table.get(key, b"") + argument
        history.append(
            Operation(
                client=str(client),
                kind=kind,
                key=key,
                argument=argument,
                result=table.get(key) if kind is Kind.GET and not is_lost else None,
                called=called,
                returned=None if is_lost else returned,
            )
        )
    return history


def doubled(history: list[Operation]) -> list[Operation]:
    """The same, except that the last read saw the latest write to its key twice."""
    last, value = last_read(history)
    argument = next(
        operation.argument
        for operation in reversed(history[:last])
        if operation.argument is not None and operation.key == history[last].key
    )
    return replaced(history, last, value + argument)


def stale(history: list[Operation]) -> list[Operation]:
    """The same, except that the last read saw what another did see a hundred reads before."""
    last, _ = last_read(history)
    seen = [o.result for o in history if o.result and o.key == history[last].key]
    return replaced(history, last, seen[-100])


def last_read(history: list[Operation]) -> tuple[int, bytes]:
    """Where it is, and what it saw."""
    last = max(
        (number for number, operation in enumerate(history) if operation.result),
        key=lambda number: history[number].called,
    )
    value = history[last].result
    assert isinstance(value, bytes)
    return last, value


def replaced(history: list[Operation], number: int, result: bytes | int | None) -> list[Operation]:
    """The same, except that one operation has another result."""
    other = msgspec.structs.replace(history[number], result=result)
    return [*history[:number], other, *history[number + 1 :]]


def any_of(keys: int) -> Callable[[random.Random, int], bytes]:
    """A key for each operation, at random."""
    return lambda rng, _: b"%d" % rng.randrange(keys)


def own(_: random.Random, client: int) -> bytes:
    """Each client has a key of its own."""
    return b"%d" % client


def main() -> None:
    """Prints a table, one history a line."""
    plain = recorded(operations=10_000, clients=50, key_of=any_of(20), mix=MIXED, value_bytes=2_000)
    grown = recorded(operations=60_000, clients=20, key_of=own, mix=MIXED, value_bytes=10_000)
    appends = {Kind.GET: 50, Kind.APPEND: 50}
    long = recorded(operations=60_000, clients=20, key_of=own, mix=appends, value_bytes=10_000)
    crowd = recorded(operations=10_000, clients=20, key_of=any_of(1), mix=MIXED, value_bytes=2_000)
    register = recorded(
        operations=10_000, clients=20, key_of=any_of(1), mix=REGISTER, value_bytes=0
    )
    lossy = recorded(
        operations=10_000, clients=50, key_of=any_of(5), mix=MIXED, value_bytes=2_000, lost=0.1
    )
    histories = [
        ("10,000 operations, 50 clients, 20 keys", 2.0, plain),
        ("60,000 operations, 20 clients with a key each, values to 10 kB", 6.0, long),
        ("the same with puts in between", None, grown),
        ("10,000 operations, 20 clients, one key", None, crowd),
        ("the same with puts and gets only", None, register),
        ("10,000 operations, 50 clients, 5 keys, one in ten never answered", None, lossy),
        ("the 1st, and the last read sees a write twice", None, doubled(plain)),
        ("the 2nd, and the last read sees a write twice", None, doubled(long)),
        ("the 4th, and the last read sees a write twice", None, doubled(crowd)),
        ("the 6th, and the last read sees a write twice", None, doubled(lossy)),
        ("the 5th, and the last read is stale", None, stale(register)),
    ]
    print(f"{'history':66} {'verdict':8} {'seconds':>7} {'goal':>5}")
    for name, goal, history in histories:
        start = time.perf_counter()
        verdict = check(history)
        seconds = time.perf_counter() - start
        goal_text = "" if goal is None else f"{goal:5.1f}"
        print(f"{name:66} {verdict.outcome.value:8} {seconds:7.2f} {goal_text}")


if __name__ == "__main__":
    main()
