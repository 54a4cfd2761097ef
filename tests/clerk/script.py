"""A conversation of the Clerk's core with its servers, by hand.

Each step feeds something in and gives all that comes out: `connect` and `disconnect` are orders to
the driver, `> ...` is a request, and `1 = ...` is the outcome of call 1.
"""

import random
from typing import Any

from quorate.clerk.core import ClerkCore
from quorate.clerk.errors import ClerkError
from quorate.clerk.operations import Operation
from quorate.clerk.replies import ErrorReply, Reply
from quorate.clerk.requests import Ticket
from quorate.clerk.settings import ClerkSettings

SERVERS = ("a:1", "b:1", "c:1")
FIXED = ClerkSettings(learns_servers=False)
"""The servers are those that the Clerk was given."""


class Script:
    """Drives one core by hand, at a time that stands still unless the script says otherwise."""

    def __init__(self, servers: tuple[str, ...] = SERVERS, settings: ClerkSettings = FIXED) -> None:
        self.core = ClerkCore(servers, random.Random(1), settings)
        self.now = 0
        self.connection = 0
        self.errors: dict[int, ClerkError] = {}

    def call(self, operation: Operation[Any], timeout: float | None = None) -> list[str]:
        deadline = None if timeout is None else self.now + round(timeout * 1_000_000)
        self.core.call(operation, self.now, deadline)
        return self.drain()

    def abandon(self, ticket: int) -> list[str]:
        self.core.abandon(Ticket(ticket), self.now)
        return self.drain()

    def close(self) -> list[str]:
        self.core.close(self.now)
        return self.drain()

    def connected(self, connection: int | None = None) -> list[str]:
        self.core.connected(connection or self.connection, self.now)
        return self.drain()

    def lost(self, connection: int | None = None) -> list[str]:
        self.core.connection_lost(connection or self.connection, self.now)
        return self.drain()

    def reply(self, *replies: Reply, connection: int | None = None) -> list[str]:
        for reply in replies:
            self.core.received(connection or self.connection, reply, self.now)
        return self.drain()

    def refuse(self, text: str) -> list[str]:
        code, _, rest = text.partition(" ")
        return self.reply(ErrorReply(code, rest))

    def wait(self, seconds: float | None = None) -> list[str]:
        """Lets time pass: so much of it, or until the core's deadline."""
        if seconds is None:
            deadline = self.core.deadline()
            assert deadline is not None, "the core waits for no time to pass"
            assert deadline > self.now, "the core would spin"
            self.now = deadline
        else:
            self.now += round(seconds * 1_000_000)
        self.core.wake(self.now)
        return self.drain()

    def drain(self) -> list[str]:
        ready = self.core.take_ready()
        lines = ["disconnect"] if ready.disconnect else []
        if ready.connect is not None:
            self.connection = ready.connect.number
            lines.append(f"connect {ready.connect.server}")
        lines += [f"> {b' '.join(request).decode()}" for request in ready.requests]
        for outcome in ready.outcomes:
            if isinstance(outcome.result, ClerkError):
                self.errors[outcome.ticket] = outcome.result
                lines.append(f"{outcome.ticket} = {type(outcome.result).__name__}")
            else:
                lines.append(f"{outcome.ticket} = {outcome.result!r}")
        return lines

    def reconnect(self, to: str = "b:1") -> list[str]:
        """After a loss: the back-off passes, the next server answers that it leads itself."""
        assert self.wait() == [f"connect {to}"]
        assert self.connected() == ["> QUORATE.LEADER"]
        return self.reply(to.encode())
