"""The simulator's disk: a directory of files in memory that can lose power, fail and fill up.

The fault model:

1. Power goes at any moment (`crash`). Bytes that a sync covered survive. Each 512-byte sector
   written since the file's last sync survives or has its older content, each by itself, so a
   write may be lost, torn, or applied in any order. A size that was changed since then is the
   old one, the new one, or, of a file that grew or shrank, something between.
2. Each name created, renamed or removed since the last `sync_directory` is found as it was or as
   it became, each name by itself. (So after a rename both names may lead to the file, or
   neither. Real file systems are kinder.)
3. A sync can fail (`fail_next_sync`). What it should have covered can still be read, but no later
   sync covers it either unless it is written again: that is how Linux's page cache behaves after
   EIO. At a crash it is as likely lost as anything that was not synced.
4. The disk can be full (`capacity`, `limit_capacity`): a write or a preallocation applies what
   still fits, and then raises. Or it says so only at the sync, as network file systems do
   (`fail_next_sync`).
5. The process can die while the power stays (`kill`): whatever it wrote is there, synced or not.
6. Either can happen *within* a step of the caller (`stop_after`, or `stop_at_sync`, which leaves
   what was written at the mercy of point 1): that operation and all later ones raise
   `StoppedError` until `crash` or `kill` is called.

7. A synced byte changes (`damage`); only where the caller wants it, for most of what is on a disk
   nothing above it can mend. Reading never fails.

All choices come from the `random.Random` given to `crash`. Nothing copies a file: a write keeps
the old content of the sectors that it touches, once between two syncs, and a sync forgets them.
"""

import random

from quorate.storage.disk import SECTOR_SIZE
from quorate.storage.errors import DiskFailedError, DiskFullError, StorageError


class StoppedError(Exception):
    """The caller's process is dead, in the middle of its work. Call `crash` or `kill` next."""


