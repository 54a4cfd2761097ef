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
from quorate.raft.snapshot import SnapshotMetadata

if TYPE_CHECKING:
    from collections.abc import Callable

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


# ---------------------------------------------------------------------- the twin


class Promised(NamedTuple):
    """What was promised, and what it means."""

    promise: Promise
    term: int
    vote: NodeId | None
    log: list[Entry]


class Twin:
    """Memory and disk as plain lists: nothing clever, nothing incremental."""

    def __init__(self) -> None:
        self.term = 1
        self.vote: NodeId | None = None
        self.log: list[Entry] = []
        self.disk_term = 1
        self.disk_vote: NodeId | None = None
        self.disk_log: list[Entry] = []
        self.under_way: LogWrite | None = None
        self.promises: list[Promised] = []

    def disk_after(self, write: LogWrite) -> list[Entry]:
        """The disk's log once this write is on it."""
        if not write.entries:
            return self.disk_log
        return [*self.disk_log[: write.entries[0].index - 1], *write.entries]

    def complete(self) -> int:
        write, self.under_way = self.under_way, None
        assert write is not None
        self.disk_log = self.disk_after(write)
        self.disk_term, self.disk_vote = write.term, write.voted_for
        return write.number

    def check(self, persistence: Persistence) -> None:
        """Nothing is called durable that a crash now could lose, be the write kept or lost."""
        durable = persistence.durable_index
        kept = self.disk_log if self.under_way is None else self.disk_after(self.under_way)
        for log in (self.disk_log, kept):
            assert len(log) >= durable
            assert log[:durable] == self.log[:durable]
        for promised in self.promises:
            # A later leader may replace what was promised to an earlier one.
            if self.term != promised.term or not persistence.is_kept(promised.promise):
                continue
            assert self.disk_term == promised.term
            if promised.vote is not None:
                assert self.disk_vote == promised.vote
            for log in (self.disk_log, kept):
                assert log[: len(promised.log)] == promised.log


STEPS = ["append", "new leader", "vote", "write", "complete", "promise log", "promise vote"]


@given(st.lists(st.tuples(st.sampled_from(STEPS), st.integers(0, 7)), max_size=50))
@example(
    [
        ("append", 3),
        ("write", 0),
        ("new leader", 0),
        ("promise log", 7),
        ("complete", 0),
        ("write", 0),
        ("complete", 0),
    ]
)
def test_nothing_is_called_durable_that_is_not(steps: list[tuple[str, int]]) -> None:
    twin = Twin()
    persistence = Persistence(_empty(), Settings(max_write_bytes=2 * SIZE))
    for step, number in steps:
        _take(step, number, twin, persistence)
        twin.check(persistence)
        assert persistence.current_term == twin.term
        assert persistence.voted_for == twin.vote
    # And in the end everything becomes durable: no index is forgotten.
    while twin.under_way is not None or _take_write(twin, persistence):
        persistence.complete(twin.complete())
        twin.check(persistence)
    assert persistence.durable_index == len(twin.log)
    assert twin.disk_log == twin.log
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
    match step:
        case "append":
            new = entries_from(len(twin.log) + 1, *[twin.term] * (number % 3 + 1))
            twin.log += new
            persistence.append(new)
        case "new leader":
            # It has a log that agrees up to some index, and an entry of its own after that.
            twin.term += 1
            twin.vote = None
            persistence.adopt_term(twin.term)
            keep = number % (len(twin.log) + 1)
            if keep < len(twin.log):
                persistence.truncate_from(keep + 1)
            new = entries_from(keep + 1, twin.term)
            twin.log[keep:] = new
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
            last = number % (len(twin.log) + 1)
            promise = persistence.promise_of_entries(last)
            twin.promises.append(Promised(promise, twin.term, None, twin.log[:last]))
        case "promise vote":
            promise = persistence.promise_of_vote()
            twin.promises.append(Promised(promise, twin.term, twin.vote, []))
