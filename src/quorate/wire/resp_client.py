"""The client's side of a connection: commands as bytes, and bytes as replies.

It speaks RESP2: a client that uses this never says `HELLO 3`. As on the server's side, hiredis
only sees what is known to be whole replies within the limits, here so that a server that has gone
mad, or a port that belongs to something else, cannot take the client's memory.
"""

import re
from typing import TypeAlias

import hiredis
import msgspec

from quorate.wire.errors import ProtocolError
from quorate.wire.resp_length import read_number
from quorate.wire.resp_reply import ErrorReply

ReceivedReply: TypeAlias = "bytes | int | ErrorReply | list[ReceivedReply] | None"
"""Simple and bulk strings are both bytes."""

_MAX_DEPTH = 8  # of arrays within arrays; nothing that a Clerk asks for has more than two
_MAX_LINE_BYTES = 8 * 1024  # of a simple string or an error
_NOTHING = object()

_rest_of_line = re.compile(rb"[^\r\n]*").match


class ReplyLimits(msgspec.Struct, frozen=True, kw_only=True):
    """What a server may answer. More than that is a protocol error.

    Attributes:
        max_reply_bytes: of one reply with its framing.
    """

    max_reply_bytes: int = 64 * 1024 * 1024


def encode_command(*arguments: bytes | str | int) -> bytes:
    """A command with its arguments as an array of bulk strings; a str is sent in UTF-8."""
    return hiredis.pack_command(arguments)  # type: ignore[no-any-return, arg-type]  # wrong stub


class ReplyParser:
    """The replies on one connection, from its bytes as they come.

    After a `ProtocolError` the connection is past saving; what still arrives then is ignored.
    """

    def __init__(self, limits: ReplyLimits) -> None:
        self._limits = limits
        self._reader = hiredis.Reader(
            replyError=_error_reply,  # type: ignore[arg-type]  # any callable will do
            notEnoughData=_NOTHING,
        )
        self._buffer = bytearray()  # from the beginning of the first incomplete reply on
        self._scanned = 0  # bytes of that reply
        self._left: list[int] = []  # how many elements its open arrays lack, outermost first
        self._broken = False

    def receive(self, data: bytes) -> list[ReceivedReply]:
        """Takes bytes in and gives out the replies that they complete, in order.

        Raises:
            ProtocolError: the server broke the protocol or exceeds a limit. Whole replies that
                came before that in `data` are lost with the connection.
        """
        if self._broken:
            return []
        self._buffer += data
        try:
            end = self._end_of_replies()
        except ProtocolError:
            self._broken = True
            self._buffer.clear()
            raise
        if end == 0:
            return []
        self._reader.feed(bytes(self._buffer[:end]))
        del self._buffer[:end]
        return list(iter(self._reader.gets, _NOTHING))

    def _end_of_replies(self) -> int:
        """Where the last whole reply in the buffer ends."""
        start = 0
        position = self._scanned
        while position < len(self._buffer):
            end, elements = self._next_item(position)
            if end - start > self._limits.max_reply_bytes:
                raise ProtocolError("Protocol error: too big reply")
            if not position < end <= len(self._buffer):
                break
            if self._buffer[end - 2 : end] != b"\r\n":
                raise ProtocolError("Protocol error: expected CRLF after a bulk string")
            position = end
            if elements:
                self._left.append(elements)
                if len(self._left) > _MAX_DEPTH:
                    raise ProtocolError("Protocol error: too many nested arrays")
            elif self._closes_reply():
                start = position
        self._scanned = position - start
        return start

    def _closes_reply(self) -> bool:
        """Counts an item that is complete, and the arrays that it completes."""
        while self._left:
            self._left[-1] -= 1
            if self._left[-1]:
                return False
            self._left.pop()
        return True

    def _next_item(self, position: int) -> tuple[int, int]:
        """Where the item at `position` will end, and how many elements follow it as its own.

        The end is `position` if it is not known yet. For an array it is the end of its header.
        """
        match chr(self._buffer[position]):
            case "+" | "-":
                return self._end_of_line(position), 0
            case ":":
                number, end = self._number(position)
                if not -(2**63) <= number < 2**63:
                    raise ProtocolError("Protocol error: invalid integer")
                return end, 0
            case "$":
                length, end = self._number(position)
                if length < -1:
                    raise ProtocolError("Protocol error: invalid bulk length")
                return end if length == -1 or end == position else end + length + 2, 0
            case "*":
                elements, end = self._number(position)
                if not -1 <= elements <= self._limits.max_reply_bytes:
                    raise ProtocolError("Protocol error: invalid multibulk length")
                return end, max(elements, 0)
            case other:
                raise ProtocolError(f"Protocol error: {other!r} does not begin a reply of RESP2")

    def _number(self, position: int) -> tuple[int, int]:
        """The number in the header at `position` and the header's end; `position` if unknown."""
        header = read_number(self._buffer, position + 1, "Protocol error: invalid number")
        return (0, position) if header is None else header

    def _end_of_line(self, position: int) -> int:
        """The end of the line at `position`; `position` if it is not known yet."""
        longest = position + _MAX_LINE_BYTES
        line = _rest_of_line(self._buffer, position, longest)
        assert line is not None
        line_break = bytes(self._buffer[line.end() : line.end() + 2])
        if line_break == b"\r\n":
            return line.end() + 2
        if line_break in (b"", b"\r") and line.end() < longest:
            return position
        raise ProtocolError("Protocol error: invalid simple string")


def _error_reply(line: str) -> ErrorReply:
    code, _, text = line.partition(" ")
    return ErrorReply(code, text)
