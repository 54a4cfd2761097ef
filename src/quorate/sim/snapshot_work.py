"""What a simulated server does with its snapshots, beside its log: one thing after the other.

Each takes time: for the disk to do it, and for the node to hear of it. So the node goes on between
any two of them, and the server can die, or its disk fail, before, within and after each. A state
is restored section by section, with whatever else is to be done in between.
"""

import random
from collections import Counter, deque
from collections.abc import Callable, Iterator
from functools import partial
from typing import Protocol

import msgspec

from quorate.node.node import Node, NodeReady
from quorate.raft.configuration import NodeId
from quorate.raft.ready import ChunkToSend, Envelope, ReceivedChunk
from quorate.raft.snapshot import SnapshotMetadata
from quorate.sim.clock import Clock
from quorate.sim.durable_record import DurableRecord
from quorate.sim.errors import InvariantError
from quorate.storage.errors import CorruptionError, DiskFullError
from quorate.storage.snapshot_chunks import read_chunk, write_chunk
from quorate.storage.snapshots import SnapshotPart, Snapshots, StoredSnapshot

_QUICK_US = 200
"""The longest time of what needs no sync."""

_Action = Callable[[], None]


class StateSeen(msgspec.Struct, frozen=True):
    """A state as of some index, of a server that took a snapshot of it or was restored to it."""

    last_applied: int
    digest: bytes


class Host(Protocol):
    """The server whose snapshots they are."""

    def at_disk_after(self, delay: int, action: _Action) -> None:
        """Does something with the disk so many virtual microseconds from now, in this life."""

    def do_after(self, delay: int, action: _Action) -> None:
        """Does something with the node, likewise; it has to be asked afterwards what is due."""

    def draw_sync_time(self) -> int:
        """How long a sync takes, in virtual microseconds."""

    def send(self, envelope: Envelope) -> None:
        """Sends a message."""

    def may_send_damaged(self, node: NodeId, index: int) -> bool:
        """Whether the snapshot of some index, from some server, may be damaged."""


