"""Frames between servers: where one ends, and whether it arrived as it was sent.

A frame is a header (length of the body, CRC32C over kind and body, kind; big-endian) and a body.
What a body means is not known here.
"""

import enum
import struct

import google_crc32c

_HEADER = struct.Struct(">IIB")


class FrameError(ValueError):
    """The bytes are not a frame that we take; the text says why."""


class FrameKind(enum.IntEnum):
    """What the body of a frame is."""

    HELLO = 1
    """A `Hello`: who the sender is."""
    REFUSAL = 2
    """A `Refusal`: why the sender does not talk to the receiver."""
    MESSAGE = 3
    """A message of the protocol, as `codec.peer` encodes it."""


_KINDS = {int(kind): kind for kind in FrameKind}
_CRC_OF_KIND = {kind: google_crc32c.value(bytes([kind])) for kind in FrameKind}


def encode_frame(kind: FrameKind, body: bytes) -> bytes:
    """The body with its header."""
    crc = google_crc32c.extend(_CRC_OF_KIND[kind], body)
    return _HEADER.pack(len(body), crc, kind) + body


class FrameReader:
    """Frames from bytes as they come: `feed`, then `next_frame` until it gives None."""

    def __init__(self) -> None:
        # What was fed last, as it is, or a bytearray to which the pieces of a frame are appended.
        self._buffer: bytes | bytearray = b""
        self._position = 0  # of the next frame

    @property
    def pending_bytes(self) -> int:
        """How many bytes were fed and not given out."""
        return len(self._buffer) - self._position

    def feed(self, data: bytes) -> None:
        """Takes bytes in."""
        if not self._buffer:
            self._buffer = data
            return
        if isinstance(self._buffer, bytes):
            self._buffer = bytearray(self._buffer)
        self._buffer += data

    def next_frame(self, max_body_bytes: int) -> tuple[FrameKind, bytes] | None:
        """The next frame's kind and body, or None if it has not arrived completely.

        Args:
            max_body_bytes: how long the body may be; judged as soon as the header is there.

        Raises:
            FrameError: the bytes are not such a frame.
        """
        start = self._position + _HEADER.size
        arrived = len(self._buffer)
        if arrived < start:
            self._forget_given_out()
            return None
        length, crc, number = _HEADER.unpack_from(self._buffer, self._position)
        kind = _KINDS.get(number)
        if kind is None:
            raise FrameError(f"frame of an unknown kind, {number}")
        if length > max_body_bytes:
            raise FrameError(f"frame of {length} bytes, the limit is {max_body_bytes}")
        end = start + length
        if arrived < end:
            self._forget_given_out()
            return None
        body = bytes(memoryview(self._buffer)[start:end])
        if google_crc32c.extend(_CRC_OF_KIND[kind], body) != crc:
            raise FrameError("frame with a wrong checksum")
        self._position = end
        return kind, body

    def _forget_given_out(self) -> None:
        if self._position:
            self._buffer = bytes(memoryview(self._buffer)[self._position :])
            self._position = 0
