"""A snapshot that comes in from the leader, piece by piece, and what to answer to each piece.

A piece is passed on to be written only if it is the next one; one is being written at a time.
All others are answered at once with the offset from which on something is missing, so that late
and repeated ones do no harm and the leader knows where to go on.

A snapshot is known by its leader's term, its index and its size. Another leader's snapshot of
the same index has the same meaning, but not the same bytes: pieces of the two do not fit
together.
"""

from quorate.raft.configuration import NodeId
from quorate.raft.messages import InstallSnapshot
from quorate.raft.ready import ReceivedChunk
from quorate.raft.snapshot_transfer import TransferProgress


class IncomingSnapshot:
    """What this server has of a snapshot of a leader; nothing at first."""

    def __init__(self) -> None:
        self._of: tuple[int, int, int] | None = None
        self._next_offset = 0
        self._writing: ReceivedChunk | None = None
        self._newest_id = 0
        self._received: list[ReceivedChunk] = []

    def progress(self, term: int) -> TransferProgress | None:
        """How far the snapshot has come that the leader of this term sends; None if none has."""
        if self._of is None or self._of[0] != term:
            return None
        _, index, size = self._of
        return TransferProgress(index, self._next_offset, size)

    @property
    def has_received(self) -> bool:
        """Whether there is a piece to be written that was not taken yet."""
        return bool(self._received)

    def receive(self, sender: NodeId, request: InstallSnapshot) -> int | None:
        """Takes in a piece that a leader of the current term has sent.

        Returns:
            The offset to answer; None if there will be an answer when the piece is written, or
            none at all.
        """
        known = _key(request) == self._of
        if not known and self._of is not None and _key(request)[:2] < self._of[:2]:
            return 0  # overtaken by pieces of a newer snapshot
        if self._writing is not None:
            if not known:
                return None  # as if it were lost: it comes again
            if request.offset == self._next_offset:
                self._newest_id = max(self._newest_id, request.id)
                return None
            return self._next_offset
        if not known:
            if request.offset > 0:
                return 0
            self._of = _key(request)
            self._next_offset = 0
        if request.offset != self._next_offset:
            return self._next_offset
        self._writing = ReceivedChunk(sender, request)
        self._newest_id = request.id
        self._received.append(self._writing)
        return None

    def written(self, received: ReceivedChunk, next_offset: int) -> int:
        """A piece was written.

        Args:
            received: the piece.
            next_offset: everything before it is written; 0 if nothing could be used, the
                snapshot's size if nothing more is needed.

        Returns:
            The id of the request to answer: of the newest one that carried this piece.
        """
        assert received == self._writing, "pieces are written one at a time"
        request = received.request
        assert next_offset in (0, request.offset + len(request.data), request.size)
        self._writing = None
        self._next_offset = next_offset
        if next_offset in (0, request.size):
            self._of = None
        return self._newest_id

    def take_received(self) -> list[ReceivedChunk]:
        """The pieces to write now."""
        received, self._received = self._received, []
        return received


def _key(request: InstallSnapshot) -> tuple[int, int, int]:
    return request.term, request.snapshot.index, request.size
