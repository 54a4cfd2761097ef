"""The log in memory, compared with a plain list that begins at index 1."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from quorate.raft.configuration import configuration_of
from quorate.raft.entry import ENTRY_HEADER_BYTES, Entry, EntryKind
from quorate.raft.log import RaftLog
from quorate.raft.snapshot import LogStart, SnapshotMetadata


def entry(index: int, term: int, size: int = 1) -> Entry:
    return Entry(index, term, 10 * index, EntryKind.DATA, b"x" * size)


def log_of(*terms: int, snapshot: tuple[int, int] = (0, 0)) -> RaftLog:
    index, term = snapshot
    metadata = SnapshotMetadata(index, term, 10 * index, configuration_of([1]))
    entries = [entry(index + i, t) for i, t in enumerate(terms, start=1)]
    return RaftLog(LogStart(index, term), metadata, entries)


def test_an_empty_log_begins_after_nothing() -> None:
    log = log_of()
    assert (log.first_index, log.last_index, log.last_term, log.last_time_ms) == (1, 0, 0, 0)
    assert log.term_at(0) == 0, "so that the check before the first entry succeeds"
    assert log.term_at(1) is None


def test_a_log_after_a_snapshot_knows_the_entry_just_before_it() -> None:
    log = log_of(snapshot=(10, 3))
    assert (log.first_index, log.last_index, log.last_term, log.last_time_ms) == (11, 10, 3, 100)
    assert [log.term_at(index) for index in (9, 10, 11)] == [None, 3, None]


def test_the_log_has_no_gaps_and_terms_never_decrease() -> None:
    log = log_of(2, snapshot=(10, 1))
    for wrong in (entry(11, 2), entry(13, 2), entry(12, 1)):
        with pytest.raises(AssertionError):
            log.append(wrong)
    log.append(entry(12, 2))
    assert log.last_index == 12


def test_what_a_snapshot_covers_cannot_be_taken_back() -> None:
    log = log_of(2, 2, snapshot=(10, 1))
    with pytest.raises(AssertionError):
        log.truncate_from(10)
    log.truncate_from(11)
    assert (log.last_index, log.last_term) == (10, 1)


def test_entries_before_the_beginning_are_gone() -> None:
    with pytest.raises(AssertionError):
        log_of(2, snapshot=(10, 1)).slice(10, 11)


def test_the_term_of_the_snapshot_counts_when_terms_are_looked_for() -> None:
    log = log_of(3, 3, 5, snapshot=(10, 3))
    assert log.last_index_of_term(3) == 12
    assert log.last_index_of_term(5) == 13
    assert log.last_index_of_term(4) is None
    assert log.last_index_of_term(2) is None
    assert log_of(snapshot=(10, 3)).last_index_of_term(3) == 10
    assert log.first_index_of_term_at(12) == 11, "the first that the log still holds"


def metadata(index: int, term: int) -> SnapshotMetadata:
    return SnapshotMetadata(index, term, 10 * index, configuration_of([1]))


def test_a_log_may_begin_before_its_snapshot_ends() -> None:
    entries = [entry(index, 2) for index in range(9, 13)]
    log = RaftLog(LogStart(8, 1), metadata(10, 2), entries)
    assert (log.first_index, log.last_index) == (9, 12)
    assert [log.term_at(index) for index in (7, 8, 9)] == [None, 1, 2]


@pytest.mark.parametrize(
    ("start", "last"),
    [((11, 2), 12), ((8, 2), 9), ((8, 3), 12)],
    ids=["begins behind it", "ends before it ends", "another term there"],
)
def test_a_log_that_does_not_fit_its_snapshot_is_our_bug(start: tuple[int, int], last: int) -> None:
    index, term = start
    entries = [entry(place, term) for place in range(index + 1, last + 1)]
    with pytest.raises(AssertionError):
        RaftLog(LogStart(index, term), metadata(10, 2), entries)


def test_a_snapshot_is_never_replaced_by_an_older_one() -> None:
    log = log_of(2, 2, snapshot=(10, 1))
    with pytest.raises(AssertionError):
        log.compact(metadata(9, 1), trailing_bytes=0)


@given(
    st.lists(st.integers(1, 4), max_size=10).map(sorted),
    st.integers(0, 14),
    st.integers(1, 4),
    st.integers(0, 5 * (ENTRY_HEADER_BYTES + 1)),
)
def test_compaction_is_the_rule_of_figure_13(
    terms: list[int], index: int, term: int, trailing_bytes: int
) -> None:
    """ "6. If existing log entry has same index and term as snapshot's last included entry, retain
    log entries following it and reply. 7. Discard the entire log."
    """
    log = log_of(*terms)
    before = {place: log.term_at(place) for place in range(len(terms) + 1)}
    holds = before.get(index) == term or index == 0
    term = 0 if index == 0 else term
    log.compact(metadata(index, term), trailing_bytes=trailing_bytes)
    assert (log.snapshot.index, log.snapshot.term) == (index, term)
    if not holds:
        assert (log.start, log.last_index) == (LogStart(index, term), index)
        return
    assert log.last_index == len(terms)
    trailing = min(index, trailing_bytes // (ENTRY_HEADER_BYTES + 1))
    assert log.start.index == index - trailing
    for place in range(log.start.index, log.last_index + 1):
        assert log.term_at(place) == before[place]


@given(
    sizes=st.lists(st.integers(0, 60), min_size=1, max_size=7),
    count=st.integers(1, 4000),
    trailing_bytes=st.integers(0, 4000 * ENTRY_HEADER_BYTES),
)
def test_as_many_entries_stay_as_if_they_were_counted_one_by_one(
    sizes: list[int], count: int, trailing_bytes: int
) -> None:
    sizes = (sizes * count)[:count]
    log = log_of()
    for index, size in enumerate(sizes, 1):
        log.append(entry(index, 1, size))
    log.compact(metadata(len(sizes), 1), trailing_bytes=trailing_bytes)
    left = trailing_bytes
    start = len(sizes)
    while start > 0 and left >= ENTRY_HEADER_BYTES + sizes[start - 1]:
        left -= ENTRY_HEADER_BYTES + sizes[start - 1]
        start -= 1
    assert log.start.index == start


class Twin:
    """The whole log from index 1 on, snapshot or not, as a list of entries."""

    def __init__(self, entries: list[Entry], compacted: int) -> None:
        self.entries = entries
        self.compacted = compacted

    def term(self, index: int) -> int | None:
        if index == 0:
            return 0 if self.compacted == 0 else None
        if max(self.compacted, 1) <= index <= len(self.entries):
            return self.entries[index - 1].term
        return None

    @property
    def terms_known(self) -> dict[int, int]:
        """By index, as far as the log still knows them."""
        known = {index: self.term(index) for index in range(len(self.entries) + 1)}
        return {index: term for index, term in known.items() if term is not None}


@st.composite
def twins(draw: st.DrawFn) -> tuple[RaftLog, Twin]:
    """A log and its twin, grown and cut in the same way."""
    terms = sorted(draw(st.lists(st.integers(1, 5), max_size=12)))
    compacted = draw(st.integers(0, len(terms)))
    entries = [entry(index, term) for index, term in enumerate(terms, start=1)]
    covered = entries[compacted - 1] if compacted else Entry(0, 0, 0, EntryKind.NO_OP, b"")
    metadata = SnapshotMetadata(compacted, covered.term, covered.time_ms, configuration_of([1]))
    log = RaftLog(LogStart(compacted, covered.term), metadata, entries[compacted:])
    twin = Twin(entries, compacted)
    for keep, growth in draw(
        st.lists(st.tuples(st.integers(0, 12), st.integers(0, 3)), max_size=4)
    ):
        if compacted <= keep < len(twin.entries):
            log.truncate_from(keep + 1)
            del twin.entries[keep:]
        last_term = max(twin.entries[-1].term if twin.entries else 0, 1)
        for position in range(growth):
            new = entry(len(twin.entries) + 1, last_term + position, size=growth)
            log.append(new)
            twin.entries.append(new)
    return log, twin


@given(twins(), st.data())
def test_the_log_is_like_a_list(pair: tuple[RaftLog, Twin], data: st.DataObject) -> None:
    log, twin = pair
    last = len(twin.entries)
    assert log.last_index == last
    assert log.first_index == twin.compacted + 1
    assert [log.term_at(index) for index in range(-1, last + 2)] == [
        None,
        *(twin.term(index) for index in range(last + 2)),
    ]
    if twin.entries:
        assert (log.last_term, log.last_time_ms) == (
            twin.entries[-1].term,
            twin.entries[-1].time_ms,
        )

    first = data.draw(st.integers(twin.compacted + 1, last + 1))
    to = data.draw(st.integers(first - 1, last))
    assert list(log.slice(first, to)) == twin.entries[first - 1 : to]

    term = data.draw(st.integers(0, 8))
    of_term = [index for index, known in twin.terms_known.items() if known == term]
    assert log.last_index_of_term(term) == (of_term[-1] if of_term else None)

    theirs = (data.draw(st.integers(0, 8)), data.draw(st.integers(0, last + 2)))
    mine = (twin.entries[-1].term if twin.entries else 0, last)
    up_to_date = theirs[0] > mine[0] or (theirs[0] == mine[0] and theirs[1] >= mine[1])
    assert log.is_up_to_date(last_log_term=theirs[0], last_log_index=theirs[1]) == up_to_date

    if last > twin.compacted:
        index = data.draw(st.integers(twin.compacted + 1, last))
        same = [
            i for i in range(twin.compacted + 1, index + 1) if log.term_at(i) == twin.term(index)
        ]
        assert log.first_index_of_term_at(index) == same[0]


@given(
    st.lists(st.integers(0, 9), min_size=1, max_size=10),
    st.integers(1, 200),
    st.integers(0, 5),
    st.data(),
)
def test_a_batch_holds_as_much_as_fits_but_at_least_one_entry(
    sizes: list[int], max_bytes: int, base: int, data: st.DataObject
) -> None:
    metadata = SnapshotMetadata(base, 1, 0, configuration_of([1]))
    entries = [entry(base + i, 1, size) for i, size in enumerate(sizes, start=1)]
    log = RaftLog(LogStart(base, 1), metadata, entries)
    first = data.draw(st.integers(base + 1, log.last_index))
    last = data.draw(st.none() | st.integers(first, log.last_index))
    batch = log.slice_bytes(first, max_bytes, last=last)
    assert list(batch) == list(log.slice(first, first + len(batch) - 1))
    size = sum(ENTRY_HEADER_BYTES + len(one.data) for one in batch)
    assert len(batch) >= 1
    assert size <= max_bytes or len(batch) == 1
    end = log.last_index if last is None else last
    assert batch[-1].index <= end
    if batch[-1].index < end:
        (following,) = log.slice(batch[-1].index + 1, batch[-1].index + 1)
        assert size + ENTRY_HEADER_BYTES + len(following.data) > max_bytes


def test_a_configuration_that_stays_counts_with_all_that_it_takes() -> None:
    """Found by the simulation (`--churn`, seed 1217): after 45 removals each configuration had 700
    bytes, and as they counted for nothing, all of them stayed: three times what was allowed.
    """
    configuration = configuration_of(range(1, 8))
    log = log_of()
    for index in range(1, 6):
        log.append(Entry(index, 1, 0, EntryKind.CONFIGURATION, configuration=configuration))
    one = log.slice(1, 1)[0].size
    assert one > ENTRY_HEADER_BYTES + 7 * 3
    log.compact(SnapshotMetadata(5, 1, 0, configuration), trailing_bytes=2 * one)
    assert log.first_index == 4


def change(index: int, term: int, voters: int) -> Entry:
    configuration = configuration_of(range(1, voters + 1))
    kind = EntryKind.CONFIGURATION
    return Entry(index, term, 10 * index, kind, configuration=configuration)


STEPS = st.one_of(
    st.tuples(st.just("append"), st.integers(0, 3)),
    st.tuples(st.just("change"), st.integers(1, 9)),
    st.tuples(st.just("truncate"), st.integers(0, 5)),
    st.tuples(st.just("compact"), st.integers(0, 8)),
    st.tuples(st.just("install"), st.integers(1, 9)),
    st.tuples(st.just("restart"), st.just(0)),
)


@given(st.lists(STEPS, max_size=30), st.integers(0, 3 * (ENTRY_HEADER_BYTES + 1)))
def test_the_configuration_as_of_each_index_is_that_of_the_last_change_before_it(
    steps: list[tuple[str, int]], trailing_bytes: int
) -> None:
    """ "a server always uses the latest configuration in its log" (Raft §6), and a snapshot holds
    what was the latest as of its index.
    """
    log = log_of()
    twin = {0: 1}
    """How many voters there are as of each index, none forgotten."""
    for step, number in steps:
        last = log.last_index
        match step:
            case "append":
                for index in range(last + 1, last + number + 1):
                    log.append(entry(index, 1))
                    twin[index] = twin[index - 1]
            case "change":
                log.append(change(last + 1, 1, number))
                twin[last + 1] = number
            case "truncate" if last - number >= log.snapshot.index and number:
                log.truncate_from(last - number + 1)
            case "compact" if log.snapshot.index + number <= last:
                index = log.snapshot.index + number
                term = log.term_at(index)
                assert term is not None
                snapshot = SnapshotMetadata(index, term, 10 * index, log.configuration_at(index))
                log.compact(snapshot, trailing_bytes=trailing_bytes)
            case "install":
                configuration = configuration_of(range(1, number + 1))
                snapshot = SnapshotMetadata(last + 1, 1, 10 * last, configuration)
                log.compact(snapshot, trailing_bytes=trailing_bytes)
                twin[last + 1] = number
            case "restart":
                entries = log.slice(log.first_index, log.last_index)
                log = RaftLog(log.start, log.snapshot, entries)
            case _:
                continue
        known = range(log.snapshot.index, log.last_index + 1)
        assert [len(log.configuration_at(index).voters) for index in known] == [
            twin[index] for index in known
        ]
        assert log.configuration == log.configuration_at(log.last_index)
        assert log.configuration == log.configuration_at(log.configuration_index)
        if log.configuration_index > log.snapshot.index:
            before = log.configuration_at(log.configuration_index - 1)
            assert log.previous_configuration[1] == before
            at, _ = log.previous_configuration
            assert log.configuration_at(at) == before
