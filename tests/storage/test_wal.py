"""The log: writing, rotating, preparing ahead, and what happens when the disk does not comply."""

import threading
from pathlib import Path

import pytest

from quorate.codec.log import LogRecord, SegmentHeader, StartRecord, WriteRecord, encode_record
from quorate.raft.configuration import NodeId
from quorate.raft.entry import Entry, EntryKind
from quorate.raft.ready import LogWrite
from quorate.raft.snapshot import LogStart
from quorate.runtime.disk import DirectoryDisk
from quorate.storage.disk import Disk
from quorate.storage.errors import (
    CorruptionError,
    DiskFailedError,
    DiskFullError,
    IdentityError,
    UnsupportedFormatError,
)
from quorate.storage.frames import encode_frame, frame_offset
from quorate.storage.memory_disk import MemoryDisk
from quorate.storage.recovery import recover_log
from quorate.storage.replay import LogContents
from quorate.storage.segments import FORMAT_VERSION, SPARE, segment_name, segment_numbers
from quorate.storage.wal import WriteAheadLog

SEGMENT_SIZE = 1024
BEGINNING = LogStart(0, 0)


def entry(index: int, term: int, data: bytes = b"data") -> Entry:
    return Entry(index, term, index * 10, EntryKind.DATA, data)


def write(
    term: int,
    *entries: Entry,
    voted_for: int | None = None,
    start: tuple[int, int] | None = None,
) -> LogWrite:
    vote = None if voted_for is None else NodeId(voted_for)
    return LogWrite(0, term, vote, entries, None if start is None else LogStart(*start))


def new_log(disk: Disk) -> WriteAheadLog:
    WriteAheadLog.create(disk, segment_size=SEGMENT_SIZE)
    return reopen(disk)[0]


def reopen(disk: Disk) -> tuple[WriteAheadLog, LogContents]:
    found = recover_log(disk)
    return WriteAheadLog.open(disk, found, segment_size=SEGMENT_SIZE), found.contents


def save(log: WriteAheadLog, *writes: LogWrite) -> None:
    for each in writes:
        log.append(each)
        log.sync()


def put_segment(disk: Disk, number: int, *records: LogRecord, first_sequence: int = 1) -> None:
    """A segment file with these records, whatever they are."""
    file = disk.create(segment_name(number))
    file.preallocate(SEGMENT_SIZE)
    end = 0
    for sequence, record in enumerate(records, start=first_sequence):
        offset = frame_offset(end)
        frame = encode_frame(encode_record(record), sequence=sequence, offset=offset)
        file.write_at(offset, frame)
        end = offset + len(frame)
    file.close()


def header(
    term: int = 0,
    voted_for: int | None = None,
    *,
    version: int = FORMAT_VERSION,
    start: tuple[int, int] = (0, 0),
    last_index: int = 0,
) -> SegmentHeader:
    vote = None if voted_for is None else NodeId(voted_for)
    return SegmentHeader(version, term, vote, LogStart(*start), last_index)


def moved(start: tuple[int, int], last_index: int) -> StartRecord:
    """The log begins after this from now on, and ends with this."""
    return StartRecord(LogStart(*start), last_index, WriteRecord(2, None, ()))


class UnremovableDisk(MemoryDisk):
    """A disk that removes no segment."""

    def remove(self, name: str) -> None:
        if name.endswith(".wal"):
            raise DiskFailedError(name, "remove", "injected I/O error")
        super().remove(name)


def refused(disk: Disk) -> CorruptionError:
    with pytest.raises(CorruptionError) as info:
        reopen(disk)
    return info.value


# What is written is there.


def test_a_new_log_is_empty() -> None:
    disk = MemoryDisk()
    new_log(disk)
    assert reopen(disk)[1] == LogContents(0, None, BEGINNING)


