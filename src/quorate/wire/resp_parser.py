"""A client's bytes as requests: arrays of bulk strings, and inline commands among them.

hiredis takes the requests apart, after `resp_guard` has found them to be whole and within the
limits; inline commands, which hiredis does not know, are split here. What a request means is not
known here: no command's name, no limit of a key or a value.

A line of HTTP ends the connection. Any web page can make a browser send a request to a port of the
browser's own machine, loopback or not, with lines in its body that would be inline commands. So
what such a request has near its beginning is refused, as Redis does: `POST`, and the header `Host:`
that every other method is followed by.
"""

import re

import hiredis

from quorate.wire.errors import ProtocolError
from quorate.wire.resp_guard import RequestGuard, RequestLimits
from quorate.wire.resp_inline import split_inline

_STAR = ord("*")
_KEPT_READER_BYTES = 64 * 1024
_HTTP = frozenset({b"POST", b"HOST:"})

# Redis ignores an array without elements, be it empty, null, or of any negative length.
_array_of_nothing = re.compile(rb"\*(?:0|-[1-9][0-9]{0,18})\r\n").match


class RequestParser:
    """The requests of one connection, from its bytes as they come.

    After a `ProtocolError` the connection is past saving; what still arrives then is ignored.
    """

    def __init__(self, limits: RequestLimits) -> None:
        self._limits = limits
        self._guard = RequestGuard(limits)
        self._reader = hiredis.Reader(notEnoughData=None)
        self._rest = bytearray()  # of a request that has not arrived completely
        self._broken = False

    @property
    def kept_bytes(self) -> int:
        """How much is kept of a request that has not arrived completely."""
        return len(self._rest)

    def receive(self, data: bytes) -> list[list[bytes]]:
        """Takes bytes in and gives out the requests that they complete.

        Args:
            data: what came next on the connection.

        Returns:
            The requests in order, each with one argument or more, the first its command's name.

        Raises:
            ProtocolError: the client broke the protocol or exceeds a limit. The whole requests
                that came before that in `data` are in the error.
        """
        if self._broken:
            return []
        buffer: bytes | bytearray = data
        if not self._rest:
            if self._guard.end_of_usual_requests(data) == len(data):
                return self._parse(data, 0, len(data))
        else:
            self._rest += data
            buffer = self._rest
        requests: list[list[bytes]] = []
        try:
            end = self._take(buffer, requests)
        except ProtocolError as fault:
            self._broken = True
            self._rest.clear()
            raise ProtocolError(str(fault), requests) from None
        if buffer is self._rest:
            del self._rest[:end]
        else:
            self._rest += data[end:]
        return requests

    def _take(self, buffer: bytes | bytearray, requests: list[list[bytes]]) -> int:
        """Appends what is complete to `requests`; returns where it ends."""
        parsed = position = 0  # between the two: whole arrays that hiredis has yet to see
        try:
            while position < len(buffer):
                end = position
                if buffer[position] == _STAR:
                    end = self._guard.end_of_requests(buffer, position)
                if end == position:
                    requests += self._parse(buffer, parsed, position)
                    parsed = position
                    end = parsed = self._take_other(buffer, position, requests)
                    if end == position:
                        break
                position = end
        finally:
            requests += self._parse(buffer, parsed, position)
        return position

    def _parse(self, buffer: bytes | bytearray, start: int, end: int) -> list[list[bytes]]:
        """Has hiredis take the arrays in `buffer[start:end]` apart."""
        self._reader.feed(buffer, start, end - start)  # type: ignore[arg-type]  # takes any buffer
        requests: list[list[bytes]] = list(iter(self._reader.gets, None))
        if end - start > _KEPT_READER_BYTES:
            # hiredis would keep the memory of its largest input for as long as the connection.
            self._reader = hiredis.Reader(notEnoughData=None)
        return requests

    def _take_other(
        self, buffer: bytes | bytearray, start: int, requests: list[list[bytes]]
    ) -> int:
        """Skips an array of nothing, or takes an inline command; returns where it ends.

        That is `start` if it is not complete.
        """
        if buffer[start] == _STAR:
            nothing = _array_of_nothing(buffer, start)
            return start if nothing is None else nothing.end()
        longest = start + self._limits.max_inline_bytes
        newline = buffer.find(b"\n", start, longest)
        if newline < 0:
            if len(buffer) >= longest:
                raise ProtocolError("Protocol error: too big inline request")
            return start
        arguments = split_inline(bytes(buffer[start:newline]))
        if arguments:
            if arguments[0].upper() in _HTTP:
                raise ProtocolError("Protocol error: this is HTTP, not RESP")
            requests.append(arguments)
        return newline + 1
