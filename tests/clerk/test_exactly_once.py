"""The Clerk against servers that do everything wrong which they are allowed to.

The model holds one copy of the state and the rules of sessions as the design words them. What is
random is everything between it and the Clerk: replies are lost, connections break with requests on
them, each of which is executed later, twice or never, servers refuse before or after they executed,
name wrong leaders and strange lists of servers, and forget sessions. In the end the world heals,
and whatever still wanders about is executed last.
"""

import random
from collections import Counter, deque
from dataclasses import dataclass, field

from hypothesis import given, settings
from hypothesis import strategies as st

from quorate.clerk.core import ClerkCore
from quorate.clerk.errors import ClerkError, NotExecutedError, OutcomeUnknownError
from quorate.clerk.operations import append, get
from quorate.clerk.replies import ErrorReply, Reply
from quorate.clerk.requests import Arguments, Ticket
from quorate.clerk.settings import ClerkSettings

SERVERS = ("a:1", "b:1", "c:1")
QUESTIONS = {(b"QUORATE.LEADER",), (b"QUORATE.SERVERS",)}
WINDOW = 4
SETTINGS = ClerkSettings(window=WINDOW, max_in_flight=6, leader_check_us=300_000)


@dataclass
class Session:
    acked: int = 0
    stored: dict[int, tuple[Arguments, int]] = field(default_factory=dict)


class Model:
    """The replicated state: one key, which holds the tokens appended to it, and the sessions."""

    def __init__(self) -> None:
        self.tokens: list[bytes] = []
        self.sessions: dict[int, Session] = {}
        self.last_session = 0

    def execute(self, request: Arguments) -> Reply:
        match request:
            case (b"QUORATE.SESSION",):
                self.last_session += 1
                self.sessions[self.last_session] = Session()
                return self.last_session
            case (b"ONCE", session, seq, acked, *command):
                return self.once(int(session), int(seq), int(acked), tuple(command))
            case (b"GET", _):
                return b" ".join(self.tokens)
        raise AssertionError(request)

    def once(self, session_id: int, seq: int, acked: int, command: Arguments) -> Reply:
        session = self.sessions.get(session_id)
        if session is None:
            return ErrorReply("SESSIONEXPIRED")
        session.acked = max(session.acked, acked)
        session.stored = {s: stored for s, stored in session.stored.items() if s > session.acked}
        if seq <= session.acked:
            return ErrorReply("STALE")
        if seq > session.acked + WINDOW:
            return ErrorReply("WINDOW")
        if seq in session.stored:
            sent_before, length = session.stored[seq]
            return length if sent_before == command else ErrorReply("MISMATCH")
        self.tokens.append(command[2])
        session.stored[seq] = (command, len(self.tokens))
        return len(self.tokens)