def test_term_vote_and_entries_are_there_after_a_restart() -> None:
    disk = MemoryDisk()
    log = new_log(disk)
    save(
        log,
        write(1, voted_for=2),
        write(1, entry(1, 1), entry(2, 1), voted_for=2),
        write(2, entry(3, 2)),
    )
    expected = LogContents(2, None, BEGINNING, (entry(1, 1), entry(2, 1), entry(3, 2)))
    assert reopen(disk)[1] == expected


def test_entries_replace_everything_from_the_first_ones_index_on() -> None:
    disk = MemoryDisk()
    log = new_log(disk)
    save(
        log,
        write(1, entry(1, 1), entry(2, 1), entry(3, 1), entry(4, 1)),
        write(2, entry(2, 2, b"other")),
    )
    assert reopen(disk)[1].entries == (entry(1, 1), entry(2, 2, b"other"))


# The beginning of the log moves.


def test_what_lies_before_the_new_beginning_is_gone_after_a_restart() -> None:
    disk = MemoryDisk()
    log = new_log(disk)
    save(log, write(1, entry(1, 1), entry(2, 1), entry(3, 1)))
    save(log, write(2, start=(2, 1), voted_for=3))
    assert reopen(disk)[1] == LogContents(2, NodeId(3), LogStart(2, 1), (entry(3, 1),))
    save(log, write(2, entry(4, 2), start=(3, 1)))
    assert reopen(disk)[1] == LogContents(2, None, LogStart(3, 1), (entry(4, 2),))
    save(log, write(2, start=(3, 1)))  # once more, which changes nothing
    assert reopen(disk)[1] == LogContents(2, None, LogStart(3, 1), (entry(4, 2),))


def test_all_goes_if_the_log_does_not_hold_the_entry_that_it_is_to_begin_after() -> None:
    disk = MemoryDisk()
    log = new_log(disk)
    save(log, write(1, entry(1, 1), entry(2, 1), entry(3, 1)))
    save(log, write(2, start=(2, 2)))
    assert reopen(disk)[1] == LogContents(2, None, LogStart(2, 2))
    save(log, write(7, entry(101, 7), entry(102, 7), start=(100, 7)))
    expected = LogContents(7, None, LogStart(100, 7), (entry(101, 7), entry(102, 7)))
    assert reopen(disk)[1] == expected
    save(log, write(7, entry(101, 7, b"other")))
    assert reopen(disk)[1].entries == (entry(101, 7, b"other"),)


def test_the_term_at_the_new_beginning_may_be_one_of_many_that_came_in_one_write() -> None:
    """As a follower gets them that has missed some elections."""
    terms = (1, 1, 2, 4, 4, 7)
    entries = [entry(index, term) for index, term in enumerate(terms, start=1)]
    for index, term in enumerate(terms, start=1):
        disk = MemoryDisk()
        log = new_log(disk)
        save(log, write(7, *entries), write(7, start=(index, term)))
        assert reopen(disk)[1].entries == tuple(entries[index:])
        for another in {1, 2, 4, 7} - {term}:
            disk = MemoryDisk()
            log = new_log(disk)
            save(log, write(7, *entries), write(7, start=(index, another)))
            assert reopen(disk)[1].entries == ()


def test_a_write_may_move_the_beginning_and_begin_a_segment() -> None:
    disk = MemoryDisk()
    log = new_log(disk)
    save(log, write(1, *(entry(index, 1, bytes(100)) for index in range(1, 9))))
    save(log, write(1, entry(7, 1, bytes(3000)), start=(4, 1)))
    contents = reopen(disk)[1]
    assert contents.start == LogStart(4, 1)
    assert [each.index for each in contents.entries] == [5, 6, 7]
    assert len(contents.entries[-1].data) == 3000


