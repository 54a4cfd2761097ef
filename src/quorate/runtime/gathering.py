"""What clients send in one turn of the loop after another goes together, while they are at it.

A batch of writes costs three servers a millisecond and a half, however few they are: messages,
syncs, and above all that each process wakes up. Clients that were answered together send again one
after the other, as fast as they can. Were the first of them not to wait for the last, they would
go in two groups or more that alternate, each with that cost. Measured with 50 connections, beside
the same without: 1.3 to 1.5 times as many writes, and half of them are answered in three quarters
of the time.

So while clients are sending, what they want waits; it goes as soon as none has sent anything
between one turn and the next, or after `GATHERING_US`. With few clients nothing waits.
"""

GATHERING_US = 500
"""Nothing waits for longer than this for what others are sending."""
FEW_CLIENTS = 3
"""When no more than so many were answered together, nobody is waited for."""


class Gathering:
    """Whether clients are just sending."""

    def __init__(self) -> None:
        self._answered = 0
        self._has_come = False
        self._until: int | None = None

    def came(self) -> None:
        """A client has sent something."""
        self._has_come = True

    def answered(self, replies: int) -> None:
        """So many replies went out in this turn, and who gets them is about to send again."""
        if replies > 0:
            self._answered = replies
            self._has_come |= replies > FEW_CLIENTS

    @property
    def is_to_go_on(self) -> bool:
        """Whether another turn has to follow."""
        return self._has_come or self._until is not None

    def goes_on(self, now: int) -> bool:
        """Whether what clients want waits in this turn; to be asked once in each turn."""
        has_come, self._has_come = self._has_come, False
        if not has_come or self._answered <= FEW_CLIENTS:
            self._until = None
        elif self._until is None:
            self._until = now + GATHERING_US
        elif now >= self._until:
            self._until = None
        return self._until is not None
