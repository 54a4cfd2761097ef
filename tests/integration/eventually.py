"""Waiting for what happens in other processes: it is polled, here alone."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

_POLL_S = 0.02
_TIMEOUT_S = 20.0

T = TypeVar("T")


def eventually(ask: Callable[[], T | None], what: str, *, timeout_s: float = _TIMEOUT_S) -> T:
    """Asks until the answer is true, and returns it."""
    give_up_at = time.perf_counter() + timeout_s
    while True:
        answer = ask()
        if answer:
            return answer
        assert time.perf_counter() < give_up_at, f"not within {timeout_s:g} s: {what}"
        time.sleep(_POLL_S)