def test_a_beginning_that_recovery_would_refuse_is_our_own_bug() -> None:
    log = new_log(MemoryDisk())
    save(log, write(2, entry(1, 2), entry(2, 2), entry(3, 2)), write(2, start=(2, 2)))
    for wrong in ((1, 2), (2, 1)):
        with pytest.raises(AssertionError, match="never goes back"):
            log.append(write(2, start=wrong))
    with pytest.raises(AssertionError, match="no later term"):
        log.append(write(2, start=(3, 3)))
    with pytest.raises(AssertionError, match="no gap"):
        log.append(write(2, entry(3, 2), start=(3, 2)))
    with pytest.raises(AssertionError, match="no gap"):
        log.append(write(2, entry(7, 2), start=(5, 2)))


def test_dead_segments_can_be_removed_in_one_thread_while_another_appends(tmp_path: Path) -> None:
    done = threading.Event()

    def clean() -> None:
        while not done.is_set():
            if log.needs_cleaning:
                log.remove_dead_segments()
            if log.needs_next_segment:
                log.prepare_next_segment()

    with DirectoryDisk(tmp_path) as disk:
        log = new_log(disk)
        thread = threading.Thread(target=clean)
        thread.start()
        try:
            for index in range(1, 301):
                start = (index - 5, 1) if index % 10 == 0 else None
                save(log, write(1, entry(index, 1, bytes(400)), start=start))
        finally:
            done.set()
            thread.join()
        log.remove_dead_segments()
        assert len(segment_numbers(disk)) < 6
        log.close()
        log, contents = reopen(disk)
        assert contents.start == LogStart(295, 1)
        assert [each.index for each in contents.entries] == list(range(296, 301))
        log.close()


def test_a_segment_that_cannot_be_removed_ends_the_log() -> None:
    disk = UnremovableDisk()
    log = new_log(disk)
    save(log, *(write(1, entry(index, 1, bytes(400))) for index in range(1, 9)))
    save(log, write(1, start=(8, 1)))
    with pytest.raises(DiskFailedError, match="remove"):
        log.remove_dead_segments()
    with pytest.raises(DiskFailedError, match="remove"):
        log.append(write(1, entry(9, 1)))


# Segments.


def test_a_full_segment_is_followed_by_the_next() -> None:
    disk = MemoryDisk()
    log = new_log(disk)
    writes = [write(3, entry(index, 3, bytes(200)), voted_for=1) for index in range(1, 21)]
    save(log, *writes)
    assert segment_numbers(disk) == [1, 2, 3, 4, 5]
    assert all(disk.open(segment_name(n)).size == SEGMENT_SIZE for n in segment_numbers(disk))
    state = reopen(disk)[1]
    assert (state.term, state.voted_for) == (3, 1)
    assert [each.index for each in state.entries] == list(range(1, 21))


def test_a_frame_larger_than_a_segment_gets_a_segment_of_its_own_size() -> None:
    disk = MemoryDisk()
    log = new_log(disk)
    large = entry(2, 1, b"x" * 10_000)
    save(log, write(1, entry(1, 1)), write(1, large), write(1, entry(3, 1)))
    sizes = [disk.open(segment_name(number)).size for number in segment_numbers(disk)]
    assert sizes[0] == sizes[2] == SEGMENT_SIZE
    assert 10_000 < sizes[1] < 10_200
    assert reopen(disk)[1].entries == (entry(1, 1), large, entry(3, 1))


def test_a_reopened_log_goes_on_in_its_last_segment() -> None:
    disk = MemoryDisk()
    new_log(disk)
    for index in range(1, 4):
        log, _ = reopen(disk)
        save(log, write(1, entry(index, 1)))
    assert segment_numbers(disk) == [1]
    assert len(reopen(disk)[1].entries) == 3


def test_the_next_segment_can_be_prepared_ahead() -> None:
    disk = MemoryDisk()
    log = new_log(disk)
    assert not log.needs_next_segment
    save(log, write(1, entry(1, 1, bytes(600))))
    assert log.needs_next_segment
    assert log.prepare_next_segment() is None
    assert not log.needs_next_segment
    assert log.prepare_next_segment() is None
    assert disk.names() == [segment_name(1), SPARE]
    disk.limit_capacity(0)  # the spare one has its space already
    save(log, write(1, entry(2, 1, bytes(600))))
    assert disk.names() == [segment_name(1), segment_name(2)]
    assert len(reopen(disk)[1].entries) == 2


