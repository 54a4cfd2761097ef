"""The gateway as the Clerk of plain connections, against a cluster that does its worst.

The cluster is a dumb model: one copy of the replicated state, to which submissions are applied
when, and as often as, the test likes. A submission is executed at once, late, twice or never; its
answer comes, or it is interrupted; it is refused; sessions expire; leaders come and go; clients
disconnect; the node restarts. In the end the world heals, and whatever still wanders about is
executed last.
"""

from __future__ import annotations

import random
from typing import TYPE_CHECKING, Any

import hiredis
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from quorate.codec.batch import (
    OpenSession,
    Operation,
    Refusal,
    Submission,
    SubmissionOutcomes,
    encode_batch,
)
from quorate.kv.queries import Get, Query, QueryResult
from quorate.kv.table import Table
from quorate.node.connection_commands import NodeView
from quorate.node.gateway import Gateway
from quorate.node.limits import NodeLimits
from quorate.raft.configuration import NodeId
from quorate.raft.entry import Entry, EntryKind
from quorate.replica.outcomes import Completed, Interrupted, NotProposed, ReadReady
from quorate.replica.replicated_state import ReplicatedState
from quorate.replica.sessions import SessionLimits, SessionTable

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.node.conftest import Sent

NODE = NodeId(1)
SECOND = 1_000_000
LIMITS = NodeLimits(own_window=8, retry_delay_us=500)
SESSION_LIMITS = SessionLimits(ordered_window=10, ttl_ms=20_000)
KEY = b"k"


def no_view() -> NodeView:
    raise AssertionError("no command here asks for it")


def no_members(_arguments: list[bytes], _now: int) -> None:
    raise AssertionError("nobody changes the members here")


class Connection:
    def __init__(self, number: int) -> None:
        self.number = number
        self.reader = hiredis.Reader(notEnoughData=Ellipsis)
        self.sent: list[Sent] = []
        self.answered = 0


