"""A small log of three segments, and what each prefix of its writes says.

It has term, vote, truncation, start and data frames; its last frame spans several sectors, of
which one holds only zeros.
"""

from quorate.raft.configuration import NodeId
from quorate.raft.entry import Entry, EntryKind
from quorate.raft.ready import LogWrite
from quorate.raft.snapshot import LogStart
from quorate.storage.frames import scan_frames
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


def writes_before(number: int, size: int) -> int:
    """How many writes are complete if the log ends at `size` in this segment."""
    frames = [FRAMES[before] for before in SEGMENTS if before < number]
    frames.append(tuple(frame for frame in FRAMES[number] if frame.end <= size))
    # The first frame of each segment is its header, no write.
    return sum(max(0, len(segment) - 1) for segment in frames)


def state_at(number: int, size: int) -> LogContents:
    """The state after these writes."""
    return STATES[writes_before(number, size)]
