"""What every Disk does: the simulator's, the lab's, the real one, and one without any orders."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from quorate.cli.torture.obedient_disk import ObedientDisk
from quorate.cli.torture.orders import OrderBook
from quorate.lab.persister import Persister
from quorate.runtime.disk import DirectoryDisk
from quorate.storage.disk import Disk
from quorate.storage.errors import DiskFailedError
from quorate.storage.memory_disk import MemoryDisk


@pytest.fixture(params=["memory", "directory", "persister", "obedient"])
def disk(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Disk]:
    if request.param == "memory":
        yield MemoryDisk()
    elif request.param == "persister":
        yield Persister()
    elif request.param == "obedient":
        data_dir = tmp_path / "data"
        real = DirectoryDisk(data_dir, create=True)
        with ObedientDisk(real, OrderBook(data_dir)) as obedient:
            yield obedient
    else:
        with DirectoryDisk(tmp_path) as directory:
            yield directory


def content_of(disk: Disk, name: str) -> bytes:
    file = disk.open(name)
    content = file.read_all()
    file.close()
    return content


def make(disk: Disk, name: str, content: bytes) -> None:
    file = disk.create(name)
    file.write_at(0, content)
    file.sync()
    file.close()


def test_a_new_disk_has_no_files(disk: Disk) -> None:
    assert disk.names() == []


def test_a_created_file_is_empty_and_listed(disk: Disk) -> None:
    file = disk.create("a")
    assert file.size == 0
    assert file.read_all() == b""
    assert disk.names() == ["a"]
    file.close()


def test_names_are_sorted(disk: Disk) -> None:
    for name in ("b", "c", "a"):
        make(disk, name, b"")
    assert disk.names() == ["a", "b", "c"]


def test_what_is_written_is_read(disk: Disk) -> None:
    file = disk.create("a")
    file.write_at(0, b"hello world")
    file.write_at(6, b"there")
    assert file.read_all() == b"hello there"
    assert file.size == 11
    file.close()
    assert content_of(disk, "a") == b"hello there"


def test_writing_nothing_changes_nothing(disk: Disk) -> None:
    file = disk.create("a")
    file.write_at(0, b"")
    assert file.size == 0
    file.close()


def test_a_write_behind_the_end_leaves_zeros_between(disk: Disk) -> None:
    file = disk.create("a")
    file.write_at(0, b"x")
    file.write_at(1000, b"y")
    assert file.read_all() == b"x" + bytes(999) + b"y"
    file.close()


def test_a_large_write_is_written_entirely(disk: Disk) -> None:
    data = bytes(range(256)) * 12_000
    make(disk, "a", data)
    assert content_of(disk, "a") == data


def test_a_piece_is_read_without_the_rest(disk: Disk) -> None:
    file = disk.create("a")
    file.write_at(0, b"0123456789")
    assert file.read_at(0, 10) == b"0123456789"
    assert file.read_at(3, 4) == b"3456"
    assert file.read_at(3, 0) == b""
    file.close()


def test_a_piece_is_shorter_where_the_file_ends(disk: Disk) -> None:
    file = disk.create("a")
    assert file.read_at(0, 5) == b""
    file.write_at(0, b"0123456789")
    assert file.read_at(8, 5) == b"89"
    assert file.read_at(10, 5) == b""
    assert file.read_at(100, 5) == b""
    file.close()


def test_a_large_piece_is_read_entirely(disk: Disk) -> None:
    data = bytes(range(256)) * 12_000
    make(disk, "a", data)
    file = disk.open("a")
    assert file.read_at(1, len(data)) == data[1:]
    file.close()


def test_a_file_that_was_removed_or_replaced_is_read_further_while_it_is_open(disk: Disk) -> None:
    make(disk, "a", b"first")
    make(disk, "b", b"second")
    make(disk, "c", b"third")
    removed, replaced = disk.open("a"), disk.open("b")
    disk.remove("a")
    disk.rename("c", "b")
    assert removed.read_at(1, 3) == b"irs"
    assert replaced.read_at(1, 3) == b"eco"
    removed.close()
    replaced.close()


def test_two_handles_see_one_file(disk: Disk) -> None:
    one = disk.create("a")
    other = disk.open("a")
    one.write_at(0, b"x")
    assert other.read_all() == b"x"
    one.close()
    other.close()


def test_truncating_drops_the_end(disk: Disk) -> None:
    file = disk.create("a")
    file.write_at(0, b"0123456789")
    file.truncate(4)
    file.sync()
    assert file.read_all() == b"0123"
    assert file.size == 4
    file.write_at(6, b"x")
    assert file.read_all() == b"0123\0\0x"
    file.close()


def test_preallocating_appends_zeros_and_keeps_the_content(disk: Disk) -> None:
    file = disk.create("a")
    file.write_at(0, b"abc")
    file.preallocate(3_000_000)
    file.sync()
    assert file.size == 3_000_000
    assert file.read_all() == b"abc" + bytes(2_999_997)
    file.close()


def test_preallocating_never_shrinks(disk: Disk) -> None:
    file = disk.create("a")
    file.write_at(0, b"abc")
    file.preallocate(2)
    assert file.read_all() == b"abc"
    file.close()


def test_renaming_moves_the_file(disk: Disk) -> None:
    make(disk, "old", b"content")
    disk.rename("old", "new")
    disk.sync_directory()
    assert disk.names() == ["new"]
    assert content_of(disk, "new") == b"content"


def test_renaming_replaces_what_had_the_name(disk: Disk) -> None:
    make(disk, "a", b"new")
    make(disk, "b", b"old")
    disk.rename("a", "b")
    assert disk.names() == ["b"]
    assert content_of(disk, "b") == b"new"


def test_an_open_file_can_be_renamed_and_written_further(disk: Disk) -> None:
    file = disk.create("old")
    disk.rename("old", "new")
    file.write_at(0, b"x")
    file.sync()
    file.close()
    assert content_of(disk, "new") == b"x"


def test_removing_removes(disk: Disk) -> None:
    make(disk, "a", b"")
    make(disk, "b", b"")
    disk.remove("a")
    disk.sync_directory()
    assert disk.names() == ["b"]


def test_a_removed_name_can_be_created_again(disk: Disk) -> None:
    make(disk, "a", b"first")
    disk.remove("a")
    make(disk, "a", b"2")
    assert content_of(disk, "a") == b"2"


def test_a_name_that_is_taken_cannot_be_created(disk: Disk) -> None:
    make(disk, "a", b"content")
    with pytest.raises(DiskFailedError, match="create"):
        disk.create("a")
    assert content_of(disk, "a") == b"content"


def test_a_file_that_is_not_there_cannot_be_used(disk: Disk) -> None:
    with pytest.raises(DiskFailedError, match="open"):
        disk.open("a")
    with pytest.raises(DiskFailedError, match="rename"):
        disk.rename("a", "b")
    with pytest.raises(DiskFailedError, match="remove"):
        disk.remove("a")


def test_a_location_names_the_file(disk: Disk) -> None:
    assert disk.location("a").endswith("a")
    assert disk.location("")