class _Inode:
    """The content of a file, and what a crash would have to restore of it."""

    __slots__ = ("data", "durable_size", "given_up", "unsynced")

    def __init__(self) -> None:
        self.data = bytearray()
        self.durable_size = 0
        # By sector: what the disk may still hold in its place. The sectors that the next sync
        # covers, and those that a failed one gave up.
        self.unsynced: dict[int, bytearray] = {}
        self.given_up: dict[int, bytearray] = {}

    def remember(self, start: int, end: int) -> None:
        """Keep the durable content of the sectors that are about to change."""
        for sector in range(start // SECTOR_SIZE, -(-end // SECTOR_SIZE)):
            if sector in self.given_up:
                self.unsynced[sector] = self.given_up.pop(sector)
            elif sector not in self.unsynced:
                at = sector * SECTOR_SIZE
                self.unsynced[sector] = self.data[at : at + SECTOR_SIZE]

    def sync(self) -> None:
        self.unsynced.clear()
        self.durable_size = len(self.data)

    def fail_sync(self) -> None:
        self.given_up.update(self.unsynced)
        self.unsynced.clear()

    def lose_power(self, rng: random.Random) -> None:
        """Settle on one of the contents that the disk may hold."""
        small, large = sorted((self.durable_size, len(self.data)))
        size = rng.choice((small, large, rng.randint(small, large)))
        self.data.extend(bytes(large - len(self.data)))
        survival = rng.random()
        for sector, old in sorted((self.unsynced | self.given_up).items()):
            if rng.random() >= survival:
                at = sector * SECTOR_SIZE
                self.data[at : at + SECTOR_SIZE] = old.ljust(SECTOR_SIZE, b"\0")
        del self.data[size:]
        self.given_up.clear()
        self.sync()


class _Device:
    """What the directory and its open files share: the space, the power, and faults to come."""

    __slots__ = (
        "capacity",
        "lives",
        "names",
        "next_sync_error",
        "operations_left",
        "stops_at_sectors",
    )

    def __init__(self, capacity: int | None) -> None:
        self.capacity = capacity
        self.names: dict[str, _Inode] = {}
        self.lives = 0
        self.next_sync_error: StorageError | None = None
        self.operations_left: int | None = None
        self.stops_at_sectors: int | None = None

    def operate(self) -> None:
        """Begin an operation that changes the disk."""
        if self.operations_left is not None:
            if self.operations_left == 0:
                raise StoppedError
            self.operations_left -= 1

    def operate_sync(self, sectors: int) -> None:
        """Begin a sync that makes so many sectors durable."""
        if self.stops_at_sectors is not None and sectors >= self.stops_at_sectors:
            self.operations_left = 0
        self.operate()
        error, self.next_sync_error = self.next_sync_error, None
        if error is not None:
            raise error

    def grantable(self, growth: int) -> int:
        """How many of `growth` more bytes there is space for."""
        if self.capacity is None:
            return growth
        used = sum(len(inode.data) for inode in set(self.names.values()))
        return max(0, min(growth, self.capacity - used))


class MemoryFile:
    """An open file of a `MemoryDisk`."""

    def __init__(self, device: _Device, inode: _Inode, name: str) -> None:
        self._device = device
        self._inode = inode
        self._name = name
        self._life = device.lives

    @property
    def size(self) -> int:
        """See `File`."""
        return len(self._inode.data)

    def read_all(self) -> bytes:
        """See `File`."""
        self._check_alive()
        return bytes(self._inode.data)

    def read_at(self, offset: int, length: int) -> bytes:
        """See `File`."""
        self._check_alive()
        return bytes(self._inode.data[offset : offset + length])

    def write_at(self, offset: int, data: bytes) -> None:
        """See `File`."""
        self._operate()
        content = self._inode.data
        size = len(content)
        growth = max(0, offset + len(data) - size)
        missing = growth - self._device.grantable(growth)
        written = data[: max(0, len(data) - missing)] if missing else data
        if written:
            if offset > size:
                content.extend(bytes(offset - size))
            self._inode.remember(offset, offset + len(written))
            content[offset : offset + len(written)] = written
        if missing:
            raise DiskFullError(self._name, "write to")

    def truncate(self, size: int) -> None:
        """See `File`."""
        self._operate()
        assert size <= self.size
        self._inode.remember(size, self.size)
        del self._inode.data[size:]

    def preallocate(self, size: int) -> None:
        """See `File`."""
        self._operate()
        growth = max(0, size - self.size)
        granted = self._device.grantable(growth)
        self._inode.data.extend(bytes(granted))
        if granted < growth:
            raise DiskFullError(self._name, "preallocate")

    def sync(self) -> None:
        """See `File`."""
        self._check_alive()
        try:
            self._device.operate_sync(len(self._inode.unsynced))
        except StorageError:
            self._inode.fail_sync()
            raise
        self._inode.sync()

    def close(self) -> None:
        """See `File`."""

    def _operate(self) -> None:
        self._check_alive()
        self._device.operate()

    def _check_alive(self) -> None:
        assert self._life == self._device.lives, "this file was opened in an earlier life"


class MemoryDisk:
    """A `Disk` in memory; the module's header states its fault model.

    Files that were open at a `crash` or a `kill` must not be used after it.

    Args:
        capacity: how many bytes all files together may have; None for no limit.
    """

    def __init__(self, *, capacity: int | None = None) -> None:
        self._device = _Device(capacity)
        self._durable_names: dict[str, _Inode] = {}

    # The faults.

    def crash(self, rng: random.Random) -> None:
        """The power goes and comes back; `rng` decides what survives of what was not durable."""
        device = self._device
        names: dict[str, _Inode] = {}
        for name in sorted(device.names.keys() | self._durable_names.keys()):
            before, after = self._durable_names.get(name), device.names.get(name)
            survivor = after if before is after else rng.choice((before, after))
            if survivor is not None:
                names[name] = survivor
        for inode in dict.fromkeys(names.values()):
            inode.lose_power(rng)
        device.names = names
        self._durable_names = dict(names)
        self.kill()

    def kill(self) -> None:
        """The process dies and the power stays: nothing is lost, and nothing becomes durable."""
        self._device.lives += 1
        self._device.next_sync_error = None
        self._device.operations_left = None
        self._device.stops_at_sectors = None

    def fail_next_sync(self, *, is_full: bool = False) -> None:
        """Let the next sync, of a file or of the directory, fail: an I/O error, or a full disk."""
        location = self.location("")
        self._device.next_sync_error = (
            DiskFullError(location, "sync")
            if is_full
            else DiskFailedError(location, "sync", "injected I/O error")
        )

    def stop_after(self, operations: int) -> None:
        """Let this many more operations that change the disk succeed, and none after them."""
        self._device.operations_left = operations

    def stop_at_sync(self, *, sectors: int = 0) -> None:
        """Let the next sync fail that makes at least so many sectors durable, and all after it.

        With two or more, what was written is most likely torn if the power goes.
        """
        self._device.stops_at_sectors = sectors

    def damage(self, name: str, rng: random.Random, *, before: int | None = None) -> None:
        """A byte of a file, before some offset, is another one from now on."""
        content = self._existing(name, "damage").data
        content[rng.randrange(len(content) if before is None else before)] ^= 1 << rng.randrange(8)

    def limit_capacity(self, capacity: int | None) -> None:
        """Let all files together have at most so many bytes from now on; None for no limit."""
        self._device.capacity = capacity

    # The disk.

    def location(self, name: str) -> str:
        """The name itself."""
        return name or "the directory"

    def names(self) -> list[str]:
        """See `Disk`."""
        return sorted(self._device.names)

    def create(self, name: str) -> MemoryFile:
        """See `Disk`."""
        self._device.operate()
        if name in self._device.names:
            raise DiskFailedError(name, "create", "the file exists")
        inode = self._device.names[name] = _Inode()
        return MemoryFile(self._device, inode, name)

    def open(self, name: str) -> MemoryFile:
        """See `Disk`."""
        return MemoryFile(self._device, self._existing(name, "open"), name)

    def rename(self, old: str, new: str) -> None:
        """See `Disk`."""
        self._device.operate()
        inode = self._existing(old, "rename")
        del self._device.names[old]
        self._device.names[new] = inode

    def remove(self, name: str) -> None:
        """See `Disk`."""
        self._device.operate()
        self._existing(name, "remove")
        del self._device.names[name]

    def sync_directory(self) -> None:
        """See `Disk`."""
        self._device.operate_sync(0)
        self._durable_names = dict(self._device.names)

    def _existing(self, name: str, action: str) -> _Inode:
        inode = self._device.names.get(name)
        if inode is None:
            raise DiskFailedError(name, action, "there is no such file")
        return inode
