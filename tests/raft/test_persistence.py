"""Which write makes what durable, compared with a twin that models the disk."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from quorate.raft.configuration import NodeId, configuration_of
from quorate.raft.entry import ENTRY_HEADER_BYTES, Entry, EntryKind
from quorate.raft.persistence import Persistence, Promise
from quorate.raft.ready import DurableState, LogWrite
from quorate.raft.settings import Settings
from quorate.raft.snapshot import LogStart, SnapshotMetadata

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    NewDisk = Callable[..., DurableState]


SIZE = ENTRY_HEADER_BYTES + 3
"""What one entry counts for."""


def entry(index: int, term: int) -> Entry:
    return Entry(index, term, 0, EntryKind.DATA, b"%d/%d" % (index, term))


def entries_from(index: int, *terms: int) -> list[Entry]:
    return [entry(index + position, term) for position, term in enumerate(terms)]


def issue(persistence: Persistence) -> LogWrite:
    write = persistence.take_write()
    assert write is not None
    return write


def test_what_the_disk_held_at_the_start_is_durable(new_disk_state: NewDisk) -> None:
    persistence = Persistence(new_disk_state(term=3, voted_for=2, log=(1, 2)), Settings())
    assert (persistence.current_term, persistence.voted_for) == (3, 2)
    assert persistence.durable_index == 2
    assert persistence.take_write() is None
    assert persistence.is_kept(persistence.promise_of_vote())
    assert persistence.is_kept(persistence.promise_of_entries(2))


def test_a_start_drops_what_a_crash_left_before_the_snapshot(new_disk_state: NewDisk) -> None:
    """The snapshot was durable, and the write that shortens the log was not. Found by the
    simulator: the log stayed too long, and too little of it was new for another snapshot.
    """
    state = new_disk_state(log=(1, 1, 2, 2), snapshot=(3, 2), start=(0, 0))
    persistence = Persistence(state, Settings(trailing_bytes=0))
    assert persistence.log.start == LogStart(3, 2)
    assert persistence.durable_index == 4
    write = issue(persistence)
    assert (write.start, write.entries) == (LogStart(3, 2), ())
    trailing = Settings(trailing_bytes=ENTRY_HEADER_BYTES + len(b"3 of term 2"))
    assert Persistence(state, trailing).log.start == LogStart(2, 1)


def test_all_changes_since_the_last_write_go_into_one(new_disk_state: NewDisk) -> None:
    persistence = Persistence(new_disk_state(term=1, log=(1,)), Settings())
    persistence.adopt_term(2)
    persistence.vote(NodeId(3))
    persistence.append(entries_from(2, 2, 2))
    write = issue(persistence)
    assert (write.number, write.term, write.voted_for) == (1, 2, 3)
    assert write.entries == tuple(entries_from(2, 2, 2))


def test_one_write_at_a_time(new_disk_state: NewDisk) -> None:
    persistence = Persistence(new_disk_state(term=1), Settings())
    persistence.append(entries_from(1, 1))
    first = issue(persistence)
    persistence.append(entries_from(2, 1))
    assert persistence.take_write() is None
    persistence.complete(first.number)
    second = issue(persistence)
    assert second.number == first.number + 1
    assert second.entries == tuple(entries_from(2, 1))


def test_voting_again_for_the_same_candidate_writes_nothing(new_disk_state: NewDisk) -> None:
    persistence = Persistence(new_disk_state(term=1, voted_for=2), Settings())
    persistence.vote(NodeId(2))
    assert persistence.take_write() is None


def test_a_write_completes_once_and_in_order(new_disk_state: NewDisk) -> None:
    persistence = Persistence(new_disk_state(term=1), Settings())
    persistence.append(entries_from(1, 1))
    write = issue(persistence)
    persistence.complete(write.number)
    with pytest.raises(AssertionError):
        persistence.complete(write.number)


def test_a_truncation_lowers_the_durable_index_at_once(new_disk_state: NewDisk) -> None:
    persistence = Persistence(new_disk_state(log=(1, 1, 1)), Settings())
    persistence.truncate_from(2)
    assert persistence.durable_index == 1


def test_a_write_under_way_vouches_only_for_what_was_not_replaced(new_disk_state: NewDisk) -> None:
    persistence = Persistence(new_disk_state(log=(1,)), Settings())
    persistence.append(entries_from(2, 1, 1, 1))
    old = issue(persistence)
    persistence.truncate_from(4)
    persistence.append(entries_from(4, 2))
    kept, replaced = persistence.promise_of_entries(3), persistence.promise_of_entries(4)
    persistence.complete(old.number)
    assert persistence.durable_index == 3
    assert persistence.is_kept(kept)
    assert not persistence.is_kept(replaced)
    new = issue(persistence)
    assert new.entries == tuple(entries_from(4, 2))
    persistence.complete(new.number)
    assert persistence.durable_index == 4


def test_entries_are_promised_together_with_the_term(new_disk_state: NewDisk) -> None:
    """An answer names the term too, so entries that were durable before wait for it."""
    persistence = Persistence(new_disk_state(log=(1, 1)), Settings())
    persistence.adopt_term(2)
    assert not persistence.is_kept(persistence.promise_of_entries(2))
    persistence.complete(issue(persistence).number)
    assert persistence.is_kept(persistence.promise_of_entries(2))


def test_entries_under_way_wait_for_a_newer_term_too(new_disk_state: NewDisk) -> None:
    """1. Entries of term 1 are on their way to the disk. 2. The leader of term 2 has them as well,
    and asks. 3. The write completes; but the disk does not know of term 2 yet.
    """
    persistence = Persistence(new_disk_state(term=1), Settings())
    persistence.append(entries_from(1, 1))
    first = issue(persistence)
    persistence.adopt_term(2)
    promise = persistence.promise_of_entries(1)
    persistence.complete(first.number)
    assert not persistence.is_kept(promise)
    persistence.complete(issue(persistence).number)
    assert persistence.is_kept(promise)


def test_a_write_has_a_size_but_one_entry_always_fits(new_disk_state: NewDisk) -> None:
    """1. A leader's own disk stalls; its followers commit without it, for minutes. 2. The disk goes
    on. 3. All that had gathered went into one write of any size. `max_write_bytes` bounds it.
    """
    persistence = Persistence(new_disk_state(term=1), Settings(max_write_bytes=2 * SIZE))
    large = Entry(6, 1, 0, EntryKind.DATA, bytes(3 * SIZE))
    persistence.append([*entries_from(1, 1, 1, 1, 1, 1), large, entry(7, 1)])
    promise = persistence.promise_of_entries(4)
    written = []
    while (write := persistence.take_write()) is not None:
        written.append([one.index for one in write.entries])
        persistence.complete(write.number)
        assert persistence.durable_index == written[-1][-1]
        assert persistence.is_kept(promise) == (persistence.durable_index >= 4)
    assert written == [[1, 2], [3, 4], [5], [6], [7]]


# ---------------------------------------------------------------------- snapshots


def metadata(index: int, term: int) -> SnapshotMetadata:
    return SnapshotMetadata(index, term, 0, configuration_of([1, 2, 3]))


def test_a_new_start_is_written_once_with_what_else_there_is(new_disk_state: NewDisk) -> None:
    persistence = Persistence(new_disk_state(term=1, log=(1, 1, 1)), Settings())
    persistence.append(entries_from(4, 1))
    persistence.compact(metadata(2, 1), 20)
    write = issue(persistence)
    assert (write.start, write.entries) == (LogStart(2, 1), tuple(entries_from(4, 1)))
    persistence.complete(write.number)
    assert persistence.take_write() is None
    persistence.compact(metadata(4, 1), 20)
    write = issue(persistence)
    assert (write.start, write.entries) == (LogStart(4, 1), ())
    persistence.adopt_term(2)
    persistence.complete(write.number)
    assert issue(persistence).start is None


def test_what_a_snapshot_covers_is_not_written_any_more(new_disk_state: NewDisk) -> None:
    persistence = Persistence(new_disk_state(term=1), Settings())
    persistence.append(entries_from(1, 1, 1, 1))
    persistence.compact(metadata(2, 1), 20)
    assert persistence.durable_index == 2
    write = issue(persistence)
    assert (write.start, write.entries) == (LogStart(2, 1), tuple(entries_from(3, 1)))
    persistence.complete(write.number)
    assert persistence.durable_index == 3


def test_trailing_entries_are_written_although_the_snapshot_vouches_for_them(
    new_disk_state: NewDisk,
) -> None:
    """Else there would be a gap between the log's start on the disk and what comes behind."""
    persistence = Persistence(new_disk_state(term=1), Settings(trailing_bytes=SIZE))
    persistence.append(entries_from(1, 1, 1, 1, 1))
    persistence.compact(metadata(3, 1), 20)
    assert persistence.durable_index == 3
    write = issue(persistence)
    assert write.start == LogStart(2, 1)
    assert [one.index for one in write.entries] == [3, 4]


