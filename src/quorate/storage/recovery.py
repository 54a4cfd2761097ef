"""Reading the log back: from the segment files to the state that they describe.

Read-only: a log that cannot be trusted is left as it is, and what has to be mended is in the
result, for `wal` to do.

Checked here, besides what `frames` and `replay` check: frames are numbered without a gap, an
incomplete frame is at the very end of the log, and no segment is missing that holds something
alive. Dead ones are removed oldest first, but a crash may bring any of those names back; so what
is before a gap in the segments' numbers counts as gone.
"""

from dataclasses import dataclass

from quorate.codec.errors import DecodeError
from quorate.codec.log import LogRecord, SegmentHeader, decode_record
from quorate.storage.disk import SECTOR_SIZE, Disk
from quorate.storage.errors import CorruptionError, UnsupportedFormatError
from quorate.storage.frames import Damage, Frame, Scan, TornTail, scan_frames
from quorate.storage.live_log import LiveLog
from quorate.storage.replay import LogContents, Replay
from quorate.storage.segments import FORMAT_VERSION, segment_name, segment_numbers


@dataclass(frozen=True, slots=True)
class RecoveredLog:
    """A log as found on the disk.

    Attributes:
        contents: what it says, once it is mended.
        live: the bookkeeping of that.
        last_segment: the number of the segment in which the log ends.
        last_frame: the last valid frame in that segment.
        torn_at: where in that segment a torn tail begins that has to be cut off, if there is one.
        headless_segment: the number of a file behind that segment that has to be removed, if
            there is one: it ends before its header does, so it holds nothing.
    """

    contents: LogContents
    live: LiveLog
    last_segment: int
    last_frame: Frame
    torn_at: int | None
    headless_segment: int | None


def recover_log(disk: Disk) -> RecoveredLog:
    """Read the log.

    Raises:
        CorruptionError: the log is not what was written.
        UnsupportedFormatError: another version of Quorate wrote it.
    """
    numbers = _without_gap(segment_numbers(disk) or [1])
    replay: Replay | None = None
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
        replay = _replay_frames(replay, scan.frames, location, number)
        last_segment, sequence = number, scan.frames[-1].sequence + 1
        log_end = (location, scan.tail.offset)
    assert scan is not None, "there is at least one segment"
    assert replay is not None
    if replay.missing is not None:
        location = disk.location(segment_name(numbers[0] - 1))
        raise CorruptionError(
            location, 0, f"this segment of the log is missing; {replay.missing} are lost"
        )
    return RecoveredLog(
        contents=replay.contents,
        live=replay.live,
        last_segment=last_segment,
        last_frame=scan.frames[-1],
        torn_at=scan.tail.offset if isinstance(scan.tail, TornTail) else None,
        headless_segment=headless_segment,
    )


def _without_gap(numbers: list[int]) -> list[int]:
    """The numbers at the end that follow each other."""
    first = len(numbers) - 1
    while first > 0 and numbers[first - 1] == numbers[first] - 1:
        first -= 1
    return numbers[first:]


def _read(disk: Disk, number: int) -> bytes:
    name = segment_name(number)
    if name not in disk.names():
        raise CorruptionError(disk.location(name), 0, "this segment of the log is missing")
    file = disk.open(name)
    data = file.read_all()
    file.close()
    return data


def _is_headless(data: bytes) -> bool:
    """Whether the file ends before its first frame, the segment's header, does."""
    if len(data) >= SECTOR_SIZE:
        return False
    scan = scan_frames(data)
    return not scan.frames and not isinstance(scan.tail, Damage)


def _replay_frames(
    replay: Replay | None, frames: tuple[Frame, ...], location: str, number: int
) -> Replay:
    """Apply the frames of a segment; the first segment's header begins the replay."""
    for position, frame in enumerate(frames):
        record = _decode(frame, location)
        if replay is None:
            if not isinstance(record, SegmentHeader):
                raise CorruptionError(location, frame.offset, "a segment begins with its header")
            replay = Replay(record)
        wrong = replay.apply(
            record, len(frame.contents), segment=number, begins_segment=position == 0
        )
        if wrong is not None:
            raise CorruptionError(location, frame.offset, wrong)
    assert replay is not None, "a segment has frames"
    return replay


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
