"""Where a key's history broke, in words.

Values may be long and many, so they are never kept: along a linearization each is summed up by its
length and its ends.
"""

from collections.abc import Iterator, Sequence

import msgspec

from quorate.checker.history import Kind, Operation
from quorate.checker.lines import to_text
from quorate.checker.search import Outcome
from quorate.checker.verdict import KeyVerdict

_SHOWN_BYTES = 60
"""A longer value is shown by its two ends of half of this."""


class Explanation(msgspec.Struct, frozen=True):
    """What is to be said of a key that has no linearization, or of which it isn't known.

    Attributes:
        headline: one sentence: what can't be explained.
        details: further sentences.
        unplaced: the blocked operation, and writes that returned after it, had been called by then
            and have no place in the linearization.
    """

    headline: str
    details: tuple[str, ...]
    unplaced: tuple[Operation, ...]


def explain(verdict: KeyVerdict) -> Explanation:
    """What to say of a key.

    Args:
        verdict: on it; its outcome is not OK.
    """
    blocked = verdict.blocked
    assert blocked is not None
    assert blocked.returned is not None
    placed = set(map(id, verdict.linearization))
    others = (
        operation
        for operation in verdict.operations
        if operation is not blocked
        and id(operation) not in placed
        and operation.kind is not Kind.GET
        and operation.returned is not None
        and operation.called <= blocked.returned
    )
    unplaced = (blocked, *others)
    if verdict.outcome is Outcome.UNKNOWN:
        headline = f"Not decided: the search gave up. It came as far as {describe(blocked)}."
    else:
        headline = f"Nothing explains {describe(blocked)}."
    return Explanation(headline, tuple(_details(verdict, blocked)), unplaced)


def describe(operation: Operation) -> str:
    """An operation in words: who, what, and when."""
    until = "never returned" if operation.returned is None else f"returned {operation.returned}"
    who = printable(operation.client)
    return f"client {who}'s {act(operation)} (called {operation.called}, {until})"


def act(operation: Operation) -> str:
    """What an operation did and what it was told."""
    argument = "" if operation.argument is None else f" {quote(operation.argument)}"
    return f"{operation.kind}{argument}{_told(operation)}"


def _told(operation: Operation) -> str:
    match operation.result:
        case bytes(value):
            return f" → {quote(value)}"
        case int(number):
            return f" → {number}"
        case None if operation.kind is Kind.GET and operation.returned is not None:
            return " → missing"
        case None:
            return ""


def quote(value: bytes | bytearray | None) -> str:
    """A value for people, not longer than a line."""
    return "missing" if value is None else _summary(value)


def printable(text: str) -> str:
    """Text that does nothing to a terminal."""
    return "".join(
        character if character.isprintable() else character.encode("unicode_escape").decode()
        for character in text
    )


def values_along(linearization: Sequence[Operation]) -> Iterator[str]:
    """What the value is after each operation, for people."""
    for value in _values(linearization):
        yield quote(value)


def _details(verdict: KeyVerdict, blocked: Operation) -> Iterator[str]:
    count = len(verdict.linearization)
    value: bytearray | None = None
    matching: int | None = None
    for number, value in enumerate(_values(verdict.linearization)):
        if blocked.kind is Kind.GET and _is(value, blocked.result):
            matching = number
    yield (
        f"The longest linearization has {count:,} of {len(verdict.operations):,} operations; after "
        f"it the value is {quote(value)}."
    )
    if blocked.kind is not Kind.GET or matching == count - 1:
        return
    if matching is None:
        if not _is(None, blocked.result):
            yield f"In it the value never was {quote(_read(blocked))}."
        return
    change = verdict.linearization[matching + 1]
    yield f"The value was {quote(_read(blocked))} until {describe(change)} took effect."
    if change.returned is not None and change.returned < blocked.called:
        yield "That had returned before the get was called: the read is stale."


def _read(operation: Operation) -> bytes | None:
    assert not isinstance(operation.result, int)
    return operation.result


def _is(value: bytearray | None, result: bytes | int | None) -> bool:
    """Whether a get may give this result; a missing key reads as empty, too."""
    if value is None:
        return result in (None, b"")
    return isinstance(result, bytes) and value == result


def _values(linearization: Sequence[Operation]) -> Iterator[bytearray | None]:
    """The value after each operation; the same object changes on the way."""
    value: bytearray | None = None
    for operation in linearization:
        match operation.kind:
            case Kind.PUT:
                assert operation.argument is not None
                value = bytearray(operation.argument)
            case Kind.APPEND:
                assert operation.argument is not None
                value = bytearray() if value is None else value
                value += operation.argument
            case Kind.DELETE:
                value = None
            case Kind.GET:
                pass
        yield value


def _summary(value: bytes | bytearray) -> str:
    if len(value) <= _SHOWN_BYTES:
        return f'"{printable(to_text(bytes(value)))}"'
    half = _SHOWN_BYTES // 2
    head, tail = (printable(to_text(bytes(end))) for end in (value[:half], value[-half:]))
    return f'"{head}…{tail}" ({len(value):,} bytes)'
