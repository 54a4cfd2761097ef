"""What may wait for a reply on a connection: one class for each kind of request.

The objects are mutable and compared by identity: a `Read` or a `Write` is a call of the user from
its beginning to its end, over as many sendings as it takes.
"""

from typing import Any, NewType

import msgspec

from quorate.clerk.numbering import Numbering
from quorate.clerk.operations import Operation

Ticket = NewType("Ticket", int)
"""Names a call of a Clerk; never used twice."""

Arguments = tuple[bytes, ...]
"""A request as its arguments, the command's name first."""


class LeaderQuestion(msgspec.Struct, eq=False):
    """Who leads? Answered by any server at once, from what it knows."""

    def arguments(self) -> Arguments:
        """The request."""
        return (b"QUORATE.LEADER",)


class ServersQuestion(msgspec.Struct, eq=False):
    """Which servers are there? Answered by any server at once, from what it knows."""

    def arguments(self) -> Arguments:
        """The request."""
        return (b"QUORATE.SERVERS",)


class OpenSession(msgspec.Struct, eq=False):
    """Asks for a session. One that was opened for an answer that got lost just expires."""

    def arguments(self) -> Arguments:
        """The request."""
        return (b"QUORATE.SESSION",)


class Read(msgspec.Struct, eq=False):
    """A call that changes nothing, and so may be sent as often as it takes.

    Attributes:
        ticket: the call.
        operation: what was called.
        is_over: the caller has its outcome, or waits no longer.
    """

    ticket: Ticket
    operation: Operation[Any]
    is_over: bool = False

    def arguments(self) -> Arguments:
        """The request."""
        return self.operation.arguments


class Write(msgspec.Struct, eq=False):
    """A call that must be executed at most once, and so has a number in a session.

    Attributes:
        ticket: the call.
        operation: what was called.
        numbering: the session that it is numbered in; None until it is first sent.
        seq: its number there.
        is_in_flight: it waits for the reply to its last sending.
        in_doubt: an earlier sending of this number may have been executed, or may still be: its
            connection was lost, or the server itself did not know.
        is_over: the caller has its outcome, or waits no longer.
    """

    ticket: Ticket
    operation: Operation[Any]
    numbering: Numbering | None = None
    seq: int = 0
    is_in_flight: bool = False
    in_doubt: bool = False
    is_over: bool = False

    @property
    def may_be_executed(self) -> bool:
        """Whether it may have been executed, or may still be without being sent again."""
        return self.is_in_flight or self.in_doubt

    def arguments(self) -> Arguments:
        """The request, with what is settled by now."""
        numbering = self.numbering
        assert numbering is not None, "a write is numbered before it is sent"
        return (
            b"ONCE",
            b"%d" % numbering.session,
            b"%d" % self.seq,
            b"%d" % numbering.acked,
            *self.operation.arguments,
        )


class Fence(msgspec.Struct, eq=False):
    """Sees that a write that was given up is not executed from now on.

    It is that write once more, now with an `acked` that covers its own number. The servers commit
    the `acked` and answer STALE. From the same rule no other write that was given up is executed
    any more whose number is lower.

    Attributes:
        numbering: the session.
        seq: the number of the write that was given up.
        command: that write.
        is_in_flight: the reply to its last sending has not come.
    """

    numbering: Numbering
    seq: int
    command: Arguments
    is_in_flight: bool = False

    @property
    def is_possible(self) -> bool:
        """Whether everything up to the write is settled, so that `acked` covers it."""
        return self.seq <= self.numbering.acked

    def arguments(self) -> Arguments:
        """The request."""
        return (
            b"ONCE",
            b"%d" % self.numbering.session,
            b"%d" % self.seq,
            b"%d" % self.numbering.acked,
            *self.command,
        )


Call = Read | Write
"""What a user waits for."""

Question = LeaderQuestion | ServersQuestion
"""What the Clerk wants to know for itself."""

Request = Question | OpenSession | Read | Write | Fence
"""What a connection waits for a reply to."""
