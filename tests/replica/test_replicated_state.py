from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from quorate.codec.batch import (
    OpenedSession,
    OpenSession,
    Operation,
    Refusal,
    Submission,
    SubmissionOutcomes,
    encode_batch,
)
from quorate.codec.errors import DecodeError
from quorate.kv.commands import Append, Command, Delete, Put, encode_command, encode_reply
from quorate.kv.queries import Get, Query, QueryResult
from quorate.kv.table import Table
from quorate.raft.entry import Entry, EntryKind
from quorate.replica.replicated_state import ReplicatedState
from quorate.replica.sessions import SessionLimits, SessionTable

LIMITS = SessionLimits(window=4, ordered_window=6, client_sessions=2, protected_ms=10, ttl_ms=100)
OK = encode_reply(None)


def new_state() -> ReplicatedState[Query, QueryResult]:
    return ReplicatedState(Table(max_value_bytes=8), SessionTable(LIMITS))


def entry(index: int, *operations: Operation, time_ms: int = 0, term: int = 1) -> Entry:
    return Entry(index, term, time_ms, EntryKind.DATA, encode_batch(operations))


def no_op(index: int, *, time_ms: int = 0, term: int = 1) -> Entry:
    return Entry(index, term, time_ms, EntryKind.NO_OP, b"")


def restarted(state: ReplicatedState[Query, QueryResult]) -> ReplicatedState[Query, QueryResult]:
    """Another one with the same contents, by way of a snapshot."""
    restored = ReplicatedState(Table(), SessionTable(SessionLimits()))
    for section in state.snapshot():
        restored.restore(section)
    assert restored.is_restored
    return restored


def writes(session: int, *commands: Command, seq: int = 1, acked: int = 0) -> Submission:
    return Submission(session, acked, seq, tuple(encode_command(command) for command in commands))


def test_a_new_state_has_applied_nothing() -> None:
    state = new_state()
    assert (state.last_applied, state.time_ms) == (0, 0)


def test_the_operations_of_an_entry_take_effect_in_order() -> None:
    state = new_state()
    assert state.apply(
        entry(1, OpenSession(), writes(1, Put(b"k", b"a"), Append(b"k", b"b")), writes(1, seq=3))
    ) == (
        OpenedSession(1),
        SubmissionOutcomes((OK, encode_reply(2))),
        SubmissionOutcomes(()),
    )
    assert state.query(Get(b"k")) == b"ab"


def test_a_write_in_two_entries_takes_effect_once() -> None:
    state = new_state()
    append = writes(1, Append(b"k", b"a"))
    state.apply(entry(1, OpenSession()))
    first = state.apply(entry(2, append))
    assert state.apply(entry(3, append)) == first
    assert state.query(Get(b"k")) == b"a"


def test_a_failed_command_is_answered_again_like_any_other() -> None:
    state = new_state()
    append = writes(1, Append(b"k", b"123456789"))
    state.apply(entry(1, OpenSession()))
    failure = state.apply(entry(2, append))
    state.apply(entry(3, writes(1, Put(b"k", b""), seq=2)))
    assert state.apply(entry(4, append)) == failure
    assert state.query(Get(b"k")) == b""


def test_each_entry_moves_index_and_time() -> None:
    state = new_state()
    assert state.apply(no_op(1, term=3, time_ms=50)) == ()
    assert (state.last_applied, state.time_ms) == (1, 50)
    state.apply(entry(2, OpenSession(), term=4, time_ms=60))
    assert (state.last_applied, state.time_ms) == (2, 60)


def test_the_term_of_the_last_entry_is_a_part_of_the_state() -> None:
    state, other = new_state(), new_state()
    state.apply(no_op(1, term=3))
    other.apply(no_op(1, term=4))
    assert state.digest() != other.digest()


def test_sessions_expire_before_the_operations_of_the_same_entry() -> None:
    state = new_state()
    state.apply(entry(1, OpenSession()))
    results = state.apply(entry(2, writes(1, Put(b"k", b"a")), time_ms=101))
    assert results == (SubmissionOutcomes((Refusal.SESSION_EXPIRED,)),)
    assert state.query(Get(b"k")) is None


