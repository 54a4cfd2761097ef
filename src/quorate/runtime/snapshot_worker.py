"""Brings snapshots to the disk and from it, in a thread of their own, beside the log.

Snapshots are large and nobody waits for them, so nothing of them is done on the event loop but to
make their parts and to take these in: each piece that goes through here is small.

A disk without room costs a snapshot and nothing else: the node warns, and goes on with what it has.
"""

import asyncio
from collections.abc import Callable, Iterator
from functools import partial
from itertools import islice
from typing import Protocol

from quorate.raft.ready import ChunkToSend, Envelope, ReceivedChunk
from quorate.runtime.disk_thread import DiskThread
from quorate.storage.errors import CorruptionError, DiskFullError, StorageError
from quorate.storage.snapshot_chunks import read_chunk, write_chunk
from quorate.storage.snapshots import SnapshotPart, Snapshots, StoredSnapshot

SECTIONS_AT_A_TIME = 8
"""So many sections of a snapshot are read before they are taken in; each has about 64 KiB."""
FULL_DISK_PERIOD_S = 10.0
"""It is told at most so often that a leader's snapshot finds no room: the leader tries again."""


class SnapshotListener(Protocol):
    """Who hears of what is done: the driver."""

    def part_written(self, stored: StoredSnapshot | None) -> None:
        """A part is written; if it was the last, the whole snapshot is durable."""

    def part_failed(self) -> None:
        """There was no space for a part."""

    def chunk_read(self, envelope: Envelope | None) -> None:
        """A piece of a snapshot was read for a follower; None if that snapshot is gone."""

    def snapshot_damaged(self, index: int) -> None:
        """The snapshot that ends with this entry, which was to be sent, is damaged."""

    def chunk_written(self, chunk: ReceivedChunk, next_offset: int) -> None:
        """A piece of the leader's snapshot is written."""

    def sections_read(self, sections: list[bytes]) -> bool:
        """The next sections of the snapshot that is being restored; none behind the last.

        Returns whether to go on.
        """


class SnapshotWorker:
    """The thread for the snapshots of one store.

    Args:
        files: the store's snapshots; used by this object alone from now on.
        loop: where everything here is called, and calls back.
        on_failure: called with what the storage raised. Nothing may be acknowledged after that.
        on_warning: called with what an operator should know though nothing has failed.
    """

    def __init__(
        self,
        files: Snapshots,
        loop: asyncio.AbstractEventLoop,
        *,
        on_failure: Callable[[StorageError], None],
        on_warning: Callable[[str], None],
    ) -> None:
        self._files = files
        self._loop = loop
        self._on_warning = on_warning
        self._thread = DiskThread(loop, "snapshots", on_failure=on_failure)
        self._listener: SnapshotListener
        self._restorations = 0
        self._quiet_until_s = 0.0

    def start(self, listener: SnapshotListener) -> None:
        """Begins to work."""
        self._listener = listener

    def write(self, part: SnapshotPart) -> None:
        """Writes a part of a snapshot of this server's own."""
        self._thread.do(partial(self._write, part), self._written)

    def read(self, chunk: ChunkToSend) -> None:
        """Reads a piece of a snapshot for a follower."""
        self._thread.do(partial(self._read, chunk), partial(self._was_read, chunk))

    def receive(self, chunk: ReceivedChunk) -> None:
        """Writes a piece of the leader's snapshot."""
        self._thread.do(partial(self._receive, chunk), partial(self._received, chunk))

    def restore(self) -> None:
        """Reads the newest snapshot, a few sections at a time.

        One that is still being read is of no use any more: its sections go nowhere.
        """
        self._restorations += 1
        self._thread.do(self._files.sections, partial(self._read_sections, self._restorations))

    def close(self) -> None:
        """Waits for what is on its way, without telling anybody."""
        self._thread.close()

    def _write(self, part: SnapshotPart) -> StoredSnapshot | DiskFullError | None:
        try:
            return self._files.write(part)
        except DiskFullError as error:
            return error

    def _written(self, result: StoredSnapshot | DiskFullError | None) -> None:
        if isinstance(result, DiskFullError):
            self._on_warning(f"no snapshot can be taken: {result}")
            self._listener.part_failed()
        else:
            self._listener.part_written(result)

    def _read(self, chunk: ChunkToSend) -> Envelope | CorruptionError | None:
        try:
            return read_chunk(self._files, chunk)
        except CorruptionError as error:
            return error

    def _was_read(self, chunk: ChunkToSend, result: Envelope | CorruptionError | None) -> None:
        if isinstance(result, CorruptionError):
            self._on_warning(
                f"{result.file} is damaged at byte {result.offset}: {result.reason}. It cannot be "
                "sent to a follower; another snapshot is taken in its place. Check the disk"
            )
            self._listener.snapshot_damaged(chunk.request.snapshot.index)
        else:
            self._listener.chunk_read(result)

    def _receive(self, chunk: ReceivedChunk) -> int | DiskFullError:
        try:
            return write_chunk(self._files, chunk)
        except DiskFullError as error:
            return error

    def _received(self, chunk: ReceivedChunk, result: int | DiskFullError) -> None:
        if isinstance(result, DiskFullError):
            if self._loop.time() >= self._quiet_until_s:
                self._quiet_until_s = self._loop.time() + FULL_DISK_PERIOD_S
                self._on_warning(f"the leader's snapshot cannot be taken in: {result}")
            result = 0
        self._listener.chunk_written(chunk, result)

    def _read_sections(self, restoration: int, sections: Iterator[bytes]) -> None:
        if restoration == self._restorations:
            self._thread.do(
                lambda: list(islice(sections, SECTIONS_AT_A_TIME)),
                partial(self._take_in, restoration, sections),
            )

    def _take_in(self, restoration: int, sections: Iterator[bytes], read: list[bytes]) -> None:
        if restoration == self._restorations and self._listener.sections_read(read):
            self._read_sections(restoration, sections)
