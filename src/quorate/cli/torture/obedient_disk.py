"""A disk that fails when it is told to: a thin layer over a real one.

It fails as disks do. What does not fit is written in part, by whole sectors. A sync that fails has
done its work or not, and nobody knows. A sync that stalls does so in whichever thread has asked for
it.
"""

import time
from types import TracebackType
from typing import NoReturn, Protocol, Self

from quorate.cli.torture.orders import OrderBook, Room
from quorate.runtime.clock import monotonic_us
from quorate.storage.disk import SECTOR_SIZE, Disk, File
from quorate.storage.errors import DiskFailedError, DiskFullError

_LOOK_S = 0.01
"""How often a sync that stalls looks whether it still has to."""
_ORDERED = "Input/output error (as ordered)"


class _OwnDisk(Disk, Protocol):
    """A disk that is this process's own until it is closed."""

    def close(self) -> None:
        """Let it go."""
        ...


class ObedientFile:
    """A `File` of an `ObedientDisk`."""

    def __init__(self, file: File, location: str, book: OrderBook) -> None:
        self._file = file
        self._location = location
        self._book = book

    @property
    def size(self) -> int:
        """See `File`."""
        return self._file.size

    def read_all(self) -> bytes:
        """See `File`."""
        return self._file.read_all()

    def read_at(self, offset: int, length: int) -> bytes:
        """See `File`."""
        return self._file.read_at(offset, length)

    def write_at(self, offset: int, data: bytes) -> None:
        """See `File`."""
        room = self._book.orders.room
        if room is Room.NONE:
            self._write_until(offset + len(data) // 2, offset, data)
        if room is Room.NO_MORE and offset + len(data) > self.size:
            self._write_until(self.size, offset, data)
        self._file.write_at(offset, data)

    def _write_until(self, end: int, offset: int, data: bytes) -> NoReturn:
        """Writes what lies in the whole sectors before `end`."""
        fitting = max(0, end // SECTOR_SIZE * SECTOR_SIZE - offset)
        self._file.write_at(offset, data[:fitting])
        raise DiskFullError(self._location, "write to")

    def truncate(self, size: int) -> None:
        """See `File`."""
        self._file.truncate(size)

    def preallocate(self, size: int) -> None:
        """See `File`."""
        if self._book.orders.room is not Room.ENOUGH and size > self.size:
            raise DiskFullError(self._location, "preallocate")
        self._file.preallocate(size)

    def sync(self) -> None:
        """See `File`."""
        _obey_before_sync(self._book, self._location)
        self._file.sync()

    def close(self) -> None:
        """See `File`."""
        self._file.close()


class ObedientDisk:
    """A `Disk` that does what its orders say.

    Args:
        disk: the real one; closed with this.
        book: its orders.
    """

    def __init__(self, disk: _OwnDisk, book: OrderBook) -> None:
        self._disk = disk
        self._book = book

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        exception_type: type[BaseException] | None,
        exception: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._disk.close()

    def location(self, name: str) -> str:
        """See `Disk`."""
        return self._disk.location(name)

    def names(self) -> list[str]:
        """See `Disk`."""
        return self._disk.names()

    def create(self, name: str) -> ObedientFile:
        """See `Disk`."""
        if self._book.orders.room is not Room.ENOUGH:
            raise DiskFullError(self.location(name), "create")
        return self._obedient(self._disk.create(name), name)

    def open(self, name: str) -> ObedientFile:
        """See `Disk`."""
        return self._obedient(self._disk.open(name), name)

    def rename(self, old: str, new: str) -> None:
        """See `Disk`."""
        self._disk.rename(old, new)

    def remove(self, name: str) -> None:
        """See `Disk`."""
        self._disk.remove(name)

    def sync_directory(self) -> None:
        """See `Disk`."""
        _obey_before_sync(self._book, self.location(""))
        self._disk.sync_directory()

    def _obedient(self, file: File, name: str) -> ObedientFile:
        return ObedientFile(file, self.location(name), self._book)


def _obey_before_sync(book: OrderBook, location: str) -> None:
    begun_us = monotonic_us()
    while (monotonic_us() - begun_us) / 1e6 < book.orders.stall_s:
        time.sleep(_LOOK_S)
    if book.orders.syncs_fail:
        raise DiskFailedError(location, "sync", _ORDERED)
