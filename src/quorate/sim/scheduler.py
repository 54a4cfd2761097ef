"""Virtual time: things happen in the order of their times, and time jumps to the next one."""

import heapq
from collections.abc import Callable

from quorate.sim.errors import LivenessError

MAX_AT_ONCE = 100_000
"""More things than this at one time mean that somebody wakes himself for ever."""


class Scheduler:
    """A queue of things to do, by virtual time in microseconds.

    What is due together happens in the order in which it was asked for.
    """

    def __init__(self) -> None:
        self.now = 0
        self._queue: list[tuple[int, int, Callable[[], None]]] = []
        self._sequence = 0

    def at(self, time: int, action: Callable[[], None]) -> None:
        """Does something at a time, or at once if that has passed."""
        self._sequence += 1
        heapq.heappush(self._queue, (max(time, self.now), self._sequence, action))

    def after(self, delay: int, action: Callable[[], None]) -> None:
        """Does something so many microseconds from now."""
        self.at(self.now + delay, action)

    def run_until(self, time: int, after_each: Callable[[], None]) -> None:
        """Lets everything happen that is due by then.

        Args:
            time: where virtual time stands afterwards.
            after_each: called after each thing that happened.

        Raises:
            LivenessError: time stands still, because things happen at one time without an end.
        """
        at_once = 0
        while self._queue and self._queue[0][0] <= time:
            due, _, action = heapq.heappop(self._queue)
            at_once = at_once + 1 if due == self.now else 0
            if at_once > MAX_AT_ONCE:
                raise LivenessError(f"more than {MAX_AT_ONCE} things happened at {due} us")
            self.now = due
            action()
            after_each()
        self.now = max(self.now, time)
