"""The states of the Clerk's one connection; it has at most one at a time.

    Disconnected --> Connecting --> Greeting --> Serving
         ^               |             |            |
         +---------------+-------------+------------+

A greeting is the questions who leads and, if the Clerk learns that, which servers there are. A
server that was named as the leader is not greeted: servers that name each other would be asked for
ever. It is asked for the servers with the first request.
"""

from collections import deque

import msgspec

from quorate.clerk.requests import LeaderQuestion, Question, Request, ServersQuestion


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
    """Connected; the server was greeted, and is asked nothing else before it answers.

    Attributes:
        number: the connection's.
        server: its other end.
        give_up_at: when the answers have taken too long.
        questions: those without an answer, in the order sent; who leads is the last one.
        is_elsewhere: by an answer so far, there is a better server.
    """

    number: int
    server: str
    give_up_at: int
    questions: deque[Question]
    is_elsewhere: bool = False


class Serving(msgspec.Struct, eq=False):
    """Connected, and calls are sent here.

    Attributes:
        number: the connection's.
        server: its other end.
        asked_leader_at: when the server was last asked who leads, or was named by another.
        owes_servers: it is still to be asked which servers there are.
        silent_since: when the last reply came, or the first request after all were answered.
        in_flight: the requests without a reply, in the order sent.
        is_leaving: this server is of no use now: leave without waiting for its replies.
        is_moving: another server leads: send nothing more, and leave when all is answered.
    """

    number: int
    server: str
    asked_leader_at: int
    owes_servers: bool
    silent_since: int
    in_flight: deque[Request] = msgspec.field(default_factory=deque)
    is_leaving: bool = False
    is_moving: bool = False


Link = Disconnected | Connecting | Greeting | Serving

WHO_LEADS = LeaderQuestion()
WHICH_SERVERS = ServersQuestion()
"""They have no state, so one of each is enough."""
