"""One replica: a real core, state and disk; the other servers are played by the test."""

from __future__ import annotations

import random
from collections.abc import Iterator
from typing import Any, TypeVar

import pytest

from quorate.codec.batch import (
    OpenedSession,
    OpenSession,
    Operation,
    OperationResult,
    Refusal,
    Submission,
    SubmissionOutcomes,
    decode_batch,
    decode_results,
    encode_batch,
    encode_results,
)
from quorate.raft.configuration import NodeId, configuration_of
from quorate.raft.core import Raft
from quorate.raft.entry import Entry, EntryKind
from quorate.raft.messages import (
    AppendEntries,
    AppendEntriesAnswer,
    Forward,
    ForwardAnswer,
    InstallSnapshot,
    PeerMessage,
    PreVote,
    PreVoteAnswer,
    ReadIndex,
    ReadIndexAnswer,
    RequestVote,
    RequestVoteAnswer,
    SnapshotNeeded,
)
from quorate.raft.ready import DurableState, Envelope, LogWrite, ReceivedChunk
from quorate.raft.settings import Settings
from quorate.raft.snapshot import SnapshotMetadata
from quorate.replica.outcomes import Completed, Interrupted, NotProposed, Outcome
from quorate.replica.replica import Replica, ReplicaLimits
from quorate.replica.replicated_state import ReplicatedState
from quorate.replica.sessions import SessionLimits, SessionTable
from quorate.replica.snapshot_taker import NEVER, SnapshotSettings
from quorate.storage.snapshots import SnapshotPart, StoredSnapshot

MessageT = TypeVar("MessageT")

SETTINGS = Settings()
SNAPSHOT_SIZE = 1000
BIG, BIG_TOO = "a" * 40_000, "b" * 40_000
"""A section has room for one of them."""
ON_DEMAND = SnapshotSettings(max_raft_state=NEVER)
IN_PARTS = SnapshotSettings(max_raft_state=NEVER, part_bytes=1)
CLIENT_SESSION = 2
"""The session that `Server.lead` and `Server.follow` have opened: index 2 of the log."""


class Words:
    """A state machine: it collects commands and answers each in capitals."""

    def __init__(self) -> None:
        self.words: list[bytes] = []

    def apply(self, command: bytes) -> bytes:
        self.words.append(command)
        return command.upper()

    def query(self, query: str) -> list[bytes]:
        assert query == "all"
        return list(self.words)

    def snapshot(self) -> Iterator[bytes]:
        return iter(list(self.words))

    def restore(self, section: bytes) -> None:
        self.words.append(section)

    def dismantle(self) -> Iterator[None]:
        while self.words:
            self.words.pop()
            yield

    def digest(self) -> bytes:
        return b"\n".join(self.words)


def _new_state() -> ReplicatedState[str, list[bytes]]:
    return ReplicatedState(Words(), SessionTable(SessionLimits()))


