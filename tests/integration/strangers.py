"""Callers at the port for other servers who never say who they are, and come again and again."""

from __future__ import annotations

import contextlib
import socket
from collections import deque
from typing import TYPE_CHECKING

from tests.integration.crew import Crew

if TYPE_CHECKING:
    from collections.abc import Callable

AT_A_TIME = 500


class Strangers(Crew):
    """They call until the context is left, and give up the oldest of their calls for new ones.

    Args:
        call: makes a connection.

    Attributes:
        calls: how many there were.
    """

    def __init__(self, call: Callable[[], socket.socket]) -> None:
        self.calls = 0
        self._call = call
        super().__init__([self._run])

    def _run(self, _number: int) -> None:
        with contextlib.ExitStack() as stack:
            open_calls: deque[socket.socket] = deque()
            while not self.stopping.is_set():
                open_calls.append(stack.enter_context(self._call()))
                self.calls += 1
                if len(open_calls) > AT_A_TIME:
                    open_calls.popleft().close()
