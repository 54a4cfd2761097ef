"""A small log of three segments, damaged in every place.

It has term, vote, truncation, start and data frames; its last frame spans several sectors, of
which one holds only zeros. Whatever happens to it, recovery gives a prefix of what was written or
refuses, and never an entry that was not written.
"""

import itertools
import random
from collections.abc import Iterator

import pytest

from quorate.raft.configuration import NodeId
from quorate.raft.entry import Entry, EntryKind
from quorate.raft.ready import LogWrite
from quorate.raft.snapshot import LogStart
from quorate.storage.disk import SECTOR_SIZE
from quorate.storage.errors import CorruptionError
from quorate.storage.frames import Frame, scan_frames
from quorate.storage.memory_disk import MemoryDisk
from quorate.storage.recovery import recover_log
from quorate.storage.replay import LogContents
from quorate.storage.segments import segment_name
from quorate.storage.wal import WriteAheadLog

SEGMENT_SIZE = 2048
BEGINNING = LogStart(0, 0)
SEGMENTS = (1, 2, 3)


def entry(index: int, term: int, data: bytes) -> Entry:
    return Entry(index, term, index * 10, EntryKind.DATA, data)


def write(term: int, voted_for: int | None, *entries: Entry) -> LogWrite:
    return LogWrite(0, term, None if voted_for is None else NodeId(voted_for), entries)


WRITES = (
    write(1, None),
    write(1, 2),
    write(1, 2, Entry(1, 1, 10, EntryKind.NO_OP, b"")),
    write(1, 2, entry(2, 1, b"a" * 30), entry(3, 1, b"b" * 700), entry(4, 1, b"c")),
    write(1, 2, entry(5, 1, b"d" * 600)),
    write(2, None),
    write(2, 3, entry(4, 2, b"e" * 500)),  # truncates
    write(2, 3, entry(5, 2, b"f" * 30), entry(6, 2, b"g" * 400)),
    LogWrite(0, 2, NodeId(3), (), LogStart(2, 1)),  # begins later
    write(3, None, entry(5, 3, b"h" * 900)),  # truncates
    write(3, 1),
    write(3, 1, entry(6, 3, b"i" * 50)),
    write(3, 1, entry(7, 3, b"j" * 300 + bytes(800) + b"k" * 200)),
)


def reopen(disk: MemoryDisk) -> tuple[WriteAheadLog, LogContents]:
    found = recover_log(disk)
    return WriteAheadLog.open(disk, found, segment_size=SEGMENT_SIZE), found.contents


def states() -> tuple[LogContents, ...]:
    """What each prefix of the writes says, by a list and nothing else."""
    found = [LogContents(0, None, BEGINNING)]
    start, entries = BEGINNING, list[Entry]()
    for each in WRITES:
        if each.start is not None:
            start = each.start
            entries = [old for old in entries if old.index > start.index]
        if each.entries:
            entries = [old for old in entries if old.index < each.entries[0].index]
            entries.extend(each.entries)
        found.append(LogContents(each.term, each.voted_for, start, tuple(entries)))
    return tuple(found)


def written_log() -> dict[int, bytes]:
    """The segment files by number."""
    disk = MemoryDisk()
    WriteAheadLog.create(disk, segment_size=SEGMENT_SIZE)
    log, _ = reopen(disk)
    for each in WRITES:
        log.append(each)
        log.sync()
    assert disk.names() == [segment_name(number) for number in SEGMENTS]
    return {number: disk.open(segment_name(number)).read_all() for number in SEGMENTS}


STATES = states()
LOG = written_log()
FRAMES = {number: scan_frames(data).frames for number, data in LOG.items()}
LAST_FRAME = FRAMES[3][-1]


def disk_with(files: dict[int, bytes]) -> MemoryDisk:
    disk = MemoryDisk()
    for number, data in files.items():
        file = disk.create(segment_name(number))
        file.write_at(0, data)
        file.sync()
    disk.sync_directory()
    return disk


def recovered(files: dict[int, bytes]) -> LogContents:
    """What the log says; the mended log must take more, and then say that too."""
    disk = disk_with(files)
    log, state = reopen(disk)
    last = state.entries[-1].index if state.entries else 0
    more = entry(last + 1, 9, b"more")
    log.append(write(9, 1, more))
    log.sync()
    again = reopen(disk)[1]
    assert again.entries == (*state.entries, more)
    return state


def refused(files: dict[int, bytes]) -> tuple[str, int]:
    """Where the damage is said to be."""
    with pytest.raises(CorruptionError) as info:
        recover_log(disk_with(files))
    return info.value.file, info.value.offset


def cuts(number: int) -> Iterator[int]:
    """Every size that the segment can be cut to, and a few in the zeros behind its frames."""
    end = FRAMES[number][-1].end
    yield from range(end)
    yield from range(end, SEGMENT_SIZE, 37)


