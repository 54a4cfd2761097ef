"""Bugs planted in the storage, and in what it asks of the disk."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

import msgspec
import pytest

from quorate.codec.log import SegmentHeader
from quorate.storage import identity, segments, wal
from quorate.storage.errors import DiskFailedError, DiskFullError
from quorate.storage.memory_disk import MemoryDisk, MemoryFile
from quorate.storage.segments import Segment
from quorate.storage.wal import WriteAheadLog

if TYPE_CHECKING:
    from collections.abc import Callable

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


LOST = "found term .* on its disk, where|is down: |calls are not answered|this node has numbered"
"""A node finds another state than was synced, or damage that keeps it from starting, or uses the
numbers of an earlier boot again."""

BUGS = [
    (nothing_is_synced, LOST, 1),
    (the_log_is_not_synced, LOST, 1),
    (the_directory_is_not_synced, LOST, 1),
    (a_new_segment_is_not_synced_into_the_directory, LOST, 1),
    (the_identity_is_not_synced_into_the_directory, LOST, 81),
    (a_torn_tail_is_not_cut, LOST, 6),
    (a_failed_sync_is_tried_again, LOST, 17),
    (what_is_recovered_is_not_made_durable, LOST, 1),
    (a_new_segment_forgets_the_vote, LOST, 1),
    (the_boot_is_not_counted, ".", 2),
    (a_full_disk_is_ignored, LOST, 1),
]


@pytest.mark.parametrize(("plant", "symptom", "seed"), BUGS)
def test_the_simulation_finds_it(
    plant: Callable[[pytest.MonkeyPatch], None],
    symptom: str,
    seed: int,
    find: Callable[..., None],
) -> None:
    find(plant, symptom, seed=seed)


@pytest.mark.soak
@pytest.mark.parametrize(("plant", "symptom"), [bug[:2] for bug in BUGS])
def test_in_how_many_of_a_hundred_lives(
    plant: Callable[[pytest.MonkeyPatch], None], symptom: str, measure: Callable[..., None]
) -> None:
    measure(plant, symptom)
