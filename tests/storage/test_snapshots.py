"""Snapshots: those that a server takes, those that it gets, and what it gives of them."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from quorate.codec.snapshot import SnapshotPart
from quorate.raft.configuration import Member, NodeId, configuration_of
from quorate.raft.entry import Entry, EntryKind
from quorate.raft.ready import LogWrite
from quorate.raft.snapshot import LogStart, SnapshotMetadata
from quorate.runtime.disk import DirectoryDisk
from quorate.storage.disk import Disk
from quorate.storage.memory_disk import MemoryDisk
from quorate.storage.store import Store

SEGMENT_SIZE = 4096


def metadata(index: int, term: int = 1) -> SnapshotMetadata:
    return SnapshotMetadata(index, term, index * 10, configuration_of((1, 2, 3)))


def whole(index: int, *sections: bytes, term: int = 1) -> SnapshotPart:
    return SnapshotPart(metadata(index, term), sections, is_first=True, is_last=True)


def entries(first: int, last: int, term: int = 1) -> tuple[Entry, ...]:
    return tuple(
        Entry(index, term, index * 10, EntryKind.DATA, b"data") for index in range(first, last + 1)
    )


@pytest.fixture(params=["memory", "directory"])
def disk(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Disk]:
    if request.param == "memory":
        yield MemoryDisk()
    else:
        with DirectoryDisk(tmp_path) as directory:
            yield directory


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
