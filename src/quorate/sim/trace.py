"""The fingerprint of a life: two lives only have the same if everything in them was the same."""

import google_crc32c

from quorate.sim.scheduler import Scheduler


class Trace:
    """A checksum over all that was ever sent or written, and when.

    Args:
        scheduler: virtual time.
    """

    def __init__(self, scheduler: Scheduler) -> None:
        self.checksum = 0
        self._scheduler = scheduler

    def note(self, data: bytes) -> None:
        """Something happened."""
        self.checksum = google_crc32c.extend(self.checksum, b"%d %b" % (self._scheduler.now, data))
