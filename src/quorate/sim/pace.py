"""How time passes on a scheduler: it jumps, or it is the machine's.

The one module below the runtime that reads a clock. Whatever runs on a scheduler runs at either
pace and cannot tell which.
"""

import time
from typing import Protocol


class Pace(Protocol):
    """Lets the time come at which the next thing is due."""

    def wait_until(self, due: int) -> int:
        """Returns the present time, in microseconds, once it is `due` or later."""
        ...


class VirtualPace:
    """Time jumps to whatever is due next."""

    def wait_until(self, due: int) -> int:
        """See `Pace`."""
        return due


class RealPace:
    """Microseconds of the machine's monotonic clock since this was made."""

    def __init__(self) -> None:
        self._start_ns = time.monotonic_ns()

    def wait_until(self, due: int) -> int:
        """See `Pace`."""
        while True:
            now = (time.monotonic_ns() - self._start_ns) // 1000
            if now >= due:
                return now
            time.sleep((due - now) / 1_000_000)
