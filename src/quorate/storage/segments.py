"""The segment files of the log: their names, how one comes into being, where its next frame goes.

A segment is preallocated and zeroed, so that a sync on the hot path writes no metadata: measured,
that takes about half the time of a sync of a file that grows. It gets its final name only after
its first frame, the `SegmentHeader`, is durable. So a crash never leaves a segment without a
header, and two unfinished names can be deleted whenever they are found: `SPARE`, preallocated
ahead of time and still blank, and `FRESH`, being made because there was no spare.

Nothing here knows what a log is about; see `recovery` and `wal` for that.
"""

import re

from quorate.codec.log import SegmentHeader, encode_record
from quorate.storage.disk import Disk, File
from quorate.storage.errors import DiskFullError
from quorate.storage.frames import HEADER_SIZE, encode_frame, frame_offset

FORMAT_VERSION = 2
"""The version of the log's format, in each segment's header."""
DEFAULT_SEGMENT_SIZE = 16 * 1024 * 1024
"""Bytes of a segment; one with a frame that is larger than this has a size of its own."""
SPARE = "wal.spare"
FRESH = "wal.fresh"

_NAME = re.compile(r"(\d{10})\.wal")


def segment_name(number: int) -> str:
    """The name of the segment file with this number; the first one has number 1."""
    return f"{number:010d}.wal"


def segment_numbers(disk: Disk) -> list[int]:
    """The numbers of all segments on the disk, ascending."""
    matches = (_NAME.fullmatch(name) for name in disk.names())
    return sorted(int(match[1]) for match in matches if match)


def remove_unfinished(disk: Disk) -> None:
    """Delete what a crash left of segments that were being made."""
    for name in sorted({SPARE, FRESH}.intersection(disk.names())):
        disk.remove(name)


def preallocate(disk: Disk, name: str, size: int) -> File:
    """A blank segment of `size` bytes under an unfinished name.

    Raises:
        DiskFullError: there is no space; nothing is left behind.
    """
    file = disk.create(name)
    try:
        file.preallocate(size)
        file.sync()  # a file system may find out only here that space is lacking
    except DiskFullError:
        file.close()
        disk.remove(name)
        raise
    return file


class Segment:
    """A segment that frames are added to.

    Args:
        number: its number.
        file: its file.
        end: where its last frame ends.
    """

    def __init__(self, number: int, file: File, end: int) -> None:
        self.number = number
        self._file = file
        self._end = end
        self._capacity = file.size

    @property
    def is_half_full(self) -> bool:
        """Whether it is time to think of the next segment."""
        return self._end > self._capacity // 2

    def has_room_for(self, length: int) -> bool:
        """Whether a frame with contents of this length fits."""
        return frame_offset(self._end) + HEADER_SIZE + length <= self._capacity

    def append(self, contents: bytes, sequence: int) -> None:
        """Write one frame behind the last one."""
        offset = frame_offset(self._end)
        frame = encode_frame(contents, sequence=sequence, offset=offset)
        self._file.write_at(offset, frame)
        self._end = offset + len(frame)

    def sync(self) -> None:
        """Make what was appended durable."""
        self._file.sync()

    def close(self) -> None:
        """Let the file go."""
        self._file.close()


def size_for(header: SegmentHeader, length: int) -> int:
    """The bytes of a segment that holds its header and one frame with contents of `length`."""
    return frame_offset(HEADER_SIZE + len(encode_record(header))) + HEADER_SIZE + length


def begin_segment(
    disk: Disk, name: str, file: File, *, number: int, header: SegmentHeader, sequence: int
) -> Segment:
    """Make a blank file of an unfinished name the segment with this number, durably."""
    segment = Segment(number, file, end=0)
    segment.append(encode_record(header), sequence)
    segment.sync()
    disk.rename(name, segment_name(number))
    disk.sync_directory()
    return segment
