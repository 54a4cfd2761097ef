"""The seam between storage and a disk: one flat directory of files.

Two implementations pass one conformance suite (`tests/storage/test_disk_conformance.py`):
`memory_disk.MemoryDisk` for the simulator and `quorate.runtime.disk.DirectoryDisk` for
production. Nothing here knows what the files contain.

What is durable:

- bytes and size of a file: after its `sync()`; until then any of its 512-byte sectors that were
  written may be on the disk or not, in any combination;
- the names: after `sync_directory()`; until then each file that was created, renamed or removed
  may be found under its old name or its new one.

Every method raises `DiskFullError` when space is lacking, `DirectoryAccessError` when the
directory must not be read or written, and `DiskFailedError` for whatever else the disk refuses.
After an error the content of the file concerned is undefined, as after a crash.
"""

from typing import Protocol

SECTOR_SIZE = 512
"""A disk writes this many bytes, at a multiple of it, entirely or not at all."""


class File(Protocol):
    """An open file."""

    @property
    def size(self) -> int:
        """The size in bytes."""
        ...

    def read_all(self) -> bytes:
        """The whole content."""
        ...

    def read_at(self, offset: int, length: int) -> bytes:
        """The bytes from `offset` on; fewer than `length` only where the file ends."""
        ...

    def write_at(self, offset: int, data: bytes) -> None:
        """Write all of `data` at `offset`; the file grows if it ends before."""
        ...

    def truncate(self, size: int) -> None:
        """Cut the file down to `size` bytes, which is at most its present size."""
        ...

    def preallocate(self, size: int) -> None:
        """Let a file that is smaller grow to `size` bytes with zeros that occupy their space."""
        ...

    def sync(self) -> None:
        """Make bytes and size durable. A failed sync must not be tried again."""
        ...

    def close(self) -> None:
        """Let the file go; says nothing about durability."""
        ...


class Disk(Protocol):
    """A directory of files. A name is a plain file name, without any separator."""

    def location(self, name: str) -> str:
        """How a message to the operator calls the file; an empty name is the directory."""
        ...

    def names(self) -> list[str]:
        """The names of all files, sorted."""
        ...

    def create(self, name: str) -> File:
        """A new, empty file; an error if the name is taken."""
        ...

    def open(self, name: str) -> File:
        """An existing file; an error if there is none of that name."""
        ...

    def rename(self, old: str, new: str) -> None:
        """Give the file a new name; a file that had the new name is gone. Atomic."""
        ...

    def remove(self, name: str) -> None:
        """Remove the file; an error if there is none of that name."""
        ...

    def sync_directory(self) -> None:
        """Make the names durable. A failed sync must not be tried again."""
        ...
