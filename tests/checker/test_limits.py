"""What keeps the search short, and what happens when it isn't."""

import itertools
import random

import pytest

from quorate.checker import Kind, Operation, Outcome, check


def operation(kind: Kind, value: bytes | None, called: float, returned: float | None) -> Operation:
    """Of key k; `value` is the argument of a write, the result of a read."""
    is_read = kind is Kind.GET
    return Operation(
        client="A",
        kind=kind,
        key=b"k",
        argument=None if is_read else value,
        result=value if is_read else None,
        called=called,
        returned=returned,
    )


LONG = [operation(Kind.PUT, b"%d" % n, 2 * n, 2 * n + 1) for n in range(1000)]


def test_after_the_limit_it_is_unknown() -> None:
    assert check(LONG, max_steps=999).outcome is Outcome.UNKNOWN
    assert check(LONG, max_steps=1000).outcome is Outcome.OK


def test_a_key_that_was_not_decided_says_where_it_was() -> None:
    (verdict,) = check(LONG, max_steps=10).keys
    assert verdict.linearization == tuple(LONG[:10])
    assert verdict.blocked == LONG[10]


def test_whoever_calls_may_end_it() -> None:
    asked = itertools.count()
    assert check(LONG, is_expired=lambda: next(asked) > 0).outcome is Outcome.UNKNOWN
    assert check(LONG, is_expired=lambda: True).outcome is Outcome.UNKNOWN


def test_a_bad_key_is_found_beside_one_that_takes_too_long() -> None:
    bad = Operation(client="A", kind=Kind.GET, key=b"z", result=b"x", called=0, returned=1)
    verdict = check([*LONG, bad], max_steps=10)
    assert [key.outcome for key in verdict.keys] == [Outcome.UNKNOWN, Outcome.ILLEGAL]
    assert verdict.outcome is Outcome.ILLEGAL
    assert verdict.worst is not None
    assert verdict.worst.key == b"z"


@pytest.mark.parametrize("kind", [Kind.PUT, Kind.APPEND])
@pytest.mark.parametrize("is_right", [True, False])
def test_pending_writes_may_pile_up(kind: Kind, *, is_right: bool) -> None:
    """Of 300 that nobody heard of, each third happened: any subset of the others may have."""
    history, value = [], b""
    for number in range(300):
        argument = b"%d;" % number
        history.append(operation(kind, argument, 10 * number, None))
        if number % 3 == 0:
            value = argument if kind is Kind.PUT else value + argument
        history.append(operation(Kind.GET, value, 10 * number + 2, 10 * number + 8))
    if not is_right:
        history.append(operation(Kind.GET, b"0;1;0;", 4000, 4001))
    verdict = check(history, max_steps=5000)
    assert verdict.outcome is (Outcome.OK if is_right else Outcome.ILLEGAL)


@pytest.mark.parametrize("argument", [b"x", b"%d;"], ids=["alike", "different"])
def test_concurrent_writes_that_nobody_reads_are_no_puzzle(argument: bytes) -> None:
    for kind in (Kind.PUT, Kind.APPEND):
        writes = [
            operation(kind, argument.replace(b"%d", b"%d" % n), n, 1000 + n) for n in range(200)
        ]
        wrong = operation(Kind.GET, b"nothing of it", 2000, 2001)
        assert check(writes, max_steps=1000).outcome is Outcome.OK
        assert check([*writes, wrong], max_steps=1000).outcome is Outcome.ILLEGAL


def test_a_crowd_at_one_key_is_decided_in_few_steps() -> None:
    rng = random.Random(1)
    history, value = [], b""
    for instant in range(0, 20_000, 10):
        kind = rng.choices([Kind.GET, Kind.APPEND, Kind.PUT], [5, 4, 1])[0]
        argument = b"%d;" % instant
        if kind is not Kind.GET:
            value = argument if kind is Kind.PUT else value + argument
        seen = value if kind is Kind.GET else argument
        called, returned = instant - rng.randrange(200), instant + rng.randrange(200)
        history.append(operation(kind, seen, called, returned))
    assert check(history, max_steps=20_000).outcome is Outcome.OK
    history.append(operation(Kind.GET, history[0].argument or b"0;", 30_000, 30_001))
    assert check(history, max_steps=100_000).outcome is Outcome.ILLEGAL


def test_a_very_long_history_is_no_problem_for_the_stack() -> None:
    history = [operation(Kind.APPEND, b"", n, n + 1.5) for n in range(60_000)]
    (verdict,) = check(history).keys
    assert len(verdict.linearization) == 60_000