def test_a_no_op_lets_sessions_expire() -> None:
    state = new_state()
    state.apply(entry(1, OpenSession()))
    before = len(next(state.snapshot()))
    state.apply(no_op(2, time_ms=101))
    assert len(next(state.snapshot())) < before


def test_an_entry_out_of_turn_is_our_own_bug() -> None:
    state = new_state()
    with pytest.raises(AssertionError, match="one after the other"):
        state.apply(no_op(2))
    state.apply(no_op(1))
    with pytest.raises(AssertionError, match="one after the other"):
        state.apply(no_op(1))


def test_time_that_goes_back_is_our_own_bug() -> None:
    state = new_state()
    state.apply(no_op(1, time_ms=5))
    with pytest.raises(AssertionError, match="never goes back"):
        state.apply(no_op(2, time_ms=4))


def test_a_committed_entry_that_holds_no_batch_is_our_own_bug() -> None:
    state = new_state()
    with pytest.raises(AssertionError, match="entry 1 is committed but no batch"):
        state.apply(Entry(1, 1, 0, EntryKind.DATA, b"garbage"))


def test_a_snapshot_holds_everything() -> None:
    state = new_state()
    state.apply(entry(1, OpenSession(), term=2, time_ms=7))
    state.apply(entry(2, writes(1, Put(b"k", b"a")), term=2, time_ms=8))
    restored = restarted(state)
    assert (restored.last_applied, restored.time_ms) == (2, 8)
    assert restored.query(Get(b"k")) == b"a"
    assert list(restored.snapshot()) == list(state.snapshot())
    assert restored.digest() == state.digest()


def test_a_small_state_is_one_section_of_few_bytes() -> None:
    state = new_state()
    state.apply(entry(1, OpenSession(), term=2, time_ms=7_000))
    state.apply(entry(2, writes(1, Put(b"key", b"12345678")), term=2, time_ms=8_000))
    (section,) = state.snapshot()
    assert len(section) < 100


def test_bytes_that_are_no_section_are_refused() -> None:
    (section,) = new_state().snapshot()
    for length in range(len(section)):
        with pytest.raises(DecodeError):
            new_state().restore(section[:length])


def large_state() -> ReplicatedState[Query, QueryResult]:
    """Its table takes three sections."""
    state = ReplicatedState(Table(), SessionTable(LIMITS))
    puts = [Put(b"key-%d" % number, bytes(30_000)) for number in range(5)]
    state.apply(
        entry(1, OpenSession(), writes(1, *puts[:4], acked=0), writes(1, *puts[4:], seq=5, acked=4))
    )
    return state


def test_a_state_is_restored_when_its_last_section_has_come() -> None:
    state = large_state()
    restored = ReplicatedState(Table(), SessionTable(SessionLimits()))
    assert not restored.is_restored
    *sections, last = state.snapshot()
    assert len(sections) > 1
    for section in sections:
        restored.restore(section)
        assert not restored.is_restored
    restored.restore(last)
    assert restored.is_restored
    assert restored.digest() == state.digest()


def test_entries_applied_while_sections_are_fetched_are_not_in_them() -> None:
    state = large_state()
    before = state.digest()
    walk = state.snapshot()
    sections = [next(walk)]
    for index in range(2, 8):
        key = b"key-%d" % (index - 2)
        commands = (Append(key, b"new"), Delete((key,)), Put(b"another", key))
        seq = 3 * index
        state.apply(entry(index, writes(1, *commands, seq=seq, acked=seq - 1), time_ms=index))
    sections += walk
    restored = ReplicatedState(Table(), SessionTable(SessionLimits()))
    for section in sections:
        restored.restore(section)
    assert restored.last_applied == 1
    assert restored.digest() == before
    assert restarted(state).digest() == state.digest() != before