class World:
    """One gateway, its clients, and the cluster."""

    def __init__(self, new_sent: type[Sent], seed: int = 0) -> None:
        self.new_sent = new_sent
        self.rng = random.Random(seed)
        self.now = 0
        self.index = 0
        self.time_ms = 0
        self.boot = 0
        self.tokens = 0
        self.has_leader = True
        self.state: ReplicatedState[Query, QueryResult] = ReplicatedState(
            Table(), SessionTable(SESSION_LIMITS)
        )
        self.connections: list[Connection] = []
        self.everyone: list[Connection] = []
        self.under_way: list[tuple[int, Operation]] = []
        self.ghosts: list[Operation] = []
        self.reads: dict[int, Query] = {}
        self.start()

    def start(self) -> None:
        self.boot += 1
        self.ghosts += [operation for _, operation in self.under_way]
        self.under_way.clear()
        self.reads.clear()
        self.gateway = Gateway(
            NODE,
            boot=self.boot,
            limits=LIMITS,
            view=no_view,
            query=self.state.query,
            administer=no_members,
        )
        self.connections = [self.connect() for _ in range(3)]

    def connect(self) -> Connection:
        connection = Connection(self.gateway.open_connection())
        self.everyone.append(connection)
        return connection

    # ------------------------------------------------------------------ what can happen

    def step(self) -> None:
        rng = self.rng
        chance = rng.random()
        if chance < 0.2:
            self.send(rng.choice(self.connections), rng.randrange(1, 5))
        elif chance < 0.6 and self.under_way:
            self.decide(*self.take_under_way())
        elif chance < 0.7:
            self.serve_reads()
        elif chance < 0.75 and self.ghosts:
            self.apply(self.ghosts.pop(rng.randrange(len(self.ghosts))))
        elif chance < 0.85:
            self.now += rng.choice([1000, 20_000, SECOND // 2])
        elif chance < 0.9:
            self.has_leader = not self.has_leader
        elif chance > 0.9:
            self.misfortune()
        self.now += 100
        self.turn()

    def decide(self, ticket: int, operation: Operation) -> None:
        """What becomes of a submission."""
        match self.rng.randrange(7):
            case 0:
                self.gateway.take_outcome(NotProposed(ticket), self.now)
            case 1:
                self.apply(operation)
                self.gateway.take_outcome(Interrupted(ticket), self.now)
            case 2:
                self.ghosts.append(operation)
                self.gateway.take_outcome(Interrupted(ticket), self.now)
            case _:
                self.execute((ticket, operation), repeat=self.rng.random() < 0.2)

    def misfortune(self) -> None:
        """Something that does not happen every day."""
        match self.rng.randrange(60):
            case 0 | 1:
                self.time_ms += 30_000  # sessions that are idle now expire
            case 2 | 3 | 4 | 5 | 6:
                self.disconnect(self.rng.choice(self.connections))
            case 7 | 8:
                self.start()

    def send(self, connection: Connection, count: int) -> None:
        data = b""
        for _ in range(count):
            self.tokens += 1
            token = b"<%d>" % self.tokens if self.rng.random() < 0.7 else b""
            connection.sent.append(self.new_sent(token, self.now))
            data += b"APPEND k %b\r\n" % token if token else b"GET k\r\n"
        self.gateway.receive(connection.number, data, self.now)

    def disconnect(self, connection: Connection) -> None:
        self.gateway.close_connection(connection.number, self.now)
        self.connections.remove(connection)
        self.connections.append(self.connect())

    def take_under_way(self) -> tuple[int, Operation]:
        # Mostly in order, as messages of one link are.
        last = len(self.under_way) if self.rng.random() < 0.2 else 1
        return self.under_way.pop(self.rng.randrange(last))

    def execute(self, submitted: tuple[int, Operation], *, repeat: bool) -> None:
        ticket, operation = submitted
        result = self.apply(operation)
        if repeat:
            self.ghosts.append(operation)
        self.gateway.take_outcome(Completed(ticket, result), self.now)

    def apply(self, operation: Operation) -> Any:
        self.index += 1
        self.time_ms += 1
        data = encode_batch((operation,))
        entry = Entry(self.index, 1, self.time_ms, EntryKind.DATA, data)
        (result,) = self.state.apply(entry)
        return result

    def serve_reads(self) -> None:
        for ticket, query in self.reads.items():
            self.gateway.read_ready(ReadReady(ticket, query))
        self.reads.clear()

    # ------------------------------------------------------------------ its driver

    def turn(self) -> None:
        for _ in range(100):
            ready = self.gateway.take_ready(self.now, can_submit=self.has_leader)
            self.under_way += ready.operations
            self.reads.update(ready.reads)
            for ticket in ready.cancelled_reads:
                del self.reads[ticket]
            for number, data in ready.replies:
                self.receive(number, data)
            due = self.gateway.deadline(self.now)
            if due is None or due > self.now:
                break
        else:
            raise AssertionError("a timer that stays due would spin the driver")
        for connection in self.connections:
            for sent in connection.sent[connection.answered :]:
                assert self.now < sent.at + LIMITS.command_timeout_us, "it has had its time"

    def receive(self, number: int, data: bytes) -> None:
        (connection,) = [each for each in self.connections if each.number == number]
        connection.reader.feed(data)
        while (reply := connection.reader.gets()) is not ...:
            connection.sent[connection.answered].answer(reply)
            connection.answered += 1

    def heal(self) -> None:
        self.has_leader = True
        for _ in range(200):
            self.turn()
            for submitted in self.under_way[:]:
                self.under_way.remove(submitted)
                self.execute(submitted, repeat=True)
            self.serve_reads()
            self.now += LIMITS.retry_delay_us
        self.turn()


@settings(max_examples=150, deadline=None)
@given(seed=st.integers(0, 2**32))
def test_plain_writes_take_effect_at_most_once_and_in_order(
    new_sent: type[Sent], check: Callable[..., None], seed: int
) -> None:
    world = World(new_sent, seed)
    for _ in range(250):
        world.step()
    world.heal()
    for ghost in world.ghosts:
        world.apply(ghost)
    for connection in world.connections:
        assert connection.answered == len(connection.sent), "everything is answered"
    check(world.state.query(Get(KEY)), [connection.sent for connection in world.everyone])


# ---------------------------------------------------------------------- one rule at a time


class Quiet(World):
    """The same, in which only what the test says happens."""

    def open(self) -> None:
        self.turn()
        self.execute(self.take_only(OpenSession), repeat=False)
        self.turn()

    def take_only(self, kind: type[Operation]) -> tuple[int, Operation]:
        (submitted,) = self.under_way
        self.under_way.clear()
        assert isinstance(submitted[1], kind)
        return submitted

    def write(self, client: int, *tokens: bytes) -> None:
        connection = self.connections[client]
        data = b""
        for token in tokens:
            connection.sent.append(self.new_sent(token, self.now))
            data += b"APPEND k %b\r\n" % token
        self.gateway.receive(connection.number, data, self.now)
        self.turn()

    def read(self, client: int) -> None:
        connection = self.connections[client]
        connection.sent.append(self.new_sent(b"", self.now))
        self.gateway.receive(connection.number, b"GET k\r\n", self.now)
        self.turn()

    def replies(self, client: int) -> list[object]:
        return [
            sent.reply if sent.code is None else sent.code for sent in self.connections[client].sent
        ]


def test_the_session_is_opened_before_anybody_asks(new_sent: type[Sent]) -> None:
    world = Quiet(new_sent)
    world.turn()
    _, operation = world.take_only(OpenSession)
    assert operation == OpenSession(owner=NODE, incarnation=(1 << 20) + 1)


def test_an_opening_that_was_interrupted_asks_for_the_same_session(new_sent: type[Sent]) -> None:
    world = Quiet(new_sent)
    world.turn()
    ticket, first = world.take_only(OpenSession)
    world.gateway.take_outcome(Interrupted(ticket), world.now)
    world.now += LIMITS.retry_delay_us
    world.turn()
    assert world.take_only(OpenSession)[1] == first


def test_an_opening_that_was_refused_is_repeated_after_a_pause(new_sent: type[Sent]) -> None:
    world = Quiet(new_sent)
    world.turn()
    ticket, first = world.take_only(OpenSession)
    world.gateway.take_outcome(NotProposed(ticket), world.now)
    world.turn()
    assert world.under_way == []
    world.now += LIMITS.retry_delay_us
    world.turn()
    assert world.take_only(OpenSession)[1] == first


def test_a_node_whose_later_incarnation_has_a_session_leaves_it_alone(new_sent: type[Sent]) -> None:
    world = Quiet(new_sent)
    world.apply(OpenSession(owner=NODE, incarnation=1 << 30))
    world.turn()
    world.execute(world.take_only(OpenSession), repeat=False)
    world.write(0, b"a")
    assert world.under_way == []
    world.now += LIMITS.command_timeout_us
    world.turn()
    assert world.replies(0) == ["NOTEXECUTED"]


@pytest.mark.parametrize(
    "nonsense",
    [Refusal.STALE, Refusal.MISMATCH, Refusal.TOO_MANY_SESSIONS, Refusal.SUPERSEDED],
)
def test_what_no_server_can_truly_say_of_a_write_leaves_its_outcome_unknown(
    new_sent: type[Sent], nonsense: Refusal
) -> None:
    # A leader whose answer is well formed and makes no sense must not stop the nodes that ask it.
    world = Quiet(new_sent)
    world.open()
    world.write(0, b"a", b"b")
    ticket, operation = world.take_only(Submission)
    world.apply(operation)
    result = SubmissionOutcomes((nonsense, b"\x02"))
    world.gateway.take_outcome(Completed(ticket, result, is_hearsay=True), world.now)
    world.turn()
    assert world.replies(0) == ["UNKNOWN", 2]
    # The node goes on behind them.
    world.write(0, b"c")
    world.execute(world.take_only(Submission), repeat=False)
    world.turn()
    assert world.replies(0)[2] == 3


def test_writes_of_all_connections_are_numbered_in_one_order(new_sent: type[Sent]) -> None:
    world = Quiet(new_sent)
    world.open()
    world.write(0, b"a", b"b")
    world.write(1, b"c")
    submissions = [operation for _, operation in world.under_way]
    assert [(s.first_seq, len(s.commands), s.acked) for s in submissions] == [  # type: ignore[union-attr]
        (1, 2, 0),
        (3, 1, 0),
    ]


def test_a_submission_has_a_size_but_one_write_always_fits(new_sent: type[Sent]) -> None:
    world = Quiet(new_sent)
    world.open()
    value = b"v" * 1_000_000
    sizes = [100_000, 500_000, 500_000, 1_000_000, 10, 10]
    data = b"".join(
        b"*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$%d\r\n%b\r\n" % (size, value[:size]) for size in sizes
    )
    world.gateway.receive(world.connections[0].number, data, world.now)
    world.turn()
    submissions = [operation for _, operation in world.under_way]
    assert [len(s.commands) for s in submissions if isinstance(s, Submission)] == [2, 1, 3]


def test_acked_moves_with_the_answers_from_the_oldest_on(new_sent: type[Sent]) -> None:
    world = Quiet(new_sent)
    world.open()
    for client in (0, 1, 2):
        world.write(client, b"x")
    first, *others = world.under_way
    world.under_way = []
    # The answers to the later ones come first; the leader had all three in order.
    results = [(ticket, world.apply(operation)) for ticket, operation in [first, *others]]
    for ticket, result in results[1:]:
        world.gateway.take_outcome(Completed(ticket, result), world.now)
    world.write(1, b"y")
    ((_, submission),) = world.under_way
    assert isinstance(submission, Submission)
    assert (submission.acked, submission.first_seq) == (0, 4)
    world.gateway.take_outcome(Completed(*results[0]), world.now)
    world.write(2, b"z")
    assert isinstance(submission := world.under_way[-1][1], Submission)
    assert (submission.acked, submission.first_seq) == (3, 5)


def test_after_a_loss_everything_unanswered_is_repeated_once(new_sent: type[Sent]) -> None:
    world = Quiet(new_sent)
    world.open()
    for client in (0, 1, 2):
        world.write(client, b"x")
    lost, world.under_way = world.under_way, []
    for ticket, _ in lost:
        world.gateway.take_outcome(Interrupted(ticket), world.now)
        world.turn()
    world.now += LIMITS.retry_delay_us
    world.turn()
    ((_, submission),) = world.under_way
    assert isinstance(submission, Submission)
    assert (submission.first_seq, len(submission.commands)) == (1, 3)


def test_a_write_that_is_given_up_first_is_fenced_by_the_next(new_sent: type[Sent]) -> None:
    world = Quiet(new_sent)
    world.open()
    world.write(0, b"a")
    world.now += LIMITS.command_timeout_us
    world.turn()
    assert world.replies(0) == ["UNKNOWN"]
    world.write(0, b"b")
    assert isinstance(submission := world.under_way[-1][1], Submission)
    assert (submission.acked, submission.first_seq) == (1, 2)


def test_a_write_that_is_given_up_out_of_turn_is_never_called_not_executed(
    new_sent: type[Sent],
) -> None:
    # 1. The first client's write waits for its read, while the second's is submitted.
    world = Quiet(new_sent)
    world.open()
    world.read(0)
    world.write(0, b"a")
    world.now += 1000
    world.write(1, b"b")
    # 2. The read is served, and the write gets its number, behind the other's.
    world.serve_reads()
    world.turn()
    # 3. Both submissions are refused, so no log has them. Then the time of the first is over.
    world.now += LIMITS.command_timeout_us - 2000
    for ticket, _ in world.under_way:
        world.gateway.take_outcome(NotProposed(ticket), world.now)
    world.under_way = []
    world.now += 1000
    world.turn()
    assert world.replies(0) == [None, "UNKNOWN"]
    # 4. Rightly so: it has gone along in its place when the other was repeated.
    world.execute(world.take_only(Submission), repeat=False)
    world.turn()
    assert world.replies(1) == [1]
    assert world.state.query(Get(KEY)) == b"ba"


def test_a_write_whose_submissions_were_all_refused_was_not_executed(new_sent: type[Sent]) -> None:
    world = Quiet(new_sent)
    world.open()
    world.write(0, b"a")
    for _ in range(3):
        ticket, _ = world.take_only(Submission)
        world.gateway.take_outcome(NotProposed(ticket), world.now)
        world.now += LIMITS.retry_delay_us
        world.turn()
    ticket, _ = world.take_only(Submission)
    world.gateway.take_outcome(NotProposed(ticket), world.now)
    world.has_leader = False
    world.now = LIMITS.command_timeout_us
    world.turn()
    assert world.replies(0) == ["NOTEXECUTED"]
    # And it never is: the next submission begins behind it.
    world.has_leader = True
    world.write(0, b"b")
    assert isinstance(submission := world.take_only(Submission)[1], Submission)
    assert (submission.acked, submission.first_seq) == (1, 2)


def test_an_expired_session_is_replaced_once(new_sent: type[Sent]) -> None:
    # 1. Two submissions are under way when the session expires.
    world = Quiet(new_sent)
    world.open()
    world.write(0, b"a")
    world.write(1, b"b")
    first, second = world.under_way
    world.under_way = []
    world.time_ms += 30_000
    # 2. The answer to the first says so: all writes under way are unknown.
    world.execute(first, repeat=False)
    world.turn()
    assert world.replies(0) == world.replies(1) == ["UNKNOWN"]
    world.execute(world.take_only(OpenSession), repeat=False)
    # 3. The answer to the second says so too, of the old session, not of the new one.
    world.execute(second, repeat=False)
    world.write(0, b"c")
    submitted = world.take_only(Submission)
    world.execute(submitted, repeat=False)
    world.turn()
    assert world.replies(0) == ["UNKNOWN", 1]
    assert world.state.query(Get(KEY)) == b"c"


def test_what_was_under_way_in_an_expired_session_is_not_repeated_in_the_next(
    new_sent: type[Sent],
) -> None:
    world = Quiet(new_sent)
    world.open()
    world.write(0, b"a")
    world.write(1, b"b")
    first, second = world.under_way
    world.under_way = []
    world.time_ms += 30_000
    world.execute(first, repeat=False)
    world.turn()
    world.execute(world.take_only(OpenSession), repeat=False)
    world.gateway.take_outcome(Interrupted(second[0]), world.now)
    world.now += LIMITS.retry_delay_us
    world.turn()
    assert world.under_way == []


# ---------------------------------------------------------------------- calls of clients' sessions


def call(world: Quiet, *words: str) -> tuple[int, Operation]:
    """Sends a call by the first client; how it was submitted."""
    connection = world.connections[0]
    connection.sent.append(world.new_sent(b"", world.now))
    world.gateway.receive(connection.number, " ".join(words).encode() + b"\r\n", world.now)
    world.turn()
    return world.take_only(OpenSession if words[0] == "QUORATE.SESSION" else Submission)


def test_a_call_whose_submissions_were_all_refused_was_not_executed(new_sent: type[Sent]) -> None:
    world = Quiet(new_sent)
    world.open()
    for ticket, _ in [call(world, "QUORATE.SESSION")]:
        world.gateway.take_outcome(NotProposed(ticket), world.now)
    world.turn()
    assert world.under_way == []
    world.now += LIMITS.retry_delay_us
    world.turn()
    ticket, _ = world.take_only(OpenSession)
    world.gateway.take_outcome(NotProposed(ticket), world.now)
    world.has_leader = False
    world.now = LIMITS.command_timeout_us
    world.turn()
    assert world.replies(0) == ["NOTEXECUTED"]


def test_a_call_that_was_given_up_is_not_submitted_again(new_sent: type[Sent]) -> None:
    world = Quiet(new_sent)
    world.open()
    ticket, _ = call(world, "ONCE 99 1 0 SET k v")
    world.now += LIMITS.command_timeout_us
    world.turn()
    assert world.replies(0) == ["UNKNOWN"]
    world.gateway.take_outcome(Interrupted(ticket), world.now)
    world.now += LIMITS.retry_delay_us
    world.turn()
    assert world.under_way == []


def test_what_is_said_of_one_submission_does_not_speak_for_another(new_sent: type[Sent]) -> None:
    # 1. The first submission is executed, and its answer is lost.
    world = Quiet(new_sent)
    world.open()
    world.execute(call(world, "QUORATE.SESSION"), repeat=False)
    world.turn()
    (session,) = world.replies(0)
    ticket, operation = call(world, f"ONCE {session} 1 0 APPEND k a")
    world.apply(operation)
    world.gateway.take_outcome(Interrupted(ticket), world.now)
    world.now += LIMITS.retry_delay_us
    world.turn()
    # 2. The session expires before the second. Its client, who sent the write once, would take
    #    SESSIONEXPIRED for leave to send it in another session.
    world.time_ms += 30_000
    world.execute(world.take_only(Submission), repeat=False)
    world.turn()
    assert world.replies(0) == [session, "UNKNOWN"]
    # Of a single submission it can be said.
    world.execute(call(world, f"ONCE {session} 2 0 APPEND k b"), repeat=False)
    world.turn()
    assert world.replies(0)[2] == "SESSIONEXPIRED"
