"""What the core of the Clerk wants done: the return value of `take_ready`."""

from typing import Any

import msgspec

from quorate.clerk.requests import Arguments, Ticket


class Connect(msgspec.Struct, frozen=True):
    """Make a connection, the only one from now on.

    Attributes:
        number: names it in `connected`, `received` and `connection_lost`; grows.
        server: its address, `HOST:PORT`.
    """

    number: int
    server: str


class Outcome(msgspec.Struct, frozen=True):
    """How a call ended: with the operation's result, or with a `ClerkError`."""

    ticket: Ticket
    result: Any


class ClerkReady(msgspec.Struct):
    """What the driver has to do now, in this order.

    Attributes:
        disconnect: close the connection, or stop making it. The core has forgotten it: whatever
            is still reported of it is ignored.
        connect: make this connection, and report it as `connected` or `connection_lost`.
        requests: to be sent on the connection, in order; its replies come in the same order.
        outcomes: calls that have ended.
    """

    disconnect: bool
    connect: Connect | None
    requests: list[Arguments]
    outcomes: list[Outcome]
