"""Snapshots: those that a server takes, those that it gets, and what it gives of them."""

import random
import tracemalloc
from collections.abc import Callable

import pytest

from quorate.raft.configuration import Member, NodeId, configuration_of
from quorate.raft.entry import Entry, EntryKind
from quorate.raft.ready import LogWrite
from quorate.raft.snapshot import LogStart, SnapshotMetadata
from quorate.storage.disk import Disk, File
from quorate.storage.errors import CorruptionError, DiskFailedError, DiskFullError
from quorate.storage.memory_disk import MemoryDisk
from quorate.storage.snapshot_file import SYNC_BYTES
from quorate.storage.snapshots import OWN, RECEIVED, SnapshotPart, Snapshots, snapshot_name
from quorate.storage.store import Store

SEGMENT_SIZE = 4096


def metadata(index: int, term: int = 1) -> SnapshotMetadata:
    return SnapshotMetadata(index, term, index * 10, configuration_of((1, 2, 3)))


def whole(index: int, *sections: bytes, term: int = 1) -> SnapshotPart:
    return SnapshotPart(metadata(index, term), sections, is_first=True, is_last=True)


def part(
    index: int, *sections: bytes, is_first: bool = False, is_last: bool = False
) -> SnapshotPart:
    return SnapshotPart(metadata(index), sections, is_first=is_first, is_last=is_last)


def file_of(snapshot: SnapshotPart) -> bytes:
    """The bytes of its file."""
    snapshots = Snapshots(MemoryDisk(), None)
    stored = snapshots.write(snapshot)
    assert stored is not None
    data = snapshots.read(stored.metadata.index, 0, stored.size)
    assert data is not None
    return data


def receive_all(store: Store, covered: SnapshotMetadata, data: bytes) -> None:
    for at in range(0, len(data), 300):
        store.snapshots.receive(covered, len(data), at, data[at : at + 300])


def write_all(store: Store, *parts: SnapshotPart) -> None:
    for each in parts:
        store.snapshots.write(each)


def snapshot_names(disk: Disk) -> list[str]:
    return [name for name in disk.names() if name.endswith(".snapshot")]


def space_of(disk: Disk) -> int:
    return sum(disk.open(name).size for name in disk.names())


class FullAtDirectory(MemoryDisk):
    """A disk that finds out that it is full when it syncs the directory."""

    def __init__(self, disk: MemoryDisk) -> None:
        super().__init__()
        for name in disk.names():
            self.create(name).write_at(0, disk.open(name).read_all())

    def sync_directory(self) -> None:
        raise DiskFullError("the directory", "sync")


class CountingDisk:
    """A disk that knows how much of a file was ever not synced."""

    def __init__(self) -> None:
        self._disk = MemoryDisk()
        self.location = self._disk.location
        self.names = self._disk.names
        self.open: Callable[[str], File] = self._disk.open
        self.rename = self._disk.rename
        self.remove = self._disk.remove
        self.sync_directory = self._disk.sync_directory
        self.most_unsynced = 0

    def create(self, name: str) -> File:
        return CountingFile(self, self._disk.create(name))


class CountingFile:
    def __init__(self, disk: CountingDisk, file: File) -> None:
        self._disk = disk
        self._file = file
        self._unsynced = 0
        self.read_all = file.read_all
        self.read_at = file.read_at
        self.truncate = file.truncate
        self.preallocate = file.preallocate
        self.close = file.close

    @property
    def size(self) -> int:
        return self._file.size

    def write_at(self, offset: int, data: bytes) -> None:
        self._file.write_at(offset, data)
        self._unsynced += len(data)
        self._disk.most_unsynced = max(self._disk.most_unsynced, self._unsynced)

    def sync(self) -> None:
        self._file.sync()
        self._unsynced = 0


class OpeningDisk(CountingDisk):
    """A disk that knows how many of the files that it has opened are still open."""

    def __init__(self) -> None:
        super().__init__()
        self.open_files = 0
        self.open = self._open

    def _open(self, name: str) -> File:
        file = CountingFile(self, self._disk.open(name))
        file.close = self._close
        self.open_files += 1
        return file

    def _close(self) -> None:
        self.open_files -= 1


