"""A load of plain `SET`s for benchmarks: at a steady rate, or as many as the servers take.

A steady load is open: a write that is due is sent, whether or not those before it are answered,
and its latency counts from when it was due. So servers that stand still for a while are charged
with everything that should have been done in that time.
"""

import asyncio
import contextlib
import random
import time
from array import array
from collections import deque
from collections.abc import AsyncIterator, Coroutine
from typing import NamedTuple, cast

import uvloop

from quorate.wire.resp_client import encode_command

TICK_S = 0.001
KEYS_PER_REQUEST = 200
REQUESTS_AHEAD = 8


def key_of(number: int) -> bytes:
    """Of 16 bytes."""
    return b"key:%012d" % number


class Sample(NamedTuple):
    """The writes of some time.

    Attributes:
        due: when each was due, in seconds of `perf_counter`; that of uvloop counts milliseconds.
        latency: how long after that it was answered, in seconds.
    """

    due: "array[float]"
    latency: "array[float]"


class Connection(asyncio.Protocol):
    """One client. Replies come in the order of the writes."""

    def __init__(self, load: "WriteLoad") -> None:
        self._load = load
        self._transport: asyncio.Transport
        self.waiting: deque[float] = deque()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:  # noqa: D102
        self._transport = cast("asyncio.Transport", transport)

    def send(self, requests: bytes, due: list[float]) -> None:
        """Sends writes that were due then."""
        self.waiting.extend(due)
        self._transport.write(requests)

    def data_received(self, data: bytes) -> None:  # noqa: D102
        assert b"-" not in data, f"a write has failed: {data[:200]!r}"
        count = data.count(b"\n")
        now = time.perf_counter()
        for _ in range(count):
            self._load.answered(self.waiting.popleft(), now)
        if not self.waiting:
            self._load.has_room(self)

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: D102
        self._load.lost(exc)

    def close(self) -> None:
        """Ends it."""
        self._transport.abort()


class WriteLoad:
    """Clients of one server that write to random keys.

    Args:
        address: host and port.
        keys: how many keys there are.
        value_bytes: of each value.
    """

    def __init__(self, address: str, *, keys: int, value_bytes: int) -> None:
        self._address = address
        self._rng = random.Random(1)
        self._keys = keys
        self._value = bytes(64 + n % 26 for n in range(value_bytes))
        self._connections: list[Connection] = []
        self._sample = Sample(array("d"), array("d"))
        self._is_closed_loop = False
        self._failure: Exception | None = None

    async def connect(self, count: int) -> None:
        """Makes so many connections."""
        host, _, port = self._address.rpartition(":")
        loop = asyncio.get_running_loop()
        for _ in range(count):
            _, client = await loop.create_connection(lambda: Connection(self), host, int(port))
            self._connections.append(client)

    def close(self) -> None:
        """Ends all connections."""
        for connection in self._connections:
            connection.close()

    @property
    def unanswered(self) -> int:
        """How many writes are under way."""
        return sum(len(connection.waiting) for connection in self._connections)

    def answered(self, due: float, now: float) -> None:
        """A write is done."""
        self._sample.due.append(due)
        self._sample.latency.append(now - due)

    def has_room(self, connection: Connection) -> None:
        """All of a connection's writes are done."""
        if self._is_closed_loop:
            self._send_one(connection)

    def lost(self, error: Exception | None) -> None:
        """A connection has ended."""
        self._failure = error or ConnectionError("a server has ended a connection")

    def take_sample(self) -> Sample:
        """The writes that were answered since the last time."""
        sample, self._sample = self._sample, Sample(array("d"), array("d"))
        return sample

    @contextlib.asynccontextmanager
    async def closed(self) -> AsyncIterator[None]:
        """One write under way on each connection, all the time; in the end all are answered."""
        self._is_closed_loop = True
        for connection in self._connections:
            self._send_one(connection)
        try:
            yield
        finally:
            self._is_closed_loop = False
            await self._all_answered()

    @contextlib.asynccontextmanager
    async def steady(self, rate: float) -> AsyncIterator[None]:
        """So many writes a second, whatever becomes of them; in the end all are answered."""
        sending = asyncio.create_task(self._send_steadily(rate))
        try:
            yield
        finally:
            sending.cancel()
            await self._all_answered()

    async def _send_steadily(self, rate: float) -> None:
        begun = time.perf_counter()
        sent = 0
        count = len(self._connections)
        while True:
            await asyncio.sleep(TICK_S)
            due = int((time.perf_counter() - begun) * rate)
            groups: list[list[int]] = [[] for _ in self._connections]
            for number in range(sent, due):
                groups[number % count].append(number)
            for connection, numbers in zip(self._connections, groups, strict=True):
                if numbers:
                    requests = b"".join([self._request() for _ in numbers])
                    connection.send(requests, [begun + n / rate for n in numbers])
            sent = due

    async def fill(self) -> None:
        """Writes each key once."""
        reader, writer = await asyncio.open_connection(*self._address.rsplit(":", 1))
        requests = 0
        for first in range(0, self._keys, KEYS_PER_REQUEST):
            arguments: list[bytes] = []
            for number in range(first, min(first + KEYS_PER_REQUEST, self._keys)):
                arguments += (key_of(number), self._value)
            writer.write(encode_command("MSET", *arguments))
            await writer.drain()
            requests += 1
            if requests > REQUESTS_AHEAD:
                assert await reader.readline() == b"+OK\r\n"
        for _ in range(min(REQUESTS_AHEAD, requests)):
            assert await reader.readline() == b"+OK\r\n"
        writer.close()

    def _send_one(self, connection: Connection) -> None:
        connection.send(self._request(), [time.perf_counter()])

    def _request(self) -> bytes:
        number = int(self._rng.random() * self._keys)
        return b"*3\r\n$3\r\nSET\r\n$16\r\nkey:%012d\r\n$%d\r\n%b\r\n" % (
            number,
            len(self._value),
            self._value,
        )

    async def _all_answered(self) -> None:
        while self.unanswered:
            if self._failure is not None:
                raise self._failure
            await asyncio.sleep(0.01)


def run(main: Coroutine[object, object, None]) -> None:
    """Runs a benchmark."""
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(main)
