"""The clients of one server: who they are, what is read from them, what is sent, and who waits.

Clients may send or ask for more than one turn of the driver should take: what would take too long
waits for the next, so that no flood of requests or of replies keeps a node from its peers for as
long as an election timeout.
"""

import logging
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Protocol, cast

from quorate.node.node import Node
from quorate.runtime.clock import monotonic_us

DATA_TIME_US = 20_000
"""How long one turn takes in what clients have sent; what is left waits for the next turn."""
SLICE_BYTES = 4 * 1024
"""What a client has sent is taken in by so many bytes, and the clock looked at after each.

What is left when the time is over goes by slices too, one of each client in turn.
"""
REPLY_TIME_US = 20_000
"""How long one turn sends long replies to clients; those that are left wait for the next turn."""
LONG_REPLY_BYTES = 4 * 1024
"""Longer replies are long."""
READ_BYTES = 256 * 1024
"""So much is read from a client at a time, before any limit is looked at."""
MAX_UNTAKEN_BYTES = 16 * 1024 * 1024
"""When so much was read from all clients and not taken in, no more than a slice is read at a time.

So whoever comes is served all the same, and what thousands send at once stays in the system.
"""
UNSENT_PERIOD_US = 100_000
"""How often it is looked at most how far clients have come that are behind with reading."""
COMPLAINT_PERIOD_US = 10_000_000
"""Clients that were given up are complained of at most so often, in one line for all of them."""

_log = logging.getLogger(__name__)


class ClientConnection(Protocol):
    """A client's connection, as the driver sees it."""

    def send(self, data: bytes) -> None:
        """Sends replies."""

    @property
    def unsent_bytes(self) -> int:
        """How much is kept of what was sent and the client's socket has not taken."""

    def close_when_sent(self) -> None:
        """Ends the connection after what was sent."""

    def finish_when_sent(self) -> None:
        """The same, but whatever the client still sends does not keep him from his replies."""

    def abort(self) -> None:
        """Ends the connection at once."""

    def pause_reading(self) -> None:
        """Stops reading from the client."""

    def resume_reading(self) -> None:
        """Goes on reading from the client."""


@dataclass(slots=True)
class _Waiting:
    """A client for whom there was no time in the turn that had a long reply for him.

    Attributes:
        replies: that one, and those behind it.
        end: what ends his connection afterwards, if it is to end.
    """

    replies: list[bytes] = field(default_factory=list)
    end: Callable[[], None] | None = None


