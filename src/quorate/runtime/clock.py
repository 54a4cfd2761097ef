"""The clock of a running server."""

import time


def monotonic_us() -> int:
    """The time that a node lives by: microseconds of the monotonic clock."""
    return time.monotonic_ns() // 1000