class SnapshotWork:
    """The snapshots of one life of a server.

    Args:
        node: whose.
        files: on its disk.
        host: the server.
        record: what the disk must hold.
        clock: the server's.
        rng: for the times.
        happened: counts what happens, by name.

    Attributes:
        seen: the states that there were; to be taken away.
    """

    def __init__(
        self,
        node: Node,
        files: Snapshots,
        host: Host,
        *,
        record: DurableRecord,
        clock: Clock,
        rng: random.Random,
        happened: Counter[str],
    ) -> None:
        self.seen: list[StateSeen] = []
        self._node = node
        self._files = files
        self._host = host
        self._record = record
        self._clock = clock
        self._rng = rng
        self._happened = happened
        self._jobs: deque[tuple[Callable[[], int], Callable[[], _Action]]] = deque()
        self._sections: Iterator[bytes] | None = None

    @property
    def is_busy(self) -> bool:
        """Whether anything is being written, read or restored."""
        return bool(self._jobs)

    def take(self, ready: NodeReady) -> None:
        """Begins with all that the node wants done."""
        part = ready.snapshot_part
        if part is not None:
            if part.is_first and part.metadata.index == self._node.state.last_applied:
                self._see()
            self._add(self._time_of_last(part.is_last), partial(self._write, part))
        for to_send in ready.chunks_to_send:
            self._add(self._quick, partial(self._read, to_send))
        for received in ready.received_chunks:
            self._add(self._time_of_last(_is_last(received)), partial(self._receive, received))
        if ready.restore_from is not None:
            self._sections = None  # what was being restored is out of date
            self._add(self._quick, partial(self._begin_restoring, ready.restore_from))

    # ------------------------------------------------------------------ one after the other

    def _add(self, time: Callable[[], int], job: Callable[[], _Action]) -> None:
        self._jobs.append((time, job))
        if len(self._jobs) == 1:
            self._begin()

    def _begin(self) -> None:
        time, _ = self._jobs[0]
        self._host.at_disk_after(time(), self._do)

    def _do(self) -> None:
        _, job = self._jobs[0]
        tell = job()
        self._host.do_after(self._quick(), partial(self._end, tell))

    def _end(self, tell: _Action) -> None:
        tell()
        self._jobs.popleft()
        if self._jobs:
            self._begin()

    def _quick(self) -> int:
        return 1 + self._rng.randrange(_QUICK_US)

    def _time_of_last(self, is_last: bool) -> Callable[[], int]:  # noqa: FBT001  # one of two
        return self._host.draw_sync_time if is_last else self._quick

    # ------------------------------------------------------------------ what is done

    def _write(self, part: SnapshotPart) -> _Action:
        if part.is_last:
            self._record.snapshot_completed(part.metadata)
        try:
            stored = self._files.write(part)
        except DiskFullError:
            self._happened["snapshots without space"] += 1
            self._record.snapshot_given_up()
            self._note_newest()
            return lambda: self._node.snapshot_failed(self._clock.now)
        self._note_newest()
        return partial(self._written, stored)

    def _written(self, stored: StoredSnapshot | None) -> None:
        self._happened["parts of snapshots written"] += 1
        if stored is not None:
            self._happened["snapshots taken"] += 1
        self._node.snapshot_written(stored, self._clock.now)

    def _read(self, chunk: ChunkToSend) -> _Action:
        try:
            envelope = read_chunk(self._files, chunk)
        except CorruptionError:
            self._happened["damaged snapshots replaced"] += 1
            index = chunk.request.snapshot.index
            return lambda: self._node.snapshot_damaged(index, self._clock.now)
        return partial(self._host.send, envelope) if envelope is not None else lambda: None

    def _receive(self, chunk: ReceivedChunk) -> _Action:
        request = chunk.request
        is_last = _is_last(chunk)
        if is_last:
            self._record.snapshot_completed(request.snapshot)
        try:
            next_offset = write_chunk(self._files, chunk)
        except DiskFullError:
            self._happened["snapshots without space"] += 1
            self._record.snapshot_given_up()
            next_offset = 0
        else:
            index = request.snapshot.index
            if next_offset == 0:
                self._record.snapshot_given_up()
            if next_offset == 0 and not self._host.may_send_damaged(chunk.sender, index):
                raise InvariantError(
                    f"the pieces of the snapshot of {index} that a node got from {chunk.sender} "
                    "are not one snapshot"
                )
            self._happened["pieces of snapshots received"] += 1
            self._happened["snapshots received"] += is_last and next_offset > 0
        self._note_newest()
        return lambda: self._node.chunk_written(chunk, next_offset, self._clock.now)

    def _note_newest(self) -> None:
        newest = self._files.newest
        self._record.snapshot_stored(None if newest is None else newest.metadata)

    # ------------------------------------------------------------------ restoring

    def _begin_restoring(self, snapshot: SnapshotMetadata) -> _Action:
        newest = self._files.newest
        assert newest is not None
        # If it is a newer one, the node will soon hear of that and want it instead.
        if newest.metadata == snapshot:
            self._sections = self._files.sections()
            self._add(self._quick, partial(self._restore, self._sections))
        return lambda: None

    def _restore(self, sections: Iterator[bytes]) -> _Action:
        if sections is not self._sections:
            return lambda: None
        section = next(sections, None)
        if section is None:
            return lambda: None
        return partial(self._restored, sections, section)

    def _restored(self, sections: Iterator[bytes], section: bytes) -> None:
        if sections is not self._sections:
            return
        before = self._node.state
        self._node.restore(section, self._clock.now)
        if self._node.state is not before:
            self._happened["states restored"] += 1
            self._see()
        self._add(self._quick, partial(self._restore, sections))

    def _see(self) -> None:
        state = self._node.state
        self.seen.append(StateSeen(state.last_applied, state.digest()))


def _is_last(chunk: ReceivedChunk) -> bool:
    return chunk.request.offset + len(chunk.request.data) == chunk.request.size