def test_a_prepared_segment_that_is_too_small_waits_for_the_next_time() -> None:
    disk = MemoryDisk()
    log = new_log(disk)
    log.prepare_next_segment()
    save(log, write(1, entry(1, 1, bytes(5000))))
    assert SPARE in disk.names()
    save(log, write(1, entry(2, 1)))
    assert SPARE not in disk.names()
    assert len(reopen(disk)[1].entries) == 2


def test_a_prepared_segment_is_forgotten_by_a_restart() -> None:
    disk = MemoryDisk()
    log = new_log(disk)
    log.prepare_next_segment()
    log.close()
    reopen(disk)
    assert disk.names() == [segment_name(1)]


def test_failing_to_prepare_ahead_is_only_a_warning() -> None:
    disk = MemoryDisk()
    log = new_log(disk)
    disk.limit_capacity(SEGMENT_SIZE + 100)
    warning = log.prepare_next_segment()
    assert isinstance(warning, DiskFullError)
    assert disk.names() == [segment_name(1)]
    save(log, write(1, entry(1, 1)))
    disk.limit_capacity(None)
    assert log.prepare_next_segment() is None


def test_a_shortage_that_only_the_sync_reports_leaves_nothing_behind_either() -> None:
    """1. The spare segment is made, and its sync finds no space. 2. The node warns and goes on.
    3. When it tried again, the name was taken, which stopped it.
    """
    disk = MemoryDisk()
    log = new_log(disk)
    disk.fail_next_sync(is_full=True)
    assert isinstance(log.prepare_next_segment(), DiskFullError)
    assert disk.names() == [segment_name(1)]
    assert log.prepare_next_segment() is None


def test_segments_can_be_prepared_in_one_thread_while_another_appends(tmp_path: Path) -> None:
    done = threading.Event()

    def prepare() -> None:
        while not done.is_set():
            log.prepare_next_segment()

    with DirectoryDisk(tmp_path) as disk:
        log = new_log(disk)
        thread = threading.Thread(target=prepare)
        thread.start()
        try:
            save(log, *(write(1, entry(index, 1, bytes(400))) for index in range(1, 101)))
        finally:
            done.set()
            thread.join()
        log.close()
        log, state = reopen(disk)
        assert [each.index for each in state.entries] == list(range(1, 101))
        log.close()


# When the disk does not comply.


def test_a_full_disk_ends_the_log_and_space_revives_it() -> None:
    disk = MemoryDisk(capacity=2 * SEGMENT_SIZE)
    log = new_log(disk)
    saved = 4
    save(log, *(write(1, entry(index, 1, bytes(300))) for index in range(1, saved + 1)))
    with pytest.raises(DiskFullError, match="free some space and start the node again"):
        log.append(write(1, entry(saved + 1, 1, bytes(300))))
    with pytest.raises(DiskFullError):
        log.append(write(1, entry(1, 1)))
    with pytest.raises(DiskFullError):
        log.sync()
    disk.limit_capacity(10 * SEGMENT_SIZE)
    log, state = reopen(disk)
    assert len(state.entries) == saved
    save(log, write(1, entry(saved + 1, 1, bytes(300))))
    assert len(reopen(disk)[1].entries) == saved + 1


def test_a_failed_sync_is_never_retried() -> None:
    disk = MemoryDisk()
    log = new_log(disk)
    save(log, write(1, entry(1, 1)))
    log.append(write(1, entry(2, 1)))
    disk.fail_next_sync()
    with pytest.raises(DiskFailedError):
        log.sync()
    for call in (log.sync, log.prepare_next_segment):
        with pytest.raises(DiskFailedError):
            call()
    with pytest.raises(DiskFailedError):
        log.append(write(1, entry(2, 1)))


