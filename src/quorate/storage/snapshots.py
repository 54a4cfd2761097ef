"""The snapshots of a data directory: one that counts, and others in the making.

A snapshot grows under a temporary name, one for those that this server takes and one for those
that come from a leader. When it is complete it is synced and gets its final name, which is made
durable too; only then does it count, and the one before it is removed. So whatever happens, there
is a whole snapshot, and a crash leaves nothing worse than files to be removed at the next start.

A snapshot is only ever replaced by one that covers more, so an index stands for one file as long
as there is one, and pieces that are read by index all come from it. One that was found damaged is
the exception: no pieces of it are of use, and another that covers as much may take its place.

What a snapshot needs of the log, and the log of it, is the business of `restart` and `store`.
"""

import contextlib
import re
from collections.abc import Generator
from typing import NamedTuple

import msgspec

from quorate.raft.snapshot import LogStart, SnapshotMetadata
from quorate.storage.disk import Disk, File
from quorate.storage.errors import (
    CorruptionError,
    DiskFailedError,
    DiskFullError,
    UnsupportedFormatError,
)
from quorate.storage.snapshot_file import (
    PacedFile,
    SnapshotWriter,
    check_snapshot,
    read_sections,
)

OWN = "snapshot.own"
RECEIVED = "snapshot.received"

_NAME = re.compile(r"(\d{16,})-(\d{8,})\.snapshot")


class SnapshotPart(msgspec.Struct, frozen=True):
    """A piece of a snapshot that this server takes of its own state.

    Attributes:
        metadata: of the whole snapshot, the same in each of its parts.
        sections: the next ones, in order.
        is_first: a snapshot begins with it; one that was not finished is given up.
        is_last: the snapshot is complete with it.
    """

    metadata: SnapshotMetadata
    sections: tuple[bytes, ...]
    is_first: bool
    is_last: bool


class StoredSnapshot(msgspec.Struct, frozen=True):
    """A snapshot on the disk.

    Attributes:
        metadata: what it covers.
        size: bytes of the file, which are the bytes that a follower gets.
    """

    metadata: SnapshotMetadata
    size: int


class NamedSnapshot(NamedTuple):
    """A file with the name of a complete snapshot, and the entry that it ends with by its name."""

    end: LogStart
    name: str


def snapshot_name(end: LogStart) -> str:
    """The name of the file of the snapshot that ends with this entry."""
    return f"{end.index:016d}-{end.term:08d}.snapshot"


def named_snapshots(disk: Disk) -> list[NamedSnapshot]:
    """All files with such names, the newest first."""
    matches = (_NAME.fullmatch(name) for name in disk.names())
    found = [
        NamedSnapshot(LogStart(int(match[1]), int(match[2])), match[0])
        for match in matches
        if match
    ]
    return sorted(found, key=lambda each: (each.end.index, each.end.term), reverse=True)


def check_named_snapshot(disk: Disk, named: NamedSnapshot) -> StoredSnapshot:
    """Read a whole file of such a name.

    Raises:
        CorruptionError: it is not what was written.
        UnsupportedFormatError: another version of Quorate wrote it.
    """
    location = disk.location(named.name)
    file = disk.open(named.name)
    try:
        metadata = check_snapshot(file, location)
        if (metadata.index, metadata.term) != (named.end.index, named.end.term):
            raise CorruptionError(location, 0, f"the snapshot ends with entry {metadata.index}")
        return StoredSnapshot(metadata, file.size)
    finally:
        file.close()


def remove_unfinished_snapshots(disk: Disk) -> None:
    """Delete what a crash left of snapshots that were in the making."""
    for name in sorted({OWN, RECEIVED}.intersection(disk.names())):
        disk.remove(name)


class _Complete(NamedTuple):
    stored: StoredSnapshot
    file: File


class _Own(NamedTuple):
    metadata: SnapshotMetadata
    file: File
    writer: SnapshotWriter


class _Incoming(NamedTuple):
    metadata: SnapshotMetadata
    size: int
    file: File
    received: PacedFile