@pytest.mark.parametrize("fetched", [0, 1, 2])
def test_a_snapshot_that_is_dropped_is_over(fetched: int) -> None:
    state = large_state()
    walk = state.snapshot()
    for _ in range(fetched):
        next(walk)
    del walk
    assert restarted(state).digest() == state.digest()


def test_an_empty_section_of_the_machine_goes_through_and_is_not_kept() -> None:
    """The machine tidies up, also behind its last section."""

    class Untidy(Table):
        def snapshot(self) -> Iterator[bytes]:
            yield b""
            yield from super().snapshot()
            yield b""
            yield b""

    state = ReplicatedState(Untidy(), SessionTable(LIMITS))
    *empty, section = state.snapshot()
    assert empty == [b"", b"", b""]
    restored = ReplicatedState(Table(), SessionTable(SessionLimits()))
    restored.restore(section)
    assert restored.is_restored


def test_a_section_that_is_not_the_one_that_is_due_is_refused() -> None:
    state = large_state()
    sections = list(state.snapshot())
    state.apply(no_op(2))
    later = list(state.snapshot())
    first, second = sections[:2]
    for wrong in (
        [second],
        [first, first],
        [first, *sections[2:]],
        [first, later[1]],
        [*sections, first],
    ):
        restored = ReplicatedState(Table(), SessionTable(SessionLimits()))
        *good, bad = wrong
        for section in good:
            restored.restore(section)
        with pytest.raises(DecodeError, match="out of place"):
            restored.restore(bad)


def test_any_machine_gets_exactly_once() -> None:
    class Counter:
        def __init__(self) -> None:
            self.total = 0

        def apply(self, command: bytes) -> bytes:
            self.total += len(command)
            return b"%d" % self.total

        def query(self, _: None) -> int:
            return self.total

        def snapshot(self) -> Iterator[bytes]:
            return iter([self.digest()])

        def restore(self, section: bytes) -> None:
            self.total = int(section)

        def dismantle(self) -> Iterator[None]:
            return iter(())

        def digest(self) -> bytes:
            return b"%d" % self.total

    state = ReplicatedState(Counter(), SessionTable(LIMITS))
    state.apply(entry(1, OpenSession()))
    for index in (2, 3):
        result = state.apply(entry(index, Submission(1, 0, 1, (b"abc",))))
        assert result == (SubmissionOutcomes((b"3",)),)
    assert state.query(None) == 3


keys = st.sampled_from([b"a", b"b"])
commands = st.one_of(
    st.builds(Put, keys, st.binary(max_size=9)),
    st.builds(Append, keys, st.binary(max_size=3)),
    st.builds(Delete, st.lists(keys, max_size=2).map(tuple)),
).map(encode_command)
submissions = st.builds(
    Submission,
    session=st.integers(1, 6),
    acked=st.integers(0, 5),
    first_seq=st.integers(1, 8),
    commands=st.lists(st.one_of(commands, st.binary(max_size=3)), max_size=4).map(tuple),
    owner=st.integers(0, 1),
)
opens = st.one_of(
    st.just(OpenSession()),
    st.builds(OpenSession, owner=st.just(1), incarnation=st.integers(1, 3)),
)
batches: st.SearchStrategy[tuple[Any, ...]] = st.one_of(
    st.just(()),
    st.lists(submissions, max_size=3).map(tuple),
    st.tuples(opens, submissions),
)


@settings(max_examples=150)
@given(
    entries=st.lists(st.tuples(st.integers(0, 60), batches), max_size=25),
    restarts=st.sets(st.integers(1, 25)),
)
def test_a_server_that_restarts_from_snapshots_goes_on_like_one_that_never_did(
    entries: list[tuple[int, tuple[Operation, ...]]], restarts: set[int]
) -> None:
    steady, restarting = new_state(), new_state()
    time_ms = 0
    for index, (elapsed_ms, operations) in enumerate(entries, start=1):
        if index in restarts:
            restarting = restarted(restarting)
        time_ms += elapsed_ms
        step = entry(index, *operations, time_ms=time_ms)
        assert restarting.apply(step) == steady.apply(step)
        assert restarting.digest() == steady.digest()
