"""What is wrong with connections of servers, in the log: each thing once, for callers call again.

It knows no clock and no socket: who called and what time it is comes in.
"""

import logging

COMPLAINT_PERIOD_S = 60.0
"""A server that keeps calling after it was refused is complained of once in this time."""
MAX_COMPLAINTS_PER_PERIOD = 100
"""More different complaints than these in one period are not logged."""

log = logging.getLogger("quorate")


class Complaints:
    """Remembers what was told within the last period."""

    def __init__(self) -> None:
        self._told: dict[tuple[str, str], float] = {}

    def tell(self, caller: tuple[str, int], text: str, now_s: float) -> None:
        """Logs one line, unless the same was logged of the same host within the last period.

        Args:
            caller: host and port of the other end. A caller that calls again has another port.
            text: what is wrong.
            now_s: seconds of a monotonic clock.
        """
        told = self._told
        while told and now_s - next(iter(told.values())) >= COMPLAINT_PERIOD_S:
            del told[next(iter(told))]
        host, port = caller
        if (host, text) not in told and len(told) < MAX_COMPLAINTS_PER_PERIOD:
            told[host, text] = now_s
            log.warning("peer connection %s:%s %s", host, port, text)
