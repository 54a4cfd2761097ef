"""The blocking Clerk: one socket and a wait around `quorate.clerk.core`.

Everything that is decided is decided there. Here the core's orders are carried out by the thread
that makes a call, for as long as the call lasts; between calls nothing runs. Only connections are
made by threads of their own, because looking up a name cannot be interrupted.
"""

import _thread
import contextlib
import os
import queue
import random
import select
import socket
import threading
import time
from collections.abc import Iterable
from typing import Any, NamedTuple, Self, TypeVar

from quorate.clerk import operations
from quorate.clerk.addresses import Address, parse_address, parse_servers
from quorate.clerk.core import ClerkCore
from quorate.clerk.deadlines import deadline_after
from quorate.clerk.errors import ClerkError, NotExecutedError
from quorate.clerk.operations import Operation
from quorate.clerk.ready import ClerkReady, Connect, Outcome
from quorate.clerk.replies import Reply
from quorate.clerk.requests import Ticket
from quorate.clerk.settings import ClerkSettings
from quorate.clerk.stream import ProtocolError, ReplyStream, encode_requests

Result = TypeVar("Result")

_RECEIVE_BYTES = 64 * 1024


class Clerk:
    """A client of a cluster: linearizable reads, and writes that are executed at most once.

    Several threads may share one, by a lock: their calls take turns. For calls at the same time
    use one Clerk for each thread, or `AsyncClerk`. It connects with the first call. A call that
    Ctrl-C interrupts is given up like one whose timeout has come. Keys and values are bytes; a str
    is sent as UTF-8. A Clerk belongs to its process: one that was forked makes another.

    Every call takes a `timeout` in seconds; without one it keeps trying for as long as it takes.
    Every call may raise:

        NotExecutedError: it was not executed and never will be. One of its subclasses is
            `CommandError`: the servers refuse it as it stands, a value too large for example.
        OutcomeUnknownError: it may have been executed, once. Reads never raise this.
        TypeError: an argument is neither bytes nor str.
        RuntimeError: this process was forked from the one that made the Clerk.

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
        self._driver = _Driver(parse_servers(servers), settings or ClerkSettings())

    def put(self, key: bytes | str, value: bytes | str, *, timeout: float | None = None) -> None:
        """Replaces the value of `key`."""
        self._driver.execute(operations.put(key, value), timeout)

    def append(self, key: bytes | str, arg: bytes | str, *, timeout: float | None = None) -> int:
        """Appends to the value of `key`, which is empty if missing; returns the new length."""
        return self._driver.execute(operations.append(key, arg), timeout)

    def delete(self, key: bytes | str, *, timeout: float | None = None) -> bool:
        """Removes `key`; returns whether it existed."""
        return self._driver.execute(operations.delete(key), timeout)

    def get(self, key: bytes | str, *, timeout: float | None = None) -> bytes:
        """Returns the value of `key`, empty if there is none."""
        return self._driver.execute(operations.get(key), timeout)

    def get_or_none(self, key: bytes | str, *, timeout: float | None = None) -> bytes | None:
        """Returns the value of `key`, or None if there is no such key."""
        return self._driver.execute(operations.get_or_none(key), timeout)

    def close(self) -> None:
        """Closes the connection; waits for a call that another thread is making."""
        self._driver.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class _Driver:
    """Carries out what the core says, one call at a time."""

    def __init__(self, servers: tuple[str, ...], settings: ClerkSettings) -> None:
        self._servers = servers
        self._settings = settings
        self._lock = threading.RLock()
        self._process = os.getpid()
        self._is_closed = False
        self._core = ClerkCore(servers, random.Random(), settings)
        self._line = _Line(settings.connect_timeout_us / 1_000_000)
        self._number = 0
        self._ticket: Ticket | None = None
        # Ctrl-C may strike anywhere. While a call is under way what has been received may not
        # have reached the core, and while the core is at work it is as it happens to be.
        self._is_in_call = False
        self._is_core_at_work = False

    def execute(self, operation: Operation[Result], timeout: float | None) -> Result:
        if os.getpid() != self._process:
            # Both would number writes in one session and take each other's replies.
            raise RuntimeError("a Clerk belongs to the process that made it: make another here")
        deadline = deadline_after(timeout, _now())
        seconds = _seconds_until(deadline)
        longest = -1 if seconds is None else min(seconds, threading.TIMEOUT_MAX)
        try:
            if not self._lock.acquire(timeout=longest):
                raise NotExecutedError("not executed: other threads' calls took until the deadline")
            if self._is_closed:
                raise NotExecutedError("the Clerk is closed")
            result: Result | ClerkError = self._call(operation, deadline)
        finally:
            self._release()
        if isinstance(result, ClerkError):
            raise result
        return result

    def close(self) -> None:
        if os.getpid() != self._process:
            return  # the connection is the other's, and so may the lock be
        try:
            self._lock.acquire()
            self._is_closed = True
            self._line.hang_up()
        finally:
            self._release()

    def _release(self) -> None:
        """Releases the lock if this thread has it, even if Ctrl-C struck when it had just got it.

        It is an RLock for this: only its owner can release it.
        """
        with contextlib.suppress(RuntimeError):  # not, or no longer, the owner
            while True:
                self._lock.release()

    # ------------------------------------------------------------------ one call

    def _call(self, operation: Operation[Any], deadline: int | None) -> Any:  # noqa: ANN401 -- of any operation
        if self._is_in_call:
            self._recover()
        self._is_in_call = True
        news = self._line.news()  # the connection may have been lost since the last call
        self._is_core_at_work = True
        self._feed(news)
        self._ticket = self._core.call(operation, _now(), deadline)
        outcome = self._advance()
        while outcome is None:
            self._line.wait(_seconds_until(self._core.deadline()))
            news = self._line.news()
            self._is_core_at_work = True
            self._feed(news)
            outcome = self._advance()
        assert outcome.ticket == self._ticket, "calls take turns"
        self._is_in_call = False
        return outcome.result

    def _advance(self) -> Outcome | None:
        """Does what the core says; the outcome of the call, if that is part of it."""
        self._core.wake(_now())
        ready = self._core.take_ready()
        if ready.connect is not None:
            self._number = ready.connect.number
        self._is_core_at_work = False
        self._line.carry_out(ready)
        return ready.outcomes[0] if ready.outcomes else None

    def _recover(self) -> None:
        """Gives up a call that was interrupted.

        How far its sending was is not known, so the connection goes; if the core was at work, it
        goes too, and with it the session: nothing is executed twice, but nor is it fenced.
        """
        self._line.hang_up()
        if self._is_core_at_work:
            self._core = ClerkCore(self._servers, random.Random(), self._settings)
            self._is_core_at_work = False
            return
        self._is_core_at_work = True
        self._core.connection_lost(self._number, _now())
        if self._ticket is not None:
            self._core.abandon(self._ticket, _now())
        self._is_core_at_work = False

    def _feed(self, news: "list[_News]") -> None:
        for event in news:
            match event:
                case _Connected(number):
                    self._core.connected(number, _now())
                case _Received(number, reply):
                    self._core.received(number, reply, _now())
                case _Lost(number):
                    self._core.connection_lost(number, _now())


class _Connected(NamedTuple):
    """The connection of this number is there."""

    number: int


class _Received(NamedTuple):
    """A reply has come on it."""

    number: int
    reply: Reply


class _Lost(NamedTuple):
    """It has ended, or could not be made."""

    number: int


_News = _Connected | _Received | _Lost


class _Line:
    """The one connection, or the attempt to make it. Only `wait` blocks."""

    def __init__(self, connect_timeout: float) -> None:
        self._connect_timeout = connect_timeout
        self._attempt: _Attempt | None = None
        self._connection: _Connection | None = None

    def carry_out(self, ready: ClerkReady) -> None:
        """Does what concerns the connection."""
        if ready.disconnect:
            self.hang_up()
        if ready.connect is not None:
            self._attempt = _Attempt(ready.connect, self._connect_timeout)
        if ready.requests and self._connection is not None:
            self._connection.outgoing += encode_requests(ready.requests)
        if self._connection is not None:
            self._connection.send()

    def wait(self, seconds: float | None) -> None:
        """Waits until there may be news, but no longer than that."""
        if self._attempt is not None:
            self._attempt.wait(seconds)
        elif self._connection is not None:
            self._connection.wait(seconds)
        else:
            assert seconds is not None, "without a connection the core waits to make one"
            time.sleep(seconds)

    def news(self) -> list[_News]:
        """What has happened, as far as that is known without waiting."""
        attempt = self._attempt
        if attempt is not None and attempt.has_ended:
            self._attempt = None
            if attempt.socket is None:
                return [_Lost(attempt.number)]
            self._connection = _Connection(attempt.number, attempt.socket)
            return [_Connected(attempt.number)]
        connection = self._connection
        if connection is None:
            return []
        connection.send()
        news: list[_News] = [_Received(connection.number, r) for r in connection.receive()]
        if connection.is_lost:
            news.append(_Lost(connection.number))
        return news

    def hang_up(self) -> None:
        """Ends the connection, and the attempt to make it."""
        if self._attempt is not None:
            self._attempt.abandon()
            self._attempt = None
        if self._connection is not None:
            self._connection.close()
            self._connection = None


class _Attempt:
    """A connection being made, by a thread of its own."""

    def __init__(self, connect: Connect, timeout: float) -> None:
        self.number = connect.number
        self.has_ended = False
        self.socket: socket.socket | None = None
        """The connection once it `has_ended`; None if it could not be made."""
        self._end: queue.SimpleQueue[None] = queue.SimpleQueue()
        self._lock = threading.Lock()
        self._is_abandoned = False
        # Not `Thread.start`, which waits in Python code that Ctrl-C breaks; and no such thread
        # keeps the process from ending.
        _thread.start_new_thread(self._make, (parse_address(connect.server), timeout))

    def wait(self, seconds: float | None) -> None:
        """Waits for the end, but no longer than that."""
        with contextlib.suppress(queue.Empty):
            self._end.get(timeout=seconds)

    def abandon(self) -> None:
        """The connection is not wanted any more."""
        with self._lock:
            self._is_abandoned = True
            if self.socket is not None:
                self.socket.close()

    def _make(self, address: Address, timeout: float) -> None:
        made = None
        # UnicodeError: what cannot be a host name.
        with contextlib.suppress(OSError, UnicodeError):
            made = socket.create_connection(address, timeout)
        with self._lock:
            if made is not None and self._is_abandoned:
                made.close()
            self.socket = made
            self.has_ended = True
        self._end.put(None)


class _Connection:
    """A connection, by the number that the core gave it. Only `wait` blocks."""

    def __init__(self, number: int, connected: socket.socket) -> None:
        self.number = number
        self.outgoing = bytearray()
        """What is left to send."""
        self.is_lost = False
        """Nothing can be sent, or nothing more will come."""
        self._socket = connected
        self._socket.setblocking(False)
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._poll = select.poll()
        self._poll.register(connected, select.POLLIN)
        self._replies = ReplyStream()

    def wait(self, seconds: float | None) -> None:
        """Waits until something has come, or what is left to send can be sent."""
        if self.is_lost:
            return
        events = select.POLLIN | select.POLLOUT if self.outgoing else select.POLLIN
        self._poll.modify(self._socket, events)
        self._poll.poll(None if seconds is None else seconds * 1000)

    def receive(self) -> list[Reply]:
        """The replies that have come."""
        replies: list[Reply] = []
        try:
            while not self.is_lost:
                data = self._socket.recv(_RECEIVE_BYTES)
                replies += self._replies.receive(data)
                self.is_lost = not data
        except BlockingIOError:
            pass
        except (OSError, ProtocolError):
            self.is_lost = True
        return replies

    def send(self) -> None:
        """Sends what can be sent now."""
        try:
            while self.outgoing:
                del self.outgoing[: self._socket.send(self.outgoing)]
        except BlockingIOError:
            pass
        except OSError:
            self.is_lost = True

    def close(self) -> None:
        """Ends the connection; what is left to send is dropped."""
        self._socket.close()


def _now() -> int:
    return time.monotonic_ns() // 1000


def _seconds_until(deadline: int | None) -> float | None:
    return None if deadline is None else max(0, deadline - _now()) / 1_000_000
