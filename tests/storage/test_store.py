"""The facade: a data directory from its initialisation on."""

import gc
import random
import tracemalloc

import pytest

from quorate.raft.configuration import Configuration, Member, NodeId
from quorate.raft.entry import Entry, EntryKind
from quorate.raft.ready import DurableState, LogWrite
from quorate.raft.snapshot import SnapshotMetadata
from quorate.storage.disk import Disk
from quorate.storage.errors import CorruptionError, DiskFullError, IdentityError
from quorate.storage.memory_disk import MemoryDisk
from quorate.storage.segments import segment_name
from quorate.storage.snapshots import SnapshotPart
from quorate.storage.store import Store

MEMBERS = (Member(NodeId(1), "h:1"), Member(NodeId(2), "h:2"))
SEGMENT_SIZE = 4096
ENTRY = Entry(1, 1, 5, EntryKind.DATA, b"data")


def initialize(disk: Disk) -> None:
    Store.initialize(
        disk,
        cluster_id="cluster",
        node=NodeId(1),
        data_id="data-1",
        members=MEMBERS,
        segment_size=SEGMENT_SIZE,
    )


def reopen(disk: Disk) -> Store:
    return Store.open(disk, segment_size=SEGMENT_SIZE)


def test_a_new_directory_has_an_identity_and_an_empty_log(disk: Disk) -> None:
    initialize(disk)
    store = reopen(disk)
    assert store.identity.cluster_id == "cluster"
    assert store.identity.node == 1
    assert store.identity.data_id == "data-1"
    assert store.identity.members == MEMBERS
    assert store.take_durable_state() == DurableState(
        0, None, SnapshotMetadata(0, 0, 0, Configuration(MEMBERS))
    )
    store.close()


def test_writes_are_there_after_a_restart(disk: Disk) -> None:
    initialize(disk)
    store = reopen(disk)
    store.append(LogWrite(1, 3, NodeId(2), (ENTRY,)))
    store.sync()
    size = store.raft_state_bytes
    store.close()
    store = reopen(disk)
    state = store.take_durable_state()
    assert (state.term, state.voted_for, state.entries) == (3, NodeId(2), (ENTRY,))
    assert store.raft_state_bytes == size
    store.close()


def test_the_store_keeps_no_entry_alive(disk: Disk) -> None:
    """What is overwritten, or compacted, must not stay in memory for the store's sake."""
    initialize(disk)
    store = reopen(disk)
    store.append(LogWrite(1, 1, None, (Entry(1, 1, 5, EntryKind.DATA, bytes(3000)),)))
    store.sync()
    store.close()
    tracemalloc.start()
    try:
        store = reopen(disk)
        store.take_durable_state()
        gc.collect()
        kept = sum(trace.size for trace in tracemalloc.take_snapshot().traces if trace.size >= 3000)
    finally:
        tracemalloc.stop()
    assert kept == 0
    with pytest.raises(AssertionError):
        store.take_durable_state()
    store.close()


def test_each_start_is_counted(disk: Disk) -> None:
    initialize(disk)
    for boot in (1, 2, 3):
        store = reopen(disk)
        assert store.identity.boot == boot
        store.close()


def test_a_counted_start_survives_a_power_loss() -> None:
    for seed in range(20):
        disk = MemoryDisk()
        initialize(disk)
        reopen(disk)
        disk.crash(random.Random(seed))
        assert reopen(disk).identity.boot == 2


def test_an_initialised_directory_is_not_initialised_again(disk: Disk) -> None:
    initialize(disk)
    with pytest.raises(IdentityError, match="already the data directory of node 1 of cluster"):
        initialize(disk)


def test_an_empty_directory_is_not_opened(disk: Disk) -> None:
    with pytest.raises(IdentityError, match="quorate serve --initialize"):
        reopen(disk)
    assert disk.names() == []


def test_a_log_without_an_identity_is_neither_opened_nor_initialised(disk: Disk) -> None:
    initialize(disk)
    store = reopen(disk)
    store.append(LogWrite(1, 1, None, (ENTRY,)))
    store.sync()
    store.close()
    disk.remove("identity.json")
    with pytest.raises(IdentityError):
        reopen(disk)
    with pytest.raises(IdentityError, match="holds the log of a node"):
        initialize(disk)


def test_a_snapshot_without_a_log_is_not_taken_for_a_new_nodes(disk: Disk) -> None:
    """It would have become the new node's state, whatever the leader's entries were."""
    initialize(disk)
    store = reopen(disk)
    metadata = SnapshotMetadata(9, 4, 900, Configuration(MEMBERS))
    store.snapshots.write(SnapshotPart(metadata, (b"state",), is_first=True, is_last=True))
    store.close()
    for name in disk.names():
        if not name.endswith(".snapshot"):
            disk.remove(name)
    left = disk.names()
    with pytest.raises(IdentityError, match="holds the snapshot of a node"):
        initialize(disk)
    assert disk.names() == left


def test_a_peer_is_remembered(disk: Disk) -> None:
    initialize(disk)
    store = reopen(disk)
    store.remember_peer(NodeId(2), "data-2")
    store.remember_peer(NodeId(2), "data-2")
    assert store.identity.peer_data_ids == {2: "data-2"}
    store.close()
    store = reopen(disk)
    assert store.identity.peer_data_ids == {2: "data-2"}
    store.remember_peer(NodeId(2), "another")
    store.close()
    store = reopen(disk)
    assert store.identity.peer_data_ids == {2: "another"}
    store.close()


def test_a_peer_is_remembered_durably_before_the_call_returns() -> None:
    for seed in range(20):
        disk = MemoryDisk()
        initialize(disk)
        reopen(disk).remember_peer(NodeId(2), "data-2")
        disk.crash(random.Random(seed))
        assert reopen(disk).identity.peer_data_ids == {2: "data-2"}


def test_a_known_peer_costs_no_write() -> None:
    disk = MemoryDisk()
    initialize(disk)
    store = reopen(disk)
    store.remember_peer(NodeId(2), "data-2")
    disk.stop_after(0)  # any write would raise
    store.remember_peer(NodeId(2), "data-2")


def test_a_damaged_log_is_refused_before_anything_is_written() -> None:
    disk = MemoryDisk()
    initialize(disk)
    disk.open(segment_name(1)).write_at(10, b"\xff")
    disk.stop_after(0)  # any write would raise
    with pytest.raises(CorruptionError, match=r"0000000001.wal is damaged at byte 0"):
        reopen(disk)


def test_a_node_that_a_full_disk_stopped_recovers_when_there_is_space() -> None:
    disk = MemoryDisk()
    initialize(disk)
    store = reopen(disk)
    disk.limit_capacity(0)
    with pytest.raises(DiskFullError):
        store.append(LogWrite(1, 1, None, (Entry(1, 1, 0, EntryKind.DATA, bytes(9000)),)))
    with pytest.raises(DiskFullError):
        reopen(disk)
    disk.limit_capacity(None)
    assert reopen(disk).take_durable_state().entries == ()


def test_the_next_segment_is_prepared_through_the_store(disk: Disk) -> None:
    initialize(disk)
    store = reopen(disk)
    store.append(LogWrite(1, 1, None, (Entry(1, 1, 0, EntryKind.DATA, bytes(3000)),)))
    store.sync()
    assert store.needs_next_segment
    assert store.prepare_next_segment() is None
    assert not store.needs_next_segment
    store.close()
