"""Clients' connections on sockets: an asyncio protocol around a connection of the node."""

import asyncio
from typing import cast

from quorate.runtime.clients import Clients
from quorate.runtime.reply_writer import ReplyWriter

LINGER_S = 1.0
"""How long what a client still sends is taken and dropped after its connection has ended."""


class ClientProtocol(asyncio.BufferedProtocol):
    """One client. `Clients` alone talks to it."""

    def __init__(self, clients: Clients) -> None:
        self._clients = clients
        self._transport: asyncio.Transport | None = None
        self._replies: ReplyWriter | None = None
        self._connection = 0
        self._closing = False
        self._sends_no_more = False
        self._linger: asyncio.TimerHandle | None = None

    # ------------------------------------------------------------------ from the socket

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """The socket is open."""
        transport = cast(asyncio.Transport, transport)  # uvloop's are not of that class
        self._transport = transport
        self._replies = ReplyWriter(transport)
        # So that the node is told of all that is left over: it counts it, for all its clients.
        transport.set_write_buffer_limits(high=0)
        self._connection = self._clients.connected(self)

    def get_buffer(self, sizehint: int) -> memoryview:  # noqa: ARG002 - asyncio's signature
        """Where to read to; they know how much."""
        return self._clients.read_buffer()

    def buffer_updated(self, nbytes: int) -> None:
        """The client has sent something."""
        if not self._closing:
            self._clients.data(self._connection, nbytes)

    def eof_received(self) -> bool:
        """The client sends no more. It may still read, so what is pending is answered first.

        Returns:
            True: the transport knows nothing of replies that wait, and would end at once.
        """
        self._sends_no_more = True
        if self._closing:
            self.close_when_sent()
        else:
            self._clients.finished(self._connection)
        return True

    def pause_writing(self) -> None:
        """The client does not take its replies in; whoever sends them looks at that."""
        assert self._replies is not None
        self._replies.is_full()

    def resume_writing(self) -> None:
        """The client has taken its replies in, or all but what waits here."""
        assert self._replies is not None
        self._replies.has_room()
        self._clients.unsent(self._connection, self._replies.held_bytes)

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - asyncio's signature
        """The socket is closed."""
        self._closing = True
        if self._linger is not None:
            self._linger.cancel()
        if self._replies is not None:
            self._replies.drop()
        self._clients.lost(self._connection)

    # ------------------------------------------------------------------ from `Clients`

    def send(self, data: bytes) -> None:
        """Sends replies."""
        assert self._replies is not None
        self._replies.write(data)
        held = self._replies.held_bytes
        if held:
            self._clients.unsent(self._connection, held)

    @property
    def unsent_bytes(self) -> int:
        """How much is kept of what was sent and the socket has not taken."""
        assert self._replies is not None
        return self._replies.held_bytes

    def close_when_sent(self) -> None:
        """Ends the connection after what was sent."""
        assert self._transport is not None
        assert self._replies is not None
        self._closing = True
        self._transport.pause_reading()
        self._replies.end_with(self._transport.close)

    def finish_when_sent(self) -> None:
        """The same, but whatever the client still sends does not keep him from his replies.

        A socket that is closed while something is unread resets the connection, and the client may
        never see the last replies, such as the error that says why. So they are followed by an end
        of the stream, and the client has some time to close the connection himself.
        """
        if self._sends_no_more:
            self.close_when_sent()
            return
        assert self._transport is not None
        assert self._replies is not None
        if self._closing:
            return
        self._closing = True
        self._replies.end_with(self._transport.write_eof)
        self._transport.resume_reading()
        loop = asyncio.get_running_loop()
        self._linger = loop.call_later(LINGER_S, self.close_when_sent)

    def abort(self) -> None:
        """Ends the connection at once."""
        assert self._transport is not None
        assert self._replies is not None
        self._closing = True
        self._replies.drop()
        self._transport.abort()

    def pause_reading(self) -> None:
        """Stops reading from the client."""
        assert self._transport is not None
        if not self._closing:
            self._transport.pause_reading()

    def resume_reading(self) -> None:
        """Goes on reading from the client."""
        assert self._transport is not None
        if not self._closing:
            self._transport.resume_reading()