def test_a_start_that_moved_during_a_write_is_told_with_the_next(new_disk_state: NewDisk) -> None:
    persistence = Persistence(new_disk_state(term=1, log=(1, 1)), Settings())
    persistence.append(entries_from(3, 1, 1))
    first = issue(persistence)
    persistence.compact(metadata(4, 1), 20)
    assert persistence.take_write() is None
    persistence.complete(first.number)
    assert (persistence.durable_index, issue(persistence).start) == (4, LogStart(4, 1))


# ---------------------------------------------------------------------- the twin


class Log:
    """A log as the entries behind a start: nothing clever, nothing incremental."""

    def __init__(self) -> None:
        self.start = LogStart(0, 0)
        self.entries: list[Entry] = []

    def copy(self) -> Log:
        other = Log()
        other.start, other.entries = self.start, list(self.entries)
        return other

    @property
    def last_index(self) -> int:
        return self.start.index + len(self.entries)

    def term_at(self, index: int) -> int | None:
        if index == self.start.index:
            return self.start.term
        return next((one.term for one in self.entries if one.index == index), None)

    def behind(self, index: int) -> list[Entry]:
        return [one for one in self.entries if one.index > index]

    def begin_after(self, start: LogStart) -> None:
        """The rule of `LogStart`."""
        if self.term_at(start.index) == start.term:
            self.entries = self.behind(start.index)
        else:
            self.entries = []
        self.start = start

    def replace(self, entries: Sequence[Entry]) -> None:
        assert self.start.index < entries[0].index <= self.last_index + 1, "no gap"
        self.entries = [one for one in self.entries if one.index < entries[0].index]
        self.entries += entries