class Server:
    """Server 1 of three, alone; what comes out of it gathers in lists."""

    def __init__(
        self,
        *,
        limits: ReplicaLimits | None = None,
        voters: int = 3,
        durable: DurableState | None = None,
        snapshots: SnapshotSettings | None = None,
    ) -> None:
        snapshot = SnapshotMetadata(0, 0, 0, configuration_of(range(1, voters + 1)))
        self.now = 0
        self.raft = Raft(
            NodeId(1),
            durable=durable or DurableState(0, None, snapshot),
            settings=SETTINGS,
            rng=random.Random(0),
            now=0,
        )
        self.replica = Replica(self.raft, _new_state, limits, snapshots=snapshots)
        self.raft_state_bytes = 0
        """What its disk says that it holds."""
        self.received: list[ReceivedChunk] = []
        self.sent: list[Envelope] = []
        self.writes: list[LogWrite] = []
        self.outcomes: list[Outcome] = []
        self.answers: list[tuple[int, list[bytes]]] = []
        self.term = 0

    @property
    def state(self) -> ReplicatedState[str, list[bytes]]:
        return self.replica.state

    # ------------------------------------------------------------------ its driver

    def turn(self) -> None:
        """What is due, until nothing is; the disk is quick."""
        for _ in range(10):
            outcomes, reads = self.replica.take_outcomes(self.now)
            self.outcomes += outcomes
            self.answers += [(read.ticket, self.state.query(read.query)) for read in reads]
            ready = self.raft.take_ready(self.now)
            self.sent += ready.messages
            self.received += ready.received
            if ready.write is not None:
                self.writes.append(ready.write)
                self.replica.persisted(
                    ready.write.number, self.now, raft_state_bytes=self.raft_state_bytes
                )

    def submit(self, *operations: Operation, first_ticket: int = 1) -> None:
        for ticket, operation in enumerate(operations, first_ticket):
            self.replica.submit(ticket, operation)
        self.replica.propose(self.now)
        self.turn()

    def read(self, ticket: int) -> None:
        self.replica.read(ticket, "all")
        self.turn()

    def receive(self, sender: int, *messages: PeerMessage) -> None:
        """Messages arrive together."""
        for message in messages:
            self.replica.receive(NodeId(sender), message, self.now)
        self.turn()

    def wait(self, microseconds: int) -> None:
        """Time passes in small steps."""
        end = self.now + microseconds
        while self.now < end:
            self.now = min(end, self.now + SETTINGS.heartbeat_interval_us)
            self.raft.wake(self.now)
            self.turn()

    def take_part(self) -> SnapshotPart:
        """The next part of a snapshot, which there has to be now."""
        part = self.replica.take_snapshot_part(self.now)
        assert part is not None
        assert self.replica.take_snapshot_part(self.now) is None, "one at a time"
        return part

    def write_part(self, part: SnapshotPart) -> None:
        """The part is on the disk."""
        stored = StoredSnapshot(part.metadata, SNAPSHOT_SIZE) if part.is_last else None
        self.replica.snapshot_written(stored, self.now)
        self.now += SnapshotSettings().pause_us
        self.turn()

    def restore(self, *words: str) -> None:
        """The snapshot that it is to restore is read, and has these words."""
        snapshot = self.replica.take_restore()
        assert snapshot is not None
        for section in sections_of(snapshot.index, *words):
            self.replica.restore(section, self.now)
        self.turn()

    def take(self, kind: type[MessageT]) -> list[MessageT]:
        """Removes and returns what it sent of one kind."""
        taken: list[MessageT] = [e.message for e in self.sent if isinstance(e.message, kind)]
        self.sent = [e for e in self.sent if not isinstance(e.message, kind)]
        return taken

    def take_outcomes(self) -> list[Outcome]:
        outcomes, self.outcomes = self.outcomes, []
        return outcomes

    def take_answers(self) -> list[tuple[int, list[bytes]]]:
        answers, self.answers = self.answers, []
        return answers

    # ------------------------------------------------------------------ as the leader

    def acknowledge(self) -> None:
        """Follower 2 takes in all that was sent, and so a majority has it."""
        while requests := self.take(AppendEntries):
            for request in {request.id: request for request in requests}.values():
                last = request.prev_log_index + len(request.entries)
                self.receive(2, AppendEntriesAnswer(request.id, self.term, True, last, 0, 0))

    def win_election(self) -> None:
        while not (questions := self.take(PreVote)):
            self.wait(SETTINGS.election_timeout_us // 2)
        self.receive(2, PreVoteAnswer(questions[0].id, questions[0].term - 1, True))
        request = self.take(RequestVote)[0]
        self.term = request.term
        self.receive(2, RequestVoteAnswer(request.id, request.term, True))
        assert self.raft.is_leader

    def lead(self) -> None:
        """Wins an election and opens a session."""
        self.win_election()
        self.submit(OpenSession())
        self.acknowledge()
        assert self.take_outcomes() == [Completed(1, OpenedSession(CLIENT_SESSION))]

    # ------------------------------------------------------------------ as a follower

    def append(
        self, sender: int, *entries: Entry, term: int, previous: tuple[int, int], commit: int
    ) -> AppendEntries:
        return AppendEntries(1000 * sender + term, term, *previous, commit, entries)

    def follow(self, leader: int, *, term: int) -> None:
        """Follows a leader that has opened a session."""
        self.term = term
        entries = (no_op(1, term), entry(2, term, OpenSession()))
        self.receive(leader, self.append(leader, *entries, term=term, previous=(0, 0), commit=2))
        self.take(AppendEntriesAnswer)
        assert self.raft.leader == leader
        assert self.state.last_applied == 2


def entry(index: int, term: int, *operations: Operation) -> Entry:
    return Entry(index, term, index, EntryKind.DATA, encode_batch(operations))


def no_op(index: int, term: int) -> Entry:
    return Entry(index, term, index, EntryKind.NO_OP, b"")


def sections_of(index: int, *words: str) -> list[bytes]:
    """A snapshot of the state after so many entries: a no-op, a session, and a word each."""
    state = _new_state()
    state.apply(no_op(1, 1))
    state.apply(entry(2, 1, OpenSession()))
    for number, word in enumerate(words, 3):
        state.apply(entry(number, 1, write(word, seq=number - 2)))
    assert state.last_applied == index
    return list(state.snapshot())


def installed(server: Server, index: int) -> None:
    """A leader's snapshot, of term 1, is on the server's disk."""
    snapshot = SnapshotMetadata(index, 1, index, configuration_of([1, 2, 3]))
    server.receive(2, InstallSnapshot(index, server.term, snapshot, 10, 0, bytes(10)))
    (chunk,) = server.received
    server.received.clear()
    server.raft.chunk_written(chunk, 10, server.now)
    server.turn()


def write(*words: str, seq: int = 1) -> Submission:
    return Submission(CLIENT_SESSION, 0, seq, tuple(word.encode() for word in words))


def result(*replies: str) -> SubmissionOutcomes:
    return SubmissionOutcomes(tuple(reply.encode() for reply in replies))


@pytest.fixture
def leader() -> Server:
    server = Server()
    server.lead()
    return server


@pytest.fixture
def follower() -> Server:
    server = Server()
    server.follow(2, term=1)
    return server


# ---------------------------------------------------------------------- at the leader


def test_a_submission_ends_when_its_entry_is_committed(leader: Server) -> None:
    leader.submit(write("a", "b"))
    assert leader.take_outcomes() == []
    leader.acknowledge()
    assert leader.take_outcomes() == [Completed(1, result("A", "B"))]
    assert leader.state.query("all") == [b"a", b"b"]


def test_what_is_submitted_together_travels_in_one_entry(leader: Server) -> None:
    before = leader.raft.last_index
    leader.submit(write("a"), write("b", seq=2), OpenSession(), first_ticket=5)
    leader.acknowledge()
    assert leader.raft.last_index == before + 1
    assert leader.take_outcomes() == [
        Completed(5, result("A")),
        Completed(6, result("B")),
        Completed(7, OpenedSession(before + 1)),
    ]


def test_a_refused_operation_has_completed_too(leader: Server) -> None:
    leader.submit(Submission(99, 0, 1, (b"a",)))
    leader.acknowledge()
    expired = SubmissionOutcomes((Refusal.SESSION_EXPIRED,))
    assert leader.take_outcomes() == [Completed(1, expired)]


def test_max_batch_bytes_splits_what_is_submitted_together() -> None:
    server = Server(limits=ReplicaLimits(max_batch_bytes=200))
    server.lead()
    before = server.raft.last_index
    server.submit(
        write("a" * 50),  # with 37 bytes around it
        write("b" * 50, seq=2),
        write("c" * 50, seq=3),
        write("d" * 500, seq=4),
        write("e", seq=5),
    )
    server.acknowledge()
    assert [outcome.ticket for outcome in server.take_outcomes()] == [1, 2, 3, 4, 5]
    sizes = [
        len(decode_batch(server.raft.committed_entry(index).data))
        for index in range(before + 1, server.raft.last_index + 1)
    ]
    assert sizes == [2, 1, 1, 1]


def test_an_entry_opens_one_session_at_most(leader: Server) -> None:
    # Its index is the session's id.
    leader.submit(OpenSession(), OpenSession(), write("a"), OpenSession())
    leader.acknowledge()
    assert leader.take_outcomes() == [
        Completed(1, OpenedSession(3)),
        Completed(2, OpenedSession(4)),
        Completed(3, result("A")),
        Completed(4, OpenedSession(5)),
    ]


def test_max_uncommitted_bytes_bounds_what_a_leader_takes_in() -> None:
    server = Server(limits=ReplicaLimits(max_uncommitted_bytes=100))
    server.lead()
    server.submit(write("a" * 200))
    assert server.take_outcomes() == []
    server.submit(write("b", seq=2), first_ticket=2)
    assert server.take_outcomes() == [NotProposed(2)]
    server.acknowledge()
    assert server.take_outcomes() == [Completed(1, result("A" * 200))]
    server.submit(write("b", seq=2), first_ticket=3)
    server.acknowledge()
    assert server.take_outcomes() == [Completed(3, result("B"))]


def test_what_was_never_committed_does_not_count_as_uncommitted_for_ever() -> None:
    server = Server(limits=ReplicaLimits(max_uncommitted_bytes=100))
    server.lead()
    server.submit(write("a" * 200))
    server.receive(3, Forward(1, server.term, encode_batch((write("b" * 200, seq=2),))))
    server.wait(2 * SETTINGS.election_timeout_us)  # without an answer it stops leading
    assert not server.raft.is_leader
    server.win_election()
    server.acknowledge()
    server.submit(write("c", seq=2), first_ticket=2)
    assert NotProposed(2) not in server.take_outcomes()


# ---------------------------------------------------------------------- a leader no more


def test_who_waits_is_interrupted_at_once_when_the_leader_learns_of_another(
    leader: Server,
) -> None:
    leader.submit(write("a"))
    leader.submit(write("b", seq=2), first_ticket=2)
    newer = leader.term + 1
    leader.receive(3, leader.append(3, term=newer, previous=(2, 1), commit=2))
    assert leader.take_outcomes() == [Interrupted(1), Interrupted(2)]
    # Whatever becomes of the entry, nobody hears of it a second time.
    a, b = entry(3, 1, write("a")), entry(4, newer, write("x", seq=2))
    leader.receive(3, leader.append(3, a, b, term=newer, previous=(2, 1), commit=4))
    assert leader.take_outcomes() == []
    assert leader.state.query("all") == [b"a", b"x"]


def test_a_leader_without_a_majority_interrupts_who_waits(leader: Server) -> None:
    leader.submit(write("a"))
    leader.wait(2 * SETTINGS.election_timeout_us)
    assert leader.take_outcomes() == [Interrupted(1)]


def test_another_entry_at_the_index_is_not_ours(leader: Server) -> None:
    # The news of the other leader and of the commitment of its entry come together.
    leader.submit(write("a"))
    index, newer = leader.raft.last_index, leader.term + 1
    other = entry(index, newer, write("other"))
    leader.receive(3, leader.append(3, other, term=newer, previous=(2, 1), commit=index))
    assert leader.take_outcomes() == [NotProposed(1)]
    assert leader.state.query("all") == [b"other"]


def test_an_entry_of_ours_that_another_leader_commits_is_ours(leader: Server) -> None:
    leader.submit(write("a"))
    index, newer = leader.raft.last_index, leader.term + 1
    after = no_op(index + 1, newer)
    leader.receive(3, leader.append(3, after, term=newer, previous=(index, 1), commit=index + 1))
    assert leader.take_outcomes() == [Completed(1, result("A"))]


def test_a_leader_of_two_terms_does_not_mix_them_up(leader: Server) -> None:
    # 1. Its entry at index 3 reaches nobody, and another leader's entry takes its place.
    leader.submit(write("first"))
    newer = leader.term + 1
    leader.receive(3, leader.append(3, no_op(3, newer), term=newer, previous=(2, 1), commit=2))
    assert leader.take_outcomes() == [Interrupted(1)]
    # 2. It leads again, and what is submitted now is answered with its own result.
    leader.win_election()
    leader.submit(write("second"), first_ticket=2)
    leader.acknowledge()
    assert leader.take_outcomes() == [Completed(2, result("SECOND"))]
    assert leader.state.query("all") == [b"second"]


# ---------------------------------------------------------------------- at a follower


def told(ticket: int, result: OperationResult) -> Completed:
    """What another server says."""
    return Completed(ticket, result, is_hearsay=True)


def test_a_follower_passes_submissions_on(follower: Server) -> None:
    follower.submit(write("a"), write("b", seq=2))
    (forward,) = follower.take(Forward)
    assert decode_batch(forward.data) == (write("a"), write("b", seq=2))
    assert follower.take_outcomes() == []
    results = encode_results((result("A"), result("B")))
    follower.receive(2, ForwardAnswer(forward.id, 1, results))
    assert follower.take_outcomes() == [told(1, result("A")), told(2, result("B"))]
    # The answer speaks for the leader's state; our own follows when we hear of the commitment.
    assert follower.state.query("all") == []


def test_answers_may_come_in_any_order(follower: Server) -> None:
    follower.submit(write("a"))
    follower.submit(write("b", seq=2), first_ticket=2)
    first, second = follower.take(Forward)
    follower.receive(2, ForwardAnswer(second.id, 1, encode_results((result("B"),))))
    follower.receive(2, ForwardAnswer(first.id, 1, encode_results((result("A"),))))
    assert follower.take_outcomes() == [told(2, result("B")), told(1, result("A"))]


def test_what_the_asked_server_refuses_may_have_been_proposed(follower: Server) -> None:
    # 1. The leader takes the request into its log. 2. It steps down. 3. The network delivers the
    # request a second time, and that copy is refused. 4. The entry is committed all the same.
    follower.submit(write("a"), write("b", seq=2))
    (forward,) = follower.take(Forward)
    follower.receive(2, ForwardAnswer(forward.id, 1, None))
    assert follower.take_outcomes() == [Interrupted(1), Interrupted(2)]


def test_without_a_leader_nothing_is_proposed() -> None:
    server = Server()
    server.submit(write("a"))
    assert server.take_outcomes() == [NotProposed(1)]
    assert server.take(Forward) == []


def test_without_an_answer_a_submission_is_interrupted_after_a_time(follower: Server) -> None:
    follower.submit(write("a"))
    (forward,) = follower.take(Forward)
    for _ in range(11):
        follower.wait(SETTINGS.forward_timeout_us // 10)
        follower.receive(2, follower.append(2, term=1, previous=(2, 1), commit=2))
    assert follower.take_outcomes() == [Interrupted(1)]
    follower.receive(2, ForwardAnswer(forward.id, 1, encode_results((result("A"),))))
    assert follower.take_outcomes() == []


def test_a_change_of_leaders_interrupts_what_was_passed_on(follower: Server) -> None:
    follower.submit(write("a"))
    follower.receive(3, follower.append(3, term=2, previous=(2, 1), commit=2))
    assert follower.take_outcomes() == [Interrupted(1)]


def test_a_broken_link_to_the_leader_interrupts_what_was_passed_on(follower: Server) -> None:
    follower.submit(write("a"))
    follower.raft.link_changed(NodeId(2), up=False, now=follower.now)
    follower.turn()
    assert follower.take_outcomes() == [Interrupted(1)]


GARBAGE = [
    b"",
    b"\xff",
    b"garbage",
    encode_results(()),
    encode_results((result("A"),)),
    encode_results((result("A"), result("B"), result("C"))),
    encode_results((OpenedSession(5), result("B"))),
    encode_results((result("A"), OpenedSession(5))),
    encode_results((result(), result("B"))),
    encode_results((result("A", "A"), result("B"))),
]


@pytest.mark.parametrize("data", GARBAGE, ids=range(len(GARBAGE)))
def test_an_answer_that_makes_no_sense_tells_nothing(follower: Server, data: bytes) -> None:
    # Whether the writes were executed it does not say, and the server lives on.
    follower.submit(write("a"), write("b", seq=2))
    (forward,) = follower.take(Forward)
    follower.receive(2, ForwardAnswer(forward.id, 1, data))
    assert follower.take_outcomes() == [Interrupted(1), Interrupted(2)]


def test_a_keep_alive_has_one_outcome(follower: Server) -> None:
    follower.submit(write(), OpenSession())
    (forward,) = follower.take(Forward)
    results: tuple[OperationResult, ...] = (result(), OpenedSession(9))
    follower.receive(2, ForwardAnswer(forward.id, 1, encode_results(results)))
    assert follower.take_outcomes() == [told(1, result()), told(2, OpenedSession(9))]
    expired = SubmissionOutcomes((Refusal.SESSION_EXPIRED,))
    follower.submit(write())
    (forward,) = follower.take(Forward)
    follower.receive(2, ForwardAnswer(forward.id, 1, encode_results((expired,))))
    assert follower.take_outcomes() == [told(1, expired)]


# ---------------------------------------------------------------------- passed on to this one


def test_a_forwarded_batch_is_answered_with_its_results_when_it_is_committed(
    leader: Server,
) -> None:
    batch = encode_batch((write("a"), OpenSession()))
    leader.receive(3, Forward(77, leader.term, batch))
    assert leader.take(ForwardAnswer) == []
    index = leader.raft.last_index
    leader.acknowledge()
    (answer,) = leader.take(ForwardAnswer)
    assert answer.id == 77
    assert answer.data is not None
    assert decode_results(answer.data) == (result("A"), OpenedSession(index))
    # The bytes in the log are those that came.
    assert leader.raft.committed_entry(index).data == batch


@pytest.mark.parametrize(
    "data",
    [b"", b"garbage", b"\xff" * 100, encode_batch((OpenSession(), write("a"), OpenSession()))],
)
def test_a_batch_that_may_not_be_in_the_log_is_refused(leader: Server, data: bytes) -> None:
    before = leader.raft.last_index
    leader.receive(3, Forward(77, leader.term, data))
    assert leader.take(ForwardAnswer) == [ForwardAnswer(77, leader.term, None)]
    assert leader.raft.last_index == before


def test_a_server_that_does_not_lead_refuses(follower: Server) -> None:
    follower.receive(3, Forward(77, 1, encode_batch((write("a"),))))
    assert follower.take(ForwardAnswer) == [ForwardAnswer(77, 1, None)]


def test_a_leader_with_too_much_uncommitted_refuses() -> None:
    server = Server(limits=ReplicaLimits(max_uncommitted_bytes=100))
    server.lead()
    server.receive(3, Forward(1, server.term, encode_batch((write("a" * 200),))))
    server.receive(3, Forward(2, server.term, encode_batch((write("b", seq=2),))))
    assert server.take(ForwardAnswer) == [ForwardAnswer(2, server.term, None)]
    server.acknowledge()
    assert [answer.id for answer in server.take(ForwardAnswer)] == [1]


def test_a_deposed_leader_says_nothing_of_what_it_cannot_know(leader: Server) -> None:
    leader.receive(2, Forward(77, leader.term, encode_batch((write("a"),))))
    leader.receive(3, leader.append(3, term=leader.term + 1, previous=(2, 1), commit=2))
    assert leader.take(ForwardAnswer) == []


def test_a_forwarded_batch_whose_index_went_to_another_is_refused(leader: Server) -> None:
    leader.receive(2, Forward(77, leader.term, encode_batch((write("a"),))))
    newer = leader.term + 1
    other = entry(3, newer, write("other"))
    leader.receive(3, leader.append(3, other, term=newer, previous=(2, 1), commit=3))
    assert leader.take(ForwardAnswer) == [ForwardAnswer(77, newer, None)]


def test_a_repeated_batch_is_answered_twice_and_executed_once(leader: Server) -> None:
    batch = encode_batch((write("a"),))
    leader.receive(3, Forward(1, leader.term, batch), Forward(2, leader.term, batch))
    leader.acknowledge()
    one, two = leader.take(ForwardAnswer)
    assert one.data == two.data == encode_results((result("A"),))
    assert leader.state.query("all") == [b"a"]


# ---------------------------------------------------------------------- reads


def test_a_leader_serves_a_read_when_a_majority_has_confirmed_it(leader: Server) -> None:
    leader.read(1)
    assert leader.take_answers() == []
    leader.acknowledge()
    assert leader.take_answers() == [(1, [])]


def test_reads_that_wait_share_one_round(leader: Server) -> None:
    for ticket in range(1, 101):
        leader.replica.read(ticket, "all")
    leader.turn()
    assert len(leader.take(AppendEntries)) == 1  # to one follower, who makes a majority
    for ticket in range(101, 201):
        leader.replica.read(ticket, "all")
    leader.turn()
    assert leader.take(AppendEntries) == []


def test_a_read_sees_what_was_committed_before_it(leader: Server) -> None:
    leader.submit(write("a"))
    leader.acknowledge()
    leader.read(1)
    leader.acknowledge()
    assert leader.take_answers() == [(1, [b"a"])]


def test_a_read_that_arrives_during_a_round_waits_for_the_next(leader: Server) -> None:
    leader.read(1)
    (to_two,) = leader.take(AppendEntries)
    leader.read(2)
    leader.receive(2, AppendEntriesAnswer(to_two.id, leader.term, True, 2, 0, 0))
    assert leader.take_answers() == [(1, [])]
    leader.acknowledge()
    assert leader.take_answers() == [(2, [])]


def test_a_new_leader_serves_reads_only_after_an_entry_of_its_term(leader: Server) -> None:
    server = Server()
    server.win_election()
    server.read(1)
    requests = server.take(AppendEntries)
    for request in requests:
        if not request.entries:
            server.receive(2, AppendEntriesAnswer(request.id, server.term, True, 0, 0, 0))
    assert server.take_answers() == []
    server.sent += [Envelope(NodeId(2), request) for request in requests if request.entries]
    server.acknowledge()
    assert server.take_answers() == [(1, [])]
    assert leader.raft.is_leader


def test_a_cancelled_read_is_not_served(leader: Server) -> None:
    leader.replica.read(1, "all")
    leader.replica.read(2, "all")
    leader.replica.cancel_read(1)
    leader.turn()
    leader.read(3)
    leader.replica.cancel_read(3)
    leader.acknowledge()
    assert leader.take_answers() == [(2, [])]


def test_a_server_alone_serves_at_once() -> None:
    server = Server(voters=1)
    while not server.raft.is_leader:
        server.wait(SETTINGS.election_timeout_us)
    server.submit(OpenSession())
    assert server.take_outcomes() == [Completed(1, OpenedSession(CLIENT_SESSION))]
    server.submit(write("a"))
    server.read(1)
    assert server.take_outcomes() == [Completed(1, result("A"))]
    assert server.take_answers() == [(1, [b"a"])]


def test_a_follower_serves_a_read_when_it_has_applied_the_leaders_index(follower: Server) -> None:
    follower.read(1)
    (question,) = follower.take(ReadIndex)
    follower.receive(2, ReadIndexAnswer(question.id, 1, 4))
    assert follower.take_answers() == []
    a, b = entry(3, 1, write("a")), entry(4, 1, write("b", seq=2))
    follower.receive(2, follower.append(2, a, b, term=1, previous=(2, 1), commit=3))
    assert follower.take_answers() == []
    follower.receive(2, follower.append(2, term=1, previous=(4, 1), commit=4))
    assert follower.take_answers() == [(1, [b"a", b"b"])]


def test_a_follower_asks_once_for_all_reads_that_wait(follower: Server) -> None:
    for ticket in (1, 2, 3):
        follower.replica.read(ticket, "all")
    follower.turn()
    follower.read(4)
    (question,) = follower.take(ReadIndex)
    follower.receive(2, ReadIndexAnswer(question.id, 1, 2))
    assert [ticket for ticket, _ in follower.take_answers()] == [1, 2, 3]
    (question,) = follower.take(ReadIndex)
    follower.receive(2, ReadIndexAnswer(question.id, 1, 2))
    assert [ticket for ticket, _ in follower.take_answers()] == [4]


def test_a_late_answer_is_not_taken_for_a_later_read(follower: Server) -> None:
    follower.read(1)
    (first,) = follower.take(ReadIndex)
    # The answer is so late that the question was asked again.
    follower.wait(SETTINGS.append_timeout_us * 2)
    follower.receive(2, ReadIndexAnswer(first.id, 1, 2))
    assert follower.take_answers() == []
    second = follower.take(ReadIndex)[-1]
    follower.receive(2, ReadIndexAnswer(second.id, 1, 2))
    assert follower.take_answers() == [(1, [])]


def test_reads_wait_while_there_is_no_leader_and_are_served_by_the_next() -> None:
    server = Server()
    server.read(1)
    server.read(2)
    server.replica.cancel_read(2)
    assert server.take(ReadIndex) == []
    server.follow(3, term=1)
    server.turn()
    (question,) = server.take(ReadIndex)
    server.receive(3, ReadIndexAnswer(question.id, 1, 2))
    assert server.take_answers() == [(1, [])]


def test_reads_of_a_deposed_leader_are_served_by_the_next(leader: Server) -> None:
    leader.read(1)
    newer = leader.term + 1
    other = entry(3, newer, write("other"))
    leader.receive(3, leader.append(3, other, term=newer, previous=(2, 1), commit=3))
    assert leader.take_answers() == []
    (question,) = leader.take(ReadIndex)
    leader.receive(3, ReadIndexAnswer(question.id, newer, 3))
    assert leader.take_answers() == [(1, [b"other"])]


def test_a_follower_that_becomes_leader_serves_the_reads_that_waited(follower: Server) -> None:
    follower.read(1)
    follower.take(ReadIndex)
    follower.win_election()
    assert follower.take_answers() == []
    follower.acknowledge()
    assert follower.take_answers() == [(1, [])]


def test_a_server_that_cannot_tell_is_asked_again(follower: Server) -> None:
    follower.read(1)
    (question,) = follower.take(ReadIndex)
    follower.receive(2, ReadIndexAnswer(question.id, 1, None))
    assert follower.take_answers() == []
    follower.wait(SETTINGS.append_timeout_us)
    again = follower.take(ReadIndex)[-1]
    follower.receive(2, ReadIndexAnswer(again.id, 1, 2))
    assert follower.take_answers() == [(1, [])]


# ---------------------------------------------------------------------- snapshots of its own


def leading(**settings: Any) -> Server:
    server = Server(**settings)
    server.lead()
    return server


def do(server: Server, word: str, seq: int) -> None:
    server.submit(write(word, seq=seq), first_ticket=seq)
    server.acknowledge()
    assert server.take_outcomes() == [Completed(seq, result(word.upper()))]


def test_a_snapshot_that_somebody_asks_for_takes_the_place_of_the_log() -> None:
    server = leading(snapshots=ON_DEMAND)
    do(server, "a", 1)
    assert server.replica.take_snapshot_part(server.now) is None
    server.replica.request_snapshot()
    part = server.take_part()
    assert (part.metadata.index, part.metadata.term) == (3, 1)
    assert (part.is_first, part.is_last) == (True, True)
    assert part.sections == tuple(server.state.snapshot())
    assert server.raft.log_start.index == 0, "it is not durable yet"
    server.write_part(part)
    assert server.raft.snapshot == part.metadata
    assert server.raft.log_start.index == 3
    do(server, "b", 2)


def test_one_is_taken_when_the_disk_holds_too_much() -> None:
    server = leading(snapshots=SnapshotSettings(max_raft_state=200))
    server.raft_state_bytes = 200
    do(server, "a", 1)
    assert server.replica.take_snapshot_part(server.now) is None
    server.raft_state_bytes = 201
    do(server, "b", 2)
    assert server.take_part().metadata.index == 4


def test_the_server_goes_on_while_the_parts_of_a_snapshot_are_written() -> None:
    server = leading(snapshots=IN_PARTS)
    do(server, BIG, 1)
    do(server, BIG_TOO, 2)
    server.replica.request_snapshot()
    parts = [server.take_part()]
    do(server, "c", 3)
    server.read(1)
    server.acknowledge()
    assert [len(words) for _, words in server.take_answers()] == [3]
    while not parts[-1].is_last:
        server.write_part(parts[-1])
        parts.append(server.take_part())
        do(server, "d", 2 + len(parts))
    assert len(parts) >= 2
    assert server.raft.snapshot.index == 0
    server.write_part(parts[-1])
    assert server.raft.snapshot.index == 4
    assert server.raft.last_index > server.raft.log_start.index == 4
    # What it holds is the state as of when it was begun.
    state = _new_state()
    for part in parts:
        for section in part.sections:
            state.restore(section)
    assert state.is_restored
    assert (state.last_applied, state.query("all")) == (4, [BIG.encode(), BIG_TOO.encode()])


def test_one_for_which_there_is_no_space_is_tried_again_and_the_log_stays() -> None:
    server = leading(snapshots=IN_PARTS)
    do(server, BIG, 1)
    do(server, BIG_TOO, 2)
    server.replica.request_snapshot()
    server.write_part(server.take_part())
    server.take_part()
    server.replica.snapshot_failed(server.now)
    assert server.replica.take_snapshot_part(server.now) is None
    assert server.replica.deadline() == server.now + IN_PARTS.retry_us
    assert server.raft.log_start.index == 0
    do(server, "c", 3)
    server.now += IN_PARTS.retry_us
    part = server.take_part()
    assert (part.is_first, part.metadata.index) == (True, 5), "it has everything by then"


def test_what_the_last_one_frees_makes_no_other_one_due_before_the_disk_has_let_go_of_it() -> None:
    """Under load each snapshot was followed by another one at once.

    1. While a snapshot is taken, more entries are applied, a good part of all that is in the log.
    2. The snapshot is durable; that the log begins behind it is still to be written.
    3. So the disk's size is that of the old log, beyond its bound, and much was applied since the
       snapshot began: another one seemed due, though the log is short from the next write on.
    """
    server = leading(snapshots=SnapshotSettings(max_raft_state=100_000, part_bytes=1))
    server.raft_state_bytes = 120_000
    do(server, BIG, 1)
    do(server, BIG_TOO, 2)
    parts = [server.take_part()]
    do(server, BIG, 3)
    while not parts[-1].is_last:
        server.write_part(parts[-1])
        parts.append(server.take_part())
    server.replica.snapshot_written(StoredSnapshot(parts[-1].metadata, SNAPSHOT_SIZE), server.now)
    assert server.replica.take_snapshot_part(server.now) is None
    server.raft_state_bytes = 41_000
    server.turn()
    assert server.writes[-1].start == server.raft.log_start
    assert server.replica.take_snapshot_part(server.now) is None
    server.raft_state_bytes = 101_000
    do(server, BIG_TOO, 4)
    assert server.take_part().metadata.index == 6


def test_who_asks_when_nothing_is_new_has_it_already() -> None:
    server = leading(snapshots=ON_DEMAND)
    server.replica.request_snapshot()
    server.write_part(server.take_part())
    server.replica.request_snapshot()
    assert server.replica.take_snapshot_part(server.now) is None
    assert server.replica.deadline() is None
    do(server, "a", 1)
    assert server.replica.take_snapshot_part(server.now) is None, "that was before"


def test_who_asks_while_one_is_taken_gets_the_next() -> None:
    server = leading(snapshots=ON_DEMAND)
    server.replica.request_snapshot()
    part = server.take_part()
    do(server, "a", 1)
    server.replica.request_snapshot()
    server.write_part(part)
    assert server.raft.snapshot.index == 2
    server.write_part(server.take_part())
    assert server.raft.snapshot.index == 3


# ---------------------------------------------------------------------- a state from a snapshot


def restarted() -> Server:
    """A server that starts with a snapshot of one word, and an entry behind it."""
    snapshot = SnapshotMetadata(3, 1, 3, configuration_of([1, 2, 3]))
    entries = (entry(4, 1, write("b", seq=2)),)
    server = Server(durable=DurableState(1, None, snapshot, entries, snapshot_size=10))
    server.term = 1
    server.turn()
    return server


def test_a_server_that_starts_restores_its_snapshot_before_anything_is_applied() -> None:
    server = restarted()
    assert server.replica.is_restoring
    server.receive(2, server.append(2, term=1, previous=(4, 1), commit=4))
    assert server.raft.commit_index == 4
    assert server.state.last_applied == 0
    snapshot = server.replica.take_restore()
    assert snapshot is not None
    assert snapshot.index == 3
    assert server.replica.take_restore() is None, "it is told once"
    (section,) = sections_of(3, "a")
    server.replica.restore(section, server.now)
    assert server.replica.restored_bytes == len(section)
    assert not server.replica.is_restoring
    server.turn()
    assert server.state.query("all") == [b"a", b"b"]


def test_reads_wait_for_the_state_and_writes_are_passed_on_meanwhile() -> None:
    server = restarted()
    server.receive(2, server.append(2, term=1, previous=(4, 1), commit=4))
    server.read(1)
    (question,) = server.take(ReadIndex)
    server.receive(2, ReadIndexAnswer(question.id, 1, 4))
    server.submit(write("c", seq=3), first_ticket=7)
    (forward,) = server.take(Forward)
    server.receive(2, ForwardAnswer(forward.id, 1, encode_results((result("C"),))))
    assert server.take_outcomes() == [told(7, result("C"))]
    assert server.take_answers() == []
    server.restore("a")
    assert server.take_answers() == [(1, [b"a", b"b"])]


def test_while_it_restores_a_server_takes_no_snapshot() -> None:
    server = restarted()
    server.replica.request_snapshot()
    assert server.replica.take_snapshot_part(server.now) is None
    assert server.replica.deadline() is None, "there is nothing to wake up for"
    server.restore("a")
    server.receive(2, server.append(2, term=1, previous=(4, 1), commit=4))
    assert server.take_part().metadata.index == 4


def test_what_is_no_section_is_an_error() -> None:
    server = restarted()
    with pytest.raises(ValueError, match="section"):
        server.replica.restore(b"garbage", server.now)


def test_an_installed_snapshot_replaces_the_state_when_all_of_it_is_there(
    follower: Server,
) -> None:
    follower.receive(
        2, follower.append(2, entry(3, 1, write("a")), term=1, previous=(2, 1), commit=3)
    )
    follower.read(1)
    (question,) = follower.take(ReadIndex)
    follower.receive(2, ReadIndexAnswer(question.id, 1, 5))
    installed(follower, 5)
    assert follower.replica.is_restoring
    assert follower.state.query("all") == [b"a"], "whoever needs no more is still served"
    assert follower.take_answers() == []
    follower.restore("a", "b", "c")
    assert follower.state.query("all") == [b"a", b"b", b"c"]
    assert follower.take_answers() == [(1, [b"a", b"b", b"c"])]
    following = entry(6, 1, write("d", seq=4))
    follower.receive(2, follower.append(2, following, term=1, previous=(5, 1), commit=6))
    assert follower.state.query("all") == [b"a", b"b", b"c", b"d"]


def test_a_snapshot_under_way_is_given_up_for_one_that_was_installed() -> None:
    follower = Server(snapshots=IN_PARTS)
    follower.follow(2, term=1)
    words = (entry(3, 1, write(BIG)), entry(4, 1, write(BIG_TOO, seq=2)))
    follower.receive(2, follower.append(2, *words, term=1, previous=(2, 1), commit=4))
    follower.replica.request_snapshot()
    part = follower.take_part()
    assert not part.is_last
    installed(follower, 5)
    follower.write_part(part)  # it was on its way
    assert follower.replica.take_snapshot_part(follower.now) is None
    follower.restore("a", "b", "c")
    assert follower.replica.take_snapshot_part(follower.now) is None
    assert follower.raft.snapshot.index == 5


def test_a_newer_snapshot_that_comes_while_one_is_restored_is_restored_instead(
    follower: Server,
) -> None:
    installed(follower, 4)
    snapshot = follower.replica.take_restore()
    assert snapshot is not None
    first, *_ = sections_of(4, BIG, BIG_TOO)
    follower.replica.restore(first, follower.now)
    assert follower.replica.is_restoring
    installed(follower, 5)
    assert follower.replica.restored_bytes == 0
    follower.restore("a", "b", "c")
    assert not follower.replica.is_restoring
    assert follower.state.query("all") == [b"a", b"b", b"c"]


def test_what_was_submitted_before_is_settled_though_a_snapshot_takes_the_place_of_its_entry(
    leader: Server,
) -> None:
    """Whoever waited for an index that a snapshot covers must not wait for ever."""
    leader.submit(write("a"))
    leader.receive(3, leader.append(3, term=leader.term + 1, previous=(2, 1), commit=2))
    leader.term += 1
    installed_by_three = SnapshotMetadata(9, 1, 9, configuration_of([1, 2, 3]))
    leader.receive(3, InstallSnapshot(1, leader.term, installed_by_three, 10, 0, bytes(10)))
    leader.raft.chunk_written(leader.received.pop(), 10, leader.now)
    leader.turn()
    assert leader.take_outcomes() == [Interrupted(1)]
    leader.restore(*"bcdefgh")
    leader.submit(write("x", seq=8), first_ticket=2)
    (forward,) = leader.take(Forward)
    leader.receive(3, ForwardAnswer(forward.id, leader.term, encode_results((result("X"),))))
    assert leader.take_outcomes() == [told(2, result("X"))]


def test_a_follower_that_has_lost_its_snapshot_has_the_leader_take_one() -> None:
    server = leading(snapshots=ON_DEMAND)
    do(server, "a", 1)
    server.wait(SETTINGS.heartbeat_interval_us)
    request = server.take(AppendEntries)[-1]
    server.receive(2, SnapshotNeeded(request.id, server.term, 3))
    assert server.take_part().metadata.index == 3


def test_a_server_that_joins_takes_no_snapshot_before_it_knows_the_members() -> None:
    """Found by the simulation (`--churn`, seed 198, 5 seconds).

    1. A server was added before there was any configuration in the log, which began with the
    members that the cluster was started with. 2. It got the log from its beginning, and took a
    snapshot before it had come by the entry that added it. 3. That said that there were no members.
    """
    server = Server(voters=0, snapshots=ON_DEMAND)
    server.follow(2, term=1)
    server.replica.request_snapshot()
    assert server.replica.take_snapshot_part(server.now) is None
    assert server.replica.deadline() is None, "it does not wait for that"
    members = configuration_of([1, 2])
    added = Entry(3, 1, 3, EntryKind.CONFIGURATION, configuration=members)
    server.receive(2, server.append(2, added, term=1, previous=(2, 1), commit=3))
    server.replica.request_snapshot()
    assert server.take_part().metadata.configuration == members
