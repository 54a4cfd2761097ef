"""One key's history as a web page: a time line for each client, with the linearization.

The page is one file that loads nothing. Its looks and its behaviour are in `page.html`; this module
says what it shows, and where. Times are stretched so that every call and return has room: what
counts is their order.
"""

import importlib.resources
import re
from bisect import bisect_left
from collections.abc import Sequence
from math import inf

import msgspec

from quorate.checker.explanation import act, explain, printable, quote, values_along
from quorate.checker.history import Kind, Operation
from quorate.checker.search import Outcome
from quorate.checker.verdict import KeyVerdict

MAX_SHOWN = 1_000
"""More operations than these would be no help to anybody: those around the break are shown."""

_BEFORE_BREAK = 0.8
"""So much of what is shown was called before the operation that is blocked, if there is enough."""


class _Bar(msgspec.Struct):
    """An operation. Horizontal places are in units of one call or return.

    Attributes:
        lane: the row.
        client: who.
        kind: `get`, `put`, `append` or `delete`.
        act: what it did and what it was told.
        called: when.
        returned: when; None if never.
        begin: where it begins.
        end: where it ends.
        state: `placed` (in the linearization), `blocked` (its return can't be explained),
            `unplaced` (called before that return) or `later`.
        step: its number in the linearization, from 1; None if it has no place there.
        at: where it took effect, in the linearization.
        value: what the value was then.
    """

    lane: int
    client: str
    kind: str
    act: str
    called: float
    returned: float | None
    begin: int
    end: int
    state: str
    step: int | None = None
    at: float | None = None
    value: str | None = None


class _Page(msgspec.Struct):
    key: str
    outcome: str
    headline: str
    details: Sequence[str]
    total: int
    linearized: int
    width: int
    lanes: list[str]
    times: list[float]
    bars: list[_Bar]


def render(verdict: KeyVerdict) -> str:
    """A page on one key, as HTML.

    Args:
        verdict: on the key; of any outcome.
    """
    template = importlib.resources.files(__package__).joinpath("page.html").read_text("utf-8")
    data = msgspec.json.encode(_page(verdict)).decode()
    # So that nothing in the history can end the script that holds it.
    return template.replace("/*DATA*/null", data.replace("<", "\\u003c"))


def _page(verdict: KeyVerdict) -> _Page:
    headline = "All that the clients saw can be explained."
    details: tuple[str, ...] = ()
    if verdict.outcome is not Outcome.OK:
        explanation = explain(verdict)
        headline, details = explanation.headline, explanation.details
    shown = _around_break(verdict)
    times = sorted({t for o in shown for t in (o.called, o.returned) if t is not None})
    lanes, lane_of = _lanes(shown)
    bars = {
        id(operation): _Bar(
            lane=lane_of[id(operation)],
            client=printable(operation.client),
            kind=operation.kind,
            act=act(operation),
            called=operation.called,
            returned=operation.returned,
            begin=bisect_left(times, operation.called),
            end=len(times)
            if operation.returned is None
            else bisect_left(times, operation.returned),
            state=_state(operation, verdict.blocked),
        )
        for operation in shown
    }
    _place(bars, verdict.linearization)
    return _Page(
        key=quote(verdict.key),
        outcome=verdict.outcome.value,
        headline=headline,
        details=details,
        total=len(verdict.operations),
        linearized=len(verdict.linearization),
        width=len(times),
        lanes=lanes,
        times=times,
        bars=list(bars.values()),
    )


def _around_break(verdict: KeyVerdict) -> Sequence[Operation]:
    """The operations to show; the blocked one is among them, pending gets are not."""
    telling = [o for o in verdict.operations if o.kind is not Kind.GET or o.returned is not None]
    first = 0
    if verdict.blocked is not None:
        broken = next(k for k, operation in enumerate(telling) if operation is verdict.blocked)
        first = max(0, min(broken - int(MAX_SHOWN * _BEFORE_BREAK), len(telling) - MAX_SHOWN))
    return telling[first : first + MAX_SHOWN]


def _lanes(shown: Sequence[Operation]) -> tuple[list[str], dict[int, int]]:
    """A row or more for each client, so that what it did at the same time does not overlap.

    Returns:
        The clients by row, and the row of each operation by its identity.
    """
    free_from: dict[str, list[float]] = {}
    rows: dict[int, tuple[str, int]] = {}
    for operation in shown:
        own = free_from.setdefault(operation.client, [])
        row = next((k for k, free in enumerate(own) if free < operation.called), len(own))
        own[row : row + 1] = [inf if operation.returned is None else operation.returned]
        rows[id(operation)] = operation.client, row
    order = [
        (c, row) for c in sorted(free_from, key=_naturally) for row in range(len(free_from[c]))
    ]
    number = {lane: position for position, lane in enumerate(order)}
    return [printable(client) for client, _ in order], {o: number[row] for o, row in rows.items()}


def _naturally(client: str) -> list[tuple[bool, int, str]]:
    """Sorts client 2 before client 10."""
    return [
        (part.isdecimal(), int(part) if part.isdecimal() else 0, part)
        for part in re.split(r"(\d+)", client)
    ]


def _state(operation: Operation, blocked: Operation | None) -> str:
    if operation is blocked:
        return "blocked"
    if blocked is None or blocked.returned is None or operation.called <= blocked.returned:
        return "unplaced"
    return "later"


def _place(bars: dict[int, _Bar], linearization: Sequence[Operation]) -> None:
    """Numbers what is in the linearization, and finds an instant for each."""
    since = 0
    together: list[_Bar] = []
    for step, (operation, value) in enumerate(
        zip(linearization, values_along(linearization), strict=True), start=1
    ):
        bar = bars.get(id(operation))
        if bar is None:
            continue
        bar.step, bar.value, bar.state = step, value, "placed"
        if bar.begin > since:
            since, together = bar.begin, []
        together.append(bar)
        for position, other in enumerate(together, start=1):
            other.at = since + position / (len(together) + 1)
