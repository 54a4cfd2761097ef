"""The node's own session: in it the node is the Clerk of its plain connections.

Plain connections have no session. The node numbers their writes into one ordered session of its
own and repeats what was not answered, from the oldest on. Because the session is ordered, a write
that overtakes a lost one is refused and comes again behind it: so each connection's writes take
effect in the order sent, each at most once, whatever happens to messages and leaders.

A write that got no answer in time is given up: its connection is told that the outcome is
unknown, or that it was not executed if no server can have put it in its log. As soon as all writes
before it are answered or given up too, `acked` moves beyond it with the next submission, which
fences it: once that is in the log it can never be executed. Until then it may still go along when
those before it are repeated; it does so in its place, before all later ones.
"""

from collections import deque
from collections.abc import Iterator

import msgspec
from google_crc32c import value as crc32c

from quorate.codec.batch import (
    OpenedSession,
    OpenSession,
    Operation,
    Refusal,
    Submission,
    SubmissionOutcomes,
)
from quorate.node.connection import Slot
from quorate.node.limits import NodeLimits
from quorate.node.results import UNKNOWN, encode_write_reply
from quorate.raft.configuration import NodeId
from quorate.replica.outcomes import Completed

_MAX_SUBMISSION_BYTES = 1024 * 1024
_INCARNATIONS_PER_BOOT = 1 << 20
_NODE_BITS = 31


class PendingWrite(msgspec.Struct, eq=False):
    """Writes of a plain connection that came together; they share their fate, not their results.

    Attributes:
        slot: where the replies go.
        commands: encoded for the state machine.
        seq: the number of the first in the session, once they have numbers; 0 before.
        submissions: how many submissions may have put them in a log.
        replies: to the first of them, as far as they are known.
    """

    slot: Slot
    commands: list[bytes]
    seq: int = 0
    submissions: int = 0
    replies: tuple[bytes, ...] = ()

    @property
    def first_unanswered(self) -> int:
        """The number of the first whose reply is not known."""
        return self.seq + len(self.replies)


class _Attempt(msgspec.Struct, frozen=True):
    """One submission of consecutive writes; `writes` is empty for an opening or a keep-alive.

    Attributes:
        session: in which session.
        epoch: in which epoch of it, see `_repeat`.
        first_seq: the number of the first command; those of the first write before it are answered.
        writes: whose commands.
    """

    session: int
    epoch: int
    first_seq: int
    writes: tuple[PendingWrite, ...]


