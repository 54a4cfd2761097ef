"""A client's connection to a simulated server: two streams of bytes that break together."""

from collections.abc import Callable
from functools import partial
from typing import Protocol

from quorate.sim.network import Network
from quorate.sim.scheduler import Scheduler


class StreamServer(Protocol):
    """The server's end."""

    def stream_opened(self, stream: "Stream") -> bool:
        """A client connects; False if nobody listens."""

    def stream_data(self, stream: "Stream", data: bytes) -> None:
        """The client has sent something."""

    def stream_lost(self, stream: "Stream") -> None:
        """The connection has broken."""


class StreamClient(Protocol):
    """The client's end."""

    def connected(self) -> None:
        """The connection is there."""

    def data_received(self, data: bytes) -> None:
        """The server has sent something."""

    def connection_lost(self) -> None:
        """The connection could not be made, or has broken."""


class Stream:
    """One connection. Pieces arrive in order, each after a time of its own.

    Args:
        scheduler: virtual time.
        network: tells how long a piece takes.
        server: who is called.
        client: who calls.
    """

    def __init__(
        self, scheduler: Scheduler, network: Network, server: StreamServer, client: StreamClient
    ) -> None:
        self._scheduler = scheduler
        self._network = network
        self._server = server
        self._client = client
        self._is_open = False
        self._is_over = False
        self._last_arrival = {True: 0, False: 0}

    def open(self) -> None:
        """The client calls the server."""
        self._arrive(to_server=True, action=self._accept)

    def send_to_server(self, data: bytes) -> None:
        """The client sends."""
        if not self._is_over:
            for piece in self._network.pieces(data):
                self._arrive(to_server=True, action=partial(self._at_server, piece))

    def send_to_client(self, data: bytes) -> None:
        """The server sends."""
        if not self._is_over:
            for piece in self._network.pieces(data):
                self._arrive(to_server=False, action=partial(self._at_client, piece))

    def break_off(self) -> None:
        """The connection breaks; each side that is still there is told after a while."""
        if self._is_over:
            return
        self._is_over = True
        self._scheduler.after(self._network.latency(), self._client.connection_lost)
        if self._is_open:
            self._scheduler.after(self._network.latency(), lambda: self._server.stream_lost(self))

    def _accept(self) -> None:
        if self._is_over:
            return
        if not self._server.stream_opened(self):
            self.break_off()
            return
        self._is_open = True
        self._arrive(to_server=False, action=self._connected)

    def _connected(self) -> None:
        if not self._is_over:
            self._client.connected()

    def _at_server(self, data: bytes) -> None:
        if not self._is_over:
            self._server.stream_data(self, data)

    def _at_client(self, data: bytes) -> None:
        if not self._is_over:
            self._client.data_received(data)

    def _arrive(self, *, to_server: bool, action: Callable[[], None]) -> None:
        arrival = self._scheduler.now + self._network.latency()
        arrival = max(arrival, self._last_arrival[to_server])
        self._last_arrival[to_server] = arrival
        self._scheduler.at(arrival, action)
