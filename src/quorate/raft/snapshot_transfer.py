"""A leader's snapshot on its way to one follower, piece by piece (Raft §7, InstallSnapshot).

Stop and wait: one piece is under way, and the next goes out when the follower has answered. So a
slow follower costs its leader one piece of memory and nothing else. A piece that is not answered
in time is sent again; but then the pieces are given more time from there on, for a slow link or
disk would else be sent each of them twice. Which follower needs a snapshot is not decided here.
"""

from collections import deque

import msgspec

from quorate.raft.snapshot import SnapshotMetadata

MAX_REMEMBERED_PIECES = 8
"""Requests to one follower whose answers still count, the newest ones."""

MAX_PATIENCE = 4
"""The time-out of a piece becomes at most so many times what it was at first."""

STUCK_AFTER_REPEATS = 4
"""A piece that was sent again so often in vain may be of a snapshot that is gone from the disk."""


class TransferProgress(msgspec.Struct, frozen=True, gc=False):
    """How far a snapshot has come on its way from a leader to a follower.

    Attributes:
        index: of the last entry that it covers.
        offset: what is before it has arrived, as far as is known here.
        size: its bytes.
    """

    index: int
    offset: int
    size: int


class _Piece(msgspec.Struct, frozen=True, gc=False):
    """A request that was sent."""

    id: int
    index: int
    size: int
    is_last: bool


class SnapshotTransfer:
    """A snapshot to one follower.

    Within a leader's term a snapshot of some index has the same bytes for ever, so a follower
    may go on where it was, also after another transfer of it that was given up. (Unless it was
    damaged and has been replaced: what a follower then puts together of both it throws away.)

    Attributes:
        snapshot: what it covers.
        size: its bytes.
        offset: where the piece begins that is under way, or is to be sent next.
        is_doubted: the follower had all of it, and threw it away. It may be damaged on the leader's
            own disk.
    """

    def __init__(self, snapshot: SnapshotMetadata, size: int) -> None:
        self.snapshot = snapshot
        self.size = size
        self.offset = 0
        self.is_doubted = False
        self._expires_at: int | None = None
        self._patience = 1
        self._repeats = 0
        self._pieces: deque[_Piece] = deque(maxlen=MAX_REMEMBERED_PIECES)

    @property
    def expires_at(self) -> int | None:
        """When the piece under way counts as lost, in microseconds; None if there is none."""
        return self._expires_at

    @property
    def progress(self) -> TransferProgress:
        """How far it has come."""
        return TransferProgress(self.snapshot.index, self.offset, self.size)

    @property
    def is_stuck(self) -> bool:
        """Whether the piece at `offset` was lost again and again."""
        return self._repeats >= STUCK_AFTER_REPEATS

    def replace(self, snapshot: SnapshotMetadata, size: int) -> None:
        """Begins again with a newer snapshot."""
        assert snapshot.index > self.snapshot.index
        self.snapshot = snapshot
        self.size = size
        self.offset = 0
        self.is_doubted = False
        self._expires_at = None
        self._repeats = 0

    def may_send(self, now: int) -> bool:
        """Whether no piece is under way."""
        return self._expires_at is None or self._expires_at <= now

    def sent(self, request_id: int, length: int, *, now: int, timeout_us: int) -> None:
        """The piece at `offset`, of this length, is on its way."""
        is_last = self.offset + length == self.size
        self._pieces.append(_Piece(request_id, self.snapshot.index, self.size, is_last))
        if self._expires_at is not None:
            self._patience = min(2 * self._patience, MAX_PATIENCE)
            self._repeats += 1
        self._expires_at = now + self._patience * timeout_us

    def restart(self) -> None:
        """The link is a new one: the same piece may be sent again at once."""
        self._expires_at = None
        self._patience = 1
        self._repeats = 0

    def answered(self, request_id: int, next_offset: int) -> int:
        """Takes in an answer.

        An answer to a piece that was sent again since counts if it leads further: what the
        follower has, it keeps. An answer to the last request also counts if it leads back: the
        follower has lost what it had, or it was damaged. But then nothing is sent before that
        request expires, so that a follower that cannot take a snapshot in is not flooded.

        Returns:
            The index of a snapshot that the follower has as a whole now, durably; else 0. It
            may be an earlier one than that under way.
        """
        piece = next((piece for piece in self._pieces if piece.id == request_id), None)
        if piece is None:
            return 0
        if piece.index == self.snapshot.index:
            if self.offset < next_offset <= self.size:
                self.offset = next_offset
                self.is_doubted = False
                self._expires_at = None
                self._repeats = 0
            elif piece == self._pieces[-1] and 0 <= next_offset < max(self.offset, 1):
                self.offset = next_offset
                self.is_doubted = self.is_doubted or (piece.is_last and next_offset == 0)
        return piece.index if next_offset == piece.size else 0
