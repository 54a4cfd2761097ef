"""The numbers of one session's writes, and how far they are settled.

A number is *settled* when nothing more is to come of it: its reply was seen, or its caller has
given up on it. `acked` is the greatest number up to which all are settled; the servers, who get it
with each write, free their replies up to it and never execute anything up to it again. So a
number must be settled only when its write need not be sent any more.
"""


class Numbering:
    """Numbers 1, 2, 3, ... of a session, at most a window of them beyond `acked`.

    Args:
        session: the session's id.
        window: how far beyond `acked` numbers may go.
    """

    def __init__(self, session: int, window: int) -> None:
        self.session = session
        self.acked = 0
        """Everything up to this number is settled."""
        self._window = window
        self._last = 0
        self._settled_beyond: set[int] = set()

    @property
    def has_room(self) -> bool:
        """Whether the window allows another number."""
        return self._last < self.acked + self._window

    def take(self) -> int:
        """The next number."""
        assert self.has_room, "the window is checked first"
        self._last += 1
        return self._last

    def settle(self, seq: int) -> None:
        """Nothing more is to come of this number; each is settled once."""
        assert self.acked < seq <= self._last
        assert seq not in self._settled_beyond
        self._settled_beyond.add(seq)
        while self.acked + 1 in self._settled_beyond:
            self.acked += 1
            self._settled_beyond.remove(self.acked)
