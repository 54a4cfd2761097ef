"""Histories in shorthand, and the dumb twin of the checker."""

import itertools
import re
import textwrap
from collections.abc import Callable, Iterable, Sequence

import pytest

from quorate.checker import Kind, Operation

Table = dict[bytes, bytes]


def execute(table: Table, operation: Operation) -> bool:
    """Executes an operation; False if its result is not what it was told to be."""
    key, argument, result = operation.key, operation.argument, operation.result
    before = table.get(key)
    is_told = operation.returned is not None and result is not None
    match operation.kind:
        case Kind.GET:
            if operation.returned is None:
                return True
            return before is None if result is None else (before or b"") == result
        case Kind.PUT:
            assert argument is not None
            table[key] = argument
            return True
        case Kind.APPEND:
            assert argument is not None
            table[key] = (before or b"") + argument
            return not is_told or result == len(table[key])
        case Kind.DELETE:
            table.pop(key, None)
            return not is_told or result == int(before is not None)


def explains(order: Sequence[Operation]) -> bool:
    """Whether operations that take effect in this order, and at their times, see what they saw."""
    table: Table = {}
    latest_call = float("-inf")
    for operation in order:
        latest_call = max(latest_call, operation.called)
        if operation.returned is not None and operation.returned < latest_call:
            return False
        if not execute(table, operation):
            return False
    return True


def is_explainable(certain: Sequence[Operation], possible: Sequence[Operation]) -> bool:
    """Whether some order of all that is certain and some of what is possible explains it."""
    return any(
        explains(order)
        for count in range(len(possible) + 1)
        for chosen in itertools.combinations(possible, count)
        for order in itertools.permutations((*certain, *chosen))
    )


def is_linearizable(history: Iterable[Operation], until: float = float("inf")) -> bool:
    """Whether what returned until then, included, has an explanation: by trying every order."""
    history = [operation for operation in history if operation.called <= until]
    certain = [o for o in history if o.returned is not None and o.returned <= until]
    return is_explainable(certain, [o for o in history if o not in certain])


# ---------------------------------------------------------------------- shorthand

_OPERATION = re.compile(r"\[(get|put|append|delete) ?([^\s=\].]*) ?(?:=(\d+))? *(\]|\.\.\.)")


def _drawn(picture: str) -> list[Operation]:
    """The history of one key that a picture shows.

    A line for each client; an operation lasts from its `[` to its `]`, or is pending if it ends in
    `...`. `get` is followed by what it read: nothing for an empty value, `-` for a missing key.
    `=` leads the length or the count that an append or a delete was answered with.
    """
    history = []
    for line in filter(None, map(str.strip, textwrap.dedent(picture).splitlines())):
        client, _, _ = line.partition(":")
        for found in _OPERATION.finditer(line):
            kind, word, number, end = found.groups()
            is_pending = end == "..."
            result: bytes | int | None = int(number) if number else None
            if kind == "get" and not is_pending and word != "-":
                result = word.encode()
            history.append(
                Operation(
                    client=client,
                    kind=Kind(kind),
                    key=b"k",
                    argument=word.encode() if kind in ("put", "append") else None,
                    result=result,
                    called=found.start(),
                    returned=None if is_pending else found.end() - 1,
                )
            )
    return history


@pytest.fixture(scope="session")
def drawn() -> Callable[[str], list[Operation]]:
    """See `_drawn`."""
    return _drawn


@pytest.fixture(scope="session")
def linearizable() -> Callable[..., bool]:
    """See `is_linearizable`."""
    return is_linearizable


@pytest.fixture(scope="session")
def explaining() -> Callable[[Sequence[Operation]], bool]:
    """See `explains`."""
    return explains