class Promised(NamedTuple):
    """What was promised, and what it means."""

    promise: Promise
    term: int
    vote: NodeId | None
    last_index: int


class Twin:
    """Memory, log and newest snapshot."""

    def __init__(self) -> None:
        self.term = 1
        self.vote: NodeId | None = None
        self.log = Log()
        self.snapshot = LogStart(0, 0)
        self.disk_term = 1
        self.disk_vote: NodeId | None = None
        self.disk_log = Log()
        self.under_way: LogWrite | None = None
        self.promises: list[Promised] = []

    def disk_after(self, write: LogWrite) -> Log:
        """The disk's log once this write is on it."""
        log = self.disk_log.copy()
        if write.start is not None:
            log.begin_after(write.start)
        if write.entries:
            log.replace(write.entries)
        return log

    def complete(self) -> int:
        write, self.under_way = self.under_way, None
        assert write is not None
        self.disk_log = self.disk_after(write)
        self.disk_term, self.disk_vote = write.term, write.voted_for
        return write.number

    def found(self, log: Log) -> Log:
        """What a life that begins with this log on the disk makes of it and the snapshot."""
        log = log.copy()
        if log.term_at(self.snapshot.index) != self.snapshot.term:
            log.begin_after(self.snapshot)
        return log

    def check(self, persistence: Persistence) -> None:
        """Nothing is called durable that a crash now could lose, be the write kept or lost."""
        log = persistence.log
        assert (log.start, log.last_index) == (self.log.start, self.log.last_index)
        assert list(log.slice(log.first_index, log.last_index)) == self.log.entries
        kept = self.disk_log if self.under_way is None else self.disk_after(self.under_way)
        for found in (self.found(self.disk_log), self.found(kept)):
            assert self._agrees(found, persistence.durable_index)
            for promised in self.promises:
                # A later leader may replace what was promised to an earlier one.
                if self.term != promised.term or not persistence.is_kept(promised.promise):
                    continue
                assert self._agrees(found, promised.last_index)
                assert self.disk_term == promised.term
                if promised.vote is not None:
                    assert self.disk_vote == promised.vote

    def _agrees(self, found: Log, index: int) -> bool:
        held = [one for one in found.behind(self.snapshot.index) if one.index <= index]
        mine = [one for one in self.log.behind(self.snapshot.index) if one.index <= index]
        return max(found.last_index, self.snapshot.index) >= index and held == mine


STEPS = [
    "append",
    "new leader",
    "vote",
    "write",
    "complete",
    "promise log",
    "promise vote",
    "compact",
    "install",
]


