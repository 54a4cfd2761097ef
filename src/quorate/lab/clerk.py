"""The course's clerk: the Clerk of production over remote procedure calls, one thread's at a time.

A connection to a server is what is called through its end one after another; a call that fails is
the loss of that connection, for nobody knows whether the server has done it. Replies may overtake
each other, so each waits here for those before it, as on a stream.

The servers know each other by numbers, the Clerk its ends by theirs, and the ends are shuffled. So
no server could tell it who leads or which servers there are: those questions are not even sent.
"""

import random
from collections import deque
from collections.abc import Sequence
from functools import partial
from typing import Any, TypeVar

from quorate.clerk.core import ClerkCore
from quorate.clerk.errors import ClerkError
from quorate.clerk.link import WHO_LEADS
from quorate.clerk.operations import Operation, append, get, put
from quorate.clerk.requests import Arguments, Ticket
from quorate.clerk.settings import ClerkSettings
from quorate.clerk.stream import ReplyStream, encode_requests
from quorate.lab.network import ClientEnd
from quorate.sim.tasks import Future, Tasks
from quorate.wire.resp_reply import encode_null

SETTINGS = ClerkSettings(backoff_min_us=1_000, backoff_max_us=20_000, learns_servers=False)
"""A wrong server answers at once here, so going round them all must not take long."""
_NOBODY_KNOWS: Future[bytes | None] = Future()
_NOBODY_KNOWS.set(encode_null(2))

Result = TypeVar("Result")


class Clerk:
    """One clerk; its calls never fail and never end before they have succeeded.

    Args:
        ends: to the servers, in any order.
        tasks: in which it runs.
        rng: for the jitter of its waits.
    """

    def __init__(self, ends: Sequence[ClientEnd], *, tasks: Tasks, rng: random.Random) -> None:
        self._ends = {f"end:{number}": end for number, end in enumerate(ends, start=1)}
        self._tasks = tasks
        self._core = ClerkCore(tuple(self._ends), rng, SETTINGS)
        self._waiting: dict[Ticket, Future[Any]] = {}
        self._connection = 0
        self._end: ClientEnd | None = None
        self._calls: deque[Future[bytes | None]] = deque()
        self._alarm: int | None = None

    # ------------------------------------------------------------------ the course's face

    async def get(self, key: str) -> str:
        """The value of the key; empty if there is none."""
        return (await self._call(get(key))).decode()

    async def put(self, key: str, value: str) -> None:
        """Replaces the value of the key."""
        await self._call(put(key, value))

    async def append(self, key: str, value: str) -> None:
        """Appends to the value of the key; a missing key counts as empty."""
        await self._call(append(key, value))

    async def _call(self, operation: Operation[Result]) -> Result:
        ticket = self._core.call(operation, self._tasks.now)
        result: Future[Result | ClerkError] = Future()
        self._waiting[ticket] = result
        self._go_on()
        value = await result
        if isinstance(value, ClerkError):
            raise value
        return value

    # ------------------------------------------------------------------ the driver

    def _go_on(self) -> None:
        """Does what the core wants done, until it wants nothing more for now."""
        while True:
            ready = self._core.take_ready()
            if ready.disconnect:
                self._end = None
                self._calls.clear()
            for outcome in ready.outcomes:
                self._waiting.pop(outcome.ticket).set(outcome.result)
            for request in ready.requests:
                self._send(request)
            if ready.connect is None:
                break
            self._connection = ready.connect.number
            self._end = self._ends[ready.connect.server]
            self._core.connected(self._connection, self._tasks.now)
        self._set_alarm()

    def _send(self, request: Arguments) -> None:
        assert self._end is not None
        if request == WHO_LEADS.arguments():
            call = _NOBODY_KNOWS
        else:
            call = self._end.start_call("KVServer.Call", encode_requests([request]))
        self._calls.append(call)
        call.when_done(partial(self._ended, self._connection))

    def _ended(self, connection: int) -> None:
        """A call has ended; so those at the head that have are the connection's next replies."""
        if connection != self._connection:
            return
        while self._calls and self._calls[0].is_done:
            data = self._calls.popleft().value
            if not data:
                self._calls.clear()
                self._core.connection_lost(connection, self._tasks.now)
                break
            (reply,) = ReplyStream().receive(data)
            self._core.received(connection, reply, self._tasks.now)
        self._go_on()

    def _set_alarm(self) -> None:
        due = self._core.deadline()
        if due is not None and (self._alarm is None or due < self._alarm):
            self._alarm = due
            self._tasks.scheduler.at(due, partial(self._wake, due))

    def _wake(self, due: int) -> None:
        if self._alarm == due:
            self._alarm = None
            self._core.wake(self._tasks.now)
            self._go_on()


def make_clerk(ends: Sequence[ClientEnd], *, tasks: Tasks, rng: random.Random) -> Clerk:
    """The course's `MakeClerk`.

    Args:
        ends: to the servers, in any order.
        tasks: in which it runs.
        rng: for the jitter of its waits.
    """
    return Clerk(ends, tasks=tasks, rng=rng)
