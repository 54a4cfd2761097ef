"""One life of a process: what comes to it is done in order, unless it is paused or has ended."""

from collections import deque
from collections.abc import Callable
from functools import partial

from quorate.sim.scheduler import Scheduler


class Process:
    """Runs until `end`, now and then paused.

    Args:
        scheduler: virtual time.
        acts: is called when it does something.
    """

    def __init__(self, scheduler: Scheduler, acts: Callable[[], None]) -> None:
        self._acts = acts
        self._scheduler = scheduler
        self._paused_until = 0
        self._waiting: deque[Callable[[], None]] = deque()
        self._is_busy = False
        self._is_over = False

    @property
    def is_behind(self) -> bool:
        """Whether things have come that wait until it goes on."""
        return bool(self._waiting)

    @property
    def is_paused(self) -> bool:
        """Whether it stands still."""
        return self._scheduler.now < self._paused_until

    def pause(self, duration_us: int) -> None:
        """Stands still for a while, and then goes on as if nothing had been."""
        self._paused_until = max(self._paused_until, self._scheduler.now + duration_us)
        self._scheduler.at(self._paused_until, self._go_on)

    def end(self) -> None:
        """Does nothing any more."""
        self._is_over = True

    def do(self, action: Callable[[], None]) -> None:
        """Does something: at once, or if it is paused then, behind what came before."""
        self._waiting.append(action)
        self._go_on()

    def at(self, time: int, action: Callable[[], None]) -> None:
        """Does something at a virtual time."""
        self._scheduler.at(time, partial(self.do, action))

    def after(self, delay: int, action: Callable[[], None]) -> None:
        """Does something so many virtual microseconds from now."""
        self._scheduler.after(delay, partial(self.do, action))

    def _go_on(self) -> None:
        if self._is_busy:
            return
        self._is_busy = True
        while self._waiting and not self._is_over and not self.is_paused:
            self._acts()
            self._waiting.popleft()()
        self._is_busy = False
