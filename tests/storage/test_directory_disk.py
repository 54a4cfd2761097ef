"""The real disk against the operating system: its lock, and errors that are really raised."""

import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from quorate.runtime.disk import DirectoryDisk
from quorate.storage.errors import (
    DirectoryAccessError,
    DirectoryInUseError,
    DiskFailedError,
    DiskFullError,
)


@pytest.fixture
def public_directory() -> Iterator[Path]:
    """A directory that another user could reach, were it not for its own permissions."""
    with tempfile.TemporaryDirectory() as name:
        path = Path(name)
        path.chmod(0o755)
        yield path


@pytest.fixture
def unprivileged() -> Iterator[None]:
    """The test runs without root's power to ignore permissions."""
    if os.geteuid() != 0:
        yield
        return
    os.seteuid(65534)
    yield
    os.seteuid(0)


def test_the_directory_is_locked_while_it_is_open(tmp_path: Path) -> None:
    with (
        DirectoryDisk(tmp_path),
        pytest.raises(DirectoryInUseError, match=f"{tmp_path} is in use by another process"),
    ):
        DirectoryDisk(tmp_path)
    DirectoryDisk(tmp_path).close()


def test_the_lock_holds_against_another_process_and_dies_with_it(tmp_path: Path) -> None:
    script = (
        "import sys; from quorate.runtime.disk import DirectoryDisk; "
        "disk = DirectoryDisk(sys.argv[1]); print('locked', flush=True); sys.stdin.read()"
    )
    with subprocess.Popen(
        [sys.executable, "-c", script, str(tmp_path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"locked\n"
        with pytest.raises(DirectoryInUseError):
            DirectoryDisk(tmp_path)
        process.kill()
    DirectoryDisk(tmp_path).close()


def test_locking_writes_nothing(tmp_path: Path) -> None:
    with DirectoryDisk(tmp_path) as disk:
        assert disk.names() == []


def test_a_directory_that_does_not_exist_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DirectoryAccessError, match=r"absent: No such file or directory"):
        DirectoryDisk(tmp_path / "absent")
    assert not (tmp_path / "absent").exists()


def test_a_directory_can_be_made_with_its_parents(tmp_path: Path) -> None:
    with DirectoryDisk(tmp_path / "a" / "b", create=True) as disk:
        disk.create("file").close()
    assert (tmp_path / "a" / "b" / "file").exists()
    DirectoryDisk(tmp_path / "a" / "b", create=True).close()


def test_a_file_in_place_of_the_directory_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(DirectoryAccessError, match="Not a directory"):
        DirectoryDisk(tmp_path / "file")
    with pytest.raises(DirectoryAccessError):
        DirectoryDisk(tmp_path / "file" / "below", create=True)


@pytest.mark.usefixtures("unprivileged")
def test_a_directory_that_must_not_be_read_is_refused() -> None:
    with pytest.raises(DirectoryAccessError, match="belong to the user"):
        DirectoryDisk("/root" if Path("/root").exists() else "/var/root")


def test_a_directory_that_must_not_be_written_is_a_clear_error(
    public_directory: Path, request: pytest.FixtureRequest
) -> None:
    public_directory.chmod(0o555)
    request.getfixturevalue("unprivileged")
    with (
        DirectoryDisk(public_directory) as disk,
        pytest.raises(DirectoryAccessError, match="not allowed to create it: Permission denied"),
    ):
        disk.create("a")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="only Linux has /dev/full")
def test_a_full_disk_is_a_typed_error(tmp_path: Path) -> None:
    (tmp_path / "a").symlink_to("/dev/full")
    with DirectoryDisk(tmp_path) as disk:
        file = disk.open("a")
        with pytest.raises(DiskFullError, match=r"a: free some space and start the node again"):
            file.write_at(0, b"x")
        file.close()


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="only Linux has /dev/full")
def test_a_failed_sync_is_a_typed_error(tmp_path: Path) -> None:
    (tmp_path / "a").symlink_to("/dev/full")  # the device refuses fdatasync
    with DirectoryDisk(tmp_path) as disk:
        file = disk.open("a")
        with pytest.raises(DiskFailedError, match="failed to sync"):
            file.sync()
        file.close()


def test_preallocation_takes_the_space(tmp_path: Path) -> None:
    with DirectoryDisk(tmp_path) as disk:
        file = disk.create("a")
        file.preallocate(1024 * 1024)
        file.sync()
        file.close()
    assert (tmp_path / "a").stat().st_blocks * 512 >= 1024 * 1024
