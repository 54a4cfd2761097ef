"""The clients of a key/value test: what they do is recorded, with when and with what result."""

import random
from collections.abc import Sequence
from typing import Protocol

from quorate.checker import Kind
from quorate.clerk.replies import ErrorReply, Reply
from quorate.clerk.stream import ReplyStream, encode_requests
from quorate.lab.clerk import Clerk
from quorate.lab.kv_history import History
from quorate.lab.network import ClientEnd
from quorate.sim.tasks import Tasks


class KvClient(Protocol):
    """What a test wants of its clients."""

    async def get(self, key: str) -> str:
        """The value of the key; empty if there is none."""
        ...

    async def put(self, key: str, value: str) -> None:
        """Replaces the value of the key."""
        ...

    async def append(self, key: str, value: str) -> None:
        """Appends to the value of the key."""
        ...


class ClerkClient:
    """A client with a clerk: each of its calls is executed once when it returns.

    Args:
        clerk: does the work.
        tasks: tell the time.
        history: where its operations are recorded.
        number: who it is there.
    """

    def __init__(self, clerk: Clerk, tasks: Tasks, history: History, number: int) -> None:
        self._clerk = clerk
        self._tasks = tasks
        self._history = history
        self._number = number

    async def get(self, key: str) -> str:
        """See `KvClient`."""
        called = self._tasks.now
        value = await self._clerk.get(key)
        self._returned(Kind.GET, key, None, value, called)
        return value

    async def put(self, key: str, value: str) -> None:
        """See `KvClient`."""
        called = self._tasks.now
        await self._clerk.put(key, value)
        self._returned(Kind.PUT, key, value, None, called)

    async def append(self, key: str, value: str) -> None:
        """See `KvClient`."""
        called = self._tasks.now
        await self._clerk.append(key, value)
        self._returned(Kind.APPEND, key, value, None, called)

    def _returned(
        self, kind: Kind, key: str, argument: str | None, result: str | None, called: int
    ) -> None:
        self._history.returned(
            kind, key, argument, result, client=self._number, called=called, now=self._tasks.now
        )


class PlainClient:
    """A plain Redis client: no session, and each command goes to some node, whichever that is.

    The node is its Clerk. If the call fails, or the node does not know, then the write may have
    been executed or not, and sending it again might execute it twice: it is given up. A read is
    sent again, and so is a write of which the node says that it was not executed.

    Args:
        ends: to all servers.
        rng: chooses the node.
        tasks: tell the time.
        history: where its operations are recorded.
        number: who it is there.
    """

    def __init__(
        self,
        ends: Sequence[ClientEnd],
        rng: random.Random,
        tasks: Tasks,
        history: History,
        number: int,
    ) -> None:
        self._ends = ends
        self._rng = rng
        self._tasks = tasks
        self._history = history
        self._number = number

    async def get(self, key: str) -> str:
        """See `KvClient`."""
        called = self._tasks.now
        reply = await self._call(b"GET", key.encode())
        while not isinstance(reply, bytes):
            assert isinstance(reply, ErrorReply)
            assert reply.code in {"UNAVAILABLE", "LOST"}, reply
            reply = await self._call(b"GET", key.encode())
        value = reply.decode()
        self._history.returned(
            Kind.GET, key, None, value, client=self._number, called=called, now=self._tasks.now
        )
        return value

    async def put(self, key: str, value: str) -> None:
        """See `KvClient`."""
        await self._write(Kind.PUT, b"SET", key, value)

    async def append(self, key: str, value: str) -> None:
        """See `KvClient`."""
        await self._write(Kind.APPEND, b"APPEND", key, value)

    async def _write(self, kind: Kind, command: bytes, key: str, value: str) -> None:
        while True:
            called = self._tasks.now
            reply = await self._call(command, key.encode(), value.encode())
            if not isinstance(reply, ErrorReply):
                self._history.returned(
                    kind,
                    key,
                    value,
                    None,
                    client=self._number,
                    called=called,
                    now=self._tasks.now,
                )
                return
            assert reply.code in {"UNKNOWN", "LOST", "NOTEXECUTED"}, reply
            if reply.code != "NOTEXECUTED":
                self._history.given_up(kind, key, value, client=self._number, called=called)
                return

    async def _call(self, *arguments: bytes) -> Reply:
        """The reply of some node; nil reads as empty, no reply as an error of its own."""
        end = self._ends[self._rng.randrange(len(self._ends))]
        data = await end.call("KVServer.Call", encode_requests([arguments]))
        if not data:
            return ErrorReply("LOST")
        (reply,) = ReplyStream().receive(data)
        return b"" if reply is None else reply
