"""Messages on their way out: some at once, some only after the write that they promise.

A vote, or the answer that entries were appended, is a promise that must survive a crash. It
waits here until it is kept. If the term has moved on by then, the promise is moot and dropped: to
the other side it looks like a lost message. So it does if too many wait, for a disk that stalls.
"""

from collections import deque

from quorate.raft.configuration import NodeId
from quorate.raft.messages import PeerMessage
from quorate.raft.persistence import Persistence, Promise
from quorate.raft.ready import ChunkToSend, Envelope
from quorate.raft.settings import Settings


class Outbox:
    """The messages of one server, in order.

    Args:
        persistence: tells which promises are kept.
        settings: how many messages may wait.
        first_request_id: ids of requests count up from here; they must never repeat in the life
            of a server, restarts included.
    """

    def __init__(self, persistence: Persistence, settings: Settings, first_request_id: int) -> None:
        self._persistence = persistence
        self._next_id = first_request_id
        self._now: list[Envelope] = []
        self._chunks: list[ChunkToSend] = []
        # The newest are worth the most: what they promise covers what older ones do.
        self._later: deque[tuple[Promise, int, Envelope]] = deque(maxlen=settings.max_held_messages)

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

    def send_chunk(self, chunk: ChunkToSend) -> None:
        """Sends a piece of a snapshot, which the driver has to read first."""
        self._chunks.append(chunk)

    def send_after(self, promise: Promise, to: NodeId, message: PeerMessage) -> None:
        """Sends once the promise is kept, if the term is still the same."""
        if self._persistence.is_kept(promise):
            self.send(to, message)
        else:
            self._later.append((promise, self._persistence.current_term, Envelope(to, message)))

    def release(self) -> None:
        """Lets go of what waited for promises that are kept now."""
        if not self._later:
            return
        waiting = list(self._later)
        self._later.clear()
        for promise, term, envelope in waiting:
            if term != self._persistence.current_term:
                continue
            if self._persistence.is_kept(promise):
                self._now.append(envelope)
            else:
                self._later.append((promise, term, envelope))

    @property
    def has_messages(self) -> bool:
        """Whether there is something to send now."""
        return bool(self._now or self._chunks)

    def take(self) -> list[Envelope]:
        """The messages to send now."""
        messages, self._now = self._now, []
        return messages

    def take_chunks(self) -> list[ChunkToSend]:
        """The pieces of snapshots to read and send now."""
        chunks, self._chunks = self._chunks, []
        return chunks
