"""Quorate: a replicated key/value store on Raft.

`Clerk` and `AsyncClerk` are its clients; with them come their settings and what their calls may
raise. Those who embed Raft or replicate a state machine of their own find it in `quorate.raft` and
`quorate.replica`.
"""

from quorate.clerk.errors import (
    ClerkError,
    CommandError,
    NotExecutedError,
    OutcomeUnknownError,
    SessionExpiredError,
    SessionMisusedError,
    TooManyCallsError,
    TooManySessionsError,
    UnavailableError,
)
from quorate.clerk.settings import ClerkSettings
from quorate.runtime.async_clerk import AsyncClerk
from quorate.runtime.clerk import Clerk

__all__ = [
    "AsyncClerk",
    "Clerk",
    "ClerkError",
    "ClerkSettings",
    "CommandError",
    "NotExecutedError",
    "OutcomeUnknownError",
    "SessionExpiredError",
    "SessionMisusedError",
    "TooManyCallsError",
    "TooManySessionsError",
    "UnavailableError",
]