class Snapshots:
    """The snapshots of an open data directory, for one thread at a time.

    It need not be the thread of the log. A `StorageError` from any method but a `DiskFullError`,
    and but a `CorruptionError` from `read` or `check`, ends the store's life.

    Args:
        disk: the directory.
        newest: the one that a restart begins with; None if there is none that can be read.
    """

    def __init__(self, disk: Disk, newest: StoredSnapshot | None) -> None:
        self._disk = disk
        self._newest: _Complete | None = None
        self._newest_is_damaged = False
        self._previous: _Complete | None = None
        self._own: _Own | None = None
        self._incoming: _Incoming | None = None
        remove_unfinished_snapshots(disk)
        if newest is not None:
            end = LogStart(newest.metadata.index, newest.metadata.term)
            self._newest = _Complete(newest, disk.open(snapshot_name(end)))
            for named in named_snapshots(disk):
                if named.end.index < end.index:
                    disk.remove(named.name)

    @property
    def newest(self) -> StoredSnapshot | None:
        """The newest complete one, which is durable; may be asked from any thread."""
        return self._newest.stored if self._newest is not None else None

    def write(self, part: SnapshotPart) -> StoredSnapshot | None:
        """Write a part of a snapshot that this server takes.

        Returns:
            With the last part the newest snapshot, durable: this one, unless meanwhile one came
            from the leader that covers as much. None before.

        Raises:
            DiskFullError: no space is left for it; nothing of it remains, and nothing else is
                concerned. The next part has to be the first one of another.
        """
        if part.is_first:
            self._give_up_own()
        if part.is_last and self._covers(part.metadata.index):
            self._give_up_own()
            return self.newest
        try:
            if part.is_first:
                file = self._disk.create(OWN)
                writer = SnapshotWriter(file, part.metadata)
                self._own = _Own(part.metadata, file, writer)
            own = self._own
            assert own is not None, "a snapshot begins with its first part"
            assert own.metadata == part.metadata, "its parts belong together"
            own.writer.write(part.sections, is_last=part.is_last)
            if not part.is_last:
                return None
            self._disk.rename(OWN, _final_name(part.metadata))
        except DiskFullError:
            self._give_up_own()
            raise
        self._own = None
        return self._count(StoredSnapshot(part.metadata, own.writer.size), own.file)

    def receive(self, metadata: SnapshotMetadata, size: int, offset: int, data: bytes) -> int:
        """Write a piece of a snapshot that a leader sends.

        The first piece begins a new file, whatever there is of the same snapshot: it may come
        from another leader, where the same state has other bytes. Any other piece changes nothing
        if it is not the next one. A file that is complete but is not a whole, undamaged snapshot
        is thrown away.

        Args:
            metadata: what the snapshot covers.
            size: bytes of the whole snapshot.
            offset: where in it `data` belongs.
            data: the piece.

        Returns:
            Everything before this offset is here. `size`: the snapshot is complete and durable,
            or one that covers as much.

        Raises:
            DiskFullError: no space is left for it; nothing of it remains, and nothing else is
                concerned. It can be received again from its beginning.
        """
        if self._covers(metadata.index):
            return size
        incoming = self._incoming
        is_another = incoming is None or (incoming.metadata, incoming.size) != (metadata, size)
        if is_another and offset > 0:
            return 0
        try:
            if incoming is None or offset == 0:
                self._give_up_incoming()
                file = self._disk.create(RECEIVED)
                incoming = self._incoming = _Incoming(metadata, size, file, PacedFile(file))
            received = incoming.received
            if offset != received.end or offset + len(data) > size:
                return received.end
            received.append(data)
            if received.end < size:
                return received.end
            if not _is_snapshot_of(metadata, incoming.file, self._disk.location(RECEIVED)):
                self._give_up_incoming()
                return 0
            received.sync()
            self._disk.rename(RECEIVED, _final_name(metadata))
        except DiskFullError:
            self._give_up_incoming()
            raise
        self._incoming = None
        self._count(StoredSnapshot(metadata, size), incoming.file)
        return size

    def read(self, index: int, offset: int, length: int) -> bytes | None:
        """A piece of the newest snapshot or of the one before it.

        Args:
            index: which one, by the last entry that it covers.
            offset: where the piece begins.
            length: its bytes; it is shorter where the snapshot ends.

        Returns:
            The piece; None if that snapshot is gone.

        Raises:
            CorruptionError: the file ends before that. What `check` says of it holds here too.
        """
        complete = self._complete(index)
        if complete is None:
            return None
        data = complete.file.read_at(offset, length)
        end = offset + len(data)
        if end < min(offset + length, complete.stored.size):
            self._found_damaged(complete)
            raise CorruptionError(self._location(complete), end, "the file ends too early")
        return data

    def check(self, index: int) -> None:
        """Read the whole of the newest snapshot or of the one before it, if it is not gone.

        Args:
            index: which one, by the last entry that it covers.

        Raises:
            CorruptionError: the file is not what was written. That ends no life: the state is in
                memory, and another snapshot can take its place.
        """
        complete = self._complete(index)
        if complete is None:
            return
        try:
            check_snapshot(complete.file, self._location(complete))
        except CorruptionError:
            self._found_damaged(complete)
            raise

    def sections(self) -> Generator[bytes, None, None]:
        """The sections of the newest snapshot, read from the disk one by one.

        They remain those of one snapshot even if a newer one comes meanwhile. Only when all have
        come it is known that they are whole.

        Raises:
            CorruptionError: the file is not what was written.
        """
        assert self._newest is not None, "there is no snapshot"
        name = _final_name(self._newest.stored.metadata)
        sections = _read_and_close(self._disk.open(name), self._disk.location(name))
        next(sections)
        return sections

    def close(self) -> None:
        """Let the files go."""
        for open_file in (self._newest, self._previous, self._own, self._incoming):
            if open_file is not None:
                open_file.file.close()

    def _complete(self, index: int) -> _Complete | None:
        """The newest one or the one before it, if that ends here."""
        for complete in (self._newest, self._previous):
            if complete is not None and complete.stored.metadata.index == index:
                return complete
        return None

    def _location(self, complete: _Complete) -> str:
        return self._disk.location(_final_name(complete.stored.metadata))

    def _found_damaged(self, complete: _Complete) -> None:
        if complete is self._newest:
            self._newest_is_damaged = True

    def _covers(self, index: int) -> bool:
        """Whether the newest snapshot covers as much as one that ends here, and is not to go."""
        if self._newest is None:
            return False
        newest = self._newest.stored.metadata.index
        return newest > index or (newest == index and not self._newest_is_damaged)

    def _give_up_own(self) -> None:
        if self._own is not None:
            self._own.file.close()
            self._own = None
            self._disk.remove(OWN)

    def _give_up_incoming(self) -> None:
        if self._incoming is not None:
            self._incoming.file.close()
            self._incoming = None
            self._disk.remove(RECEIVED)

    def _count(self, stored: StoredSnapshot, file: File) -> StoredSnapshot:
        """Let a synced snapshot that has got its final name be the newest one."""
        try:
            self._disk.sync_directory()
        except DiskFullError as error:
            # Whether the name is durable is not known, so this is no shortage to live with.
            name = self._disk.location(_final_name(stored.metadata))
            raise DiskFailedError(name, "sync the name of", "no space left") from error
        if self._previous is not None:
            self._previous.file.close()
        self._previous, self._newest = self._newest, _Complete(stored, file)
        self._newest_is_damaged = False
        for named in named_snapshots(self._disk):
            if named.name != _final_name(stored.metadata):
                self._disk.remove(named.name)
        return stored


def _final_name(metadata: SnapshotMetadata) -> str:
    return snapshot_name(LogStart(metadata.index, metadata.term))


def _is_snapshot_of(metadata: SnapshotMetadata, file: File, location: str) -> bool:
    """Whether a file that came from a leader is a whole snapshot that covers just this."""
    with contextlib.suppress(CorruptionError, UnsupportedFormatError):
        return check_snapshot(file, location) == metadata
    return False


def _read_and_close(file: File, location: str) -> Generator[bytes, None, None]:
    """The sections of a file, behind an empty one.

    That one is fetched at once: only a generator that was begun closes its file when it is dropped.
    """
    try:
        yield b""
        yield from read_sections(file, location)
    finally:
        file.close()
