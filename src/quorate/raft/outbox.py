"""Messages on their way out: some at once, some only after the write that they promise.

A vote, or the answer that entries were appended, is a promise that must survive a crash. It
waits here for its write. If the term has moved on by then, the promise is moot and dropped: to
the other side it looks like a lost message.
"""

from collections import deque

from quorate.raft.configuration import NodeId
from quorate.raft.messages import PeerMessage
from quorate.raft.persistence import Persistence
from quorate.raft.ready import Envelope


class Outbox:
    """The messages of one server, in order.

    Args:
        persistence: tells which writes are durable.
        first_request_id: ids of requests count up from here; they must never repeat in the life
            of a server, restarts included.
    """

    def __init__(self, persistence: Persistence, first_request_id: int) -> None:
        self._persistence = persistence
        self._next_id = first_request_id
        self._now: list[Envelope] = []
        self._later: deque[tuple[int, int, Envelope]] = deque()

    @property
    def next_id(self) -> int:
        """The id that the next request will have."""
        return self._next_id

    def take_id(self) -> int:
        """An id for a new request."""
        request_id = self._next_id
        self._next_id += 1
        return request_id

    def send(self, to: NodeId, message: PeerMessage) -> None:
        """Sends without waiting for anything."""
        self._now.append(Envelope(to, message))

    def send_after(self, write: int, to: NodeId, message: PeerMessage) -> None:
        """Sends once the write of this number is durable, if the term is still the same."""
        if self._persistence.is_complete(write):
            self.send(to, message)
        else:
            self._later.append((write, self._persistence.current_term, Envelope(to, message)))

    def release(self) -> None:
        """Lets go of what waited for writes that are durable now."""
        still_waiting: deque[tuple[int, int, Envelope]] = deque()
        for write, term, envelope in self._later:
            if term != self._persistence.current_term:
                continue
            if self._persistence.is_complete(write):
                self._now.append(envelope)
            else:
                still_waiting.append((write, term, envelope))
        self._later = still_waiting

    def take(self) -> list[Envelope]:
        """The messages to send now."""
        messages, self._now = self._now, []
        return messages