def test_a_failed_sync_of_a_prepared_segment_ends_the_log() -> None:
    disk = MemoryDisk()
    log = new_log(disk)
    disk.fail_next_sync()
    with pytest.raises(DiskFailedError):
        log.prepare_next_segment()
    with pytest.raises(DiskFailedError):
        log.append(write(1, entry(1, 1)))


def test_a_log_that_cannot_be_synced_at_its_start_does_not_open() -> None:
    disk = MemoryDisk()
    new_log(disk)
    disk.fail_next_sync()
    with pytest.raises(DiskFailedError):
        reopen(disk)


def test_a_second_append_before_the_sync_is_our_own_bug() -> None:
    log = new_log(MemoryDisk())
    log.append(write(1, entry(1, 1)))
    with pytest.raises(AssertionError, match="at most one frame is unsynced"):
        log.append(write(1, entry(2, 1)))


def test_a_write_that_recovery_would_refuse_is_our_own_bug() -> None:
    log = new_log(MemoryDisk())
    save(log, write(2, entry(1, 2)))
    with pytest.raises(AssertionError, match="no gap"):
        log.append(write(2, entry(3, 2)))
    with pytest.raises(AssertionError, match="never goes back"):
        log.append(write(1))


# The size of the state.


def test_the_size_counts_live_entries_only_and_survives_a_restart() -> None:
    disk = MemoryDisk()
    log = new_log(disk)
    empty = log.raft_state_bytes
    save(log, write(1, entry(1, 1, bytes(100))))
    one = log.raft_state_bytes
    assert 100 < one - empty < 150
    save(log, write(1, *(entry(index, 1, bytes(100)) for index in range(2, 30))))
    assert log.raft_state_bytes > 28 * 100
    save(log, write(1, entry(2, 1, bytes(100))))
    assert log.raft_state_bytes == one + (one - empty)
    assert reopen(disk)[0].raft_state_bytes == log.raft_state_bytes


# Initialisation.


def test_an_interrupted_creation_is_taken_over() -> None:
    disk = MemoryDisk()
    new_log(disk)
    new_log(disk)
    assert reopen(disk)[1] == LogContents(0, None, BEGINNING)


def test_a_log_with_anything_in_it_is_not_created_over() -> None:
    disk = MemoryDisk()
    log = new_log(disk)
    save(log, write(1, voted_for=1))
    with pytest.raises(IdentityError, match="holds the log of a node"):
        WriteAheadLog.create(disk)
    assert reopen(disk)[1] == LogContents(1, NodeId(1), BEGINNING)


# What recovery refuses. The frames are all valid; what they say is not.


def test_a_missing_log_is_refused() -> None:
    error = refused(MemoryDisk())
    assert (error.file, error.offset) == (segment_name(1), 0)


@pytest.mark.parametrize("missing", [1, 2])
def test_a_missing_segment_is_refused(missing: int) -> None:
    disk = MemoryDisk()
    log = new_log(disk)
    save(log, *(write(1, entry(index, 1, bytes(300))) for index in range(1, 10)))
    disk.remove(segment_name(missing))
    error = refused(disk)
    assert (error.file, error.offset) == (segment_name(missing), 0)
    assert "missing" in error.reason


def test_a_blank_segment_is_refused() -> None:
    disk = MemoryDisk()
    disk.create(segment_name(1)).preallocate(SEGMENT_SIZE)
    assert refused(disk).reason == "the segment has no header"


def test_a_segment_of_another_log_is_refused() -> None:
    disk = MemoryDisk()
    put_segment(disk, 1, header(), WriteRecord(1, None, ()))
    put_segment(disk, 2, header(1), first_sequence=9)
    error = refused(disk)
    assert error.file == segment_name(1)
    assert error.reason == f"frame 3 should be here, but {segment_name(2)} begins with 9"