def entries(first: int, last: int, term: int = 1) -> tuple[Entry, ...]:
    return tuple(
        Entry(index, term, index * 10, EntryKind.DATA, b"data") for index in range(first, last + 1)
    )


def new_store(disk: Disk) -> Store:
    Store.initialize(
        disk,
        cluster_id="cluster",
        node=NodeId(1),
        data_id="data-1",
        members=(Member(NodeId(1)), Member(NodeId(2))),
        segment_size=SEGMENT_SIZE,
    )
    return reopen(disk)


def reopen(disk: Disk) -> Store:
    return Store.open(disk, segment_size=SEGMENT_SIZE)


def save(store: Store, *writes: LogWrite) -> None:
    for write in writes:
        store.append(write)
        store.sync()


def test_a_new_store_has_no_snapshot(disk: Disk) -> None:
    store = new_store(disk)
    assert store.snapshots.newest is None
    assert store.snapshots.read(0, 0, 10) is None
    store.close()


def test_a_snapshot_in_parts_is_there_after_a_restart(disk: Disk) -> None:
    store = new_store(disk)
    save(store, LogWrite(1, 1, None, entries(1, 10)))
    snapshots = store.snapshots
    assert snapshots.write(SnapshotPart(metadata(7), (b"a" * 1000,), True, False)) is None
    assert snapshots.write(SnapshotPart(metadata(7), (b"b", b""), False, False)) is None
    assert snapshots.newest is None
    stored = snapshots.write(SnapshotPart(metadata(7), (b"c",), False, True))
    assert stored is not None
    assert snapshots.newest == stored
    assert stored.metadata == metadata(7)
    save(store, LogWrite(2, 1, None, entries(11, 12), start=LogStart(5, 1)))
    size = store.raft_state_bytes
    store.close()
    store = reopen(disk)
    assert list(store.snapshots.sections()) == [b"a" * 1000, b"b", b"", b"c"]
    state = store.take_durable_state()
    assert state.snapshot == metadata(7)
    assert state.snapshot_size == stored.size
    assert state.start == LogStart(5, 1)
    assert state.entries == entries(6, 12)
    assert store.raft_state_bytes == size
    store.close()


def test_a_snapshot_is_received_piece_by_piece(disk: Disk) -> None:
    leader = MemoryDisk()
    sender = new_store(leader)
    save(sender, LogWrite(1, 1, None, entries(1, 10)))
    stored = sender.snapshots.write(whole(9, b"x" * 3000, b"y"))
    assert stored is not None
    follower = new_store(disk)
    offset = 0
    while offset < stored.size:
        data = sender.snapshots.read(9, offset, 1000)
        assert data is not None
        moved = follower.snapshots.receive(stored.metadata, stored.size, offset, data)
        assert moved == offset + len(data)
        offset = moved
    assert follower.snapshots.newest == stored
    follower.close()
    follower = reopen(disk)
    state = follower.take_durable_state()
    assert (state.snapshot, state.entries, state.term) == (metadata(9), (), 1)
    assert list(follower.snapshots.sections()) == [b"x" * 3000, b"y"]
    follower.close()


def test_an_empty_snapshot_has_no_sections(disk: Disk) -> None:
    store = new_store(disk)
    store.snapshots.write(whole(1))
    assert list(store.snapshots.sections()) == []
    store.close()


def test_a_small_snapshot_is_small() -> None:
    """The course wants 500 bytes at most; about 300 of them are the state's."""
    store = new_store(MemoryDisk())
    members = configuration_of((1, 2, 3, 4, 5, 6, 7))
    covered = SnapshotMetadata(2**40, 2**20, 2**40, members)
    stored = store.snapshots.write(SnapshotPart(covered, (b"x" * 300,), True, True))
    assert stored is not None
    assert 300 < stored.size < 460


# Several at a time.


