"""The session table beside a dumb twin that never frees anything and reads the rules literally."""

from dataclasses import dataclass, field

from hypothesis import given, settings
from hypothesis import strategies as st

from quorate.codec.batch import (
    OpenedSession,
    OpenSession,
    Outcome,
    Refusal,
    RefusedSession,
    Submission,
    SubmissionOutcomes,
)
from quorate.replica.sessions import SessionLimits, SessionTable

LIMITS = SessionLimits(
    window=4,
    ordered_window=6,
    reply_bytes=10,
    ordered_reply_bytes=14,
    client_sessions=2,
    protected_ms=20,
    ttl_ms=100,
)


class Machine:
    """Answers the how-manieth command it was; replies grow, so that their bound is reached."""

    def __init__(self) -> None:
        self.executed: list[bytes] = []

    def apply(self, command: bytes) -> bytes:
        self.executed.append(command)
        return b"#" * (len(self.executed) % 5) + b"%d" % len(self.executed)


@dataclass
class ModelSession:
    owner: int
    incarnation: int
    last_active_ms: int
    last_operation: int
    acked: int = 0
    history: dict[int, tuple[bytes, bytes]] = field(default_factory=dict)

    def touch(self, time_ms: int, operation: int) -> None:
        self.last_active_ms = time_ms
        self.last_operation = operation

    def unacknowledged_bytes(self) -> int:
        return sum(len(reply) for seq, (_, reply) in self.history.items() if seq > self.acked)


class Model:
    def __init__(self) -> None:
        self.sessions: dict[int, ModelSession] = {}
        self.machine = Machine()
        self.operations = 0

    def expire(self, time_ms: int) -> None:
        for session_id, session in list(self.sessions.items()):
            if time_ms - session.last_active_ms > LIMITS.ttl_ms:
                del self.sessions[session_id]

    def open(
        self, request: OpenSession, index: int, time_ms: int
    ) -> OpenedSession | RefusedSession:
        self.operations += 1
        if request.owner:
            for session_id, session in list(self.sessions.items()):
                if session.owner == request.owner:
                    if session.incarnation > request.incarnation:
                        return RefusedSession(Refusal.SUPERSEDED)
                    if session.incarnation == request.incarnation:
                        session.touch(time_ms, self.operations)
                        return OpenedSession(session_id)
                    del self.sessions[session_id]
        else:
            clients = {n: s for n, s in self.sessions.items() if not s.owner}
            if len(clients) >= LIMITS.client_sessions:
                longest_idle = min(clients, key=lambda n: clients[n].last_operation)
                if time_ms - clients[longest_idle].last_active_ms <= LIMITS.protected_ms:
                    return RefusedSession(Refusal.TOO_MANY_SESSIONS)
                del self.sessions[longest_idle]
        self.sessions[index] = ModelSession(
            request.owner, request.incarnation, time_ms, self.operations
        )
        return OpenedSession(index)

    def submit(self, submission: Submission, time_ms: int) -> SubmissionOutcomes:
        self.operations += 1
        session = self.sessions.get(submission.session)
        if session is None or session.owner != submission.owner:
            refused = len(submission.commands) or 1
            return SubmissionOutcomes((Refusal.SESSION_EXPIRED,) * refused)
        session.touch(time_ms, self.operations)
        session.acked = max(session.acked, submission.acked)
        return SubmissionOutcomes(
            tuple(
                self.outcome(session, submission.first_seq + offset, command)
                for offset, command in enumerate(submission.commands)
            )
        )

    def outcome(self, session: ModelSession, seq: int, command: bytes) -> Outcome:
        window, reply_bytes = LIMITS.window, LIMITS.reply_bytes
        if session.owner:
            window, reply_bytes = LIMITS.ordered_window, LIMITS.ordered_reply_bytes
        if seq <= session.acked:
            return Refusal.STALE
        if seq > session.acked + window:
            return Refusal.BEYOND_WINDOW
        if seq in session.history:
            first_command, reply = session.history[seq]
            return reply if command == first_command else Refusal.MISMATCH
        if session.owner and seq != max([session.acked, *session.history]) + 1:
            return Refusal.OUT_OF_ORDER
        if session.unacknowledged_bytes() >= reply_bytes:
            return Refusal.BEYOND_WINDOW
        reply = self.machine.apply(command)
        session.history[seq] = (command, reply)
        return reply