class Clients:
    """All clients of one node.

    Args:
        node: the node.
        on_data: called when a client has sent something.
        on_event: called when something else has happened that the node may have to do something
            about.
    """

    def __init__(
        self, node: Node, *, on_data: Callable[[], None], on_event: Callable[[], None]
    ) -> None:
        self._node = node
        self._on_data = on_data
        self._on_event = on_event
        self._clients: dict[int, ClientConnection] = {}
        self._paused: dict[int, ClientConnection] = {}
        self._behind: dict[int, ClientConnection] = {}
        self._unsent_reported_us = 0
        self._given_up = 0
        self._complained_us = -COMPLAINT_PERIOD_US
        self._read_buffer = self._offered = memoryview(bytearray(READ_BYTES))
        self._untaken: dict[int, memoryview] = {}  # each of a chunk that is kept as a whole
        self._untaken_bytes = 0  # of these chunks
        self._data_until_us = 0
        self._is_leaving = False
        self._unfinished: set[int] = set()  # whose connections are to end
        self._waiting: dict[int, _Waiting] = {}  # for whom a long reply waits

    # ------------------------------------------------------------------ from their sockets

    def connected(self, client: ClientConnection) -> int:
        """A client has connected; returns the connection's id."""
        connection = self._node.open_connection()
        self._clients[connection] = client
        if self._is_leaving:
            self._unfinished.add(connection)
        self._on_event()
        return connection

    def read_buffer(self) -> memoryview:
        """Where to read to from any client; `data` has to follow at once."""
        return self._offered

    def data(self, connection: int, size: int) -> None:
        """A client has sent something: so many bytes, which are in the buffer for it."""
        if self._is_leaving:
            return  # it was connecting when the others were paused
        now = monotonic_us()
        if not self._data_until_us:
            self._data_until_us = now + DATA_TIME_US
        assert connection not in self._untaken, "nothing is read from a client that is paused"
        if size <= SLICE_BYTES and now < self._data_until_us:
            data = bytes(self._read_buffer[:size])
            if self._node.client_data(connection, data, now):
                self._pause(connection)
        else:
            self._take_slices(connection, self._read_buffer[:size], now)
        self._on_data()

    def unsent(self, connection: int, size: int) -> None:
        """So many bytes of what was sent were not taken by a client's socket."""
        if size:
            self._behind[connection] = self._clients[connection]
        else:
            self._behind.pop(connection, None)
        self._node.client_unsent(connection, size, monotonic_us())
        self._on_event()

    def finished(self, connection: int) -> None:
        """A client will send nothing more, but may still read replies."""
        self._node.finish_connection(connection)
        self._on_event()

    def lost(self, connection: int) -> None:
        """A client has gone."""
        self._node.close_connection(connection, monotonic_us())
        self._clients.pop(connection, None)
        self._behind.pop(connection, None)
        self._paused.pop(connection, None)
        self._waiting.pop(connection, None)
        self._unfinished.discard(connection)
        self._drop_untaken(connection)
        self._on_event()  # others may have waited for the room that he took up

    # ------------------------------------------------------------------ the driver's turn

    @property
    def have_untaken(self) -> bool:
        """Whether something was read from them that the node was not given yet."""
        return bool(self._untaken)

    def begin_turn(self) -> None:
        """Gives the node what was left over, and tells it how far they are behind with reading."""
        self._take_untaken()
        self._finish_unfinished()
        self._report_unsent()

    def send(self, replies: list[tuple[int, bytes]]) -> None:
        """Sends replies, and keeps none of them until the last is sent: there may be many long.

        The long ones for as long as there is time. To the node those that wait are what their
        clients' sockets have not taken.
        """
        until = monotonic_us() + REPLY_TIME_US
        for connection in list(self._waiting):
            self._send_waiting(connection)
            if monotonic_us() >= until:
                break
        replies.reverse()
        while replies:
            connection, data = replies.pop()
            if connection not in self._clients:
                continue
            waiting = self._waiting.get(connection)
            if waiting is None:
                if len(data) <= LONG_REPLY_BYTES or monotonic_us() < until:
                    self._clients[connection].send(data)
                    continue
                waiting = self._waiting[connection] = _Waiting()
            waiting.replies.append(data)
            size = sum(map(len, waiting.replies))
            self._node.client_unsent(connection, size, monotonic_us())
        if self._waiting:
            self._on_event()

    def end(self, closing: Iterable[int], broken: Iterable[int]) -> None:
        """Ends connections after their replies.

        Args:
            closing: those that the node has done with.
            broken: those of which the client has broken the protocol.
        """
        for connection in closing:
            if connection in self._clients:
                client = self._clients[connection]
                end = client.finish_when_sent if self._is_leaving else client.close_when_sent
                self._end_after_replies(connection, end)
        for connection in broken:
            if connection in self._clients:
                client = self._clients[connection]
                self._end_after_replies(connection, client.finish_when_sent)

    def give_up(self, connections: list[int]) -> None:
        """Ends connections at once that the node has forgotten."""
        clients = [self._clients.pop(c) for c in connections if c in self._clients]
        for connection in connections:
            self._behind.pop(connection, None)
            self._paused.pop(connection, None)
            self._waiting.pop(connection, None)
            self._drop_untaken(connection)
        for client in clients:
            client.abort()
        self._given_up += len(clients)
        now = monotonic_us()
        if self._given_up and now >= self._complained_us + COMPLAINT_PERIOD_US:
            _log.warning(
                "closed the connections of %d clients that took up much memory and did not move: "
                "they neither read their replies nor sent the rest of their requests",
                self._given_up,
            )
            self._given_up = 0
            self._complained_us = now

    def end_turn(self) -> None:
        """Goes on reading from those for whom there is room again."""
        self._data_until_us = 0
        self._resume_clients()

    # ------------------------------------------------------------------ the end

    def leave(self) -> None:
        """Reads nothing more from any of them."""
        self._is_leaving = True
        for connection in self._clients:
            self._pause(connection)

    def finish_all(self) -> None:
        """Ends each connection as soon as what was read from it is answered."""
        self._unfinished.update(self._clients)

    @property
    def have_all_answers(self) -> bool:
        """Whether the node was given all that was read, and has no long reply waiting here."""
        return not self._untaken and not self._waiting

    @property
    def have_read_all(self) -> bool:
        """Whether their sockets have taken all that was sent to them."""
        return not self._behind

    @property
    def are_gone(self) -> bool:
        """Whether there is nobody any more."""
        return not self._clients

    def _finish_unfinished(self) -> None:
        """Ends the connections that are to end, once what was read from them is answered."""
        for connection in self._unfinished - self._untaken.keys():
            self._node.finish_connection(connection)
            self._unfinished.remove(connection)

    # ------------------------------------------------------------------ long replies

    def _send_waiting(self, connection: int) -> None:
        """Sends the replies that wait for a client, if there are any."""
        waiting = self._waiting.pop(connection, None)
        if waiting is not None:
            client = self._clients[connection]
            for data in waiting.replies:
                client.send(data)
            self.unsent(connection, client.unsent_bytes)
            if waiting.end is not None:
                waiting.end()

    def _end_after_replies(self, connection: int, end: Callable[[], None]) -> None:
        waiting = self._waiting.get(connection)
        if waiting is None:
            end()
        else:
            waiting.end = end

    # ------------------------------------------------------------------ those who send much

    def _take_untaken(self) -> None:
        """Takes in what clients have sent, a slice of each in turn, for as long as there is time.

        What is left of a client that is congested waits until it no longer is.
        """
        if not self._untaken:
            return
        until = monotonic_us() + DATA_TIME_US
        takeable = deque(
            connection for connection in self._untaken if not self._node.is_congested(connection)
        )
        while takeable and (now := monotonic_us()) < until:
            connection = takeable.popleft()
            data = self._untaken.pop(connection)
            rest, is_congested = self._take_slice(connection, data, now)
            if rest:
                self._untaken[connection] = rest  # behind the others
                if not is_congested:
                    takeable.append(connection)
            else:
                self._count_untaken(-_size_of_chunk(data))

    def _drop_untaken(self, connection: int) -> None:
        data = self._untaken.pop(connection, None)
        if data is not None:
            self._count_untaken(-_size_of_chunk(data))

    def _count_untaken(self, change: int) -> None:
        self._untaken_bytes += change
        room = MAX_UNTAKEN_BYTES - self._untaken_bytes
        self._offered = self._read_buffer[: max(room, SLICE_BYTES)]

    def _take_slices(self, connection: int, rest: memoryview, now: int) -> None:
        """Takes in as much as there is time for, and keeps the rest."""
        is_congested = False
        while rest and not is_congested and now < self._data_until_us:
            rest, is_congested = self._take_slice(connection, rest, now)
            now = monotonic_us()
        if rest:
            self._untaken[connection] = memoryview(bytes(rest))
            self._count_untaken(len(rest))
        if rest or is_congested:
            self._pause(connection)

    def _take_slice(self, connection: int, data: memoryview, now: int) -> tuple[memoryview, bool]:
        """Takes in the beginning of what a client has sent.

        Returns:
            The rest, and whether that has to wait.
        """
        is_congested = self._node.client_data(connection, bytes(data[:SLICE_BYTES]), now)
        return data[SLICE_BYTES:], is_congested

    # ------------------------------------------------------------------ those who take little

    def _report_unsent(self) -> None:
        """Tells the node how far clients have come that are behind with reading."""
        now = monotonic_us()
        if self._behind and now >= self._unsent_reported_us + UNSENT_PERIOD_US:
            self._unsent_reported_us = now
            for connection, client in self._behind.items():
                self._node.client_unsent(connection, client.unsent_bytes, now)

    # ------------------------------------------------------------------ congestion

    def _pause(self, connection: int) -> None:
        if connection in self._clients and connection not in self._paused:
            client = self._clients[connection]
            client.pause_reading()
            self._paused[connection] = client

    def _resume_clients(self) -> None:
        if not self._paused:
            return
        for connection, client in list(self._paused.items()):
            if self._node.is_congested(connection):
                continue
            if connection in self._untaken:
                self._on_event()
            elif not self._is_leaving:
                del self._paused[connection]
                client.resume_reading()


def _size_of_chunk(part: memoryview) -> int:
    """Of the whole that it is a part of, and keeps."""
    return len(cast(bytes, part.obj))
