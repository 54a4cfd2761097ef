"""Frames: how a record lies in a segment file, and what a damaged one means.

The format, in bytes, all numbers little-endian:

    0   4  magic            b"QFRM"
    4   4  length           of the contents
    8   8  sequence         number of the frame, counted through all segments of the log
    16  4  blank sectors    how many of the frame's sectors hold nothing but zeros
    20  4  header checksum  CRC32C of the bytes 0 to 19
    24  4  checksum         the same CRC32C carried on over the contents
    28  n  contents

A header never straddles a sector: where fewer than 28 bytes of a sector are left, they stay zero
and the frame begins with the next sector (so does LevelDB's log with its blocks). As the disk
writes a sector entirely or not at all, a header is therefore whole or absent, and a header that
is neither is damaged, never torn. A damaged length cannot make a frame seem to end elsewhere.

What follows the last frame is zeros, up to the end of the file. Only the very last frame of the
log may not be synced, and that one is *torn* if the file ends inside it or one of its sectors is
still zero that was not zero when it was written; `blank sectors` tells these apart from zeros in
the contents. Everything else is damage. docs/wal.md goes through the cases.

Nothing here knows segments or what the contents mean.
"""

import struct
from dataclasses import dataclass
from typing import NamedTuple

import google_crc32c

from quorate.storage.disk import SECTOR_SIZE, File

MAGIC = b"QFRM"
_FIELDS = struct.Struct("<4sIQI")
_CHECKSUMS = struct.Struct("<II")
_HEADER = struct.Struct("<4xIQIII")
HEADER_SIZE = _HEADER.size
"""Bytes in front of the contents."""
MAX_CONTENTS = 2**32 - 1
"""The largest contents that the length field can tell."""

_ZERO_SECTOR = bytes(SECTOR_SIZE)


@dataclass(frozen=True, slots=True)
class Frame:
    """A valid frame: where its header begins, its number and its contents."""

    offset: int
    sequence: int
    contents: bytes

    @property
    def end(self) -> int:
        """The offset of the first byte behind it."""
        return self.offset + HEADER_SIZE + len(self.contents)


@dataclass(frozen=True, slots=True)
class CleanEnd:
    """Nothing but zeros, or nothing at all, from `offset` on."""

    offset: int


@dataclass(frozen=True, slots=True)
class TornTail:
    """At `offset` begins what a crash left of a frame that was never synced.

    That holds only if this is the end of the log's last file; anywhere else it is damage.
    """

    offset: int


@dataclass(frozen=True, slots=True)
class Damage:
    """What is at `offset` was neither written like this nor left by a crash."""

    offset: int
    reason: str


Tail = CleanEnd | TornTail | Damage
"""What is behind the last valid frame of a file."""


@dataclass(frozen=True, slots=True)
class Scan:
    """The valid frames at the beginning of a file, and what is behind them."""

    frames: tuple[Frame, ...]
    tail: Tail


def frame_offset(end: int) -> int:
    """Where the frame after one that ends at `end` begins; see the header of the module."""
    left = SECTOR_SIZE - end % SECTOR_SIZE
    return end if left >= HEADER_SIZE else end + left


def encode_frame(contents: bytes, *, sequence: int, offset: int) -> bytes:
    """The frame as bytes, to be written at `offset` of a file.

    Args:
        contents: at most `MAX_CONTENTS` bytes.
        sequence: one more than that of the frame before it, also across files.
        offset: as `frame_offset` gave it.
    """
    assert len(contents) <= MAX_CONTENTS
    fields = _FIELDS.pack(MAGIC, len(contents), sequence, _blank_sectors(contents, offset))
    header_checksum = google_crc32c.value(fields)
    checksum = google_crc32c.extend(header_checksum, contents)
    return b"".join((fields, _CHECKSUMS.pack(header_checksum, checksum), contents))


def scan_frames(data: bytes) -> Scan:
    """All valid frames from the beginning of a file's `data`, and what comes behind them.

    The first frame may have any number; the others count on from there.
    """
    frames: list[Frame] = []
    end = 0
    sequence: int | None = None
    while True:
        found = _read_frame(data, end, sequence)
        if not isinstance(found, Frame):
            return Scan(tuple(frames), found)
        frames.append(found)
        end = found.end
        sequence = found.sequence + 1


