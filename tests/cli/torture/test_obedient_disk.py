"""A disk that fails when it is told to. What it does otherwise is in the conformance suite."""

import shutil
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from concurrent.futures import TimeoutError as NotYetError
from pathlib import Path

import pytest

from quorate.cli.torture.obedient_disk import ObedientDisk
from quorate.cli.torture.orders import OrderBook, Orders, Room
from quorate.runtime.disk import DirectoryDisk
from quorate.storage.disk import SECTOR_SIZE
from quorate.storage.errors import DiskFailedError, DiskFullError


@pytest.fixture
def book(tmp_path: Path) -> OrderBook:
    return OrderBook(tmp_path / "data")


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[ObedientDisk]:
    real = DirectoryDisk(tmp_path / "data", create=True)
    with ObedientDisk(real, OrderBook(tmp_path / "data")) as disk:
        yield disk


def test_orders_hold_until_others_are_given_in_each_life(tmp_path: Path, book: OrderBook) -> None:
    assert book.orders == Orders()
    for orders in (Orders(syncs_fail=True), Orders(stall_s=1.5, room=Room.NO_MORE)):
        book.give(orders)
        assert book.orders == orders
        assert OrderBook(tmp_path / "data").orders == orders


def test_what_is_not_synced_is_lost_with_the_process(tmp_path: Path, disk: ObedientDisk) -> None:
    def found() -> bytes:
        with DirectoryDisk(tmp_path / "elsewhere", create=True) as other:
            shutil.copy(tmp_path / "data" / "b", tmp_path / "elsewhere" / "b")
            return other.open("b").read_all()

    file = disk.create("a")
    file.write_at(0, b"synced")
    disk.rename("a", "b")
    assert found() == b""
    disk.open("b").sync()
    assert found() == b"synced"
    file.write_at(3, b"not yet")
    assert (file.read_all(), disk.open("b").read_at(3, 3)) == (b"synnot yet", b"not")
    assert (file.size, found()) == (10, b"synced")
    file.close()


def test_a_strike_is_noted_until_it_is_forgotten(disk: ObedientDisk, book: OrderBook) -> None:
    file = disk.create("a")
    file.write_at(0, b"x")
    assert not book.has_struck
    book.give(Orders(room=Room.NONE))
    with pytest.raises(DiskFullError):
        file.write_at(0, b"y")
    assert book.has_struck
    book.give(Orders(syncs_fail=True))
    assert not book.has_struck
    with pytest.raises(DiskFailedError):
        file.sync()
    assert book.has_struck
    book.forget_strike()
    assert not book.has_struck
    file.close()


def test_a_sync_fails_as_long_as_it_is_to(disk: ObedientDisk, book: OrderBook) -> None:
    file = disk.create("a")
    file.write_at(0, b"x")
    book.give(Orders(syncs_fail=True))
    with pytest.raises(DiskFailedError, match=r"failed to sync .*/a: .*as ordered"):
        file.sync()
    with pytest.raises(DiskFailedError, match="failed to sync"):
        disk.sync_directory()
    book.give(Orders())
    file.sync()
    disk.sync_directory()
    file.close()


def test_a_sync_stalls_until_the_order_is_changed(disk: ObedientDisk, book: OrderBook) -> None:
    file = disk.create("a")
    book.give(Orders(stall_s=3600))
    with ThreadPoolExecutor(2) as threads:
        syncs = [threads.submit(file.sync), threads.submit(disk.sync_directory)]
        for sync in syncs:
            with pytest.raises(NotYetError):
                sync.result(timeout=0.1)
        book.give(Orders())
        for sync in syncs:
            sync.result(timeout=10)
    file.close()


def test_where_no_file_can_grow_what_is_there_can_be_replaced(
    disk: ObedientDisk, book: OrderBook
) -> None:
    file = disk.create("a")
    file.preallocate(SECTOR_SIZE)
    book.give(Orders(room=Room.NO_MORE))
    file.write_at(0, b"0" * SECTOR_SIZE)
    with pytest.raises(DiskFullError, match="no space left to write to"):
        file.write_at(SECTOR_SIZE - 2, b"abcd")
    assert file.read_all() == b"0" * (SECTOR_SIZE - 2) + b"ab"  # what has fitted
    with pytest.raises(DiskFullError, match="no space left to preallocate"):
        file.preallocate(SECTOR_SIZE + 1)
    with pytest.raises(DiskFullError, match="no space left to create"):
        disk.create("b")
    assert disk.names() == ["a"]
    book.give(Orders())
    file.write_at(SECTOR_SIZE - 2, b"abcd")
    assert file.size == SECTOR_SIZE + 2
    file.close()


def test_where_there_is_no_room_at_all_half_of_the_sectors_are_written(
    disk: ObedientDisk, book: OrderBook
) -> None:
    file = disk.create("a")
    file.write_at(0, b"0" * 2 * SECTOR_SIZE)
    book.give(Orders(room=Room.NONE))
    with pytest.raises(DiskFullError, match="no space left to write to"):
        file.write_at(2, b"a" * (2 * SECTOR_SIZE - 2))
    assert file.read_all() == b"00" + b"a" * (SECTOR_SIZE - 2) + b"0" * SECTOR_SIZE
    with pytest.raises(DiskFullError, match="no space left to write to"):
        file.write_at(SECTOR_SIZE, b"b" * (SECTOR_SIZE - 1))
    assert file.read_all()[SECTOR_SIZE:] == b"0" * SECTOR_SIZE
    file.close()
