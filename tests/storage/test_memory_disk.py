"""The fault model of the simulator's disk, point by point as its header states it."""

import random
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from quorate.storage.disk import SECTOR_SIZE
from quorate.storage.errors import DiskFailedError, DiskFullError
from quorate.storage.memory_disk import MemoryDisk, StoppedError

SEEDS = range(60)


def durable(disk: MemoryDisk, name: str, content: bytes) -> None:
    file = disk.create(name)
    file.write_at(0, content)
    file.sync()
    disk.sync_directory()


def content_of(disk: MemoryDisk, name: str) -> bytes:
    return disk.open(name).read_all()


def sectors(content: bytes) -> list[bytes]:
    return [content[at : at + SECTOR_SIZE] for at in range(0, len(content), SECTOR_SIZE)]


@pytest.mark.parametrize("seed", SEEDS)
def test_synced_data_survives(seed: int) -> None:
    disk = MemoryDisk()
    durable(disk, "a", b"x" * 5000)
    disk.crash(random.Random(seed))
    assert content_of(disk, "a") == b"x" * 5000


def test_each_unsynced_sector_survives_or_not_by_itself() -> None:
    outcomes: set[tuple[bytes, ...]] = set()
    for seed in SEEDS:
        disk = MemoryDisk()
        durable(disk, "a", b"o" * (3 * SECTOR_SIZE))
        disk.open("a").write_at(0, b"n" * (3 * SECTOR_SIZE))
        disk.crash(random.Random(seed))
        parts = sectors(content_of(disk, "a"))
        assert all(part in (b"o" * SECTOR_SIZE, b"n" * SECTOR_SIZE) for part in parts)
        outcomes.add(tuple(part[:1] for part in parts))
    assert len(outcomes) == 8


def test_a_sector_written_twice_without_a_sync_goes_back_to_the_synced_content() -> None:
    found = set()
    for seed in SEEDS:
        disk = MemoryDisk()
        durable(disk, "a", b"0")
        file = disk.open("a")
        file.write_at(0, b"1")
        file.write_at(0, b"2")
        disk.crash(random.Random(seed))
        found.add(content_of(disk, "a"))
    assert found == {b"0", b"2"}


def test_an_unsynced_size_may_be_undone() -> None:
    sizes = set()
    for seed in SEEDS:
        disk = MemoryDisk()
        durable(disk, "a", b"x" * 10)
        disk.open("a").preallocate(5000)
        disk.crash(random.Random(seed))
        content = content_of(disk, "a")
        assert content == b"x" * 10 + bytes(len(content) - 10)
        sizes.add(len(content))
    assert {10, 5000} < sizes
    assert all(10 <= size <= 5000 for size in sizes)


def test_an_unsynced_truncation_may_be_undone() -> None:
    found = set()
    for seed in SEEDS:
        disk = MemoryDisk()
        durable(disk, "a", b"x" * 2000)
        disk.open("a").truncate(100)
        disk.crash(random.Random(seed))
        content = content_of(disk, "a")
        assert content[:100] == b"x" * 100
        found.add(content)
    assert {b"x" * 100, b"x" * 2000} < found


def test_names_that_were_not_synced_may_be_undone() -> None:
    found = set()
    for seed in SEEDS:
        disk = MemoryDisk()
        durable(disk, "removed", b"")
        durable(disk, "old", b"")
        disk.create("created").sync()
        disk.rename("old", "new")
        disk.remove("removed")
        disk.crash(random.Random(seed))
        found.update(disk.names())
    assert found == {"removed", "created", "old", "new"}


@pytest.mark.parametrize("seed", SEEDS)
def test_synced_names_survive(seed: int) -> None:
    disk = MemoryDisk()
    durable(disk, "old", b"content")
    disk.rename("old", "new")
    disk.sync_directory()
    disk.crash(random.Random(seed))
    assert disk.names() == ["new"]
    assert content_of(disk, "new") == b"content"


@pytest.mark.parametrize("seed", SEEDS)
def test_a_rename_over_a_file_leaves_the_old_or_the_new_one(seed: int) -> None:
    disk = MemoryDisk()
    durable(disk, "a", b"old")
    durable(disk, "a.new", b"new")
    disk.rename("a.new", "a")
    disk.crash(random.Random(seed))
    assert content_of(disk, "a") in (b"old", b"new")


def test_what_a_failed_sync_gave_up_is_readable_but_no_later_sync_saves_it() -> None:
    found = set()
    for seed in SEEDS:
        disk = MemoryDisk()
        durable(disk, "a", b"old")
        file = disk.open("a")
        file.write_at(0, b"new")
        disk.fail_next_sync()
        with pytest.raises(DiskFailedError):
            file.sync()
        assert file.read_all() == b"new"
        file.sync()
        disk.crash(random.Random(seed))
        found.add(content_of(disk, "a"))
    assert found == {b"old", b"new"}


@pytest.mark.parametrize("seed", SEEDS)
def test_what_a_failed_sync_gave_up_is_saved_when_it_is_written_again(seed: int) -> None:
    disk = MemoryDisk()
    durable(disk, "a", b"old")
    file = disk.open("a")
    file.write_at(0, b"new")
    disk.fail_next_sync()
    with pytest.raises(DiskFailedError):
        file.sync()
    file.write_at(0, b"new")
    file.sync()
    disk.crash(random.Random(seed))
    assert content_of(disk, "a") == b"new"


def test_a_sync_of_the_directory_can_fail_too() -> None:
    disk = MemoryDisk()
    disk.create("a")
    disk.fail_next_sync()
    with pytest.raises(DiskFailedError, match="sync the directory"):
        disk.sync_directory()


