"""Quorate: a replicated key/value store on Raft.

`Clerk` and `AsyncClerk` are its clients. Those who embed Raft or replicate a state machine of
their own find it in `quorate.raft` and `quorate.replica`.
"""

from quorate.runtime.async_clerk import AsyncClerk
from quorate.runtime.clerk import Clerk

__all__ = ["AsyncClerk", "Clerk"]
