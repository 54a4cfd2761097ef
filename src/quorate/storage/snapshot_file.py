"""A snapshot as a file: how it is written, read back and checked.

A file consists of frames (`frames`), numbered from 1: a header with the format's version and
what the snapshot covers, one frame for each section, and an end record, behind which there is
nothing. It gets its final name only when it is complete and synced. So nothing in it can be torn,
and whatever is not as it was written is damage.
"""

from collections.abc import Generator

import google_crc32c

from quorate.codec.errors import DecodeError
from quorate.codec.snapshot import (
    SnapshotEnd,
    SnapshotHeader,
    decode_snapshot_end,
    decode_snapshot_header,
    encode_snapshot_record,
)
from quorate.raft.snapshot import SnapshotMetadata
from quorate.storage.disk import File
from quorate.storage.errors import CorruptionError, UnsupportedFormatError
from quorate.storage.frames import Damage, Frame, encode_frame, frame_offset, read_frame

FORMAT_VERSION = 1
"""The version of the format of snapshot files, in each one's header."""
SYNC_BYTES = 4 * 1024 * 1024
"""A snapshot is synced each time so much was written, so that no sync has much to write: neither
its last one nor, on many file systems, one of the log beside it."""


class PacedFile:
    """A file that grows at its end, with a sync every `SYNC_BYTES`."""

    def __init__(self, file: File) -> None:
        self._file = file
        self._synced = 0
        self.end = 0

    def append(self, data: bytes) -> None:
        """Write behind what is there."""
        self._file.write_at(self.end, data)
        self.end += len(data)
        if self.end - self._synced >= SYNC_BYTES:
            self.sync()

    def sync(self) -> None:
        """Make everything durable."""
        self._file.sync()
        self._synced = self.end


class SnapshotWriter:
    """Writes a snapshot to an empty file."""

    def __init__(self, file: File, metadata: SnapshotMetadata) -> None:
        self._file = PacedFile(file)
        self._unwritten: list[bytes] = []
        self._end = 0
        self._frames = 0
        self._checksum = 0
        self._add(encode_snapshot_record(SnapshotHeader(FORMAT_VERSION, metadata)))

    @property
    def size(self) -> int:
        """Bytes written."""
        return self._file.end

    def write(self, sections: tuple[bytes, ...], *, is_last: bool) -> None:
        """Write sections, and behind the last one the end of the snapshot: then all is durable."""
        for section in sections:
            self._add(section)
        if is_last:
            self._add(encode_snapshot_record(SnapshotEnd(self._frames - 1, self._checksum)))
        self._file.append(b"".join(self._unwritten))
        self._unwritten.clear()
        if is_last:
            self._file.sync()

    def _add(self, contents: bytes) -> None:
        offset = frame_offset(self._end)
        self._frames += 1
        frame = encode_frame(contents, sequence=self._frames, offset=offset)
        self._unwritten += (bytes(offset - self._end), frame)
        self._end = offset + len(frame)
        self._checksum = google_crc32c.extend(self._checksum, contents)


def read_metadata(file: File, location: str) -> SnapshotMetadata:
    """What the snapshot covers, by its header alone.

    Raises:
        CorruptionError: there is no intact header.
        UnsupportedFormatError: another version of Quorate wrote it.
    """
    return _read_header(file, location)[0]


def read_sections(file: File, location: str) -> Generator[bytes, None, None]:
    """The sections, one by one as they are read.

    Only when all have come it is known that they are the whole snapshot and nothing else.

    Raises:
        CorruptionError: the file is not what was written.
        UnsupportedFormatError: another version of Quorate wrote it.
    """
    _, frame = _read_header(file, location)
    checksum = 0
    while True:
        checksum = google_crc32c.extend(checksum, frame.contents)
        frame = _read_frame(file, location, frame.end, frame.sequence + 1)
        if frame.end == file.size:
            break
        yield frame.contents
    try:
        end = decode_snapshot_end(frame.contents)
    except DecodeError as error:
        raise CorruptionError(location, frame.offset, str(error)) from error
    if end.sections != frame.sequence - 2:
        raise CorruptionError(location, frame.offset, f"{end.sections} sections should be here")
    if end.checksum != checksum:
        raise CorruptionError(location, frame.offset, "these sections do not belong together")


def check_snapshot(file: File, location: str) -> SnapshotMetadata:
    """Read the whole file; what it covers.

    Raises:
        CorruptionError: the file is not what was written.
        UnsupportedFormatError: another version of Quorate wrote it.
    """
    for _ in read_sections(file, location):
        pass
    return read_metadata(file, location)


def _read_header(file: File, location: str) -> tuple[SnapshotMetadata, Frame]:
    frame = _read_frame(file, location, 0, 1)
    try:
        header = decode_snapshot_header(frame.contents)
    except DecodeError as error:
        raise CorruptionError(location, frame.offset, str(error)) from error
    if header.format_version != FORMAT_VERSION:
        raise UnsupportedFormatError(
            location, found=header.format_version, supported=FORMAT_VERSION
        )
    return header.metadata, frame


def _read_frame(file: File, location: str, end: int, sequence: int) -> Frame:
    found = read_frame(file, end, sequence)
    if isinstance(found, Damage):
        raise CorruptionError(location, found.offset, found.reason)
    return found
