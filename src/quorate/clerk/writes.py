"""The writes of a Clerk: its session, what is to be sent in it, and what the replies mean.

At most once rests on three rules:

1. A write keeps its number however often it is sent, so the servers execute it at most once.
2. A number leaves its session for a new one only if no sending of it can have been executed: each
   was answered, and each answer said so. A Clerk that had sent the write more often, with one of
   the sendings unanswered, cannot know (design, Sessions).
3. A number that is given up while it may be executed is fenced before anything is read.

This module knows no connection: it hands out requests and is told their replies, or that the
connection is gone.
"""

from collections import OrderedDict

from quorate.clerk.backoff import Backoff
from quorate.clerk.codes import Meaning, exception_of, meaning_of
from quorate.clerk.errors import (
    ClerkError,
    NotExecutedError,
    OutcomeUnknownError,
    SessionExpiredError,
    TooManySessionsError,
)
from quorate.clerk.numbering import Numbering
from quorate.clerk.replies import ErrorReply
from quorate.clerk.requests import Fence, OpenSession, Ticket, Write

Failures = list[tuple[Write, ClerkError]]
"""Writes that have ended now, and how."""


class Writes:
    """The writes under way, sent or not.

    Args:
        window: of the session.
        backoff: for what every server refuses for a while.
    """

    def __init__(self, window: int, backoff: Backoff) -> None:
        self._window = window
        self._backoff = backoff
        self._numbering: Numbering | None = None
        self._is_opening = False
        self._has_no_place = False  # the servers have too many sessions
        self._unnumbered: OrderedDict[Ticket, Write] = OrderedDict()
        self._to_resend: OrderedDict[Ticket, Write] = OrderedDict()
        self._fence: Fence | None = None
        self._resume_at: int | None = None

    @property
    def is_fence_owed(self) -> bool:
        """Whether a write that was given up may still be executed, so that reads must wait."""
        return self._fence is not None

    @property
    def resume_at(self) -> int | None:
        """Until when nothing is sent, if that is so."""
        return self._resume_at

    def add(self, write: Write) -> None:
        """A new call."""
        self._unnumbered[write.ticket] = write

    def resume(self, now: int) -> None:
        """Ends the pause if it is over."""
        if self._resume_at is not None and self._resume_at <= now:
            self._resume_at = None

    def next_request(self) -> Write | OpenSession | Fence | None:
        """What to send now, if anything; it counts as sent."""
        if self._resume_at is not None:
            return None
        numbering = self._numbering
        if numbering is None:
            return self._next_opening()
        fence = self._fence
        if fence is not None and not fence.is_in_flight and fence.is_possible:
            fence.is_in_flight = True
            return fence
        if self._to_resend:
            _, write = self._to_resend.popitem(last=False)
        elif self._unnumbered and numbering.has_room:
            _, write = self._unnumbered.popitem(last=False)
            write.numbering = numbering
            write.seq = numbering.take()
        else:
            return None
        write.is_in_flight = True
        return write

    def _next_opening(self) -> OpenSession | None:
        if self._is_opening or not self._unnumbered:
            return None
        self._is_opening = True
        return OpenSession()

    # ------------------------------------------------------------------ replies to a write

    def answered(self, write: Write) -> None:
        """The reply has come: the write was executed."""
        self._backoff.reset()
        write.is_in_flight = False
        write.in_doubt = False  # and no sending of its number will execute it again
        if not write.is_over:
            self._end(write)

    def refused(self, write: Write, refusal: ErrorReply, now: int) -> Failures:
        """The reply is an error."""
        write.is_in_flight = False
        meaning = meaning_of(refusal.code)
        failures: Failures = []
        if meaning is Meaning.EXPIRED:
            failures = self._session_expired(write.numbering, now)
        elif meaning is Meaning.LATER:
            self._pause(now)
        elif meaning in {Meaning.UNKNOWN, Meaning.MISUSED}:
            write.in_doubt = True
        if write.is_over:
            return failures
        if meaning in {Meaning.USAGE, Meaning.MISUSED}:
            failures.append((write, self._final_refusal(write, refusal)))
            self._end(write)
        else:
            failures += self._send_again(write)
        return failures

    def lost(self, write: Write) -> Failures:
        """The connection is gone, and the reply with it."""
        write.is_in_flight = False
        write.in_doubt = True
        return [] if write.is_over else self._send_again(write)

    def _final_refusal(self, write: Write, refusal: ErrorReply) -> ClerkError:
        error = exception_of(refusal.code)
        if write.in_doubt and not issubclass(error, OutcomeUnknownError):
            # Another server may have taken what this one refuses, if their limits differ.
            return OutcomeUnknownError(f"sent before without a reply, then refused: {refusal}")
        return error(str(refusal))

    def _send_again(self, write: Write) -> Failures:
        if write.numbering is self._numbering:
            queue = self._to_resend
        elif write.in_doubt:
            write.is_over = True
            return [(write, SessionExpiredError("the session expired; sent more than once"))]
        else:
            write.numbering = None
            write.seq = 0
            queue = self._unnumbered
        queue[write.ticket] = write
        queue.move_to_end(write.ticket, last=False)
        return []

    # ------------------------------------------------------------------ the session

    def session_opened(self, session: int) -> None:
        """The servers have opened a session for us."""
        self._is_opening = False
        self._has_no_place = False
        self._numbering = Numbering(session, self._window)

    def session_refused(self, refusal: ErrorReply, now: int) -> Failures:
        """The servers did not open a session."""
        self._is_opening = False
        meaning = meaning_of(refusal.code)
        self._has_no_place = meaning is Meaning.LATER
        if self._has_no_place:
            self._pause(now)
        if meaning is not Meaning.USAGE:
            return []
        failures: Failures = []
        for write in self._unnumbered.values():
            write.is_over = True
            failures.append((write, exception_of(refusal.code)(str(refusal))))
        self._unnumbered.clear()
        return failures

    def opening_lost(self) -> None:
        """The connection is gone, and the reply to the request for a session with it."""
        self._is_opening = False

    def _session_expired(self, numbering: Numbering | None, now: int) -> Failures:
        if numbering is not self._numbering:
            return []  # that session was known to be gone
        self._numbering = None
        self._fence = None  # nothing is executed any more in a session that has expired
        self._pause(now)
        failures: Failures = []
        waiting = list(self._to_resend.values())
        self._to_resend.clear()
        for other in reversed(waiting):
            failures += self._send_again(other)
        return failures

    def _pause(self, now: int) -> None:
        self._resume_at = now + self._backoff.next_us()

    # ------------------------------------------------------------------ giving up, and the fence

    def give_up(self, write: Write) -> None:
        """The caller does not wait for the write any longer."""
        self._unnumbered.pop(write.ticket, None)
        self._to_resend.pop(write.ticket, None)
        self._end(write)

    def _end(self, write: Write) -> None:
        """Settles the write's number, and owes a fence if the number may still be executed."""
        write.is_over = True
        numbering = write.numbering
        if numbering is None:
            return
        numbering.settle(write.seq)
        if not write.may_be_executed or numbering is not self._numbering:
            return
        if self._fence is None or self._fence.seq < write.seq:
            self._fence = Fence(numbering, write.seq, write.operation.arguments)

    def error_of_giving_up(self, write: Write, why: str) -> ClerkError:
        """How a write ends that is given up now."""
        if write.may_be_executed:
            return OutcomeUnknownError(f"the write may have been executed: {why}")
        error = TooManySessionsError if self._has_no_place else NotExecutedError
        return error(f"the write was not executed: {why}")

    def fenced(self, fence: Fence) -> None:
        """The servers have answered the fence, and so committed it."""
        fence.is_in_flight = False
        if self._fence is fence:
            self._fence = None

    def fence_refused(self, fence: Fence, refusal: ErrorReply, now: int) -> Failures:
        """The reply to the fence is an error; for the most part STALE, the one it should be."""
        fence.is_in_flight = False
        meaning = meaning_of(refusal.code)
        if meaning is Meaning.EXPIRED:
            return self._session_expired(fence.numbering, now)
        if meaning is Meaning.LATER:
            self._pause(now)
        elif meaning in {Meaning.MISUSED, Meaning.USAGE}:
            # After a usage error sending it again does not help; each later write carries `acked`.
            self.fenced(fence)
        return []

    def fence_lost(self, fence: Fence) -> None:
        """The connection is gone, and the reply to the fence with it."""
        fence.is_in_flight = False
