"""The replies on their way to one client's socket, of which nothing is kept once it is taken.

A transport keeps all of what it was given until the socket has taken the last byte of it: of a
reply of a megabyte whose last kilobyte is left, the whole megabyte. With many clients that read a
little and then no more, that is far beyond what they are counted with. So of a long reply the
socket first gets as much as it takes, which with a client that reads is all, without a copy; the
rest is cut into pieces, and the transport gets no piece before the one before it is gone.
"""

import asyncio
import os
from collections import deque
from collections.abc import Callable

PIECE_BYTES = 64 * 1024
"""A transport has at most so much of a client's replies at a time."""


class ReplyWriter:
    """Writes to one transport, which has to tell it when it is full (`high=0`) and when no more."""

    def __init__(self, transport: asyncio.Transport) -> None:
        self._transport = transport
        self._descriptor: int | None = transport.get_extra_info("socket").fileno()
        self._given = 0
        self._pieces: deque[bytes] = deque()
        self._waiting_bytes = 0
        self._is_full = False
        self._end: Callable[[], None] | None = None

    @property
    def held_bytes(self) -> int:
        """How much memory what the socket has not taken holds, and not how much of it is left."""
        return self._given + self._waiting_bytes if self._is_full else 0

    def write(self, data: bytes) -> None:
        """Sends replies, now or when there is room."""
        if len(data) <= PIECE_BYTES and not self._is_full:
            self._give(data)
            return
        rest = memoryview(data)
        if not self._is_full:
            rest = rest[self._write_at_once(rest) :]
        while rest:
            piece = bytes(rest[:PIECE_BYTES])
            rest = rest[PIECE_BYTES:]
            if self._is_full:
                self._pieces.append(piece)
                self._waiting_bytes += len(piece)
            else:
                self._give(piece)

    def end_with(self, end: Callable[[], None]) -> None:
        """Ends the stream of replies by `end`, when the transport has all that was written."""
        if self._pieces:
            self._end = end
        else:
            end()

    def is_full(self) -> None:
        """The socket does not take what the transport has."""
        self._is_full = True

    def has_room(self) -> None:
        """The socket has taken it."""
        self._is_full = False
        while self._pieces and not self._is_full:
            piece = self._pieces.popleft()
            self._waiting_bytes -= len(piece)
            self._give(piece)
        if self._end is not None and not self._pieces:
            end, self._end = self._end, None
            end()

    def drop(self) -> None:
        """Nothing is sent any more."""
        self._descriptor = None
        self._pieces.clear()
        self._waiting_bytes = 0
        self._end = None

    def _write_at_once(self, data: memoryview) -> int:
        """Writes past the transport, which has nothing; returns how much the socket has taken."""
        if self._descriptor is None:
            return 0
        try:
            return os.write(self._descriptor, data)
        except OSError:
            return 0  # there is no room, or the transport finds out the same

    def _give(self, data: bytes) -> None:
        self._given = len(data)
        self._transport.write(data)
