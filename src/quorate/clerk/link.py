"""The states of the Clerk's one connection; it has at most one at a time.

    Disconnected --> Connecting --> Greeting --> Serving
         ^               |             |            |
         +---------------+-------------+------------+

A server that was named as the leader is not greeted: that would be the question who leads, and
servers that name each other would be asked for ever.
"""

from collections import deque

import msgspec

from quorate.clerk.requests import LeaderQuestion, Request


class Disconnected(msgspec.Struct, eq=False):
    """No connection. One is made when there is something to do, not before `retry_at`."""

    retry_at: int


class Connecting(msgspec.Struct, eq=False):
    """The driver makes a connection.

    Attributes:
        number: the connection's.
        server: its other end.
        is_named_leader: another server named this one as the leader.
        give_up_at: when it has taken too long.
    """

    number: int
    server: str
    is_named_leader: bool
    give_up_at: int


class Greeting(msgspec.Struct, eq=False):
    """Connected; the server was asked who leads, and nothing else before it answers.

    Attributes:
        number: the connection's.
        server: its other end.
        give_up_at: when the answer has taken too long.
    """

    number: int
    server: str
    give_up_at: int


class Serving(msgspec.Struct, eq=False):
    """Connected, and calls are sent here.

    Attributes:
        number: the connection's.
        server: its other end.
        asked_leader_at: when the server was last asked who leads, or was named by another.
        silent_since: when the last reply came, or the first request after all were answered.
        in_flight: the requests without a reply, in the order sent.
        is_leaving: this server is of no use now: leave without waiting for its replies.
        is_moving: another server leads: send nothing more, and leave when all is answered.
    """

    number: int
    server: str
    asked_leader_at: int
    silent_since: int
    in_flight: deque[Request] = msgspec.field(default_factory=deque)
    is_leaving: bool = False
    is_moving: bool = False


Link = Disconnected | Connecting | Greeting | Serving

GREETING = LeaderQuestion()
"""The first request on a connection; it has no state, so one is enough."""
