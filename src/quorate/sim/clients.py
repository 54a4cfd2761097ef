"""Simulated clients: some are Clerks, some are plain connections as any Redis client makes them.

Each appends unique elements and reads, and records what it is told. A Clerk runs the production
core; a plain client speaks the bytes itself, knows no session, and repeats nothing.
"""

import random
from collections import deque
from collections.abc import Callable
from functools import partial
from typing import Protocol

import msgspec

from quorate.clerk import operations
from quorate.clerk.core import ClerkCore
from quorate.clerk.errors import ClerkError, NotExecutedError, OutcomeUnknownError
from quorate.clerk.ready import Connect
from quorate.clerk.replies import Reply
from quorate.clerk.settings import ClerkSettings
from quorate.clerk.stream import ReplyStream, encode_requests
from quorate.sim.history import Append, History, Read, Writer
from quorate.sim.scheduler import Scheduler
from quorate.sim.stream import Stream, StreamClient
from quorate.wire.resp_client import ReplyLimits, ReplyParser, encode_command
from quorate.wire.resp_reply import ErrorReply

Dial = Callable[[str, StreamClient], Stream]
"""Calls the server at an address."""

_KEYS = 3
_KEYS_LAST_US = 8_000_000
"""So long the clients use the same keys: values must not grow for ever, else reads would too."""


class ClientSettings(msgspec.Struct, frozen=True, kw_only=True):
    """What a client is like.

    Attributes:
        reads: the share of reads among its calls.
        pause_us: the longest pause between two calls.
        deadlines: the share of a Clerk's calls that have a deadline, within two seconds.
        pipeline: commands without a reply that a plain client allows itself.
        clerk: how a Clerk behaves.
    """

    reads: float
    pause_us: int
    deadlines: float
    pipeline: int
    clerk: ClerkSettings


def reader_settings(*, leisure_us: int) -> ClientSettings:
    """A plain client that only reads, at a leisurely pace."""
    return ClientSettings(
        reads=1.0, pause_us=100_000 + leisure_us, deadlines=0.0, pipeline=12, clerk=ClerkSettings()
    )


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


def _random_key(rng: random.Random, now: int) -> bytes:
    return b"key-%d" % (now // _KEYS_LAST_US * _KEYS + rng.randrange(_KEYS))


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
        settings: ClientSettings,
        calls: int,
    ) -> None:
        self._writer = Writer(name, is_ordered=calls == 1, settles=True)
        self._dial = dial
        self._scheduler = scheduler
        self._history = history
        self._rng = rng
        self._settings = settings
        self._max_calls = calls
        self._core = ClerkCore(servers, rng, settings.clerk)
        self._link: _ClerkLink | None = None
        self._pending: dict[int, Append | Read] = {}
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
        key = _random_key(self._rng, now)
        deadline = None
        if self._rng.random() < self._settings.deadlines:
            deadline = now + self._rng.randrange(2_000_000)
        if self._rng.random() < self._settings.reads:
            ticket = self._core.call(operations.get(key), now, deadline)
            self._pending[ticket] = self._history.begin_read(self._writer, key, now)
        else:
            append = self._history.begin_append(self._writer, key, now)
            ticket = self._core.call(operations.append(key, append.element), now, deadline)
            self._pending[ticket] = append
        self._drain()

    def _ended(self, ticket: int, result: object) -> None:
        now = self._scheduler.now
        match self._pending.pop(ticket), result:
            case Append() as append, NotExecutedError():
                self._history.not_executed(append, now)
            case Append() as append, OutcomeUnknownError():
                self._history.unknown(append, now)
            case Append() as append, int(length):
                self._history.acknowledged(append, length, now)
            case Read() as read, bytes(value):
                self._history.answered(read, value, now)
            case Read(), ClerkError():
                pass
            case call, surprise:
                raise AssertionError(f"{call} ended with {surprise!r}")
        self._scheduler.after(self._rng.randrange(1, self._settings.pause_us), self._call)

    def _drain(self) -> None:
        ready = self._core.take_ready()
        if ready.disconnect and self._link is not None:
            self._link.leave()
            self._link = None
        if ready.connect is not None:
            self._link = _ClerkLink(self, ready.connect, self._dial)
        if ready.requests:
            assert self._link is not None
            self._link.stream.send_to_server(encode_requests(ready.requests))
        for outcome in ready.outcomes:
            self._ended(outcome.ticket, outcome.result)
        self._set_timer()

    def _set_timer(self) -> None:
        due = self._core.deadline()
        if due is None or (self._timer and self._timer <= due):
            return
        self._timer = due
        self._scheduler.at(due, partial(self._wake, due))

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

    def link_received(self, number: int, replies: list[Reply]) -> None:
        """Replies have come on the connection of this number."""
        for reply in replies:
            self._core.received(number, reply, self._scheduler.now)
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
        self._replies = ReplyStream()
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
            self._client.link_received(self._number, self._replies.receive(data))

    def connection_lost(self) -> None:
        if self._client is not None:
            self._client.link_lost(self._number)


