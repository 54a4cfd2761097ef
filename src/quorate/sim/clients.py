"""Simulated clients: some are Clerks, some are plain connections as any Redis client makes them.

Each appends unique elements and reads, and records what it is told. A Clerk runs the production
core; a plain client speaks the bytes itself, knows no session, and repeats nothing.
"""

import random
from collections import deque
from collections.abc import Callable
from typing import Protocol

import msgspec

from quorate.clerk import operations
from quorate.clerk.core import ClerkCore
from quorate.clerk.errors import ClerkError, NotExecutedError, OutcomeUnknownError
from quorate.clerk.ready import Connect
from quorate.sim.history import Append, History, Writer
from quorate.sim.scheduler import Scheduler
from quorate.sim.stream import Stream, StreamClient
from quorate.wire.resp_client import ReplyLimits, ReplyParser, encode_command
from quorate.wire.resp_reply import ErrorReply

Dial = Callable[[str, StreamClient], Stream]
"""Calls the server at an address."""

KEYS = 3
READS = 0.3
LONGEST_PAUSE_US = 30_000


class Client(Protocol):
    """A client of the world."""

    def start(self) -> None:
        """Begins to work."""

    def stop(self) -> None:
        """Begins nothing new."""

    def break_connection(self) -> None:
        """Its connection breaks, if it has one."""

    @property
    def is_idle(self) -> bool:
        """Whether it waits for no outcome."""


class _PendingRead(msgspec.Struct, frozen=True):
    key: bytes
    begun: int


def _random_key(rng: random.Random) -> bytes:
    return b"key-%d" % rng.randrange(KEYS)


class ClerkClient:
    """A Clerk with up to so many calls at once; a call has a deadline now and then."""

    def __init__(
        self,
        name: bytes,
        *,
        servers: list[str],
        dial: Dial,
        scheduler: Scheduler,
        history: History,
        rng: random.Random,
        calls: int,
    ) -> None:
        self._writer = Writer(name, is_ordered=calls == 1)
        self._dial = dial
        self._scheduler = scheduler
        self._history = history
        self._rng = rng
        self._max_calls = calls
        self._core = ClerkCore(servers, rng)
        self._link: _ClerkLink | None = None
        self._pending: dict[int, Append | _PendingRead] = {}
        self._stopped = False
        self._timer = 0

    @property
    def is_idle(self) -> bool:
        """Whether it waits for no outcome."""
        return not self._pending

    def start(self) -> None:
        """Begins to work."""
        for _ in range(self._max_calls):
            self._call()

    def stop(self) -> None:
        """Begins nothing new."""
        self._stopped = True

    def break_connection(self) -> None:
        """Its connection breaks, if it has one."""
        if self._link is not None:
            self._link.stream.break_off()

    def _call(self) -> None:
        if self._stopped:
            return
        now = self._scheduler.now
        key = _random_key(self._rng)
        deadline = now + self._rng.randrange(2_000_000) if self._rng.random() < 0.1 else None
        if self._rng.random() < READS:
            ticket = self._core.call(operations.get(key), now, deadline)
            self._pending[ticket] = _PendingRead(key, now)
        else:
            append = self._history.begin_append(self._writer, key)
            ticket = self._core.call(operations.append(key, append.element), now, deadline)
            self._pending[ticket] = append
        self._drain()

    def _ended(self, ticket: int, result: object) -> None:
        now = self._scheduler.now
        match self._pending.pop(ticket), result:
            case Append() as append, NotExecutedError():
                self._history.end_append(append, "not executed", now)
            case Append() as append, OutcomeUnknownError():
                self._history.end_append(append, "unknown", now)
            case Append() as append, int():
                self._history.end_append(append, "acknowledged", now)
            case _PendingRead(key, begun), bytes(value):
                self._history.end_read(key, value, begun=begun, ended=now)
            case _PendingRead(), ClerkError():
                pass
            case call, surprise:
                raise AssertionError(f"{call} ended with {surprise!r}")
        self._scheduler.after(self._rng.randrange(1, LONGEST_PAUSE_US), self._call)

    def _drain(self) -> None:
        ready = self._core.take_ready()
        if ready.disconnect and self._link is not None:
            self._link.leave()
            self._link = None
        if ready.connect is not None:
            self._link = _ClerkLink(self, ready.connect, self._dial)
        if ready.requests:
            assert self._link is not None
            data = b"".join(encode_command(*arguments) for arguments in ready.requests)
            self._link.stream.send_to_server(data)
        for outcome in ready.outcomes:
            self._ended(outcome.ticket, outcome.result)
        self._set_timer()

    def _set_timer(self) -> None:
        due = self._core.deadline()
        if due is None or (self._timer and self._timer <= due):
            return
        self._timer = due
        self._scheduler.at(due, lambda: self._wake(due))

    def _wake(self, due: int) -> None:
        if self._timer == due:
            self._timer = 0
            self._core.wake(self._scheduler.now)
            self._drain()

    # ------------------------------------------------------------------ from its link

    def link_connected(self, number: int) -> None:
        """The connection of this number is there."""
        self._core.connected(number, self._scheduler.now)
        self._drain()

    def link_received(self, number: int, replies: list[object]) -> None:
        """Replies have come on the connection of this number."""
        for reply in replies:
            self._core.received(number, reply, self._scheduler.now)  # type: ignore[arg-type]
        self._drain()

    def link_lost(self, number: int) -> None:
        """The connection of this number has ended."""
        self._core.connection_lost(number, self._scheduler.now)
        self._drain()