class World:
    """One Clerk, its connection, and what wanders about outside of it."""

    def __init__(self, rng: random.Random) -> None:
        self.rng = rng
        self.model = Model()
        self.core = ClerkCore(SERVERS, rng, SETTINGS)
        self.now = 0
        self.connection = 0
        self.is_connecting = False
        self.is_connected = False
        self.requests: deque[Arguments] = deque()
        self.ghosts: list[Arguments] = []
        self.token_of: dict[Ticket, bytes] = {}
        self.outcome_of: dict[Ticket, object] = {}
        self.acknowledged_before: dict[Ticket, set[bytes]] = {}
        self.unknown_before: dict[Ticket, set[bytes]] = {}

    def of_outcome(self, kind: type[object]) -> set[bytes]:
        return {
            self.token_of[ticket]
            for ticket, outcome in self.outcome_of.items()
            if ticket in self.token_of and isinstance(outcome, kind)
        }

    # ----------------------------------------------------------------- the driver

    def drain(self) -> None:
        ready = self.core.take_ready()
        if ready.disconnect:
            self.break_connection()
        if ready.connect is not None:
            self.connection = ready.connect.number
            self.is_connecting = True
        self.requests += ready.requests
        for outcome in ready.outcomes:
            assert outcome.ticket not in self.outcome_of
            self.outcome_of[outcome.ticket] = outcome.result

    def break_connection(self) -> None:
        """Every request on it may be executed later, once or more often, or never."""
        for request in self.requests:
            self.ghosts += [request] * self.rng.choice((0, 1, 1, 2))
        self.requests.clear()
        self.is_connecting = self.is_connected = False

    # ----------------------------------------------------------------- what may happen

    def call_append(self) -> None:
        token = b"%d" % len(self.token_of)
        timeout = self.rng.choice((None, None, 1_000, 20_000, 600_000))
        deadline = None if timeout is None else self.now + timeout
        ticket = self.core.call(append("k", token), self.now, deadline)
        self.token_of[ticket] = token

    def call_get(self) -> None:
        ticket = self.core.call(get("k"), self.now)
        self.acknowledged_before[ticket] = self.of_outcome(int)
        self.unknown_before[ticket] = self.of_outcome(OutcomeUnknownError)

    def abandon(self) -> None:
        self.drain()
        waiting = [ticket for ticket in self.token_of if ticket not in self.outcome_of]
        if waiting:
            ticket = self.rng.choice(waiting)
            self.outcome_of[ticket] = "abandoned"
            self.core.abandon(ticket, self.now)

    def connect(self) -> None:
        if self.is_connecting:
            self.is_connecting, self.is_connected = False, True
            self.core.connected(self.connection, self.now)

    def lose(self) -> None:
        if self.is_connecting or self.is_connected:
            self.break_connection()
            self.core.connection_lost(self.connection, self.now)

    def answer(self) -> None:
        if self.is_connected and self.requests:
            request = self.requests.popleft()
            if request == (b"QUORATE.LEADER",):
                reply: Reply = self.rng.choice((None, b"a:1", b"b:1", b"d:1"))
            elif request == (b"QUORATE.SERVERS",):
                as_of = self.rng.randrange(5)
                reply = [as_of, *self.rng.sample((b"a:1", b"b:1", b"d:1"), self.rng.randint(0, 3))]
            else:
                reply = self.model.execute(request)
            self.core.received(self.connection, reply, self.now)

    def refuse(self) -> None:
        if not self.is_connected or not self.requests or self.requests[0] in QUESTIONS:
            return
        request = self.requests.popleft()
        kind = self.rng.choice(("NOTEXECUTED", "NOTLEADER c:1", "UNKNOWN", "UNAVAILABLE", "ODD"))
        if kind == "UNKNOWN":
            fate = self.rng.choice(("executed", "executed later", "never executed"))
            if fate == "executed":
                self.model.execute(request)
            elif fate == "executed later":
                self.ghosts.append(request)
        code, _, text = kind.partition(" ")
        self.core.received(self.connection, ErrorReply(code, text), self.now)

    def haunt(self) -> None:
        if self.ghosts:
            ghost = self.ghosts.pop(self.rng.randrange(len(self.ghosts)))
            if ghost not in QUESTIONS:
                self.model.execute(ghost)

    def expire(self) -> None:
        self.model.sessions.clear()

    def pass_time(self) -> None:
        self.now += self.rng.choice((1_000, 20_000, 600_000))
        self.core.wake(self.now)

    def reach_deadline(self) -> None:
        deadline = self.core.deadline()
        if deadline is not None:
            self.now = max(self.now, deadline)
            self.core.wake(self.now)
            self.drain()
            after = self.core.deadline()
            assert after is None or after > self.now, "the core would spin"

    # ----------------------------------------------------------------- a run

    def run(self, steps: int) -> None:
        events = {
            self.call_append: 8,
            self.call_get: 6,
            self.abandon: 1,
            self.connect: 12,
            self.lose: 2,
            self.answer: 30,
            self.refuse: 3,
            self.haunt: self.rng.choice((0, 4)),  # 0: not before all else is over
            self.expire: 1,
            self.pass_time: 6,
            self.reach_deadline: 6,
        }
        for event in self.rng.choices(list(events), list(events.values()), k=steps):
            event()
            if self.rng.random() < 0.8:  # a driver may feed in several things before it drains
                self.drain()

    def heal(self) -> None:
        """From now on everything works; all calls must end."""
        self.drain()
        calls = self.token_of.keys() | self.acknowledged_before.keys()
        for _ in range(2_000):
            if calls <= self.outcome_of.keys() and self.core.deadline() is None:
                break
            if self.is_connecting:
                self.connect()
            elif self.requests:
                self.answer()
            else:
                self.reach_deadline()
            self.drain()
        assert calls <= self.outcome_of.keys(), "a call never ended"
        while self.ghosts:
            self.haunt()


@given(seed=st.integers(min_value=0, max_value=2**32))
@settings(max_examples=200, deadline=None)
def test_appends_are_executed_as_their_outcomes_say(seed: int) -> None:
    world = World(random.Random(seed))
    world.run(steps=150)
    world.heal()
    count = Counter(world.model.tokens)
    for ticket, token in world.token_of.items():
        match world.outcome_of[ticket]:
            case int():
                assert count[token] == 1, "acknowledged: exactly once"
            case NotExecutedError():
                assert count[token] == 0, "not executed: never"
            case OutcomeUnknownError() | "abandoned":
                assert count[token] <= 1, "unknown: at most once"
            case other:
                raise AssertionError(other)


@given(seed=st.integers(min_value=0, max_value=2**32))
@settings(max_examples=200, deadline=None)
def test_a_read_shows_what_was_acknowledged_and_shows_unknown_writes_for_good(seed: int) -> None:
    world = World(random.Random(seed))
    world.run(steps=150)
    world.heal()
    world.call_get()  # while nothing is left that could still be executed
    world.drain()
    world.heal()
    final = set(world.model.tokens)
    for ticket, acknowledged in world.acknowledged_before.items():
        value = world.outcome_of[ticket]
        assert isinstance(value, bytes), value
        shown = set(value.split())
        assert acknowledged <= shown
        unknown = world.unknown_before[ticket]
        assert unknown & shown == unknown & final


def test_the_runs_reach_every_kind_of_outcome() -> None:
    """Otherwise the two tests above would show little."""
    kinds: Counter[str] = Counter()
    for seed in range(60):
        world = World(random.Random(seed))
        world.run(steps=150)
        world.heal()
        kinds.update(
            type(outcome).__name__ if isinstance(outcome, ClerkError) else "acknowledged"
            for ticket, outcome in world.outcome_of.items()
            if ticket in world.token_of
        )
    assert kinds.keys() == {
        "acknowledged",
        "NotExecutedError",
        "OutcomeUnknownError",
        "SessionExpiredError",
    }
    assert min(kinds.values()) >= 10, kinds