class PlainClient:
    """A connection without a session to one server after another; sends on without waiting.

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
        settings: ClientSettings,
    ) -> None:
        self._name = name
        self._servers = servers
        self._dial = dial
        self._scheduler = scheduler
        self._history = history
        self._rng = rng
        self._settings = settings
        self._connections = 0
        self._stream: Stream | None = None
        self._writer = Writer(b"")
        self._parser = ReplyParser(ReplyLimits())
        self._pending: deque[Append | Read] = deque()
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
        self._writer = Writer(b"%b-%d" % (self._name, self._connections), is_ordered=True)
        self._parser = ReplyParser(ReplyLimits())
        self._stream = self._dial(self._rng.choice(self._servers), self)

    def _work(self, stream: Stream) -> None:
        """Sends a few commands now and again, as long as this connection lasts."""
        if self._stopped or self._stream is not stream:
            return
        room = self._settings.pipeline - len(self._pending)
        commands = [self._command() for _ in range(min(room, self._rng.choice((1, 1, 2, 5))))]
        if commands:
            stream.send_to_server(b"".join(commands))
        pause = self._rng.randrange(1, self._settings.pause_us)
        self._scheduler.after(pause, partial(self._work, stream))

    def _command(self) -> bytes:
        now = self._scheduler.now
        key = _random_key(self._rng, now)
        if self._rng.random() < self._settings.reads:
            self._pending.append(self._history.begin_read(self._writer, key, now))
            return encode_command("GET", key)
        append = self._history.begin_append(self._writer, key, now)
        self._pending.append(append)
        return encode_command("APPEND", key, append.element)

    # ------------------------------------------------------------------ from its stream

    def connected(self) -> None:
        """The connection is there."""
        assert self._stream is not None
        self._work(self._stream)

    def data_received(self, data: bytes) -> None:
        """The server has sent something."""
        for reply in self._parser.receive(data):
            self._take(self._pending.popleft(), reply)

    def connection_lost(self) -> None:
        """The connection could not be made, or has broken: what is open stays unknown."""
        self._stream = None
        for call in self._pending:
            if isinstance(call, Append):
                self._history.unknown(call, self._scheduler.now)
        self._pending.clear()
        self._scheduler.after(self._rng.randrange(1, 10 * self._settings.pause_us), self._connect)

    def _take(self, call: Append | Read, reply: object) -> None:
        now = self._scheduler.now
        match call, reply:
            case Append(), int(length):
                self._history.acknowledged(call, length, now)
            case Append(), ErrorReply(code="UNKNOWN"):
                self._history.unknown(call, now)
            case Append(), ErrorReply(code="NOTEXECUTED"):
                self._history.not_executed(call, now)
            case Read(), bytes(value):
                self._history.answered(call, value, now)
            case Read(), None:
                self._history.answered(call, b"", now)
            case Read(), ErrorReply(code="UNAVAILABLE"):
                pass
            case _:
                raise AssertionError(f"{call} was answered {reply!r}")
