"""The Clerk for asyncio: sockets, timers and futures around `quorate.clerk.core`.

Everything that is decided is decided there. Here the core's orders are carried out: connections
are made, bytes go out and come in, one timer wakes the core, and each outcome goes to the caller
that waits for it.
"""

import asyncio
import random
from collections.abc import Iterable
from typing import Any, Self, TypeVar, cast

from quorate.clerk import operations
from quorate.clerk.addresses import parse_address, parse_servers
from quorate.clerk.core import ClerkCore
from quorate.clerk.deadlines import deadline_after
from quorate.clerk.errors import ClerkError
from quorate.clerk.operations import Operation
from quorate.clerk.ready import Connect
from quorate.clerk.requests import Ticket
from quorate.clerk.settings import ClerkSettings
from quorate.clerk.stream import ProtocolError, ReplyStream, encode_requests

Result = TypeVar("Result")


class AsyncClerk:
    """A client of a cluster: linearizable reads, and writes that are executed at most once.

    Any number of tasks may call it at the same time; their calls share one connection and one
    session. It connects with the first call, and belongs to the event loop of that call. A call
    that is cancelled is given up like one whose timeout has come. Keys and values are bytes; a str
    is sent as UTF-8.

    Every call takes a `timeout` in seconds; without one it keeps trying for as long as it takes.
    Every call may raise:

        NotExecutedError: it was not executed and never will be. One of its subclasses is
            `CommandError`: the servers refuse it as it stands, a value too large for example.
        OutcomeUnknownError: it may have been executed, once. Reads never raise this.
        TypeError: an argument is neither bytes nor str.

    Args:
        servers: addresses of the cluster's servers: `"HOST:PORT,HOST:PORT,..."`, or several
            strings `"HOST:PORT"`. Some of them are enough: the others are learned from these, as
            are changes of the cluster's members.
        settings: the limits and time-outs of this client.

    Raises:
        ValueError: an address is not of the form `HOST:PORT`.
    """

    def __init__(
        self, servers: str | Iterable[str], *, settings: ClerkSettings | None = None
    ) -> None:
        core = ClerkCore(parse_servers(servers), random.Random(), settings)
        self._driver = _Driver(core)

    async def put(
        self,
        key: bytes | str,
        value: bytes | str,
        *,
        timeout: float | None = None,  # noqa: ASYNC109 -- tells unknown from not executed
    ) -> None:
        """Replaces the value of `key`."""
        await self._driver.execute(operations.put(key, value), timeout)

    async def append(
        self,
        key: bytes | str,
        arg: bytes | str,
        *,
        timeout: float | None = None,  # noqa: ASYNC109 -- tells unknown from not executed
    ) -> int:
        """Appends to the value of `key`, which is empty if missing; returns the new length."""
        return await self._driver.execute(operations.append(key, arg), timeout)

    async def delete(
        self,
        key: bytes | str,
        *,
        timeout: float | None = None,  # noqa: ASYNC109 -- tells unknown from not executed
    ) -> bool:
        """Removes `key`; returns whether it existed."""
        return await self._driver.execute(operations.delete(key), timeout)

    async def get(
        self,
        key: bytes | str,
        *,
        timeout: float | None = None,  # noqa: ASYNC109 -- one meaning in all methods
    ) -> bytes:
        """Returns the value of `key`, empty if there is none."""
        return await self._driver.execute(operations.get(key), timeout)

    async def get_or_none(
        self,
        key: bytes | str,
        *,
        timeout: float | None = None,  # noqa: ASYNC109 -- one meaning in all methods
    ) -> bytes | None:
        """Returns the value of `key`, or None if there is no such key."""
        return await self._driver.execute(operations.get_or_none(key), timeout)

    async def close(self) -> None:
        """Ends the calls under way, as if their time were up, and closes the connection."""
        await self._driver.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()