def read_frame(file: File, end: int, sequence: int) -> Frame | Damage:
    """The frame that follows one that ends at `end`, of a file in which no frame can be torn.

    Reads no more of the file than this frame.
    """
    offset = frame_offset(end)
    padding = offset - end
    head = file.read_at(end, padding + HEADER_SIZE)
    if not _is_zero(head, 0, padding):
        return Damage(end, "the bytes between two frames are not zero")
    header = _read_header(head, padding)
    if header is None:
        return Damage(offset, "the header of a frame does not match its checksum")
    if header.sequence != sequence:
        return Damage(offset, f"this is frame {header.sequence} where {sequence} should be")
    contents_start = offset + HEADER_SIZE
    if contents_start + header.length > file.size:
        return Damage(offset, "the file ends inside a frame")
    contents = file.read_at(contents_start, header.length)
    if google_crc32c.extend(header.header_checksum, contents) != header.checksum:
        return Damage(offset, "a frame does not match its checksum")
    return Frame(offset, sequence, contents)


class _Header(NamedTuple):
    length: int
    sequence: int
    blank_sectors: int
    header_checksum: int
    checksum: int


def _read_frame(data: bytes, end: int, sequence: int | None) -> Frame | Tail:
    """The frame that follows one that ends at `end`, or what is there instead of it."""
    offset = frame_offset(end)
    if not _is_zero(data, end, offset):
        return Damage(end, "the bytes between two frames are not zero")
    contents_start = offset + HEADER_SIZE
    if _is_zero(data, offset, contents_start):
        return _judge_blank_header(data, offset, sequence)
    if contents_start > len(data):
        return TornTail(offset)
    header = _read_header(data, offset)
    if header is None:
        return Damage(offset, "the header of a frame does not match its checksum")
    if sequence is not None and header.sequence != sequence:
        return Damage(offset, f"this is frame {header.sequence} where {sequence} should be")
    contents_end = contents_start + header.length
    if contents_end > len(data):
        return TornTail(offset)
    contents = data[contents_start:contents_end]
    if google_crc32c.extend(header.header_checksum, contents) == header.checksum:
        return Frame(offset, header.sequence, contents)
    if not _is_zero(data, contents_end, len(data)):
        return Damage(offset, "a frame does not match its checksum, and more follows it")
    if _blank_sectors(contents, offset) > header.blank_sectors:
        return TornTail(offset)
    return Damage(offset, "the last frame is complete but does not match its checksum")


def _judge_blank_header(data: bytes, offset: int, sequence: int | None) -> Tail:
    """What zeros in place of a header at `offset` mean."""
    if _is_zero(data, offset, len(data)):
        return CleanEnd(offset)
    # The sector with the header is not there. The rest of that frame may be, for sectors are
    # written in any order; but then that rest is all there is.
    sector_end = offset - offset % SECTOR_SIZE + SECTOR_SIZE
    if not _is_zero(data, offset, sector_end):
        return Damage(offset, "there are zeros in place of the header of a frame")
    later = _find_frame_after(data, sector_end, sequence)
    if later is not None:
        return Damage(offset, f"zeros, but there is a frame behind them at byte {later}")
    return TornTail(offset)


def _find_frame_after(data: bytes, start: int, sequence: int | None) -> int | None:
    """Where from `start` on a header is whose number is beyond `sequence`, if there is one."""
    at = data.find(MAGIC, start)
    while at >= 0:
        header = _read_header(data, at)
        if header is not None and (sequence is None or header.sequence > sequence):
            return at
        at = data.find(MAGIC, at + 1)
    return None


def _read_header(data: bytes, offset: int) -> _Header | None:
    """The header at `offset`; None if there is no intact one."""
    if offset + HEADER_SIZE > len(data):
        return None
    header = _Header._make(_HEADER.unpack_from(data, offset))
    fields = data[offset : offset + _FIELDS.size]
    return header if google_crc32c.value(fields) == header.header_checksum else None


def _blank_sectors(contents: bytes, offset: int) -> int:
    """How many sectors of the frame at `offset` hold none of its bytes but zeros.

    The first one never does, it has the header; so these are sectors within the contents.
    """
    first = -(offset + HEADER_SIZE) % SECTOR_SIZE
    length = len(contents)
    if length <= first:
        return 0
    last = length - (length - first) % SECTOR_SIZE
    blank = 0
    if contents.find(_ZERO_SECTOR, first, last) >= 0:  # hardly ever; far quicker than to count
        blank = sum(contents.startswith(_ZERO_SECTOR, at) for at in range(first, last, SECTOR_SIZE))
    return blank + (last < length and _is_zero(contents, last, length))


def _is_zero(data: bytes, start: int, end: int) -> bool:
    """Whether all bytes from `start` up to `end` are zero, as far as there are any."""
    end = min(end, len(data))
    return start >= end or data.count(0, start, end) == end - start