def test_a_full_disk_takes_what_fits_and_raises() -> None:
    disk = MemoryDisk(capacity=1000)
    file = disk.create("a")
    file.write_at(0, b"x" * 600)
    with pytest.raises(DiskFullError):
        file.write_at(600, b"y" * 600)
    assert file.read_all() == b"x" * 600 + b"y" * 400
    file.write_at(0, b"z" * 1000)  # needs no space
    with pytest.raises(DiskFullError):
        disk.create("b").preallocate(1)
    disk.remove("a")
    disk.open("b").preallocate(1000)


def test_space_can_be_added_and_taken() -> None:
    disk = MemoryDisk()
    file = disk.create("a")
    file.write_at(0, b"x" * 1000)
    disk.limit_capacity(10)
    with pytest.raises(DiskFullError):
        file.preallocate(1001)
    assert file.size == 1000
    disk.limit_capacity(None)
    file.preallocate(1001)


def test_the_process_stops_at_the_given_operation_for_good() -> None:
    disk = MemoryDisk()
    disk.stop_after(2)
    file = disk.create("a")
    file.write_at(0, b"x")
    for _ in range(2):
        with pytest.raises(StoppedError):
            file.sync()
    with pytest.raises(StoppedError):
        disk.create("b")
    disk.crash(random.Random(0))
    disk.create("b")


def test_the_process_stops_at_its_next_sync_and_what_it_wrote_may_be_torn() -> None:
    found = set()
    for seed in SEEDS:
        disk = MemoryDisk()
        durable(disk, "a", b"o" * (2 * SECTOR_SIZE))
        disk.stop_at_sync()
        file = disk.open("a")
        file.write_at(0, b"n" * (2 * SECTOR_SIZE))
        with pytest.raises(StoppedError):
            disk.sync_directory()
        with pytest.raises(StoppedError):
            file.write_at(0, b"x")
        disk.crash(random.Random(seed))
        found.add(bytes(part[0] for part in sectors(content_of(disk, "a"))))
        disk.sync_directory()
    assert found == {b"oo", b"on", b"no", b"nn"}


def test_the_process_stops_at_the_first_sync_of_so_many_sectors() -> None:
    disk = MemoryDisk()
    disk.stop_at_sync(sectors=2)
    file = disk.create("a")
    disk.sync_directory()
    file.write_at(0, b"x" * SECTOR_SIZE)
    file.sync()
    file.write_at(SECTOR_SIZE, b"x" * (SECTOR_SIZE + 1))
    with pytest.raises(StoppedError):
        file.sync()


def test_one_bit_changes_and_stays_changed() -> None:
    disk = MemoryDisk()
    durable(disk, "a", bytes(5000))
    disk.damage("a", random.Random(0))
    damaged = content_of(disk, "a")
    assert sum(byte.bit_count() for byte in damaged) == 1
    disk.crash(random.Random(0))
    assert content_of(disk, "a") == damaged


def test_a_killed_process_loses_nothing_and_saves_nothing() -> None:
    found = set()
    for seed in SEEDS:
        disk = MemoryDisk()
        durable(disk, "a", b"old")
        disk.open("a").write_at(0, b"new")
        disk.stop_after(0)
        with pytest.raises(StoppedError):
            disk.create("b")
        disk.kill()
        assert content_of(disk, "a") == b"new"
        disk.create("b")
        disk.crash(random.Random(seed))
        found.add(content_of(disk, "a"))
    assert found == {b"old", b"new"}


@pytest.mark.parametrize("end", [MemoryDisk.kill, lambda disk: disk.crash(random.Random(0))])
def test_a_file_of_an_earlier_life_must_not_be_used(end: Callable[[MemoryDisk], None]) -> None:
    disk = MemoryDisk()
    file = disk.create("a")
    disk.sync_directory()
    end(disk)
    with pytest.raises(AssertionError, match="in an earlier life"):
        file.write_at(0, b"x")


@given(
    st.lists(
        st.tuples(
            st.sampled_from(["write", "truncate", "preallocate", "sync"]),
            st.integers(0, 3000),
            st.integers(1, 1500),
        ),
        max_size=12,
    ),
    st.integers(0, 1000),
)
def test_a_crash_leaves_only_sectors_that_were_once_there(
    steps: list[tuple[str, int, int]], seed: int
) -> None:
    """The twin keeps every version of the whole file since the last sync."""
    disk = MemoryDisk()
    file = disk.create("a")
    disk.sync_directory()
    versions = [b""]
    for number, (step, at, length) in enumerate(steps, start=1):
        if step == "write":
            file.write_at(at, bytes([number]) * length)
        elif step == "truncate":
            file.truncate(min(at, file.size))
        elif step == "preallocate":
            file.preallocate(at)
        else:
            file.sync()
            versions.clear()
        versions.append(file.read_all())
    disk.crash(random.Random(seed))
    content = content_of(disk, "a")
    sizes = [len(version) for version in versions]
    assert min(sizes) <= len(content) <= max(sizes)
    padded = [version.ljust(5000, b"\0") for version in versions]
    for at in range(0, len(content), SECTOR_SIZE):
        end = min(at + SECTOR_SIZE, len(content))
        assert content[at:end] in {version[at:end] for version in padded}


def test_one_seed_gives_one_outcome() -> None:
    def outcome() -> list[tuple[str, bytes]]:
        disk = MemoryDisk()
        for name in ("b", "a", "c"):
            file = disk.create(name)
            file.write_at(0, name.encode() * 3000)
        disk.crash(random.Random(7))
        return [(name, content_of(disk, name)) for name in disk.names()]

    assert outcome() == outcome()
