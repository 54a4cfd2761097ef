"""Calls on clients' own sessions: `ONCE` and `QUORATE.SESSION`, one operation each.

A call is submitted again until its outcome is known or its time is over. That is safe: `ONCE`
executes a number at most once, and a session that was opened twice only expires unused.

That the session has expired, or the window is full, is said of one submission only. If another one
of the same call may have been executed, or may still be, the client is told that the outcome is
unknown: else one that had sent its write once would do it again in a new session.
"""

from quorate.codec.batch import Operation, OperationResult, Refusal, SubmissionOutcomes
from quorate.node.connection import Slot
from quorate.node.limits import NodeLimits
from quorate.node.results import UNKNOWN, encode_call_result
from quorate.replica.outcomes import Completed


class PendingCall:
    """A call that is not answered.

    Attributes:
        slot: where the reply goes.
        operation: what is submitted.
        submissions: how many submissions may have put it in a log.
    """

    __slots__ = ("operation", "slot", "submissions")

    def __init__(self, slot: Slot, operation: Operation) -> None:
        self.slot = slot
        self.operation = operation
        self.submissions = 0


class Calls:
    """The calls of all connections of a node."""

    def __init__(self, limits: NodeLimits) -> None:
        self._limits = limits
        self._waiting: dict[PendingCall, None] = {}  # a set that keeps its order
        self._submitted: dict[int, PendingCall] = {}
        self._retry_at = 0
        self._settled: list[Slot] = []

    def add(self, call: PendingCall) -> None:
        """A new call."""
        self._waiting[call] = None

    def submitted(self, ticket: int) -> bool:
        """Whether this ticket is that of a call."""
        return ticket in self._submitted

    def completed(self, outcome: Completed, _now: int) -> None:
        """The operation went through the log."""
        call = self._submitted.pop(outcome.ticket)
        in_doubt = call.submissions > 1 and _speaks_for_one_submission(outcome.result)
        self._settle(call, UNKNOWN if in_doubt else encode_call_result(outcome.result))

    def not_proposed(self, ticket: int, now: int) -> None:
        """The submission reached no leader's log and never will."""
        call = self._submitted.pop(ticket)
        call.submissions -= 1
        self._submit_again(call)
        self._retry_at = now + self._limits.retry_delay_us

    def interrupted(self, ticket: int, now: int) -> None:
        """The submission may or may not be executed."""
        self._submit_again(self._submitted.pop(ticket))
        self._retry_at = now + self._limits.retry_delay_us

    def take_submissions(self, now: int) -> list[PendingCall]:
        """The calls to submit now, each to be confirmed by `submit_as` with its ticket."""
        if not self._waiting or now < self._retry_at:
            return []
        waiting, self._waiting = self._waiting, {}
        return list(waiting)

    def submit_as(self, ticket: int, call: PendingCall) -> None:
        """A call of `take_submissions` was submitted with this ticket."""
        self._submitted[ticket] = call
        call.submissions += 1

    def take_settled(self) -> list[Slot]:
        """The slots that have got their reply."""
        settled, self._settled = self._settled, []
        return settled

    def deadline(self) -> int | None:
        """When there is something to submit, if a leader is known then."""
        return self._retry_at if self._waiting else None

    def give_up(self, call: PendingCall, refusal: bytes) -> None:
        """Settles a call that is not waited for any longer.

        Args:
            call: the call.
            refusal: the reply if it was not executed and never will be.
        """
        self._waiting.pop(call, None)
        self._settle(call, UNKNOWN if call.submissions else refusal)

    def _submit_again(self, call: PendingCall) -> None:
        if call.slot.reply is None:
            self._waiting[call] = None

    def _settle(self, call: PendingCall, reply: bytes) -> None:
        if call.slot.reply is None:
            call.slot.reply = reply
            self._settled.append(call.slot)


def _speaks_for_one_submission(result: OperationResult) -> bool:
    return isinstance(result, SubmissionOutcomes) and result.outcomes[0] in {
        Refusal.SESSION_EXPIRED,
        Refusal.BEYOND_WINDOW,
    }
