"""A queue of things to do by their times, in virtual or in real time.

In virtual time, time jumps to the next thing that is due. In real time the same things happen when
the machine's clock says so (`pace`).
"""

import heapq
from collections.abc import Callable

from quorate.sim.errors import LivenessError
from quorate.sim.pace import Pace, VirtualPace

MAX_AT_ONCE = 100_000
"""More things than this at one time mean that somebody wakes himself for ever."""


class Scheduler:
    """A queue of things to do, by time in microseconds since the start.

    What is due together happens in the order in which it was asked for.

    Args:
        pace: how time passes; virtual if not given.

    Attributes:
        now: the present time. It stands still while a thing happens.
    """

    def __init__(self, pace: Pace | None = None) -> None:
        self.now = 0
        self._pace = pace or VirtualPace()
        self._queue: list[tuple[int, int, Callable[[], None]]] = []
        self._sequence = 0
        self._at_once = 0

    def at(self, time: int, action: Callable[[], None]) -> None:
        """Does something at a time, or at once if that has passed."""
        self._sequence += 1
        heapq.heappush(self._queue, (max(time, self.now), self._sequence, action))

    def after(self, delay: int, action: Callable[[], None]) -> None:
        """Does something so many microseconds from now."""
        self._sequence += 1
        heapq.heappush(self._queue, (self.now + delay, self._sequence, action))

    def run_until(self, time: int, after_each: Callable[[], object]) -> None:
        """Lets everything happen that is due by then.

        Args:
            time: where time stands afterwards; in real time it may be a little later.
            after_each: called after each thing that happened.

        Raises:
            LivenessError: time stands still, because things happen at one time without an end.
        """
        while self._queue and self._queue[0][0] <= time:
            self.step()
            after_each()
        self.now = max(self.now, self._pace.wait_until(time))

    def step(self) -> None:
        """Lets the next thing happen when it is due.

        Raises:
            LivenessError: there is none; or time stands still, as in `run_until`.
        """
        if not self._queue:
            raise LivenessError("everybody waits for somebody else")
        due, _, action = heapq.heappop(self._queue)
        now = self._pace.wait_until(due)
        if now != self.now:
            self.now = now
            self._at_once = 0
        else:
            self._at_once += 1
            if self._at_once > MAX_AT_ONCE:
                raise LivenessError(f"more than {MAX_AT_ONCE} things happened at {now} us")
        action()
