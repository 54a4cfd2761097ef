"""The real disk: a directory of the file system, locked for one process.

Linux is the platform. macOS serves for development: it has neither fdatasync nor
posix_fallocate, and a true sync there is `F_FULLFSYNC`.
"""

import contextlib
import errno
import fcntl
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Self

from quorate.storage.errors import (
    DirectoryAccessError,
    DirectoryInUseError,
    DiskFailedError,
    DiskFullError,
    StorageError,
)

_ZEROS = bytes(1024 * 1024)
_NO_SPACE = {errno.ENOSPC, errno.EDQUOT}
_NO_ACCESS = {errno.EACCES, errno.EPERM, errno.EROFS}

if sys.platform == "darwin":

    def _sync(descriptor: int) -> None:
        fcntl.fcntl(descriptor, fcntl.F_FULLFSYNC)

    _sync_data = _sync

    def _allocate(descriptor: int, offset: int, length: int) -> None:
        """Nothing to do: the zeros that are written take the space."""
else:
    _sync = os.fsync
    _sync_data = os.fdatasync

    def _allocate(descriptor: int, offset: int, length: int) -> None:
        """Take the space at once, in one piece if possible."""
        try:
            os.posix_fallocate(descriptor, offset, length)
        except OSError as error:
            # A file system that cannot do this leaves it to the zeros that are written.
            if error.errno not in {errno.EOPNOTSUPP, errno.EINVAL}:
                raise


class DirectoryFile:
    """A `File` of a `DirectoryDisk`."""

    def __init__(self, descriptor: int, path: str) -> None:
        self._descriptor = descriptor
        self._path = path
        self._is_truncated = False

    @property
    def size(self) -> int:
        """See `File`."""
        return os.fstat(self._descriptor).st_size

    def read_all(self) -> bytes:
        """See `File`."""
        return self.read_at(0, self.size)

    def read_at(self, offset: int, length: int) -> bytes:
        """See `File`."""
        chunks: list[bytes] = []
        end = offset + length
        with _translated(self._path, "read"):
            while offset < end:
                chunk = os.pread(self._descriptor, end - offset, offset)
                if not chunk:
                    break
                chunks.append(chunk)
                offset += len(chunk)
        return chunks[0] if len(chunks) == 1 else b"".join(chunks)

    def write_at(self, offset: int, data: bytes) -> None:
        """See `File`."""
        with _translated(self._path, "write to"):
            written = os.pwrite(self._descriptor, data, offset)
            while written < len(data):
                written += os.pwrite(self._descriptor, data[written:], offset + written)

    def truncate(self, size: int) -> None:
        """See `File`."""
        assert size <= self.size
        with _translated(self._path, "truncate"):
            os.ftruncate(self._descriptor, size)
        self._is_truncated = True

    def preallocate(self, size: int) -> None:
        """See `File`."""
        offset = self.size
        if offset >= size:
            return
        with _translated(self._path, "preallocate"):
            _allocate(self._descriptor, offset, size - offset)
        # Blocks that were only allocated become written ones at the first write, which costs the
        # metadata again that preallocation is to save. So the zeros are written out.
        while offset < size:
            self.write_at(offset, _ZEROS[: size - offset])
            offset += len(_ZEROS)

    def sync(self) -> None:
        """See `File`."""
        with _translated(self._path, "sync"):
            if self._is_truncated:
                # POSIX promises of fdatasync only what is needed to read the data back, and a
                # size that shrank is not.
                _sync(self._descriptor)
            else:
                _sync_data(self._descriptor)
        self._is_truncated = False

    def close(self) -> None:
        """See `File`."""
        os.close(self._descriptor)


class DirectoryDisk:
    """A `Disk` that is a directory, locked until `close`, also against this very process.

    The lock (flock on the directory itself) goes with the process, however it ends.

    Args:
        path: the directory.
        create: make the directory and its parents if it does not exist.

    Raises:
        DirectoryInUseError: another process, or another part of this one, has it open.
        DirectoryAccessError: it does not exist, is no directory, or must not be used.
    """

    def __init__(self, path: str | os.PathLike[str], *, create: bool = False) -> None:
        self._path = Path(path).absolute()
        try:
            if create:
                _make_directory(self._path)
            self._descriptor = os.open(self._path, os.O_RDONLY | os.O_DIRECTORY)
        except OSError as error:
            raise DirectoryAccessError(self.location(""), _cause(error)) from error
        try:
            fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            os.close(self._descriptor)
            if isinstance(error, BlockingIOError):
                raise DirectoryInUseError(self.location("")) from error
            cause = f"cannot lock it: {_cause(error)}"
            raise DirectoryAccessError(self.location(""), cause) from error

    def close(self) -> None:
        """Unlock the directory. Its files must be closed by then."""
        os.close(self._descriptor)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        exception_type: type[BaseException] | None,
        exception: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def location(self, name: str) -> str:
        """The absolute path."""
        return str(self._path / name)

    def names(self) -> list[str]:
        """See `Disk`."""
        with _translated(self.location(""), "list"):
            return sorted(path.name for path in self._path.iterdir())

    def create(self, name: str) -> DirectoryFile:
        """See `Disk`."""
        return self._open(name, os.O_RDWR | os.O_CREAT | os.O_EXCL, "create")

    def open(self, name: str) -> DirectoryFile:
        """See `Disk`."""
        return self._open(name, os.O_RDWR, "open")

    def rename(self, old: str, new: str) -> None:
        """See `Disk`."""
        with _translated(self.location(old), "rename"):
            (self._path / old).rename(self._path / new)

    def remove(self, name: str) -> None:
        """See `Disk`."""
        with _translated(self.location(name), "remove"):
            (self._path / name).unlink()

    def sync_directory(self) -> None:
        """See `Disk`."""
        with _translated(self.location(""), "sync"):
            os.fsync(self._descriptor)

    def _open(self, name: str, flags: int, action: str) -> DirectoryFile:
        location = self.location(name)
        with _translated(location, action):
            descriptor = os.open(location, flags, 0o640)
        return DirectoryFile(descriptor, location)


def _make_directory(path: Path) -> None:
    """Make the directory and its parents, each one's name durable in the one above it."""
    if path.is_dir():
        return
    _make_directory(path.parent)
    path.mkdir(mode=0o750)
    descriptor = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextlib.contextmanager
def _translated(location: str, action: str) -> Iterator[None]:
    """Turn an error of the operating system into the typed error that it means."""
    try:
        yield
    except OSError as error:
        raise _storage_error(error, location, action) from error


def _storage_error(error: OSError, location: str, action: str) -> StorageError:
    if error.errno in _NO_SPACE:
        return DiskFullError(location, action)
    if error.errno in _NO_ACCESS:
        return DirectoryAccessError(location, f"not allowed to {action} it: {_cause(error)}")
    return DiskFailedError(location, action, _cause(error))


def _cause(error: OSError) -> str:
    return os.strerror(error.errno) if error.errno is not None else str(error)