class _Driver:
    """Carries out what the core says, in one event loop."""

    def __init__(self, core: ClerkCore) -> None:
        self._core = core
        self._loop: asyncio.AbstractEventLoop | None = None
        self._waiting: dict[Ticket, asyncio.Future[Any]] = {}
        self._number = 0
        self._attempt: asyncio.Task[None] | None = None
        self._connection: _Connection | None = None
        self._is_turn_due = False
        self._timer: asyncio.TimerHandle | None = None
        self._timer_at = 0
        self._closing: set[asyncio.Future[None]] = set()

    async def execute(self, operation: Operation[Result], seconds: float | None) -> Result:
        loop = self._running_loop()
        now = _now(loop)
        ticket = self._core.call(operation, now, deadline_after(seconds, now))
        future: asyncio.Future[Result | ClerkError] = loop.create_future()
        self._waiting[ticket] = future
        self._soon(loop)
        try:
            result = await future
        finally:
            if self._waiting.pop(ticket, None) is not None:  # the caller was cancelled
                self._core.abandon(ticket, _now(loop))
                self._soon(loop)
        if isinstance(result, ClerkError):
            raise result
        return result

    async def close(self) -> None:
        loop = self._running_loop()
        self._core.close(_now(loop))
        self._turn(loop)
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._closing:
            await asyncio.wait(self._closing)

    # ------------------------------------------------------------------ what the connection says

    def connected(self, connection: "_Connection") -> None:
        loop = self._running_loop()
        if connection.number != self._number:  # made just when it was given up
            connection.abort()
            return
        assert self._attempt is not None
        self._await_end(self._attempt)  # it is over but for its last step; do not cancel it now
        self._attempt = None
        self._connection = connection
        self._core.connected(connection.number, _now(loop))
        self._turn(loop)

    def received(self, connection: "_Connection", data: bytes) -> None:
        loop = self._running_loop()
        now = _now(loop)
        try:
            for reply in connection.replies.receive(data):
                self._core.received(connection.number, reply, now)
        except ProtocolError:
            self._core.connection_lost(connection.number, now)
        self._turn(loop)

    def lost(self, number: int) -> None:
        loop = self._running_loop()
        self._core.connection_lost(number, _now(loop))
        self._turn(loop)

    # ------------------------------------------------------------------ what the core says

    def _running_loop(self) -> asyncio.AbstractEventLoop:
        loop = asyncio.get_running_loop()
        if self._loop is None:
            self._loop = loop
        elif self._loop is not loop:
            raise RuntimeError("an AsyncClerk belongs to the event loop of its first call")
        return loop

    def _soon(self, loop: asyncio.AbstractEventLoop) -> None:
        """Sees to the core once all that is ready now has run: one write for many calls."""
        if not self._is_turn_due:
            self._is_turn_due = True
            loop.call_soon(self._turn, loop)

    def _turn(self, loop: asyncio.AbstractEventLoop) -> None:
        self._is_turn_due = False
        ready = self._core.take_ready()
        if ready.disconnect:
            self._disconnect()
        if ready.connect is not None:
            self._number = ready.connect.number
            self._attempt = loop.create_task(self._connect(ready.connect))
        if ready.requests:
            assert self._connection is not None, "the core sends only on a connection"
            self._connection.send(encode_requests(ready.requests))
        for outcome in ready.outcomes:
            future = self._waiting.pop(outcome.ticket, None)
            if future is not None and not future.cancelled():
                future.set_result(outcome.result)
        self._arm(loop)

    def _arm(self, loop: asyncio.AbstractEventLoop) -> None:
        """Sees that the timer goes off no later than the core's deadline; earlier does no harm."""
        deadline = self._core.deadline()
        if deadline is None or (self._timer is not None and self._timer_at <= deadline):
            return
        if self._timer is not None:
            self._timer.cancel()
        self._timer_at = deadline
        self._timer = loop.call_at(deadline / 1_000_000, self._wake, loop)

    def _wake(self, loop: asyncio.AbstractEventLoop) -> None:
        self._timer = None
        self._core.wake(_now(loop))
        self._turn(loop)

    async def _connect(self, connect: Connect) -> None:
        loop = self._running_loop()
        host, port = parse_address(connect.server)
        try:
            await loop.create_connection(lambda: _Connection(self, connect.number), host, port)
        except (OSError, UnicodeError):  # UnicodeError: what cannot be a host name
            self.lost(connect.number)

    def _disconnect(self) -> None:
        self._number = 0
        if self._attempt is not None:
            self._attempt.cancel()
            self._await_end(self._attempt)
            self._attempt = None
        if self._connection is not None:
            self._connection.abort()
            self._await_end(self._connection.closed)
            self._connection = None

    def _await_end(self, future: asyncio.Future[None]) -> None:
        if not future.done():
            self._closing.add(future)
            future.add_done_callback(self._closing.discard)


class _Connection(asyncio.Protocol):
    """One connection, by the number that the core gave it."""

    def __init__(self, driver: _Driver, number: int) -> None:
        self.number = number
        self.replies = ReplyStream()
        self.closed: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._driver = driver
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)  # uvloop's has no such base
        self._driver.connected(self)

    def data_received(self, data: bytes) -> None:
        self._driver.received(self, data)

    def connection_lost(self, exc: Exception | None) -> None:
        del exc  # whatever ended it, the core does the same
        self.closed.set_result(None)
        self._driver.lost(self.number)

    def send(self, data: bytes) -> None:
        assert self._transport is not None
        self._transport.write(data)

    def abort(self) -> None:
        assert self._transport is not None
        self._transport.abort()


def _now(loop: asyncio.AbstractEventLoop) -> int:
    return int(loop.time() * 1_000_000)
