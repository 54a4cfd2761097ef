"""More writes than a cluster can take in: many connections, each with a deep pipeline, all in vain.

A client of the flood sends as fast as its socket takes, and reads what comes. It does not wait for
anything, and does not care what it is told.
"""

from __future__ import annotations

import contextlib
import selectors
import socket
from collections import Counter
from typing import TYPE_CHECKING

from tests.integration.crew import Crew

from quorate.wire.resp_client import ReplyLimits, ReplyParser, encode_command
from quorate.wire.resp_reply import ErrorReply

if TYPE_CHECKING:
    from collections.abc import Sequence

CONNECTIONS = 100
PIPELINE = 2_000
_REQUESTS = encode_command("SET", "flooded", "x" * 100) * PIPELINE
_READ_BYTES = 256 * 1024


class _FloodClient:
    """One of its connections."""

    def __init__(self, address: tuple[str, int]) -> None:
        self.socket = socket.create_connection(address, timeout=20)
        self.socket.setblocking(False)
        self.parser = ReplyParser(ReplyLimits())
        self.sent = 0


class Flood(Crew):
    """Floods nodes until the context is left.

    Args:
        addresses: of the nodes, among which the connections are spread.

    Attributes:
        told: how many commands were answered with OK, and with each code of errors.
        ended: how many connections a node has ended.
    """

    def __init__(self, addresses: Sequence[tuple[str, int]]) -> None:
        self.told: Counter[str] = Counter()
        self.ended = 0
        self._clients = [
            _FloodClient(addresses[number % len(addresses)]) for number in range(CONNECTIONS)
        ]
        super().__init__([self._run])

    def _run(self, _number: int) -> None:
        with contextlib.ExitStack() as stack:
            selector = stack.enter_context(selectors.DefaultSelector())
            for client in self._clients:
                stack.enter_context(client.socket)
                both = selectors.EVENT_READ | selectors.EVENT_WRITE
                selector.register(client.socket, both, client)
            while not self.stopping.is_set():
                for key, events in selector.select(timeout=0.1):
                    try:
                        self._serve(key.data, events)
                    except ConnectionError:
                        self.ended += 1
                        selector.unregister(key.fileobj)

    def _serve(self, client: _FloodClient, events: int) -> None:
        if events & selectors.EVENT_READ:
            data = client.socket.recv(_READ_BYTES)
            if not data:
                raise ConnectionResetError
            self.told.update(
                reply.code if isinstance(reply, ErrorReply) else "OK"
                for reply in client.parser.receive(data)
            )
        if events & selectors.EVENT_WRITE:
            with contextlib.suppress(BlockingIOError):
                client.sent += client.socket.send(_REQUESTS[client.sent % len(_REQUESTS) :])