def test_a_first_part_gives_up_what_was_not_finished(disk: Disk) -> None:
    store = new_store(disk)
    store.snapshots.write(part(5, b"old", is_first=True))
    store.snapshots.write(part(7, b"new", is_first=True))
    store.snapshots.write(part(7, b"end", is_last=True))
    assert list(store.snapshots.sections()) == [b"new", b"end"]
    store.close()


def test_parts_of_different_snapshots_are_our_own_bug() -> None:
    store = new_store(MemoryDisk())
    with pytest.raises(AssertionError, match="begins with its first part"):
        store.snapshots.write(part(5, b"a"))
    store.snapshots.write(part(5, b"a", is_first=True))
    with pytest.raises(AssertionError, match="belong together"):
        store.snapshots.write(part(6, b"b"))


def test_an_unfinished_snapshot_is_gone_after_a_restart(disk: Disk) -> None:
    store = new_store(disk)
    store.snapshots.write(whole(3, b"whole"))
    store.snapshots.write(part(5, b"a", is_first=True))
    store.snapshots.receive(metadata(8), 1000, 0, b"b" * 100)
    assert {OWN, RECEIVED} <= set(disk.names())
    store.close()
    store = reopen(disk)
    assert not {OWN, RECEIVED} & set(disk.names())
    assert list(store.snapshots.sections()) == [b"whole"]
    store.close()


def test_only_the_newest_stays_on_the_disk(disk: Disk) -> None:
    store = new_store(disk)
    for index in (3, 5, 9):
        store.snapshots.write(whole(index, b"state"))
    assert snapshot_names(disk) == [snapshot_name(LogStart(9, 1))]
    store.close()


def test_a_snapshot_is_never_replaced_by_one_that_covers_no_more(disk: Disk) -> None:
    """Else pieces of two files with one index could be put together, at a follower or here."""
    store = new_store(disk)
    newest = store.snapshots.write(whole(9, b"newest"))
    assert store.snapshots.write(whole(9, b"again")) == newest
    assert store.snapshots.write(whole(8, b"older")) == newest
    for index in (8, 9):
        data = file_of(whole(index, b"received"))
        assert store.snapshots.receive(metadata(index), len(data), 0, data) == len(data)
    assert store.snapshots.newest == newest
    assert list(store.snapshots.sections()) == [b"newest"]
    assert not {OWN, RECEIVED} & set(disk.names())
    store.close()


def test_a_received_one_overtakes_one_that_is_being_taken(disk: Disk) -> None:
    store = new_store(disk)
    store.snapshots.write(part(5, b"own", is_first=True))
    data = file_of(whole(8, b"received"))
    assert store.snapshots.receive(metadata(8), len(data), 0, data) == len(data)
    newest = store.snapshots.newest
    assert store.snapshots.write(part(5, b"own")) is None
    assert store.snapshots.write(part(5, b"own", is_last=True)) == newest
    assert list(store.snapshots.sections()) == [b"received"]
    assert snapshot_names(disk) == [snapshot_name(LogStart(8, 1))]
    assert OWN not in disk.names()
    store.close()


def test_one_that_is_taken_overtakes_one_that_is_being_received(disk: Disk) -> None:
    store = new_store(disk)
    data = file_of(whole(8, b"received" * 20))
    assert store.snapshots.receive(metadata(8), len(data), 0, data[:100]) == 100
    own = store.snapshots.write(whole(9, b"own"))
    assert store.snapshots.receive(metadata(8), len(data), 100, data[100:]) == len(data)
    assert store.snapshots.newest == own
    store.close()


def test_both_go_on_beside_each_other(disk: Disk) -> None:
    store = new_store(disk)
    store.snapshots.write(part(5, b"own", is_first=True))
    data = file_of(whole(8, b"received" * 20))
    assert store.snapshots.receive(metadata(8), len(data), 0, data[:100]) == 100
    store.snapshots.write(part(5, b"end", is_last=True))
    assert list(store.snapshots.sections()) == [b"own", b"end"]
    assert store.snapshots.receive(metadata(8), len(data), 100, data[100:]) == len(data)
    assert list(store.snapshots.sections()) == [b"received" * 20]
    store.close()


