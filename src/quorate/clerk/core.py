"""The Clerk: calls in, requests out, replies in, outcomes out; without any I/O of its own.

A driver owns the connection and the clock. It feeds in what happened, each time with `now`
(microseconds of a monotonic clock), then takes `take_ready()` and does what that says, and calls
`wake` when `deadline()` has come. It may feed in several things before it takes.

    call, abandon, close   a user's call begins; its caller waits no longer; no more calls
    connected, received,
    connection_lost        what became of the connection that `ClerkReady.connect` asked for
    wake                   time has passed

This module keeps the calls and their deadlines, and passes each request, reply and loss to the
part that decides about it: `writes`, `reads`, `conversation`.
"""

import random
from collections.abc import Sequence
from typing import Any

from quorate.clerk.backoff import Backoff
from quorate.clerk.codes import Meaning, exception_of, meaning_of
from quorate.clerk.conversation import Conversation, Unanswered
from quorate.clerk.deadlines import Deadlines
from quorate.clerk.errors import NotExecutedError, TooManyCallsError, UnavailableError
from quorate.clerk.operations import Operation, integer
from quorate.clerk.reads import Reads
from quorate.clerk.ready import ClerkReady, Outcome
from quorate.clerk.replies import ErrorReply, Reply, UnexpectedReplyError
from quorate.clerk.requests import (
    Call,
    Fence,
    LeaderQuestion,
    OpenSession,
    Read,
    Request,
    ServersQuestion,
    Ticket,
    Write,
)
from quorate.clerk.servers import ServerChoice
from quorate.clerk.settings import ClerkSettings
from quorate.clerk.writes import Failures, Writes


