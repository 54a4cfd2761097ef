"""The reads of a Clerk that wait to be sent. Sent too often, they do no harm."""

from collections import OrderedDict

from quorate.clerk.requests import Read, Ticket


class Reads:
    """The reads not in flight, the oldest first."""

    def __init__(self) -> None:
        self._waiting: OrderedDict[Ticket, Read] = OrderedDict()

    def add(self, read: Read) -> None:
        """A new call."""
        self._waiting[read.ticket] = read

    def next_request(self) -> Read | None:
        """What to send now, if anything; it counts as sent."""
        return self._waiting.popitem(last=False)[1] if self._waiting else None

    def send_again(self, read: Read) -> None:
        """The read has got no answer, or none that counts."""
        if not read.is_over:
            self._waiting[read.ticket] = read
            self._waiting.move_to_end(read.ticket, last=False)

    def end(self, read: Read) -> None:
        """The caller has its outcome, or does not wait any longer."""
        read.is_over = True
        self._waiting.pop(read.ticket, None)