# Receiving.


def test_a_piece_that_is_not_the_next_one_changes_nothing(disk: Disk) -> None:
    store = new_store(disk)
    data = file_of(whole(8, b"state" * 100))
    size = len(data)

    def receive(offset: int, end: int) -> int:
        return store.snapshots.receive(metadata(8), size, offset, data[offset:end])

    assert receive(100, 200) == 0
    assert receive(0, 100) == 100
    assert receive(0, 100) == 100  # a duplicate
    assert receive(200, 300) == 100  # one was lost
    assert receive(50, 150) == 100
    assert receive(100, 100) == 100  # nothing in it
    assert receive(100, 300) == 300
    assert store.snapshots.receive(metadata(8), size, 300, data[300:] + b"more") == 300
    assert receive(300, size) == size
    assert receive(300, size) == size  # its answer was lost
    assert list(store.snapshots.sections()) == [b"state" * 100]
    store.close()


def test_the_first_piece_of_another_snapshot_begins_that_one(disk: Disk) -> None:
    store = new_store(disk)
    old, new = file_of(whole(8, b"old" * 100)), file_of(whole(9, b"new" * 100))
    assert store.snapshots.receive(metadata(8), len(old), 0, old[:100]) == 100
    assert store.snapshots.receive(metadata(9), len(new), 100, new[100:]) == 0
    assert store.snapshots.receive(metadata(8), len(old), 100, old[100:200]) == 200
    assert store.snapshots.receive(metadata(9), len(new), 0, new[:100]) == 100
    assert store.snapshots.receive(metadata(8), len(old), 200, old[200:]) == 0
    assert store.snapshots.receive(metadata(9), len(new), 100, new[100:]) == len(new)
    assert list(store.snapshots.sections()) == [b"new" * 100]
    store.close()


def test_the_first_piece_begins_anew_also_if_it_is_of_the_same_snapshot(disk: Disk) -> None:
    """Another leader may have sent what there is. Repeated pieces of one do not come here."""
    store = new_store(disk)
    one = file_of(whole(8, b"a" * 600, b"b" * 600))
    other = file_of(whole(8, b"b" * 600, b"a" * 600))
    size = len(one)
    assert store.snapshots.receive(metadata(8), size, 0, one[:200]) == 200
    assert store.snapshots.receive(metadata(8), size, 200, one[200:700]) == 700
    assert store.snapshots.receive(metadata(8), size, 0, other[:300]) == 300
    assert store.snapshots.receive(metadata(8), size, 300, other[300:]) == size
    assert list(store.snapshots.sections()) == [b"b" * 600, b"a" * 600]
    store.close()


@pytest.mark.parametrize("change", [0, 30, 200, -1])
def test_a_damaged_transfer_is_thrown_away_and_can_begin_anew(disk: Disk, change: int) -> None:
    store = new_store(disk)
    data = file_of(whole(8, b"state" * 100))
    damaged = bytearray(data)
    damaged[change] ^= 1
    assert store.snapshots.receive(metadata(8), len(data), 0, bytes(damaged)) == 0
    assert store.snapshots.newest is None
    assert RECEIVED not in disk.names()
    assert store.snapshots.receive(metadata(8), len(data), 0, data) == len(data)
    assert list(store.snapshots.sections()) == [b"state" * 100]
    store.close()


def test_a_transfer_that_is_another_snapshot_than_was_said_is_thrown_away(disk: Disk) -> None:
    store = new_store(disk)
    data = file_of(whole(8, b"state"))
    for covered in (metadata(9), metadata(8, term=2), metadata(7)):
        assert store.snapshots.receive(covered, len(data), 0, data) == 0
    assert store.snapshots.newest is None
    store.close()