class ClerkCore:
    """One Clerk: finds the leader, keeps a session, and sends each call until it is answered.

    Args:
        servers: addresses of the cluster's servers, as `parse_servers` gives them. The leader is
            followed to addresses beyond them, and the servers' own list takes their place.
        rng: for the jitter of waits.
        settings: its limits and time-outs.
    """

    def __init__(
        self, servers: Sequence[str], rng: random.Random, settings: ClerkSettings | None = None
    ) -> None:
        settings = settings or ClerkSettings()
        patience = Backoff(
            minimum_us=settings.backoff_min_us, maximum_us=settings.backoff_max_us, rng=rng
        )
        self._max_calls = settings.max_calls
        self._conversation = Conversation(ServerChoice(servers, rng, settings), settings)
        self._writes = Writes(settings.window, patience)
        self._reads = Reads()
        self._calls: dict[Ticket, Call] = {}
        self._deadlines = Deadlines()
        self._outcomes: list[Outcome] = []
        self._last_ticket = 0
        self._is_closed = False
        self._now = 0

    # ------------------------------------------------------------------ calls

    def call(self, operation: Operation[Any], now: int, deadline: int | None = None) -> Ticket:
        """Begins a call; its outcome comes with a later `take_ready`.

        Args:
            operation: what to do.
            now: microseconds.
            deadline: when to give up, microseconds; None never does.

        Raises:
            TooManyCallsError: as many calls as may be are under way.
            NotExecutedError: the Clerk is closed.
        """
        self._now = now
        if self._is_closed:
            raise NotExecutedError("the Clerk is closed")
        if len(self._calls) >= self._max_calls:
            raise TooManyCallsError(f"{len(self._calls)} calls of this Clerk are under way")
        self._last_ticket += 1
        ticket = Ticket(self._last_ticket)
        if operation.is_write:
            self._calls[ticket] = write = Write(ticket, operation)
            self._writes.add(write)
        else:
            self._calls[ticket] = read = Read(ticket, operation)
            self._reads.add(read)
        if deadline is not None:
            self._deadlines.add(ticket, deadline)
            if deadline <= now:
                self._give_up_due()
        return ticket

    def abandon(self, ticket: Ticket, now: int) -> None:
        """The caller waits no longer: the call ends without an outcome, if it has not ended yet.

        A write that was sent may be executed all the same, until it is fenced.
        """
        self._now = now
        if ticket in self._calls:
            self._withdraw(self._end(ticket))

    def close(self, now: int) -> None:
        """Ends the connection and, as if their deadlines had come, all calls."""
        self._now = now
        self._is_closed = True
        for ticket in list(self._calls):
            self._give_up(ticket, "the Clerk was closed")
        self._conversation.end(retry_at=now)

    def _end(self, ticket: Ticket) -> Call:
        self._deadlines.discard(ticket)
        return self._calls.pop(ticket)

    def _finish(self, call: Call, result: object) -> None:
        self._end(call.ticket)
        self._outcomes.append(Outcome(call.ticket, result))

    def _finish_all(self, failures: Failures) -> None:
        for write, error in failures:
            self._finish(write, error)

    def _withdraw(self, call: Call) -> None:
        match call:
            case Write():
                self._writes.give_up(call)
            case Read():
                self._reads.end(call)

    def _give_up(self, ticket: Ticket, why: str) -> None:
        call = self._calls[ticket]
        match call:
            case Write():
                self._finish(call, self._writes.error_of_giving_up(call, why))
            case Read():
                self._finish(call, UnavailableError(f"the read was not answered: {why}"))
        self._withdraw(call)

    def _give_up_due(self) -> None:
        trouble = self._conversation.trouble
        why = "the deadline has come" + (f"; last trouble: {trouble}" if trouble else "")
        for ticket in self._deadlines.take_due(self._now):
            self._give_up(Ticket(ticket), why)

    # ------------------------------------------------------------------ time

    def deadline(self) -> int | None:
        """When to call `wake` next, in microseconds; None if nothing waits for time to pass."""
        times = (
            self._deadlines.next(),
            self._conversation.deadline(has_work=self._has_work),
            self._writes.resume_at,
        )
        return min((time for time in times if time is not None), default=None)

    def wake(self, now: int) -> None:
        """Time has passed. What has arrived meanwhile comes first: it may be what is due."""
        self._now = now
        self._give_up_due()
        self._writes.resume(now)
        self._conversation.wake(now)

    # ------------------------------------------------------------------ the connection

    def connected(self, connection: int, now: int) -> None:
        """The connection of this number is there."""
        self._now = now
        self._conversation.connected(connection, now)

    def connection_lost(self, connection: int, now: int) -> None:
        """The connection of this number has ended, or could not be made."""
        self._now = now
        self._send_again(self._conversation.lost(connection, now))

    def received(self, connection: int, reply: Reply, now: int) -> None:
        """The next reply on the connection of this number has come."""
        self._now = now
        request = self._conversation.received(connection, reply, now)
        if request is None:
            return
        if not isinstance(reply, ErrorReply):
            try:
                self._answered(request, reply)
            except UnexpectedReplyError as error:
                # Not of the protocol: nothing is known by it, as by an error of no known code.
                reply = ErrorReply("UNEXPECTED", str(error))
        if isinstance(reply, ErrorReply):
            self._refused(request, reply)

    def _send_again(self, unanswered: Unanswered) -> None:
        for request in reversed(unanswered):  # each goes to the front
            match request:
                case Write():
                    self._finish_all(self._writes.lost(request))
                case Read():
                    self._reads.send_again(request)
                case OpenSession():
                    self._writes.opening_lost()
                case Fence():
                    self._writes.fence_lost(request)
                case LeaderQuestion() | ServersQuestion():
                    pass  # asked again when a new connection begins

    # ------------------------------------------------------------------ replies

    def _answered(self, request: Request, reply: Reply) -> None:
        match request:
            case Write():
                result = request.operation.result_of(reply)
                if not request.is_over:
                    self._finish(request, result)
                self._writes.answered(request)
            case Read():
                result = request.operation.result_of(reply)
                if not request.is_over:
                    self._finish(request, result)
            case OpenSession():
                self._writes.session_opened(integer(reply))
            case Fence():
                self._writes.fenced(request)
            case LeaderQuestion() | ServersQuestion():
                raise AssertionError("the conversation keeps these to itself")
        self._conversation.served()

    def _refused(self, request: Request, refusal: ErrorReply) -> None:
        meaning = meaning_of(refusal.code)
        match request:
            case Write():
                self._finish_all(self._writes.refused(request, refusal, self._now))
            case OpenSession():
                self._finish_all(self._writes.session_refused(refusal, self._now))
            case Fence():
                self._finish_all(self._writes.fence_refused(request, refusal, self._now))
            case Read():
                if meaning is not Meaning.USAGE:
                    # Whatever the server has to say, it could not answer: another one may.
                    self._reads.send_again(request)
                    self._conversation.refused(refusal)
                elif not request.is_over:
                    self._finish(request, exception_of(refusal.code)(str(refusal)))
                return
            case LeaderQuestion() | ServersQuestion():
                raise AssertionError("the conversation keeps these to itself")
        if meaning in {Meaning.ELSEWHERE, Meaning.UNKNOWN}:
            self._conversation.refused(refusal)

    # ------------------------------------------------------------------ what comes out

    @property
    def _has_work(self) -> bool:
        return not self._is_closed and (bool(self._calls) or self._writes.is_fence_owed)

    def take_ready(self) -> ClerkReady:
        """What has to be done now; nothing of it comes again."""
        self._send_again(self._conversation.advance(self._now, has_work=self._has_work))
        self._send()
        disconnect, connect, requests = self._conversation.take_orders()
        outcomes, self._outcomes = self._outcomes, []
        return ClerkReady(disconnect, connect, requests, outcomes)

    def _send(self) -> None:
        conversation = self._conversation
        while conversation.can_send:
            # One of each in turn, so that neither reads nor writes starve the others.
            write = self._writes.next_request()
            if write is not None:
                conversation.send(write, self._now)
            read = None if self._writes.is_fence_owed else self._reads.next_request()
            if read is not None:
                conversation.send(read, self._now)
            elif write is None:
                return
