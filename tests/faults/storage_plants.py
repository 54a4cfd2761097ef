"""Plants in the storage, and in what it asks of the disk."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

import msgspec
import pytest

from quorate.cli.torture.obedient_disk import ObedientDisk, ObedientFile
from quorate.codec.log import SegmentHeader
from quorate.storage import frames, identity, recovery, segments, wal
from quorate.storage.errors import DiskFailedError, DiskFullError
from quorate.storage.memory_disk import MemoryDisk, MemoryFile
from quorate.storage.segments import Segment
from quorate.storage.wal import WriteAheadLog

if TYPE_CHECKING:
    from quorate.storage.disk import Disk, File
    from quorate.storage.recovery import RecoveredLog


def nothing_is_synced(patches: pytest.MonkeyPatch) -> None:
    patches.setattr(MemoryFile, "sync", lambda _self: None)


def the_log_is_not_synced(patches: pytest.MonkeyPatch) -> None:
    def without_sync(self: WriteAheadLog) -> None:
        self._has_unsynced = False

    patches.setattr(WriteAheadLog, "sync", without_sync)


def the_directory_is_not_synced(patches: pytest.MonkeyPatch) -> None:
    patches.setattr(MemoryDisk, "sync_directory", lambda _self: None)


def a_new_segment_is_not_synced_into_the_directory(patches: pytest.MonkeyPatch) -> None:
    begin_segment = segments.begin_segment

    def without_sync(
        disk: Disk, name: str, file: File, *, number: int, header: SegmentHeader, sequence: int
    ) -> Segment:
        with pytest.MonkeyPatch.context() as inner:
            inner.setattr(MemoryDisk, "sync_directory", lambda _self: None)
            return begin_segment(disk, name, file, number=number, header=header, sequence=sequence)

    patches.setattr(wal, "begin_segment", without_sync)


def the_identity_is_not_synced_into_the_directory(patches: pytest.MonkeyPatch) -> None:
    save = identity.save_identity

    def without_sync(disk: Disk, whose: identity.Identity) -> None:
        with pytest.MonkeyPatch.context() as inner:
            inner.setattr(MemoryDisk, "sync_directory", lambda _self: None)
            save(disk, whose)

    patches.setattr("quorate.storage.store.save_identity", without_sync)


def a_torn_tail_is_not_cut(patches: pytest.MonkeyPatch) -> None:
    patches.setattr(MemoryFile, "truncate", lambda _self, _size: None)


def a_failed_sync_is_tried_again(patches: pytest.MonkeyPatch) -> None:
    sync = Segment.sync

    def persistent(self: Segment) -> None:
        try:
            sync(self)
        except DiskFailedError:
            sync(self)

    patches.setattr(Segment, "sync", persistent)


def failed_syncs_are_ignored(patches: pytest.MonkeyPatch) -> None:
    """Of the disk of a torture."""
    sync = ObedientFile.sync

    def careless(self: ObedientFile) -> None:
        with contextlib.suppress(DiskFailedError):
            sync(self)

    patches.setattr(ObedientFile, "sync", careless)
    patches.setattr(ObedientDisk, "sync_directory", lambda _self: None)


def what_is_recovered_is_not_made_durable(patches: pytest.MonkeyPatch) -> None:
    mend = wal._mend

    def without_sync(disk: Disk, log: RecoveredLog) -> Segment:
        with pytest.MonkeyPatch.context() as inner:
            inner.setattr(MemoryFile, "sync", lambda _self: None)
            return mend(disk, log)

    patches.setattr(wal, "_mend", without_sync)


def a_new_segment_forgets_the_vote(patches: pytest.MonkeyPatch) -> None:
    begin_segment = segments.begin_segment

    def without_vote(
        disk: Disk, name: str, file: File, *, number: int, header: SegmentHeader, sequence: int
    ) -> Segment:
        header = msgspec.structs.replace(header, voted_for=None)
        return begin_segment(disk, name, file, number=number, header=header, sequence=sequence)

    patches.setattr(wal, "begin_segment", without_vote)


def the_boot_is_not_counted(patches: pytest.MonkeyPatch) -> None:
    patches.setattr(identity.Identity, "with_next_boot", lambda self: self)


def a_full_disk_is_ignored(patches: pytest.MonkeyPatch) -> None:
    """A write that did not fit is taken for one that did."""
    write_at = MemoryFile.write_at

    def careless(self: MemoryFile, offset: int, data: bytes) -> None:
        with contextlib.suppress(DiskFullError):
            write_at(self, offset, data)

    patches.setattr(MemoryFile, "write_at", careless)


def the_checksum_of_a_frame_is_not_checked(patches: pytest.MonkeyPatch) -> None:
    """Nor that of its header. What cannot be decoded, and a number out of line, are still seen."""
    patches.setattr(frames, "google_crc32c", NoChecksum)


class NoChecksum:
    """Whatever was written, its checksum is the same."""

    @staticmethod
    def value(_data: bytes) -> int:
        return 0

    @staticmethod
    def extend(_checksum: int, _data: bytes) -> int:
        return 0


def a_torn_tail_is_taken_for_corruption(patches: pytest.MonkeyPatch) -> None:
    scan = frames.scan_frames

    def strict(data: bytes) -> frames.Scan:
        found = scan(data)
        if isinstance(found.tail, frames.TornTail):
            return frames.Scan(found.frames, frames.Damage(found.tail.offset, "a torn frame"))
        return found

    patches.setattr(recovery, "scan_frames", strict)


def corruption_is_taken_for_a_torn_tail(patches: pytest.MonkeyPatch) -> None:
    """Of the last segment: whatever is wrong with a frame, the log ends before it."""
    scan = frames.scan_frames

    def lenient(data: bytes) -> frames.Scan:
        found = scan(data)
        if isinstance(found.tail, frames.Damage):
            return frames.Scan(found.frames, frames.TornTail(found.tail.offset))
        return found

    patches.setattr(recovery, "scan_frames", lenient)
