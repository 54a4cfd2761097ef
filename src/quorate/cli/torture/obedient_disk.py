"""A disk that fails when it is told to: a thin layer over a real one.

It fails as disks do. What does not fit is written in part, by whole sectors. A sync that fails has
done nothing. A sync that stalls does so in whichever thread has asked for it.

And it is honest about what is not synced: that is in no file yet, only in this process, and whoever
kills it kills that too. So `kill -9` does what otherwise only a power failure does.
"""

import threading
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


class _Unsynced:
    """What was written to one file since its last sync, in order; whoever opens it shares that."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.writes: list[tuple[int, bytes]] = []

    def end(self) -> int:
        """Where the last of it ends."""
        return max((offset + len(data) for offset, data in self.writes), default=0)

    def over(self, content: bytes) -> bytes:
        """A file's content as if it had been written there."""
        if not self.writes:
            return content
        changed = bytearray(content.ljust(self.end(), b"\0"))
        for offset, data in self.writes:
            changed[offset : offset + len(data)] = data
        return bytes(changed)

    def write_to(self, file: File) -> None:
        """Writes all of it there."""
        for offset, data in self.writes:
            file.write_at(offset, data)
        self.writes.clear()


class ObedientFile:
    """A `File` of an `ObedientDisk`."""

    def __init__(self, file: File, location: str, book: OrderBook, unsynced: _Unsynced) -> None:
        self._file = file
        self._location = location
        self._book = book
        self._unsynced = unsynced

    @property
    def size(self) -> int:
        """See `File`."""
        with self._unsynced.lock:
            return max(self._file.size, self._unsynced.end())

    def read_all(self) -> bytes:
        """See `File`."""
        with self._unsynced.lock:
            return self._unsynced.over(self._file.read_all())

    def read_at(self, offset: int, length: int) -> bytes:
        """See `File`."""
        with self._unsynced.lock:
            if not self._unsynced.writes:
                return self._file.read_at(offset, length)
            return self._unsynced.over(self._file.read_all())[offset : offset + length]

    def write_at(self, offset: int, data: bytes) -> None:
        """See `File`."""
        room = self._book.orders.room
        if room is Room.NONE:
            self._write_until(offset + len(data) // 2, offset, data)
        if room is Room.NO_MORE and offset + len(data) > self.size:
            self._write_until(self.size, offset, data)
        self._hold(offset, data)

    def _write_until(self, end: int, offset: int, data: bytes) -> NoReturn:
        """Writes what lies in the whole sectors before `end`."""
        fitting = max(0, end // SECTOR_SIZE * SECTOR_SIZE - offset)
        self._hold(offset, data[:fitting])
        self._book.note_strike()
        raise DiskFullError(self._location, "write to")

    def _hold(self, offset: int, data: bytes) -> None:
        with self._unsynced.lock:
            self._unsynced.writes.append((offset, bytes(data)))

    def truncate(self, size: int) -> None:
        """See `File`."""
        with self._unsynced.lock:
            self._unsynced.write_to(self._file)
            self._file.truncate(size)

    def preallocate(self, size: int) -> None:
        """See `File`."""
        if self._book.orders.room is not Room.ENOUGH and size > self.size:
            self._book.note_strike()
            raise DiskFullError(self._location, "preallocate")
        self._file.preallocate(size)

    def sync(self) -> None:
        """See `File`."""
        _obey_before_sync(self._book, self._location)
        with self._unsynced.lock:
            self._unsynced.write_to(self._file)
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
        self._unsynced: dict[str, _Unsynced] = {}

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
            self._book.note_strike()
            raise DiskFullError(self.location(name), "create")
        return self._obedient(self._disk.create(name), name)

    def open(self, name: str) -> ObedientFile:
        """See `Disk`."""
        return self._obedient(self._disk.open(name), name)

    def rename(self, old: str, new: str) -> None:
        """See `Disk`."""
        self._disk.rename(old, new)
        self._unsynced[new] = self._unsynced.pop(old, _Unsynced())

    def remove(self, name: str) -> None:
        """See `Disk`."""
        self._disk.remove(name)
        self._unsynced.pop(name, None)

    def sync_directory(self) -> None:
        """See `Disk`."""
        _obey_before_sync(self._book, self.location(""))
        self._disk.sync_directory()

    def _obedient(self, file: File, name: str) -> ObedientFile:
        unsynced = self._unsynced.setdefault(name, _Unsynced())
        return ObedientFile(file, self.location(name), self._book, unsynced)


def _obey_before_sync(book: OrderBook, location: str) -> None:
    begun_us = monotonic_us()
    while (monotonic_us() - begun_us) / 1e6 < book.orders.stall_s:
        time.sleep(_LOOK_S)
    if book.orders.syncs_fail:
        book.note_strike()
        raise DiskFailedError(location, "sync", _ORDERED)
