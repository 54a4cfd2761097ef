"""The identity of a data directory: who it is, and whom it knows."""

import contextlib
import random

import msgspec
import pytest

from quorate.raft.configuration import Member, NodeId
from quorate.storage.errors import CorruptionError, IdentityError, UnsupportedFormatError
from quorate.storage.identity import (
    FILE_NAME,
    TEMPORARY_NAME,
    Identity,
    has_identity,
    load_identity,
    save_identity,
)
from quorate.storage.memory_disk import MemoryDisk, StoppedError

IDENTITY = Identity(
    cluster_id="c1",
    node=NodeId(2),
    data_id="d2",
    members=(Member(NodeId(1), "h:1", "h:2"), Member(NodeId(2), "h:3", "h:4")),
    boot=7,
    peer_data_ids={NodeId(1): "d1"},
)


def content_of(disk: MemoryDisk) -> bytes:
    return disk.open(FILE_NAME).read_all()


def disk_with(content: bytes) -> MemoryDisk:
    disk = MemoryDisk()
    disk.create(FILE_NAME).write_at(0, content)
    return disk


def test_what_is_saved_is_loaded() -> None:
    disk = MemoryDisk()
    assert not has_identity(disk)
    save_identity(disk, IDENTITY)
    assert has_identity(disk)
    assert load_identity(disk) == IDENTITY
    assert disk.names() == [FILE_NAME]


def test_a_directory_without_an_identity_says_how_to_initialise() -> None:
    with pytest.raises(IdentityError, match=r"quorate serve --initialize"):
        load_identity(MemoryDisk())


def test_every_changed_byte_is_noticed() -> None:
    disk = MemoryDisk()
    save_identity(disk, IDENTITY)
    content = content_of(disk)
    for at in range(len(content)):
        for mask in (0xFF, 0x01, 0x20):
            changed = content[:at] + bytes([content[at] ^ mask]) + content[at + 1 :]
            with pytest.raises(CorruptionError) as info:
                load_identity(disk_with(changed))
            assert (info.value.file, info.value.offset) == (FILE_NAME, 0)


def test_every_cut_is_noticed() -> None:
    disk = MemoryDisk()
    save_identity(disk, IDENTITY)
    content = content_of(disk)
    for size in range(len(content)):
        with pytest.raises(CorruptionError):
            load_identity(disk_with(content[:size]))


def test_endless_nesting_is_noticed() -> None:
    # It was a RecursionError, and the node ended with a traceback.
    with pytest.raises(CorruptionError, match="not an identity"):
        load_identity(disk_with(b'{"checksum":"","identity":' + b"[" * 100_000))


def test_an_identity_of_another_format_is_refused() -> None:
    disk = MemoryDisk()
    save_identity(disk, msgspec.structs.replace(IDENTITY, format_version=2))
    with pytest.raises(UnsupportedFormatError, match="has format version 2"):
        load_identity(disk)


def test_a_crash_while_saving_leaves_the_old_or_the_new_one() -> None:
    later = IDENTITY.with_next_boot()
    found = set()
    for operations in range(6):
        for seed in range(20):
            disk = MemoryDisk()
            save_identity(disk, IDENTITY)
            disk.stop_after(operations)
            with contextlib.suppress(StoppedError):
                save_identity(disk, later)
            disk.crash(random.Random(seed))
            found.add(load_identity(disk).boot)
            save_identity(disk, later)
            assert load_identity(disk) == later
            assert TEMPORARY_NAME not in disk.names()
    assert found == {7, 8}


def test_a_peer_is_known_once_it_was_added() -> None:
    identity = IDENTITY.with_peer(NodeId(3), "d3")
    assert identity.peer_data_ids == {1: "d1", 3: "d3"}
    assert identity.with_peer(NodeId(3), "d3") is identity
    assert IDENTITY.peer_data_ids == {1: "d1"}


def test_a_peer_may_come_back_with_another_directory() -> None:
    # Whether to believe it is decided before this.
    assert IDENTITY.with_peer(NodeId(1), "other").peer_data_ids == {1: "other"}