@pytest.mark.parametrize("cut", [0, 1, 40])
def test_a_transfer_that_ends_too_early_is_thrown_away(cut: int) -> None:
    store = new_store(MemoryDisk())
    data = file_of(whole(8, b"state"))
    size = len(data) - cut
    assert store.snapshots.receive(metadata(8), size, 0, data[:size]) == (0 if cut else size)


def test_pieces_of_two_snapshots_are_not_put_together(disk: Disk) -> None:
    """1. A follower has the beginning of a snapshot from one leader. 2. The next leader has one
    of the same index, in which the same state lies in another order. 3. It goes on with its own.

    Each section is right, and even their number is; but half of the keys would be there twice, and
    the other half not at all.
    """
    store = new_store(disk)
    one = file_of(whole(8, b"a" * 600, b"b" * 600))
    other = file_of(whole(8, b"b" * 600, b"a" * 600))
    assert len(one) == len(other)
    middle = one.index(b"a" * 600) + 600
    assert store.snapshots.receive(metadata(8), len(one), 0, one[:middle]) == middle
    assert store.snapshots.receive(metadata(8), len(other), middle, other[middle:]) == 0
    assert store.snapshots.receive(metadata(8), len(other), 0, other) == len(other)
    assert list(store.snapshots.sections()) == [b"b" * 600, b"a" * 600]
    store.close()


# Reading.


def test_the_one_before_is_read_further_while_it_is_sent(disk: Disk) -> None:
    store = new_store(disk)
    files = {index: file_of(whole(index, b"state" * index)) for index in (3, 5, 9)}
    for index in (3, 5):
        store.snapshots.write(whole(index, b"state" * index))
    assert store.snapshots.read(3, 0, 10_000) == files[3]
    assert store.snapshots.read(5, 10, 20) == files[5][10:30]
    assert store.snapshots.read(4, 0, 10) is None
    store.snapshots.write(whole(9, b"state" * 9))
    assert store.snapshots.read(3, 0, 10) is None
    assert store.snapshots.read(5, 0, 10_000) == files[5]
    assert store.snapshots.read(9, 0, 10_000) == files[9]
    store.close()


def test_the_newest_and_the_one_before_can_be_checked_while_they_are_in_use() -> None:
    disk = MemoryDisk()
    snapshots = Snapshots(disk, None)
    for index in (5, 7):
        snapshots.write(whole(index, bytes(1000)))
        snapshots.check(index)
    disk.open(snapshot_name(LogStart(7, 1))).write_at(500, b"damage")
    with pytest.raises(CorruptionError, match="checksum"):
        snapshots.check(7)
    snapshots.check(5)
    snapshots.check(4)  # it is gone


def test_one_that_was_found_damaged_is_replaced_by_one_that_covers_as_much(disk: Disk) -> None:
    store = new_store(disk)
    store.snapshots.write(whole(5, b"older"))
    store.snapshots.write(whole(7, bytes(1000)))
    disk.open(snapshot_name(LogStart(7, 1))).write_at(500, b"damage")
    another = whole(7, bytes(500), bytes(500))
    store.snapshots.write(another)
    assert store.snapshots.read(7, 500, 6) == b"damage", "nobody has noticed"
    with pytest.raises(CorruptionError):
        store.snapshots.check(7)
    stored = store.snapshots.write(another)
    assert stored == store.snapshots.newest
    store.snapshots.check(7)
    assert store.snapshots.read(7, 0, 10_000) == file_of(another)
    store.snapshots.write(whole(7, b"not this one"))
    assert store.snapshots.read(7, 0, 10_000) == file_of(another)
    assert list(store.snapshots.sections()) == [bytes(500), bytes(500)]
    assert [name for name in disk.names() if "snapshot" in name] == [snapshot_name(LogStart(7, 1))]
    store.close()


def test_a_piece_of_a_file_that_ends_too_early_is_not_read(disk: Disk) -> None:
    store = new_store(disk)
    store.snapshots.write(whole(7, bytes(1000)))
    disk.open(snapshot_name(LogStart(7, 1))).truncate(500)
    assert len(store.snapshots.read(7, 0, 500) or b"") == 500
    for offset in (100, 500, 600):
        with pytest.raises(CorruptionError, match="ends"):
            store.snapshots.read(7, offset, 500)
    store.close()