@pytest.mark.parametrize(
    ("records", "reason"),
    [
        ([WriteRecord(0, None, ())], "a segment begins with its header"),
        ([header(), header()], "a segment begins with its header"),
        ([header(), WriteRecord(2, None, ()), WriteRecord(1, None, ())], "goes back from 2 to 1"),
        ([header(5), WriteRecord(4, None, ())], "goes back from 5 to 4"),
        ([header(), WriteRecord(1, None, (entry(2, 1),))], "entry 2 cannot follow entry 0"),
        ([header(), WriteRecord(1, None, (entry(0, 1),))], "entry 0 cannot follow entry 0"),
        (
            [header(), WriteRecord(1, None, (entry(1, 1), entry(3, 1)))],
            "entry 3 stands where entry 2 should be",
        ),
        (
            [header(), WriteRecord(3, None, (entry(1, 2), entry(2, 1)))],
            "the term of entry 2 is 1, after one of term 2",
        ),
        (
            [
                header(),
                WriteRecord(3, None, (entry(1, 2),)),
                WriteRecord(3, None, (entry(2, 1),)),
            ],
            "the term of entry 2 is 1, after one of term 2",
        ),
        (
            [header(), WriteRecord(1, None, (entry(1, 2),))],
            "an entry of term 2 was written in term 1",
        ),
        (
            [header(), moved((5, 1), 5), moved((4, 1), 4)],
            "the beginning of the log goes back from entry 5 to 4",
        ),
        (
            [header(), moved((5, 1), 5), moved((5, 2), 5)],
            "entry 5 had term 1 and now has 2",
        ),
        (
            [header(), moved((5, 3), 5)],
            "an entry of term 3 was left behind in term 2",
        ),
        (
            [header(), WriteRecord(1, None, (entry(1, 1), entry(2, 1))), moved((1, 1), 1)],
            "the log cannot end with entry 1 when it begins later",
        ),
        (
            [header(), WriteRecord(1, None, (entry(1, 1), entry(2, 1))), moved((1, 2), 2)],
            "the log cannot end with entry 2 when it begins later",
        ),
        (
            [header(), WriteRecord(1, None, (entry(1, 1), entry(2, 1))), moved((9, 1), 2)],
            "the log cannot end with entry 2 when it begins later",
        ),
        (
            [header(last_index=9), moved((4, 1), 7)],
            "the log cannot end with entry 7 when it begins later",
        ),
        (
            [header(), moved((5, 1), 5), WriteRecord(2, None, (entry(5, 2),))],
            "entry 5 cannot follow entry 5",
        ),
        (
            [header(), StartRecord(LogStart(5, 2), 5, WriteRecord(2, None, (entry(6, 1),)))],
            "the term of entry 6 is 1, after one of term 2",
        ),
    ],
)
def test_records_that_contradict_each_other_are_refused(
    records: list[LogRecord], reason: str
) -> None:
    disk = MemoryDisk()
    put_segment(disk, 1, *records)
    error = refused(disk)
    assert error.file == segment_name(1)
    assert reason in error.reason


@pytest.mark.parametrize(
    "second",
    [
        header(2),
        header(2, start=(2, 1), last_index=3),
        header(2, start=(1, 2), last_index=3),
        header(2, start=(1, 1), last_index=4),
    ],
)
def test_a_segment_that_does_not_repeat_where_the_log_begins_and_ends_is_refused(
    second: SegmentHeader,
) -> None:
    disk = MemoryDisk()
    grown = WriteRecord(1, None, (entry(1, 1), entry(2, 1), entry(3, 1)))
    put_segment(disk, 1, header(), grown, moved((1, 1), 3))
    put_segment(disk, 2, second, first_sequence=4)
    assert "does not repeat where the log begins and ends" in refused(disk).reason


# A log of which the first segments are gone.


