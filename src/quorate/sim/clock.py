"""A server's own clock: it begins anywhere, goes too fast or too slow, jumps ahead or stands still.

It never goes back: it stands for a monotonic clock. (That of Linux stands still while the machine
is suspended.) What must not depend on clocks, all safety, shows when they disagree: a leader with
a slow one believes in its leadership long after the others have elected another.
"""

from quorate.sim.scheduler import Scheduler

_PERMILLE = 1000


class Clock:
    """Shows a local time for each virtual time; both in microseconds.

    Args:
        scheduler: virtual time.
        start: what it shows now.
        rate_permille: how many local microseconds pass in 1,000 virtual ones.
    """

    def __init__(self, scheduler: Scheduler, *, start: int, rate_permille: int) -> None:
        self._scheduler = scheduler
        self._rate_permille = rate_permille
        self._virtual_base = scheduler.now
        self._local_base = start

    @property
    def now(self) -> int:
        """What it shows."""
        elapsed = max(0, self._scheduler.now - self._virtual_base)
        return self._local_base + elapsed * self._rate_permille // _PERMILLE

    def time_of(self, local: int) -> int:
        """The first virtual time at which it shows this, unless it jumps before."""
        wait = (local - self._local_base) * _PERMILLE
        return self._virtual_base - (-wait // self._rate_permille)

    def jump(self, duration_us: int) -> None:
        """Shows so much more from now on."""
        self._local_base += duration_us

    def stand_still(self, duration_us: int) -> None:
        """Shows the same for a while, and goes on from there."""
        self._local_base = self.now
        self._virtual_base = max(self._virtual_base, self._scheduler.now + duration_us)

    def go_right(self) -> None:
        """A microsecond is a microsecond, from now on or when it has stood still."""
        self._local_base = self.now
        self._virtual_base = max(self._virtual_base, self._scheduler.now)
        self._rate_permille = _PERMILLE