def test_sections_are_those_of_one_snapshot_whatever_comes_meanwhile(disk: Disk) -> None:
    store = new_store(disk)
    store.snapshots.write(whole(3, b"a", b"b", b"c"))
    sections = store.snapshots.sections()
    assert next(sections) == b"a"
    for index in (5, 7, 9):
        store.snapshots.write(whole(index, b"other"))
    assert list(sections) == [b"b", b"c"]
    store.close()


def test_sections_are_read_one_by_one() -> None:
    store = new_store(MemoryDisk())
    section = bytes(1_000_000)
    store.snapshots.write(whole(3, *[section] * 8))
    tracemalloc.start()
    try:
        for each in store.snapshots.sections():
            assert len(each) == 1_000_000
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 5_000_000


def test_a_snapshot_that_is_read_no_further_is_closed() -> None:
    """One that was overtaken before its first section was read stayed open.

    With that its space on the disk was lost for as long as the process lived.
    """
    disk = OpeningDisk()
    store = new_store(disk)
    store.snapshots.write(whole(3, b"a", b"b"))
    opened = disk.open_files
    for read in range(4):
        sections = store.snapshots.sections()
        assert [next(sections, None) for _ in range(read)] == [b"a", b"b", None][:read]
        assert disk.open_files == opened + (read < 3)
        del sections
        assert disk.open_files == opened
    store.close()


# When the disk does not comply.


def test_a_full_disk_costs_a_snapshot_and_nothing_else() -> None:
    """At any of its operations, whether the write says so or the sync."""
    for spare in range(0, 1200, 50):
        disk = MemoryDisk()
        store = new_store(disk)
        store.snapshots.write(whole(3, b"old"))
        disk.limit_capacity(space_of(disk) + spare)
        parts = part(5, b"a" * 500, is_first=True), part(5, b"b" * 700, is_last=True)
        with pytest.raises(DiskFullError):
            write_all(store, *parts)
        assert OWN not in disk.names()
        assert list(store.snapshots.sections()) == [b"old"]
        save(store, LogWrite(1, 1, None, entries(1, 5)))
        disk.limit_capacity(None)
        store.snapshots.write(whole(5, b"new"))
        assert list(store.snapshots.sections()) == [b"new"]


def test_an_unfinished_snapshot_that_fills_the_disk_keeps_no_node_from_starting() -> None:
    """The first thing that a start wrote was a correction of the log.

    1. A leader's snapshot is complete, and the log, which does not reach so far, is still to say
       so. Its segment is full. 2. The next snapshot fills the disk, and the node stops. 3. Started
       again, it found no space for a segment, before it removed what was left of that snapshot.
    """
    disk = MemoryDisk()
    store = new_store(disk)
    receive_all(store, metadata(9), file_of(whole(9, b"state")))
    filling = Entry(1, 1, 10, EntryKind.DATA, bytes(SEGMENT_SIZE - 110))
    save(store, LogWrite(1, 1, None, (filling,)))
    store.snapshots.write(part(20, bytes(SEGMENT_SIZE * 2), is_first=True))
    disk.kill()
    disk.limit_capacity(space_of(disk))
    store = reopen(disk)
    assert store.take_durable_state().snapshot == metadata(9)
    assert store.warnings == ()
    store.close()


def test_a_shortage_that_only_the_sync_reports_costs_nothing_else_either() -> None:
    disk = MemoryDisk()
    store = new_store(disk)
    disk.fail_next_sync(is_full=True)
    with pytest.raises(DiskFullError):
        store.snapshots.write(whole(3, b"state"))
    assert snapshot_names(disk) == []
    assert OWN not in disk.names()
    store.snapshots.write(whole(3, b"state"))
    assert store.snapshots.newest is not None


