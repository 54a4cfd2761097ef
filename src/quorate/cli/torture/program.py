"""What a client with a Clerk does, of either kind: it says what to call, and hears the outcome.

It believes what the Clerk says. After an append whose outcome is unknown it looks for itself: a
read through the same Clerk shows for good whether it was executed (`OutcomeUnknownError`).
"""

import random
from typing import Any, NamedTuple

from quorate.checker import Kind
from quorate.clerk.errors import (
    ClerkError,
    CommandError,
    NotExecutedError,
    OutcomeUnknownError,
    SessionMisusedError,
    TooManyCallsError,
    TooManySessionsError,
)
from quorate.cli.torture.ledger import Call, Fate, Ledger
from quorate.runtime.clock import monotonic_us

PAUSE_S = 0.02
"""Between a client's calls, on the average."""
TIMEOUTS_S = (0.3, 1.0, 5.0)
"""One of these for each call: some clients are impatient."""
_LOOK_TIMEOUT_S = 5.0
_NEVER_RAISED = (CommandError, TooManyCallsError, TooManySessionsError, SessionMisusedError)
"""What happens to nobody who has done nothing to deserve it."""


class Step(NamedTuple):
    """What a client does with its Clerk, and for how long it waits."""

    call: Call
    timeout_s: float


class Program:
    """What one client does.

    Args:
        name: its own.
        ledger: where all is written down.
        rng: for its choices.
    """

    def __init__(self, name: str, ledger: Ledger, rng: random.Random) -> None:
        self._name = name
        self._ledger = ledger
        self._rng = rng
        self._in_doubt: Call | None = None

    def pause_s(self) -> float:
        """How long to wait before the next step."""
        return self._rng.uniform(0, 2 * PAUSE_S)

    def next_step(self) -> Step:
        """What comes next."""
        now = monotonic_us()
        if self._in_doubt is not None:
            return Step(self._ledger.begin_second_look(self._in_doubt, now), _LOOK_TIMEOUT_S)
        call = self._ledger.begin(self._name, now)
        call.sendings.append(now)
        return Step(call, self._rng.choice(TIMEOUTS_S))

    def answered(self, call: Call, answer: Any) -> None:  # noqa: ANN401 - as each method's
        """The Clerk has returned."""
        result = {Kind.PUT: None, Kind.DELETE: int(bool(answer))}.get(call.kind, answer)
        if call.kind is Kind.GET and self._in_doubt is not None:
            doubtful, self._in_doubt = self._in_doubt, None
            assert doubtful.argument is not None
            is_there = doubtful.argument in (answer or b"")
            self._end(doubtful, Fate.UNKNOWN if is_there else Fate.DISPROVED)
        self._end(call, Fate.ACKNOWLEDGED, result)

    def failed(self, call: Call, error: ClerkError) -> None:
        """The Clerk has raised an error."""
        if self._in_doubt is not None:  # the look has failed; so be it
            doubtful, self._in_doubt = self._in_doubt, None
            self._end(doubtful, Fate.UNKNOWN)
        if isinstance(error, _NEVER_RAISED):
            self._ledger.surprise(f"{self._name}: {error!r}")
        match error:
            case NotExecutedError():
                self._end(call, Fate.NOT_EXECUTED)
            case OutcomeUnknownError():
                if call.kind is Kind.APPEND and not call.history.is_register:
                    self._in_doubt = call
                else:
                    self._end(call, Fate.UNKNOWN)
            case _:
                raise error

    def stop(self) -> None:
        """There is no next step."""
        if self._in_doubt is not None:
            self._end(self._in_doubt, Fate.UNKNOWN)

    def _end(self, call: Call, fate: Fate, result: bytes | int | None = None) -> None:
        self._ledger.end(call, fate, monotonic_us(), result)