class OwnSession:
    """Numbers, submits and repeats the writes of plain connections.

    Args:
        node: whose session it is.
        boot: how often the node has started; makes its sessions' incarnations grow.
        limits: the window, and the pauses.
        data_id: of its data directory. Boots are counted in there, so a node that comes back with
            another one is another owner of sessions.
    """

    def __init__(self, node: NodeId, boot: int, limits: NodeLimits, data_id: str = "") -> None:
        self._owner = crc32c(data_id.encode()) << _NODE_BITS | node
        self._incarnation = boot * _INCARNATIONS_PER_BOOT
        self._limits = limits
        self._session: int | None = None
        self._opening = False
        self._queued: deque[PendingWrite] = deque()
        self._outstanding: deque[PendingWrite] = deque()
        self._next_seq = 1
        self._rewound = False
        self._epoch = 0
        self._retry_at = 0
        self._used_at = 0
        self._attempts: dict[int, _Attempt] = {}
        self._settled: list[Slot] = []

    # ------------------------------------------------------------------ what goes in

    def add(self, write: PendingWrite) -> None:
        """A connection's next writes."""
        self._queued.append(write)

    def submitted(self, ticket: int) -> bool:
        """Whether this ticket is one of this session's submissions."""
        return ticket in self._attempts

    def completed(self, outcome: Completed, now: int) -> None:
        """A submission went through the log."""
        attempt = self._attempts.pop(outcome.ticket)
        match outcome.result:
            case OpenedSession(session=session):
                self._opening = False
                self._session = session
                self._next_seq = 1
                self._used_at = now
            case SubmissionOutcomes(outcomes=outcomes):
                if attempt.session == self._session:
                    self._take_outcomes(attempt, outcomes, now, is_hearsay=outcome.is_hearsay)
            case _:
                # A later incarnation of this node has a session: only its own writes count.
                self._opening = False
                self._retry_at = now + self._limits.command_timeout_us

    def not_proposed(self, ticket: int, now: int) -> None:
        """A submission reached no leader's log and never will."""
        attempt = self._attempts.pop(ticket)
        for write in attempt.writes:
            write.submissions -= 1
        self._repeat(attempt)
        self._retry_at = now + self._limits.retry_delay_us

    def interrupted(self, ticket: int, now: int) -> None:
        """A submission may or may not be executed."""
        self._repeat(self._attempts.pop(ticket))
        self._retry_at = now + self._limits.retry_delay_us

    # ------------------------------------------------------------------ what comes out

    def take_submissions(self, now: int) -> Iterator[tuple[_Attempt, Operation]]:
        """What is to be submitted now, each to be confirmed by `submit_as` with its ticket."""
        if now < self._retry_at:
            return
        if self._session is None:
            if not self._opening:
                self._opening = True
                self._incarnation += 1
                operation = OpenSession(owner=self._owner, incarnation=self._incarnation)
                yield _Attempt(0, self._epoch, 0, ()), operation
            return
        for writes in _portions(self._take_unsubmitted()):
            first, answered = writes[0].first_unanswered, len(writes[0].replies)
            commands = [command for write in writes for command in write.commands]
            yield (
                _Attempt(self._session, self._epoch, first, writes),
                self._submission(first, tuple(commands[answered:])),
            )
            self._used_at = now
        if now - self._used_at >= self._limits.session_keepalive_us:
            self._used_at = now
            attempt = _Attempt(self._session, self._epoch, self._next_seq, ())
            yield attempt, self._submission(self._next_seq, ())

    def submit_as(self, ticket: int, attempt: _Attempt) -> None:
        """An operation of `take_submissions` was submitted with this ticket."""
        self._attempts[ticket] = attempt
        for write in attempt.writes:
            write.submissions += 1

    def take_settled(self) -> list[Slot]:
        """The slots that have got their reply."""
        settled, self._settled = self._settled, []
        return settled

    # ------------------------------------------------------------------ time

    def deadline(self) -> int | None:
        """When there is something to submit, if a leader is known then."""
        if self._session is None:
            return None if self._opening else self._retry_at
        if self._rewound or (self._queued and self._next_seq < self._end_of_window):
            return self._retry_at
        return max(self._retry_at, self._used_at + self._limits.session_keepalive_us)

    def give_up(self, write: PendingWrite, refusal: bytes) -> None:
        """Settles a write that is not waited for any longer.

        Args:
            write: the write.
            refusal: the reply if it was not executed and never will be.
        """
        self._pop_answered()
        if write.seq == 0:
            never_executed = True
        else:
            # One that is not the first is not fenced yet: it may still be submitted.
            never_executed = write.submissions == 0 and write is self._outstanding[0]
        self._settle_rest(write, refusal if never_executed else UNKNOWN)
        self._pop_answered()

    # ------------------------------------------------------------------ inside

    def _submission(self, first_seq: int, commands: tuple[bytes, ...]) -> Submission:
        assert self._session is not None
        first = self._outstanding[0].first_unanswered if self._outstanding else self._next_seq
        acked = first - 1
        return Submission(self._session, acked, first_seq, commands, owner=self._owner)

    def _take_unsubmitted(self) -> list[PendingWrite]:
        writes: list[PendingWrite] = []
        if self._rewound:
            writes.extend(self._outstanding)
            self._rewound = False
        queued, outstanding = self._queued, self._outstanding
        end_of_window = self._end_of_window
        while queued and self._next_seq < end_of_window:
            write = queued.popleft()
            if write.slot.reply is not None:
                continue
            write.seq = self._next_seq
            self._next_seq += len(write.commands)
            outstanding.append(write)
            writes.append(write)
        return writes

    @property
    def _end_of_window(self) -> int:
        """Those whose first has this number or a later one wait for the answers to earlier ones."""
        first = self._outstanding[0].seq if self._outstanding else self._next_seq
        return first + self._limits.own_window

    def _take_outcomes(
        self,
        attempt: _Attempt,
        outcomes: tuple[bytes | Refusal, ...],
        now: int,
        *,
        is_hearsay: bool,
    ) -> None:
        if Refusal.SESSION_EXPIRED in outcomes:
            self._expire()
            return
        begin = 0
        position = attempt.first_seq - attempt.writes[0].seq if attempt.writes else 0
        for write in attempt.writes:
            end = begin + len(write.commands) - position
            some = outcomes[begin:end]
            replies = [encode_write_reply(reply) for reply in some if isinstance(reply, bytes)]
            if len(replies) == len(write.commands):
                self._settle(write, b"".join(replies))
            else:
                self._take_each(write, position, some, attempt, now, is_hearsay=is_hearsay)
            begin, position = end, 0  # of all but the first one all commands were submitted
        assert begin == len(outcomes) or not attempt.writes, "one for each command"
        self._pop_answered()

    def _take_each(
        self,
        write: PendingWrite,
        position: int,
        outcomes: tuple[bytes | Refusal, ...],
        attempt: _Attempt,
        now: int,
        *,
        is_hearsay: bool,
    ) -> None:
        """Takes in the outcomes of some of these writes, from this position on."""
        for at, outcome in enumerate(outcomes, position):
            is_answered = write.slot.reply is not None or at < len(write.replies)
            match outcome:
                case bytes() if at == len(write.replies):
                    write.replies += (encode_write_reply(outcome),)
                case bytes() | Refusal.STALE if is_answered:
                    pass  # a stale one may also have been given up, and is fenced
                case Refusal.OUT_OF_ORDER:
                    self._repeat(attempt)
                case Refusal.BEYOND_WINDOW:
                    self._repeat(attempt)
                    self._retry_at = now + self._limits.retry_delay_us
                case _:
                    # Nothing else can be true of what this node numbers itself. Another server
                    # that says so does not tell the outcome.
                    assert is_hearsay, f"{outcome!r} for a write that this node has numbered"
                    write.replies += (UNKNOWN,) * (at + 1 - len(write.replies))
        if len(write.replies) == len(write.commands):
            self._settle(write, b"".join(write.replies))

    def _repeat(self, attempt: _Attempt) -> None:
        if attempt.session == 0:
            self._opening = False
            # The same incarnation asks for the same session again.
            self._incarnation -= 1
        elif attempt.epoch == self._epoch:
            # Everything unanswered is submitted anew, once: what was under way before does not
            # cause yet another repetition when it fails too.
            self._rewound = True
            self._epoch += 1

    def _expire(self) -> None:
        # Whether these were executed before the session ended, nobody can tell any more. They are
        # never repeated in a new session, where they might be executed a second time.
        for write in self._outstanding:
            self._settle_rest(write, UNKNOWN)
        self._outstanding.clear()
        self._session = None
        self._epoch += 1
        self._rewound = False

    def _settle_rest(self, write: PendingWrite, reply: bytes) -> None:
        """Gives all of them this reply that have none."""
        rest = len(write.commands) - len(write.replies)
        self._settle(write, b"".join(write.replies) + reply * rest)

    def _settle(self, write: PendingWrite, reply: bytes) -> None:
        if write.slot.reply is None:
            write.slot.reply = reply
            self._settled.append(write.slot)

    def _pop_answered(self) -> None:
        for writes in (self._outstanding, self._queued):
            while writes and writes[0].slot.reply is not None:
                writes.popleft()


def _portions(writes: list[PendingWrite]) -> Iterator[tuple[PendingWrite, ...]]:
    """Splits consecutive writes into submissions of bounded size."""
    size = 0
    begin = 0
    for position, write in enumerate(writes):
        size += write.slot.size
        if size > _MAX_SUBMISSION_BYTES and position > begin:
            yield tuple(writes[begin:position])
            begin, size = position, write.slot.size
    if begin < len(writes):
        yield tuple(writes[begin:])