class _ClerkLink:
    """One connection of a Clerk."""

    def __init__(self, client: ClerkClient, connect: Connect, dial: Dial) -> None:
        self._client: ClerkClient | None = client
        self._number = connect.number
        self._parser = ReplyParser(ReplyLimits())
        self.stream = dial(connect.server, self)

    def leave(self) -> None:
        """The Clerk has done with it."""
        self._client = None
        self.stream.break_off()

    def connected(self) -> None:
        if self._client is not None:
            self._client.link_connected(self._number)

    def data_received(self, data: bytes) -> None:
        if self._client is not None:
            self._client.link_received(self._number, list(self._parser.receive(data)))

    def connection_lost(self) -> None:
        if self._client is not None:
            self._client.link_lost(self._number)


class PlainClient:
    """A connection without a session to one server after another; pipelines a few commands.

    Each connection is a writer of its own: what an earlier one had sent may take effect later.
    """

    def __init__(
        self,
        name: bytes,
        *,
        servers: list[str],
        dial: Dial,
        scheduler: Scheduler,
        history: History,
        rng: random.Random,
    ) -> None:
        self._name = name
        self._servers = servers
        self._dial = dial
        self._scheduler = scheduler
        self._history = history
        self._rng = rng
        self._connections = 0
        self._stream: Stream | None = None
        self._writer = Writer(b"", is_ordered=True)
        self._parser = ReplyParser(ReplyLimits())
        self._pending: deque[Append | _PendingRead] = deque()
        self._is_connected = False
        self._stopped = False

    @property
    def is_idle(self) -> bool:
        """Whether it waits for no outcome."""
        return not self._pending

    def start(self) -> None:
        """Begins to work."""
        self._connect()

    def stop(self) -> None:
        """Begins nothing new."""
        self._stopped = True

    def break_connection(self) -> None:
        """Its connection breaks, if it has one."""
        if self._stream is not None:
            self._stream.break_off()

    def _connect(self) -> None:
        if self._stopped:
            return
        self._connections += 1
        self._writer = Writer(b"%b-%04d" % (self._name, self._connections), is_ordered=True)
        self._parser = ReplyParser(ReplyLimits())
        self._stream = self._dial(self._rng.choice(self._servers), self)

    def _send(self) -> None:
        if self._stopped or not self._is_connected or self._pending:
            return
        commands: list[bytes] = []
        for _ in range(self._rng.choice((1, 1, 2, 5))):
            key = _random_key(self._rng)
            if self._rng.random() < READS:
                self._pending.append(_PendingRead(key, self._scheduler.now))
                commands.append(encode_command("GET", key))
            else:
                append = self._history.begin_append(self._writer, key)
                self._pending.append(append)
                commands.append(encode_command("APPEND", key, append.element))
        assert self._stream is not None
        self._stream.send_to_server(b"".join(commands))

    # ------------------------------------------------------------------ from its stream

    def connected(self) -> None:
        """The connection is there."""
        self._is_connected = True
        self._send()

    def data_received(self, data: bytes) -> None:
        """The server has sent something."""
        for reply in self._parser.receive(data):
            self._take(self._pending.popleft(), reply)
        if not self._pending:
            self._scheduler.after(self._rng.randrange(1, LONGEST_PAUSE_US), self._send)

    def connection_lost(self) -> None:
        """The connection could not be made, or has broken: what is open stays unknown."""
        self._is_connected = False
        for call in self._pending:
            if isinstance(call, Append):
                self._history.end_append(call, "unknown", self._scheduler.now)
        self._pending.clear()
        self._scheduler.after(self._rng.randrange(1, 10 * LONGEST_PAUSE_US), self._connect)

    def _take(self, call: Append | _PendingRead, reply: object) -> None:
        now = self._scheduler.now
        match call, reply:
            case Append(), int():
                self._history.end_append(call, "acknowledged", now)
            case Append(), ErrorReply(code="UNKNOWN"):
                self._history.end_append(call, "unknown", now)
            case Append(), ErrorReply(code="NOTEXECUTED"):
                self._history.end_append(call, "not executed", now)
            case _PendingRead(key, begun), bytes(value):
                self._history.end_read(key, value, begun=begun, ended=now)
            case _PendingRead(key, begun), None:
                self._history.end_read(key, b"", begun=begun, ended=now)
            case _PendingRead(), ErrorReply(code="UNAVAILABLE"):
                pass
            case _:
                raise AssertionError(f"{call} was answered {reply!r}")
