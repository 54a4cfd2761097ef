"""Reading the log back: from the segment files to the state that they describe.

Read-only: a log that cannot be trusted is left as it is, and what has to be mended is in the
result, for `wal` to do.

Checked here, besides what `frames` and `replay` check: segments and frames are numbered without
a gap, and an incomplete frame is at the very end of the log.
"""

from dataclasses import dataclass

from quorate.codec.errors import DecodeError
from quorate.codec.log import LogRecord, SegmentHeader, decode_record
from quorate.raft.ready import DurableState
from quorate.raft.snapshot import SnapshotMetadata
from quorate.storage.disk import SECTOR_SIZE, Disk
from quorate.storage.errors import CorruptionError, UnsupportedFormatError
from quorate.storage.frames import Damage, Frame, Scan, TornTail, scan_frames
from quorate.storage.replay import Replay
from quorate.storage.segments import FORMAT_VERSION, segment_name, segment_numbers
from quorate.storage.state_size import StateSize


@dataclass(frozen=True, slots=True)
class RecoveredLog:
    """A log as found on the disk.

    Attributes:
        durable_state: what it says, once it is mended.
        state_size: the size of that state.
        last_segment: the number of the segment in which the log ends.
        last_frame: the last valid frame in that segment.
        torn_at: where in that segment a torn tail begins that has to be cut off, if there is one.
        headless_segment: the number of a file behind that segment that has to be removed, if
            there is one: it ends before its header does, so it holds nothing.
    """

    durable_state: DurableState
    state_size: StateSize
    last_segment: int
    last_frame: Frame
    torn_at: int | None
    headless_segment: int | None


def recover_log(disk: Disk, snapshot: SnapshotMetadata) -> RecoveredLog:
    """Read the log that begins after `snapshot`.

    Raises:
        CorruptionError: the log is not what was written.
        UnsupportedFormatError: another version of Quorate wrote it.
    """
    numbers = segment_numbers(disk)
    _check_numbers(disk, numbers, snapshot)
    replay = Replay(snapshot)
    last_segment, scan, headless_segment = numbers[0], None, None
    sequence = 1 if numbers[0] == 1 else None
    log_end = (disk.location(segment_name(numbers[0])), 0)
    for number in numbers:
        data = _read(disk, number)
        if scan is not None and number == numbers[-1] and _is_headless(data):
            headless_segment = number
            break
        scan = scan_frames(data)
        location = disk.location(segment_name(number))
        _check_tail(scan, location, ends_log=number == numbers[-1])
        found = scan.frames[0].sequence
        if sequence not in (None, found):
            raise CorruptionError(
                *log_end, f"frame {sequence} should be here, but {location} begins with {found}"
            )
        _replay_frames(replay, scan.frames, location)
        last_segment, sequence = number, scan.frames[-1].sequence + 1
        log_end = (location, scan.tail.offset)
    assert scan is not None, "there is at least one segment"
    return RecoveredLog(
        durable_state=replay.durable_state,
        state_size=replay.state_size,
        last_segment=last_segment,
        last_frame=scan.frames[-1],
        torn_at=scan.tail.offset if isinstance(scan.tail, TornTail) else None,
        headless_segment=headless_segment,
    )


def _check_numbers(disk: Disk, numbers: list[int], snapshot: SnapshotMetadata) -> None:
    """Refuse a log that lacks a segment. One that was never shortened begins with segment 1."""
    first = numbers[0] if numbers and snapshot.index > 0 else 1
    for expected in range(first, first + max(1, len(numbers))):
        if expected not in numbers:
            raise CorruptionError(
                disk.location(segment_name(expected)), 0, "this segment of the log is missing"
            )


def _read(disk: Disk, number: int) -> bytes:
    file = disk.open(segment_name(number))
    data = file.read_all()
    file.close()
    return data


def _is_headless(data: bytes) -> bool:
    """Whether the file ends before its first frame, the segment's header, does."""
    if len(data) >= SECTOR_SIZE:
        return False
    scan = scan_frames(data)
    return not scan.frames and not isinstance(scan.tail, Damage)


def _replay_frames(replay: Replay, frames: tuple[Frame, ...], location: str) -> None:
    for position, frame in enumerate(frames):
        record = _decode(frame, location)
        wrong = replay.apply(record, len(frame.contents), begins_segment=position == 0)
        if wrong is not None:
            raise CorruptionError(location, frame.offset, wrong)


def _decode(frame: Frame, location: str) -> LogRecord:
    try:
        record = decode_record(frame.contents)
    except DecodeError as error:
        raise CorruptionError(location, frame.offset, str(error)) from error
    if isinstance(record, SegmentHeader) and record.format_version != FORMAT_VERSION:
        raise UnsupportedFormatError(
            location, found=record.format_version, supported=FORMAT_VERSION
        )
    return record


def _check_tail(scan: Scan, location: str, *, ends_log: bool) -> None:
    """Refuse whatever is behind the frames of a segment that a crash does not explain."""
    tail = scan.tail
    if isinstance(tail, Damage):
        raise CorruptionError(location, tail.offset, tail.reason)
    if not scan.frames:
        raise CorruptionError(location, tail.offset, "the segment has no header")
    if isinstance(tail, TornTail) and not ends_log:
        raise CorruptionError(
            location, tail.offset, "a frame is incomplete, though a later segment exists"
        )