@dataclass(frozen=True)
class Attempt:
    """A submission relative to the sessions as they are when it is made, so that it hits one."""

    pick: int
    acked_ahead: int
    first_ahead: int
    commands: tuple[bytes, ...]
    by_its_owner: bool

    def submission(self, model: Model) -> Submission:
        ids = sorted(model.sessions)
        if self.pick == 0 or not ids:
            return Submission(999, 0, 1, self.commands)
        session = ids[self.pick % len(ids)]
        acked = model.sessions[session].acked
        first_seq = acked + self.first_ahead
        owner = model.sessions[session].owner if self.by_its_owner else 2
        return Submission(session, acked + self.acked_ahead, first_seq, self.commands, owner)


@dataclass(frozen=True)
class Step:
    """One entry: the time since the one before, its operations, and whether a restart precedes.

    An entry opens at most one session.
    """

    elapsed_ms: int
    open: OpenSession | None
    attempts: list[Attempt]
    restart: bool


opens = st.one_of(
    st.just(OpenSession()),
    st.builds(OpenSession, owner=st.integers(1, 2), incarnation=st.integers(1, 3)),
)
attempts = st.builds(
    Attempt,
    pick=st.integers(0, 12),
    acked_ahead=st.one_of(st.just(0), st.integers(-1, 7)),
    first_ahead=st.one_of(st.just(1), st.integers(-1, 7)),
    commands=st.lists(st.sampled_from([b"a", b"b"]), max_size=5).map(tuple),
    by_its_owner=st.sampled_from([True, True, True, False]),
)
steps = st.builds(
    Step,
    elapsed_ms=st.one_of(st.just(0), st.integers(0, 25), st.integers(0, 110)),
    open=st.one_of(st.none(), opens),
    attempts=st.lists(attempts, max_size=4),
    restart=st.booleans(),
)


@settings(max_examples=300)
@given(st.lists(steps, max_size=40))
def test_the_sessions_obey_their_rules_whatever_is_submitted(steps: list[Step]) -> None:
    table, machine = SessionTable(LIMITS), Machine()
    model = Model()
    time_ms = 0
    for index, step in enumerate(steps, start=1):
        if step.restart:
            sections, digest = list(table.snapshot()), table.digest()
            table = SessionTable(SessionLimits())
            for section in sections:
                table.restore(section)
            assert list(table.snapshot()) == sections
            assert table.digest() == digest
        time_ms += step.elapsed_ms
        table.expire(time_ms)
        model.expire(time_ms)
        if step.open is not None:
            opened = table.open_session(step.open, index=index, time_ms=time_ms)
            assert opened == model.open(step.open, index, time_ms)
        for attempt in step.attempts:
            submission = attempt.submission(model)
            outcomes = table.submit(submission, time_ms=time_ms, apply=machine.apply)
            assert outcomes == model.submit(submission, time_ms)
        assert machine.executed == model.machine.executed


@settings(max_examples=150)
@given(owner=st.sampled_from([0, 1]), data=st.data())
def test_a_write_that_is_sent_until_it_is_answered_takes_effect_exactly_once(
    owner: int, data: st.DataObject
) -> None:
    """An owner that keeps its window, over a log that duplicates and reorders its submissions."""
    table, machine = SessionTable(LIMITS), Machine()
    table.open_session(OpenSession(owner, 1), index=1, time_ms=0)
    writes = [b"write %d" % seq for seq in range(1, 13)]
    replies: dict[int, bytes] = {}
    acked = 0
    sent: list[Submission] = []

    def submit(submission: Submission) -> None:
        result = table.submit(submission, time_ms=0, apply=machine.apply)
        for seq, outcome in enumerate(result.outcomes, submission.first_seq):
            if isinstance(outcome, bytes):
                assert replies.setdefault(seq, outcome) == outcome

    while len(replies) < len(writes):
        if data.draw(st.booleans()) and sent:
            submit(data.draw(st.sampled_from(sent)))
        else:
            first = data.draw(st.integers(acked, min(acked + 3, len(writes) - 1)))
            count = data.draw(st.integers(1, 3))
            sent.append(
                Submission(1, acked, first + 1, tuple(writes[first : first + count]), owner)
            )
            # The log loses some of them.
            if data.draw(st.booleans()):
                submit(sent[-1])
        submit(Submission(1, acked, acked + 1, (writes[acked],), owner))
        while acked + 1 in replies and acked + 1 < len(writes):
            acked += 1

    assert sorted(machine.executed) == sorted(writes)
    if owner:
        assert machine.executed == writes