def state_at(number: int, size: int) -> LogContents:
    """The state after the writes that are complete if the log ends at `size` in this segment."""
    frames = [FRAMES[before] for before in SEGMENTS if before < number]
    frames.append(tuple(frame for frame in FRAMES[number] if frame.end <= size))
    # The first frame of each segment is its header, no write.
    return STATES[sum(max(0, len(segment) - 1) for segment in frames)]


def flipped(number: int, at: int, byte: int) -> dict[int, bytes]:
    data = LOG[number]
    return {**LOG, number: data[:at] + bytes([byte]) + data[at + 1 :]}


def test_the_whole_log_is_what_was_written() -> None:
    assert recovered(LOG) == STATES[-1]


@pytest.mark.parametrize("number", SEGMENTS)
def test_a_log_cut_at_any_byte_gives_the_longest_valid_prefix(number: int) -> None:
    for size in cuts(number):
        files = {before: LOG[before] for before in SEGMENTS if before < number}
        files[number] = LOG[number][:size]
        if number == 1 and size < FRAMES[1][0].end:
            # The first header is durable before the directory counts as initialised.
            assert refused(files) == (segment_name(1), 0)
        else:
            assert recovered(files) == state_at(number, size)


@pytest.mark.parametrize("number", [1, 2])
def test_a_segment_cut_inside_while_later_ones_exist_is_corruption(number: int) -> None:
    for size in cuts(number):
        files = {**LOG, number: LOG[number][:size]}
        if size >= FRAMES[number][-1].end:
            assert recovered(files) == STATES[-1]
        else:
            lost = next(frame for frame in FRAMES[number] if frame.end > size)
            assert refused(files) == (segment_name(number), lost.offset)


def test_a_tail_torn_after_a_cut_header_was_removed_is_no_corruption() -> None:
    """The file without a whole header must be gone before the segment before it grows."""
    begun = {1: LOG[1][: FRAMES[1][3].end].ljust(SEGMENT_SIZE, b"\0"), 2: LOG[2][:20]}
    for seed in range(20):
        disk = disk_with(begun)
        log, state = reopen(disk)
        assert state == STATES[3]
        log.append(WRITES[3])
        disk.crash(random.Random(seed))
        again = reopen(disk)[1]
        assert again in STATES[3:5]


def test_a_cut_header_does_not_excuse_a_torn_tail_before_it() -> None:
    """The segment before was durable when the header was written."""
    last = FRAMES[2][-1]
    files = {**LOG, 2: LOG[2][: last.end - 1], 3: LOG[3][:20]}
    assert refused(files) == (segment_name(2), last.offset)


@pytest.mark.parametrize("change", ["all bits", "lowest bit", "highest bit", "zero"])
@pytest.mark.parametrize("number", SEGMENTS)
def test_every_changed_byte_inside_a_frame_is_located_corruption(number: int, change: str) -> None:
    for frame in FRAMES[number]:
        for at in range(frame.offset, frame.end):
            old = LOG[number][at]
            new = {
                "all bits": old ^ 0xFF,
                "lowest bit": old ^ 1,
                "highest bit": old ^ 0x80,
                "zero": 0,
            }[change]
            if new != old:
                place = refused(flipped(number, at, new))
                assert place == (segment_name(number), frame.offset)


@pytest.mark.parametrize("number", SEGMENTS)
def test_a_changed_byte_behind_the_frames_never_gives_a_wrong_entry(number: int) -> None:
    for at in range(FRAMES[number][-1].end, SEGMENT_SIZE, 3):
        try:
            state = recovered(flipped(number, at, 0xFF))
        except CorruptionError as error:
            assert error.file == segment_name(number)  # noqa: PT017 - either outcome is right
        else:
            assert state == STATES[-1]


def sectors_of(frame: Frame) -> list[range]:
    sectors = range(frame.offset // SECTOR_SIZE, (frame.end - 1) // SECTOR_SIZE + 1)
    return [
        range(max(frame.offset, at * SECTOR_SIZE), min(frame.end, (at + 1) * SECTOR_SIZE))
        for at in sectors
    ]


def test_the_last_frame_may_have_lost_any_of_its_sectors() -> None:
    sectors = sectors_of(LAST_FRAME)
    assert len(sectors) >= 3
    outcomes = []
    for count in range(1, len(sectors) + 1):
        for lost in itertools.combinations(sectors, count):
            data = bytearray(LOG[3])
            for sector in lost:
                data[sector.start : sector.stop] = bytes(len(sector))
            whole = data == LOG[3]
            outcomes.append(whole)
            assert recovered({**LOG, 3: bytes(data)}) == STATES[-1 if whole else -2]
    assert outcomes.count(True) == 1  # the sector of zeros


def test_a_lost_sector_in_an_earlier_frame_is_corruption() -> None:
    for number in SEGMENTS:
        for frame in FRAMES[number]:
            if frame is not LAST_FRAME:
                for sector in sectors_of(frame):
                    data = bytearray(LOG[number])
                    data[sector.start : sector.stop] = bytes(len(sector))
                    place = refused({**LOG, number: bytes(data)})
                    assert place == (segment_name(number), frame.offset)