def test_a_full_disk_costs_a_transfer_and_nothing_else() -> None:
    data = file_of(whole(5, b"state" * 200))
    size = len(data)
    for spare in range(0, size, 50):
        disk = MemoryDisk()
        store = new_store(disk)
        disk.limit_capacity(space_of(disk) + spare)
        with pytest.raises(DiskFullError):
            receive_all(store, metadata(5), data)
        assert RECEIVED not in disk.names()
        assert store.snapshots.receive(metadata(5), size, 300, data[300:]) == 0
        disk.limit_capacity(None)
        assert store.snapshots.receive(metadata(5), size, 0, data) == size


def test_a_failed_sync_ends_the_life_and_a_restart_recovers() -> None:
    for seed in range(20):
        disk = MemoryDisk()
        store = new_store(disk)
        store.snapshots.write(whole(3, b"old"))
        store.snapshots.write(part(5, b"new", is_first=True))
        disk.fail_next_sync()
        with pytest.raises(DiskFailedError):
            store.snapshots.write(part(5, b"end", is_last=True))
        disk.crash(random.Random(seed))
        assert list(reopen(disk).snapshots.sections()) == [b"old"]


def test_a_shortage_when_the_name_is_synced_is_no_shortage_to_live_with() -> None:
    """Nobody knows then whether the name is durable, and a sync is not tried again."""
    disk = MemoryDisk()
    store = new_store(disk)
    store.snapshots.write(whole(3, b"old"))
    data = file_of(whole(5, b"new"))
    fails = FullAtDirectory(disk)
    with pytest.raises(DiskFailedError, match="sync the name of"):
        Snapshots(fails, store.snapshots.newest).receive(metadata(5), len(data), 0, data)


def test_a_long_snapshot_is_synced_every_few_megabytes() -> None:
    """So neither its last sync nor one of the log beside it has all of it to write."""
    disk = CountingDisk()
    snapshots = Snapshots(disk, None)
    snapshots.write(part(5, bytes(1024), is_first=True))
    section = b"x" * (SYNC_BYTES // 4)
    for _ in range(12):
        snapshots.write(part(5, section))
    snapshots.write(part(5, b"end", is_last=True))
    assert disk.most_unsynced < 2 * SYNC_BYTES
    data = file_of(SnapshotPart(metadata(9), (section,) * 12, True, True))
    for offset in range(0, len(data), SYNC_BYTES // 4):
        piece = data[offset : offset + SYNC_BYTES // 4]
        snapshots.receive(metadata(9), len(data), offset, piece)
    assert snapshots.newest is not None
    assert snapshots.newest.metadata.index == 9
    assert disk.most_unsynced < 2 * SYNC_BYTES


# The beginning of the log.


def test_the_log_is_not_shortened_without_a_snapshot() -> None:
    store = new_store(MemoryDisk())
    save(store, LogWrite(1, 1, None, entries(1, 10)))
    with pytest.raises(AssertionError, match="only a durable snapshot"):
        store.append(LogWrite(2, 1, None, start=LogStart(5, 1)))
    store.snapshots.write(whole(4, b"state"))
    with pytest.raises(AssertionError, match="no more goes than it covers"):
        store.append(LogWrite(2, 1, None, start=LogStart(5, 1)))


def test_segments_before_the_start_are_removed(disk: Disk) -> None:
    store = new_store(disk)
    for index in range(1, 400):
        save(store, LogWrite(index, 1, None, entries(index, index)))
    assert len([name for name in disk.names() if name.endswith(".wal")]) > 3
    store.snapshots.write(whole(399, b"state"))
    save(store, LogWrite(400, 1, None, start=LogStart(399, 1)))
    assert store.needs_cleaning
    store.remove_dead_segments()
    assert not store.needs_cleaning
    assert len([name for name in disk.names() if name.endswith(".wal")]) == 1
    save(store, LogWrite(401, 1, None, entries(400, 401)))
    size = store.raft_state_bytes
    store.close()
    store = reopen(disk)
    assert store.take_durable_state().entries == entries(400, 401)
    assert store.raft_state_bytes == size
    store.close()
