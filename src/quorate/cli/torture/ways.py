"""The ways between the servers: a TCP proxy for each direction of each pair.

A server sends on the connections that it makes itself, so what the proxy from node 1 to node 2 does
happens to what node 1 sends to node 2 alone. A way that is cut holds back all that it is given, as
TCP does when packets are lost: connections stay, nobody is told, and what was sent comes late if it
comes at all.
"""

import asyncio
import contextlib
from collections.abc import Coroutine, Iterable, Sequence
from typing import Any

from quorate.clerk.addresses import parse_address
from quorate.cli.torture.way_table import WayTable
from quorate.raft.configuration import NodeId
from quorate.runtime.cluster_file import LocalMember
from quorate.runtime.local_ports import LOOPBACK

_CHUNK_BYTES = 64 * 1024
_CHUNKS_HELD = 64
"""When so many wait, the sender has to."""


class Way:
    """One direction, from one server to another.

    Args:
        target: where the other one listens, `HOST:PORT`.

    Attributes:
        delay_s: everything comes so much later.
        bytes_per_s: so much comes through; None for all that there is.
    """

    def __init__(self, target: str) -> None:
        self.delay_s = 0.0
        self.bytes_per_s: float | None = None
        self.address = ""
        self._target = target
        self._is_open = asyncio.Event()
        self._is_open.set()
        self._server: asyncio.Server | None = None
        self._calls: set[asyncio.Task[None]] = set()

    async def open(self) -> None:
        """Begins to listen, on an `address` of its own."""
        self._server = await asyncio.start_server(self._begin_call, LOOPBACK, 0)
        port = self._server.sockets[0].getsockname()[1]
        self.address = f"{LOOPBACK}:{port}"

    async def close(self) -> None:
        """Ends all connections and listens no more."""
        assert self._server is not None
        self._server.close()
        calls = list(self._calls)
        self.break_off()
        await asyncio.gather(*calls, return_exceptions=True)

    def cut(self) -> None:
        """Lets nothing through, and keeps it."""
        self._is_open.clear()

    def break_off(self) -> None:
        """Ends the connections that there are, at once."""
        for call in self._calls:
            call.cancel()

    def mend(self) -> None:
        """Is as good as new."""
        self.delay_s, self.bytes_per_s = 0.0, None
        self._is_open.set()

    # ------------------------------------------------------------------ connections

    def _begin_call(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        call = asyncio.create_task(self._call(reader, writer))
        self._calls.add(call)
        call.add_done_callback(self._calls.discard)

    async def _call(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        host, port = parse_address(self._target)
        writers = [writer]
        try:
            await self._is_open.wait()
            with contextlib.suppress(OSError):
                other_reader, other_writer = await asyncio.open_connection(host, port)
                writers.append(other_writer)
                await _until_one_ends(
                    self._carry(reader, other_writer), self._carry(other_reader, writer)
                )
        except asyncio.CancelledError:
            for one in writers:
                one.transport.abort()
        finally:
            for one in writers:
                one.close()

    async def _carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Until the sender has ended the connection and all that he has sent was delivered."""
        chunks: asyncio.Queue[tuple[float, bytes]] = asyncio.Queue(_CHUNKS_HELD)
        delivery = asyncio.create_task(self._deliver(chunks, writer))
        loop = asyncio.get_running_loop()
        try:
            while True:
                try:
                    data = await reader.read(_CHUNK_BYTES)
                except OSError:  # it was reset
                    data = b""
                await chunks.put((loop.time() + self.delay_s, data))
                if not data:
                    break
            await delivery
        finally:
            delivery.cancel()

    async def _deliver(
        self, chunks: asyncio.Queue[tuple[float, bytes]], writer: asyncio.StreamWriter
    ) -> None:
        loop = asyncio.get_running_loop()
        while True:
            due, data = await chunks.get()
            if due > loop.time():
                await asyncio.sleep(due - loop.time())
            await self._is_open.wait()
            if not data:
                return
            # What nobody takes is lost; uvloop says RuntimeError where the other end has gone.
            with contextlib.suppress(OSError, RuntimeError):
                writer.write(data)
                await writer.drain()
            if self.bytes_per_s is not None:
                await asyncio.sleep(len(data) / self.bytes_per_s)


async def _until_one_ends(*works: Coroutine[Any, Any, None]) -> None:
    tasks = [asyncio.create_task(work) for work in works]
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


class Ways:
    """All ways between some servers.

    Args:
        members: the servers.
    """

    def __init__(self, members: Sequence[LocalMember]) -> None:
        self._members = tuple(members)
        self._ways = {
            (one.id, other.id): Way(other.peer)
            for one in members
            for other in members
            if one is not other
        }

    async def open(self) -> WayTable:
        """Opens them all; returns where they are."""
        await asyncio.gather(*(way.open() for way in self._ways.values()))
        return WayTable(
            {
                one.id: {
                    other.peer: self._ways[one.id, other.id].address
                    for other in self._members
                    if one is not other
                }
                for one in self._members
            }
        )

    async def close(self) -> None:
        """Ends them all."""
        await asyncio.gather(*(way.close() for way in self._ways.values()))

    @property
    def all(self) -> list[Way]:
        """Every one."""
        return list(self._ways.values())

    def between(self, some: Iterable[NodeId], others: Iterable[NodeId]) -> list[Way]:
        """From some servers to others and back."""
        others = list(others)
        return [way for one in some for way in self._both(one, others)]

    def one_way(self, some: Iterable[NodeId], others: Iterable[NodeId]) -> list[Way]:
        """From some servers to others, not back."""
        others = list(others)
        return [self._ways[one, other] for one in some for other in others if one != other]

    def _both(self, one: NodeId, others: Sequence[NodeId]) -> list[Way]:
        return self.one_way([one], others) + self.one_way(others, [one])