@given(
    st.lists(st.tuples(st.sampled_from(STEPS), st.integers(0, 7)), max_size=50),
    st.integers(0, 3),
)
@example(
    [
        ("append", 3),
        ("write", 0),
        ("new leader", 0),
        ("promise log", 7),
        ("complete", 0),
        ("write", 0),
        ("complete", 0),
    ],
    0,
)
def test_nothing_is_called_durable_that_is_not(steps: list[tuple[str, int]], trailing: int) -> None:
    twin = Twin()
    settings = Settings(max_write_bytes=2 * SIZE, trailing_bytes=trailing * SIZE)
    persistence = Persistence(_empty(), settings)
    for step, number in steps:
        if step in ("compact", "install"):
            _take_snapshot(step, number, twin, persistence)
        else:
            _take(step, number, twin, persistence)
        twin.check(persistence)
        assert persistence.current_term == twin.term
        assert persistence.voted_for == twin.vote
    # And in the end everything becomes durable: no index is forgotten.
    while twin.under_way is not None or _take_write(twin, persistence):
        persistence.complete(twin.complete())
        twin.check(persistence)
    assert persistence.durable_index == twin.log.last_index
    assert twin.found(twin.disk_log).start == twin.log.start
    assert twin.disk_log.entries[: len(twin.log.entries)] == twin.log.entries
    assert (twin.disk_term, twin.disk_vote) == (twin.term, twin.vote)
    assert all(
        persistence.is_kept(promised.promise)
        for promised in twin.promises
        if promised.term == twin.term
    )


def _empty() -> DurableState:
    return DurableState(1, None, SnapshotMetadata(0, 0, 0, configuration_of([1, 2, 3])))


def _take_write(twin: Twin, persistence: Persistence) -> bool:
    write = persistence.take_write()
    if write is None:
        return False
    assert twin.under_way is None
    twin.under_way = write
    return True


def _take(step: str, number: int, twin: Twin, persistence: Persistence) -> None:
    log = twin.log
    keep = _committed_at_most(number, twin)
    match step:
        case "append":
            new = entries_from(log.last_index + 1, *[twin.term] * (number % 3 + 1))
            log.replace(new)
            persistence.append(new)
        case "new leader":
            # It has a log that agrees up to some index, and an entry of its own after that.
            _begin_term(twin, persistence)
            if keep < log.last_index:
                persistence.truncate_from(keep + 1)
            new = entries_from(keep + 1, twin.term)
            log.replace(new)
            persistence.append(new)
        case "vote":
            if twin.vote is None:
                twin.vote = NodeId(number % 3 + 1)
            persistence.vote(twin.vote)
        case "write":
            _take_write(twin, persistence)
        case "complete":
            if twin.under_way is not None:
                persistence.complete(twin.complete())
        case "promise log":
            promise = persistence.promise_of_entries(keep)
            twin.promises.append(Promised(promise, twin.term, None, keep))
        case "promise vote":
            promise = persistence.promise_of_vote()
            twin.promises.append(Promised(promise, twin.term, twin.vote, 0))


def _take_snapshot(step: str, number: int, twin: Twin, persistence: Persistence) -> None:
    index = _committed_at_most(number, twin)
    if step == "compact":
        term = twin.log.term_at(index)
        assert term is not None
        snapshot = LogStart(index, term)
    elif number % 2:
        # Of a new leader, whose log has another entry there.
        _begin_term(twin, persistence)
        snapshot = LogStart(max(index, twin.snapshot.index + 1), twin.term)
    else:
        # Of a leader that is far ahead.
        snapshot = LogStart(twin.log.last_index + number // 2 + 1, twin.term)
    persistence.compact(metadata(snapshot.index, snapshot.term), 20)
    twin.snapshot = snapshot
    if twin.log.term_at(snapshot.index) == snapshot.term:
        # How many entries stay is the log's business.
        start = persistence.log.start
        assert twin.log.start.index <= start.index <= snapshot.index
        twin.log.begin_after(start)
    else:
        twin.log.begin_after(snapshot)


def _committed_at_most(number: int, twin: Twin) -> int:
    # What a snapshot covers is committed: nobody replaces it.
    return twin.snapshot.index + number % (twin.log.last_index - twin.snapshot.index + 1)


def _begin_term(twin: Twin, persistence: Persistence) -> None:
    twin.term += 1
    twin.vote = None
    persistence.adopt_term(twin.term)
