"""The Clerk's one connection from its making to its end, and the requests in flight on it.

This module decides when to connect, where to, when to leave and what went unanswered. It knows the
Clerk's own questions and nothing of the other requests.
"""

from collections import deque
from collections.abc import Sequence

from quorate.clerk.addresses import parse_address
from quorate.clerk.link import (
    WHICH_SERVERS,
    WHO_LEADS,
    Connecting,
    Disconnected,
    Greeting,
    Link,
    Serving,
)
from quorate.clerk.ready import Connect
from quorate.clerk.replies import ErrorReply, Reply
from quorate.clerk.requests import (
    Arguments,
    LeaderQuestion,
    Question,
    Request,
    ServersQuestion,
)
from quorate.clerk.servers import ServerChoice
from quorate.clerk.settings import ClerkSettings

Unanswered = Sequence[Request]
"""Requests whose connection has ended before their replies, in the order sent."""


class Conversation:
    """Talks to one server at a time.

    Args:
        servers: where to go.
        settings: time-outs and limits.
    """

    def __init__(self, servers: ServerChoice, settings: ClerkSettings) -> None:
        self.trouble: str | None = None
        """The last failure since a server did something for us, for people."""
        self._servers = servers
        self._settings = settings
        self._link: Link = Disconnected(retry_at=0)
        self._last_number = 0
        self._disconnect = False
        self._connect: Connect | None = None
        self._outgoing: list[Arguments] = []

    # ------------------------------------------------------------------ what happened to it

    def connected(self, number: int, now: int) -> None:
        """The connection is there."""
        link = self._link
        if not isinstance(link, Connecting) or link.number != number:
            return
        if link.is_named_leader:
            self._serve(link, now)
            return
        self._link = Greeting(
            number=link.number,
            server=link.server,
            give_up_at=now + self._settings.connect_timeout_us,
            questions=deque(self._questions()),
        )
        self._outgoing += [question.arguments() for question in self._questions()]

    def lost(self, number: int, now: int) -> Unanswered:
        """The connection has ended, or could not be made."""
        link = self._link
        if isinstance(link, Disconnected) or link.number != number:
            return ()
        if not isinstance(link, Serving):
            self._give_up(link, "no connection", now)
            return ()
        self.trouble = f"{link.server}: the connection was lost"
        return self.end(retry_at=now + self._servers.wait_us())

    def received(self, number: int, reply: Reply, now: int) -> Request | None:
        """The next reply has come.

        Returns:
            The request that it answers, unless that was a question of the Clerk's own.
        """
        link = self._link
        if isinstance(link, Disconnected | Connecting) or link.number != number:
            return None
        if isinstance(link, Greeting):
            self._greeted(link, reply, now)
            return None
        link.silent_since = now
        if not link.in_flight:
            self.leave("a reply without a request")
            return None
        request = link.in_flight.popleft()
        if isinstance(request, Question):
            link.is_moving |= self._learn(request, reply, at=link.server)
            return None
        return request

    def _greeted(self, link: Greeting, reply: Reply, now: int) -> None:
        self._servers.reached(link.server)
        link.is_elsewhere |= self._learn(link.questions.popleft(), reply, at=link.server)
        if link.questions:
            return
        if link.is_elsewhere:
            self.end(retry_at=now + self._servers.wait_us())
        else:
            self._serve(link, now)

    def _learn(self, question: Question, reply: Reply, *, at: str) -> bool:
        """Takes in an answer; whether there is a better server now than the one that gave it."""
        match question:
            case LeaderQuestion():
                return self._servers.heard_leader(_leader_in(reply), at=at)
            case ServersQuestion():
                as_of, servers = _servers_in(reply)
                return self._servers.heard_servers(servers, as_of=as_of, at=at)

    def _questions(self) -> tuple[Question, ...]:
        """What to ask; who leads comes last, since the answer may end the connection."""
        return (WHICH_SERVERS, WHO_LEADS) if self._settings.learns_servers else (WHO_LEADS,)

    def served(self) -> None:
        """The reply was what the request was made for."""
        self.trouble = None
        self._servers.served()

    def refused(self, refusal: ErrorReply) -> None:
        """The reply was that this server is of no use now; it may say who is."""
        link = self._link
        assert isinstance(link, Serving)
        self._servers.reached(link.server)
        if refusal.code == "NOTLEADER":
            self._servers.heard_leader(_address_or_none(refusal.text), at=link.server)
        self.leave(str(refusal))

    def leave(self, trouble: str) -> None:
        """Ends the connection with the next `advance`; replies until then still count."""
        link = self._link
        assert isinstance(link, Serving)
        link.is_leaving = True
        self.trouble = f"{link.server}: {trouble}"

    def end(self, *, retry_at: int) -> Unanswered:
        """Ends the connection, if there is one, at once."""
        link = self._link
        self._link = Disconnected(retry_at=retry_at)
        if isinstance(link, Disconnected):
            return ()
        self._disconnect = True
        self._outgoing.clear()
        return tuple(link.in_flight) if isinstance(link, Serving) else ()

    # ------------------------------------------------------------------ time

    def deadline(self, *, has_work: bool) -> int | None:
        """When to call `wake` next; without work nothing is retried."""
        match self._link:
            case Disconnected(retry_at=retry_at):
                return retry_at if has_work else None
            case Connecting(give_up_at=give_up_at) | Greeting(give_up_at=give_up_at):
                return give_up_at
            case Serving() as link:
                return self._silent_at(link) if link.in_flight else None

    def wake(self, now: int) -> None:
        """Time has passed."""
        match self._link:
            case (Connecting() | Greeting()) as link:
                if now >= link.give_up_at:
                    self._give_up(link, "no answer to the attempt to connect", now)
            case Serving() as link:
                if link.in_flight and now >= self._silent_at(link):
                    self._servers.is_unreachable(link.server)
                    self.leave("no reply")
            case Disconnected():
                pass

    def _silent_at(self, link: Serving) -> int:
        return link.silent_since + self._settings.reply_timeout_us

    # ------------------------------------------------------------------ what to do

    def advance(self, now: int, *, has_work: bool) -> Unanswered:
        """Leaves and connects, as is due now."""
        unanswered: Unanswered = ()
        link = self._link
        if isinstance(link, Serving):
            if link.is_leaving:
                unanswered = self.end(retry_at=now + self._servers.wait_us())
            elif link.is_moving and not link.in_flight:
                self.end(retry_at=now)
        link = self._link
        if has_work and isinstance(link, Disconnected) and now >= link.retry_at:
            self._start(now)
        return unanswered

    @property
    def can_send(self) -> bool:
        """Whether another request may be sent now."""
        link = self._link
        return (
            isinstance(link, Serving)
            and not link.is_moving
            and len(link.in_flight) < self._settings.max_in_flight
        )

    def send(self, request: Request, now: int) -> None:
        """Sends a request; at times the Clerk's own questions follow it."""
        link = self._link
        assert isinstance(link, Serving)
        if not link.in_flight:
            link.silent_since = now
        link.in_flight.append(request)
        self._outgoing.append(request.arguments())
        if now - link.asked_leader_at >= self._settings.leader_check_us:
            link.asked_leader_at = now
            self._ask(link, self._questions())
        elif link.owes_servers:
            self._ask(link, (WHICH_SERVERS,))

    def _ask(self, link: Serving, questions: Sequence[Question]) -> None:
        link.owes_servers = False
        link.in_flight += questions
        self._outgoing += [question.arguments() for question in questions]

    def take_orders(self) -> tuple[bool, Connect | None, list[Arguments]]:
        """The parts of a `ClerkReady` that concern the connection."""
        orders = self._disconnect, self._connect, self._outgoing
        self._disconnect, self._connect, self._outgoing = False, None, []
        return orders

    def _start(self, now: int) -> None:
        server, is_named_leader = self._servers.take_next()
        self._last_number += 1
        self._link = Connecting(
            number=self._last_number,
            server=server,
            is_named_leader=is_named_leader,
            give_up_at=now + self._settings.connect_timeout_us,
        )
        self._connect = Connect(self._last_number, server)

    def _serve(self, link: Connecting | Greeting, now: int) -> None:
        self._link = Serving(
            number=link.number,
            server=link.server,
            asked_leader_at=now,
            owes_servers=self._settings.learns_servers and isinstance(link, Connecting),
            silent_since=now,
        )

    def _give_up(self, link: Connecting | Greeting, trouble: str, now: int) -> None:
        self.trouble = f"{link.server}: {trouble}"
        if isinstance(link, Connecting) and link.is_named_leader:
            self._servers.leader_is_unreachable(link.server)
        self._servers.is_unreachable(link.server)
        self.end(retry_at=now + self._servers.wait_us())


def _leader_in(reply: Reply) -> str | None:
    """The address in the answer to a `LeaderQuestion`, if it holds one that can be used."""
    return _address_or_none(reply.decode(errors="replace")) if isinstance(reply, bytes) else None


def _servers_in(reply: Reply) -> tuple[int, tuple[str, ...]]:
    """The answer to a `ServersQuestion`, as far as it holds what can be used."""
    match reply:
        case [int(as_of), *addresses]:
            texts = [a.decode(errors="replace") for a in addresses if isinstance(a, bytes)]
            return as_of, tuple(dict.fromkeys(filter(_address_or_none, texts)))
        case _:
            return 0, ()


def _address_or_none(text: str) -> str | None:
    try:
        parse_address(text)
    except ValueError:
        return None
    return text
