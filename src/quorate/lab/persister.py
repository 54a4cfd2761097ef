"""The course's persister as a disk: what one server has saved, and nothing else of it survives.

The store of production saves to it as to any disk, write by write. What is written is durable at
once, as the course has it; that a write takes time is the business of who writes: it reaches the
persister when it is complete, so a crash before that loses all of it. A server that has crashed
goes on with a *copy*; whatever its former life still writes goes to an object that nobody reads
again.

From outside it is two byte strings: the Raft state, with everything that is needed to start again,
and the snapshot.
"""

import msgspec

from quorate.raft.snapshot import LogStart
from quorate.storage.errors import DiskFailedError
from quorate.storage.snapshot_file import read_metadata
from quorate.storage.snapshots import named_snapshots, snapshot_name
from quorate.storage.store import Store


class _Content(msgspec.Struct, frozen=True, array_like=True):
    """A file: its bytes without the zeros at its end, and its size with them."""

    data: bytes
    size: int


_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(dict[str, _Content])


class Persister:
    """A `Disk` in memory that can be copied.

    Args:
        raft_state: what `read_raft_state` of another one gave; empty for a new server.
        snapshot: likewise, of `read_snapshot`.
    """

    def __init__(self, raft_state: bytes = b"", snapshot: bytes = b"") -> None:
        self._files: dict[str, bytearray] = {}
        if raft_state:
            for name, content in _decoder.decode(raft_state).items():
                self._files[name] = bytearray(content.data.ljust(content.size, b"\0"))
        if snapshot:
            file = PersisterFile(bytearray(snapshot))
            covered = read_metadata(file, "the snapshot")
            name = snapshot_name(LogStart(covered.index, covered.term))
            self._files[name] = bytearray(snapshot)

    # ------------------------------------------------------------------ the course's face

    def read_raft_state(self) -> bytes:
        """All that was saved but the snapshot; empty if nothing was."""
        if not self._files:
            return b""
        snapshots = {each.name for each in named_snapshots(self)}
        return _encoder.encode(
            {
                name: _Content(bytes(data).rstrip(b"\0"), len(data))
                for name, data in sorted(self._files.items())
                if name not in snapshots
            }
        )

    def read_snapshot(self) -> bytes:
        """The last snapshot, framing included; empty if there was none."""
        newest = next(iter(named_snapshots(self)), None)
        return b"" if newest is None else bytes(self._files[newest.name])

    @property
    def raft_state_size(self) -> int:
        """Bytes of the newest term and vote and of all live entries, with their framing.

        That is what `max_raft_state` bounds; how it lies in files does not matter.
        """
        if not self._files:
            return 0
        return Store.open(self.copy()).raft_state_bytes

    @property
    def snapshot_size(self) -> int:
        """Bytes of the last snapshot."""
        return len(self.read_snapshot())

    def copy(self) -> "Persister":
        """Another one with the same content, independent from now on."""
        twin = Persister()
        twin._files = {name: bytearray(data) for name, data in self._files.items()}
        return twin

    # ------------------------------------------------------------------ the disk

    def location(self, name: str) -> str:
        """The name itself."""
        return name or "the persister"

    def names(self) -> list[str]:
        """See `Disk`."""
        return sorted(self._files)

    def create(self, name: str) -> "PersisterFile":
        """See `Disk`."""
        if name in self._files:
            raise DiskFailedError(name, "create", "the file exists")
        data = self._files[name] = bytearray()
        return PersisterFile(data)

    def open(self, name: str) -> "PersisterFile":
        """See `Disk`."""
        return PersisterFile(self._existing(name, "open"))

    def rename(self, old: str, new: str) -> None:
        """See `Disk`."""
        data = self._existing(old, "rename")
        del self._files[old]
        self._files[new] = data

    def remove(self, name: str) -> None:
        """See `Disk`."""
        self._existing(name, "remove")
        del self._files[name]

    def sync_directory(self) -> None:
        """See `Disk`."""

    def _existing(self, name: str, action: str) -> bytearray:
        data = self._files.get(name)
        if data is None:
            raise DiskFailedError(name, action, "there is no such file")
        return data


class PersisterFile:
    """An open file of a `Persister`."""

    def __init__(self, data: bytearray) -> None:
        self._data = data

    @property
    def size(self) -> int:
        """See `File`."""
        return len(self._data)

    def read_all(self) -> bytes:
        """See `File`."""
        return bytes(self._data)

    def read_at(self, offset: int, length: int) -> bytes:
        """See `File`."""
        return bytes(self._data[offset : offset + length])

    def write_at(self, offset: int, data: bytes) -> None:
        """See `File`."""
        self._data.extend(bytes(max(0, offset - len(self._data))))
        self._data[offset : offset + len(data)] = data

    def truncate(self, size: int) -> None:
        """See `File`."""
        assert size <= len(self._data)
        del self._data[size:]

    def preallocate(self, size: int) -> None:
        """See `File`."""
        self._data.extend(bytes(max(0, size - len(self._data))))

    def sync(self) -> None:
        """See `File`."""

    def close(self) -> None:
        """See `File`."""
