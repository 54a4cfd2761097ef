"""The error codes of the client protocol: what each one means for a request that was answered so.

The one table of them. What the Clerk then does about it is decided elsewhere.
"""

import enum

from quorate.clerk.errors import (
    ClerkError,
    CommandError,
    NotExecutedError,
    OutcomeUnknownError,
    SessionExpiredError,
    SessionMisusedError,
    TooManySessionsError,
    UnavailableError,
)


class Meaning(enum.Enum):
    """What an error reply says about the sending that it answers, and what should come next."""

    USAGE = enum.auto()
    """Not executed, and wrong as it stands: tell the caller."""
    ELSEWHERE = enum.auto()
    """Not executed: this sending never will be. Send again, better to another server."""
    LATER = enum.auto()
    """Not executed: this sending never will be. Any server will say the same for a while."""
    EXPIRED = enum.auto()
    """Not executed: this sending never will be, nor anything else in its session."""
    MISUSED = enum.auto()
    """Refused for what somebody else did in the session."""
    UNKNOWN = enum.auto()
    """Executed or not, now or later: nobody knows. Send again, better to another server."""


_CODES: dict[str, tuple[Meaning, type[ClerkError]]] = {
    "ERR": (Meaning.USAGE, CommandError),
    "NOTEXECUTED": (Meaning.ELSEWHERE, NotExecutedError),
    "NOTLEADER": (Meaning.ELSEWHERE, NotExecutedError),
    "WINDOW": (Meaning.LATER, NotExecutedError),
    "TOOMANYSESSIONS": (Meaning.LATER, TooManySessionsError),
    "SESSIONEXPIRED": (Meaning.EXPIRED, SessionExpiredError),
    "STALE": (Meaning.MISUSED, SessionMisusedError),
    "MISMATCH": (Meaning.MISUSED, SessionMisusedError),
    "UNKNOWN": (Meaning.UNKNOWN, OutcomeUnknownError),
    "UNAVAILABLE": (Meaning.UNKNOWN, UnavailableError),  # answers reads only
}


def meaning_of(code: str) -> Meaning:
    """What the code means; one that is not in the table leaves the outcome unknown."""
    return _CODES[code][0] if code in _CODES else Meaning.UNKNOWN


def exception_of(code: str) -> type[ClerkError]:
    """The exception that a call ends with if the code is the last word on it."""
    return _CODES[code][1] if code in _CODES else OutcomeUnknownError
