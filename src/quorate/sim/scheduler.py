"""Virtual time: things happen in the order of their times, and time jumps to the next one."""

import heapq
from collections.abc import Callable


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
        """
        while self._queue and self._queue[0][0] <= time:
            self.now, _, action = heapq.heappop(self._queue)
            action()
            after_each()
        self.now = max(self.now, time)
