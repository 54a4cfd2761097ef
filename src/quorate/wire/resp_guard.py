r"""Finds where whole requests end, and refuses what exceeds the limits, before hiredis looks.

hiredis has no limits: the 13 bytes `*1000000000\r\n` make it allocate a list of a thousand
million elements, and it takes any RESP type for an argument. So it only ever sees bytes of which
this module has found that they are whole requests, each an array of bulk strings within the
limits. This module does not take requests apart, and knows nothing of inline commands.

The usual case, any number of small requests in a row, is recognised by one regular expression
in about the time that hiredis takes to parse them (`resp_patterns`). What it does not cover is
walked through argument by argument; that walk can stop at any byte and go on when more bytes have
come, so a request that trickles in is not scanned again from its beginning.
"""

import msgspec

from quorate.wire.errors import ProtocolError
from quorate.wire.resp_length import read_number
from quorate.wire.resp_patterns import (
    SMALL_BULK_BYTES,
    SMALL_REQUEST_ARGUMENTS,
    SMALL_REQUEST_BYTES,
    runs_of_small_bulks,
    usual_requests,
)

_DOLLAR = ord("$")


class RequestLimits(msgspec.Struct, frozen=True, kw_only=True):
    """What a client may send. More than that is a protocol error and ends the connection.

    The limits on keys and values are narrower and belong to the commands; those here bound the
    memory that one connection can take before a command is seen at all.

    Attributes:
        max_arguments: of one request, the command's name included.
        max_bulk_bytes: of one argument.
        max_request_bytes: of one request with its framing; so also of what a connection keeps
            of a request that has not arrived completely.
        max_inline_bytes: of one inline command.
    """

    max_arguments: int = 65_536
    max_bulk_bytes: int = 2 * 1024 * 1024
    max_request_bytes: int = 8 * 1024 * 1024
    max_inline_bytes: int = 64 * 1024

    def __post_init__(self) -> None:
        # The usual requests pass by their pattern, which no limit may contradict.
        assert self.max_arguments >= SMALL_REQUEST_ARGUMENTS
        assert self.max_bulk_bytes >= SMALL_BULK_BYTES
        assert self.max_request_bytes >= SMALL_REQUEST_BYTES + self.max_bulk_bytes


class RequestGuard:
    """Walks through the requests of one connection.

    The state is how far it has come in a request whose rest has not arrived.
    """

    def __init__(self, limits: RequestLimits) -> None:
        self._limits = limits
        self._scanned = 0  # bytes, from the beginning of the request
        self._arguments_left = 0  # 0 if the request's own header has not been read

    def end_of_usual_requests(self, buffer: bytes | bytearray, start: int = 0) -> int:
        """The end of any number of whole requests of the usual shapes that begin at `start`.

        This only looks: it is not to be used on a request in which the walk has begun, and finds
        no fault. Where it ends, something begins that is not complete or not usual.
        """
        usual = usual_requests(buffer, start)
        assert usual is not None
        length = usual[2]
        if length is None:
            return usual.end()
        end = usual.end() + int(length) + 2
        if buffer[end - 2 : end] == b"\r\n" and int(length) <= self._limits.max_bulk_bytes:
            return end
        return usual.start(1)

    def end_of_requests(self, buffer: bytes | bytearray, start: int) -> int:
        """The end of one or more whole requests that begin at `start`.

        If there is none (yet), the same `buffer` from `start` on, with more behind it, is what
        the next call has to be about.

        Args:
            buffer: what has arrived.
            start: where a request begins, with `*`.

        Returns:
            A position; `start` if the first request is not complete, or has no arguments.

        Raises:
            ProtocolError: the first request is malformed or exceeds a limit. A bad one behind it
                is found by the next call.
        """
        if not self._arguments_left:
            end = self.end_of_usual_requests(buffer, start)
            if end > start or not self._begin(buffer, start):
                return end
        return self._walk(buffer, start)

    def _begin(self, buffer: bytes | bytearray, start: int) -> bool:
        """Reads the header of a request; False if it has not arrived or announces nothing."""
        header = read_number(buffer, start + 1, "Protocol error: invalid multibulk length")
        if header is None:
            return False
        arguments, position = header
        if arguments > self._limits.max_arguments:
            raise ProtocolError("Protocol error: invalid multibulk length")
        if arguments <= 0:
            return False
        self._arguments_left = arguments
        self._scanned = position - start
        return True

    def _walk(self, buffer: bytes | bytearray, start: int) -> int:
        """Goes on through the arguments; the end of the last one, or `start` if it is not there."""
        position = start + self._scanned
        left = self._arguments_left
        while left:
            count, end = self._end_of_bulks(buffer, position, left)
            if end - start > self._limits.max_request_bytes:
                raise ProtocolError("Protocol error: too big request")
            if not position < end <= len(buffer):
                return start
            if buffer[end - 2 : end] != b"\r\n":
                raise ProtocolError("Protocol error: expected CRLF after a bulk string")
            position = end
            left -= count
            self._scanned = end - start
            self._arguments_left = left
        self._scanned = 0
        return position

    def _end_of_bulks(self, buffer: bytes | bytearray, position: int, left: int) -> tuple[int, int]:
        """How many bulk strings, at most `left`, can be skipped at once, and where they will end.

        The end is `position` if it is not known yet.
        """
        for count, match in runs_of_small_bulks:
            if count <= left and (run := match(buffer, position)):
                return count, run.end()
        if position == len(buffer):
            return 1, position
        if buffer[position] != _DOLLAR:
            raise ProtocolError(f"Protocol error: expected '$', got '{chr(buffer[position])}'")
        header = read_number(buffer, position + 1, "Protocol error: invalid bulk length")
        if header is None:
            return 1, position
        length, body = header
        if not 0 <= length <= self._limits.max_bulk_bytes:
            raise ProtocolError("Protocol error: invalid bulk length")
        return 1, body + length + 2