def test_what_is_gone_may_be_left_behind_later() -> None:
    disk = MemoryDisk()
    put_segment(disk, 7, header(2, last_index=9), moved((9, 1), 9), first_sequence=50)
    assert reopen(disk)[1] == LogContents(2, None, LogStart(9, 1))


def test_what_is_gone_may_be_overwritten_later() -> None:
    disk = MemoryDisk()
    overwritten = WriteRecord(3, None, (entry(5, 3),))
    put_segment(disk, 7, header(2, start=(4, 1), last_index=9), overwritten, first_sequence=50)
    log, contents = reopen(disk)
    assert contents == LogContents(3, None, LogStart(4, 1), (entry(5, 3),))
    save(log, write(3, entry(6, 3)))
    assert reopen(disk)[1].entries == (entry(5, 3), entry(6, 3))


def test_what_is_gone_may_be_left_behind_in_two_steps() -> None:
    disk = MemoryDisk()
    put_segment(
        disk,
        7,
        header(2, last_index=9),
        WriteRecord(2, None, (entry(8, 2), entry(9, 2), entry(10, 2))),
        moved((4, 1), 10),
        moved((7, 1), 10),
        first_sequence=50,
    )
    log, contents = reopen(disk)
    assert contents.start == LogStart(7, 1)
    assert contents.entries == (entry(8, 2), entry(9, 2), entry(10, 2))
    twin = new_log(MemoryDisk())
    save(twin, write(2, *contents.entries, start=(7, 1)))
    assert log.raft_state_bytes == twin.raft_state_bytes


@pytest.mark.parametrize(
    "records",
    [
        [header(2, last_index=9)],
        [header(2, last_index=9), WriteRecord(2, None, (entry(10, 2),))],
        [header(2, last_index=9), moved((8, 1), 9)],
        [header(2, last_index=9), WriteRecord(2, None, (entry(5, 2),)), moved((3, 1), 5)],
    ],
)
def test_what_is_gone_and_alive_is_missing(records: list[LogRecord]) -> None:
    disk = MemoryDisk()
    put_segment(disk, 7, *records, first_sequence=50)
    error = refused(disk)
    assert (error.file, error.offset) == (segment_name(6), 0)
    assert "are lost" in error.reason


def test_a_segment_that_does_not_repeat_the_vote_is_refused() -> None:
    disk = MemoryDisk()
    put_segment(disk, 1, header(), WriteRecord(1, NodeId(2), ()))
    put_segment(disk, 2, header(1, voted_for=3), first_sequence=3)
    assert "does not repeat term and vote" in refused(disk).reason


def test_contents_that_are_no_record_are_refused() -> None:
    disk = MemoryDisk()
    put_segment(disk, 1, header())
    offset = frame_offset(len(encode_frame(encode_record(header()), sequence=1, offset=0)))
    frame = encode_frame(b"\xff\xff", sequence=2, offset=offset)
    disk.open(segment_name(1)).write_at(offset, frame)
    error = refused(disk)
    assert error.offset == offset
    assert "not a log record" in error.reason


def test_a_log_of_another_format_is_refused() -> None:
    disk = MemoryDisk()
    put_segment(disk, 1, header(version=99))
    with pytest.raises(UnsupportedFormatError, match="has format version 99"):
        reopen(disk)


def test_a_corruption_error_names_the_place_and_the_way_out() -> None:
    text = str(CorruptionError("/data/1.wal", 4711, "something is wrong"))
    assert text.startswith("/data/1.wal is damaged at byte 4711: something is wrong.")
    assert "quorate member rejoin" in text


def test_a_refused_log_is_left_untouched() -> None:
    disk = MemoryDisk()
    put_segment(disk, 1, header(), WriteRecord(2, None, ()), WriteRecord(1, None, ()))
    disk.create(SPARE)
    disk.stop_after(0)  # any change would raise
    refused(disk)
