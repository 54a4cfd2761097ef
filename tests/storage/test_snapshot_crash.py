"""Crashes at every single operation while snapshots are taken, received and the log is shortened.

The twin knows nothing of files. It keeps what the log may say and which snapshot there may be:
what is durable, and behind it what is on its way. Whatever happens, a restart finds one of those
logs and one of those snapshots, joined by the rules of the paper, and what it has found once it
finds again. So no entry that was synced is ever missing from both.
"""

import contextlib
import itertools
import random
from collections.abc import Iterator
from typing import NamedTuple

import pytest

from quorate.codec.log import WriteRecord, encode_record
from quorate.raft.configuration import Member, NodeId, configuration_of
from quorate.raft.entry import Entry, EntryKind
from quorate.raft.ready import LogWrite
from quorate.raft.snapshot import LogStart, SnapshotMetadata
from quorate.storage.frames import HEADER_SIZE
from quorate.storage.memory_disk import MemoryDisk, StoppedError
from quorate.storage.snapshots import SnapshotPart
from quorate.storage.store import Store

SEGMENT_SIZE = 1024
MEMBERS = configuration_of((1, 2, 3))


class Log(NamedTuple):
    """What the log says: the entries by index, as a dictionary would hold them."""

    term: int
    vote: int | None
    start: tuple[int, int]
    entries: tuple[Entry, ...]

    @property
    def last(self) -> int:
        return self.entries[-1].index if self.entries else self.start[0]

    @property
    def size(self) -> int:
        """Term and vote, and each entry in a frame of its own."""
        vote = None if self.vote is None else NodeId(self.vote)
        records = [WriteRecord(self.term, vote, ())]
        records += [WriteRecord(0, None, (each,)) for each in self.entries]
        return sum(HEADER_SIZE + len(encode_record(record)) for record in records)

    def term_of(self, index: int) -> int | None:
        terms = {self.start[0]: self.start[1]} | {each.index: each.term for each in self.entries}
        return terms.get(index)

    def begun_after(self, index: int, term: int) -> "Log":
        """Raft §7: "If existing log entry has same index and term as snapshot's last included
        entry, retain log entries following it and reply. Discard the entire log."
        """
        stay = self.term_of(index) == term
        entries = tuple(each for each in self.entries if each.index > index) if stay else ()
        return self._replace(start=(index, term), entries=entries)

    def written(self, write: LogWrite) -> "Log":
        log = self
        if write.start is not None:
            log = log.begun_after(write.start.index, write.start.term)
        entries = log.entries
        if write.entries:
            entries = tuple(each for each in entries if each.index < write.entries[0].index)
        return log._replace(term=write.term, vote=write.voted_for, entries=entries + write.entries)


class Snapshot(NamedTuple):
    metadata: SnapshotMetadata
    sections: tuple[bytes, ...]

    @property
    def end(self) -> tuple[int, int]:
        return self.metadata.index, self.metadata.term


NOTHING = Snapshot(SnapshotMetadata(0, 0, 0, MEMBERS), ())
EMPTY = Log(0, None, (0, 0), ())


def joined(log: Log, snapshot: Snapshot) -> Log:
    """What a restart makes of them."""
    index, term = snapshot.end
    if log.start[0] <= index and log.term_of(index) == term:
        return log
    if term > log.term:
        log = log._replace(term=term, vote=None)
    return log.begun_after(index, term)


class Possible:
    """What a restart may find: the durable one first, then what is on its way."""

    def __init__(self) -> None:
        self.logs = [EMPTY]
        self.snapshots = [NOTHING]

    @property
    def log(self) -> Log:
        return self.logs[-1]

    @property
    def snapshot(self) -> Snapshot:
        return self.snapshots[-1]

    def found(self, store: Store) -> None:
        """A restart has found this, so from now on it is the only possibility."""
        state = store.take_durable_state()
        assert not state.snapshot_is_lost
        assert store.warnings == ()
        newest = store.snapshots.newest
        sections = tuple(store.snapshots.sections()) if newest is not None else ()
        if newest is not None:
            assert newest.metadata == state.snapshot
            assert newest.size == state.snapshot_size
        snapshot = Snapshot(state.snapshot, sections)
        start = (state.start.index, state.start.term)
        log = Log(state.term, state.voted_for, start, state.entries)
        assert any(
            snapshot == each and log == joined(other, each)
            for each in self.snapshots
            for other in self.logs
        )
        self.logs, self.snapshots = [log], [snapshot]
        assert store.raft_state_bytes == log.size


def initialized_disk() -> MemoryDisk:
    disk = MemoryDisk()
    Store.initialize(
        disk,
        cluster_id="cluster",
        node=NodeId(1),
        data_id="data",
        members=tuple(Member(NodeId(node)) for node in (1, 2, 3)),
        segment_size=SEGMENT_SIZE,
    )
    return disk


def open_store(disk: MemoryDisk) -> Store:
    return Store.open(disk, segment_size=SEGMENT_SIZE)


def file_of(snapshot: Snapshot) -> bytes:
    """The bytes that a leader sends, from a leader's own disk."""
    leader = open_store(initialized_disk())
    part = SnapshotPart(snapshot.metadata, snapshot.sections, is_first=True, is_last=True)
    stored = leader.snapshots.write(part)
    assert stored is not None
    data = leader.snapshots.read(stored.metadata.index, 0, stored.size)
    assert data is not None
    assert len(data) == stored.size
    return data


class Life:
    """A node's life of random steps; some are begun, and go on while others happen."""

    def __init__(self, disk: MemoryDisk, rng: random.Random, possible: Possible) -> None:
        self._store = open_store(disk)
        self._rng = rng
        self._possible = possible
        self._own: Iterator[None] = iter(())
        self._received: Iterator[None] = iter(())
        self._log_is_behind = False
        possible.found(self._store)

    def live(self, steps: int) -> None:
        for _ in range(steps):
            kind = self._rng.choice(
                (self._write, self._write, self._write, self._snapshot, self._receive, self._tidy)
            )
            kind()
        self._store.close()

    def _tidy(self) -> None:
        if self._store.needs_cleaning:
            self._store.remove_dead_segments()
        if self._rng.random() < 0.3:
            self._store.prepare_next_segment()

    def _write(self) -> None:
        """A write to the log; a part of a snapshot may come between it and its sync."""
        write = self._random_write()
        possible = self._possible
        possible.logs.append(possible.log.written(write))
        self._store.append(write)
        if self._rng.random() < 0.3:
            self._rng.choice((self._snapshot, self._receive))()
        self._store.sync()
        possible.logs = [possible.logs[-1]]
        assert self._store.raft_state_bytes == possible.log.size
        end = possible.snapshot.end
        self._log_is_behind = joined(possible.log, possible.snapshot) != possible.log
        assert not self._log_is_behind or write.start is None or write.start.index < end[0]

    def _random_write(self) -> LogWrite:
        rng, log = self._rng, self._possible.log
        committed, committed_term = self._possible.snapshot.end
        start = None
        if self._log_is_behind:
            start = LogStart(committed, committed_term)
        elif rng.random() < 0.4 and log.start[0] < committed:
            index = rng.randint(log.start[0] + 1, committed)
            term = log.term_of(index)
            assert term is not None
            start = LogStart(index, term)
        if start is not None:
            log = log.begun_after(start.index, start.term)
        term = max(log.term, committed_term) + rng.choice((0, 0, 0, 1))
        first = rng.randint(min(max(committed, log.last - 2), log.last), log.last) + 1
        entries = tuple(
            Entry(first + position, term, 0, EntryKind.DATA, bytes([term]) * length)
            for position, length in enumerate(
                rng.choice((0, 3, 40, 300, 900)) for _ in range(rng.randint(0, 3))
            )
        )
        vote = rng.choice((None, NodeId(2))) if term > log.term else log.vote
        return LogWrite(0, term, None if vote is None else NodeId(vote), entries, start)

    def _snapshot(self) -> None:
        """The next part of a snapshot, or the first one of a new one."""
        if next(self._own, self) is self:
            self._own = self._take_snapshot()

    def _take_snapshot(self) -> Iterator[None]:
        rng, possible = self._rng, self._possible
        log = possible.log
        # The state may be ahead of this log: others have committed what is still to be written.
        first = possible.snapshot.end[0]
        index = rng.randint(first, max(first, log.last) + rng.choice((0, 0, 2)))
        term = log.term_of(index) or max(log.term, possible.snapshot.end[1])
        if index == 0:
            return
        snapshot = self._random_snapshot(index, term)
        count = len(snapshot.sections)
        for position, section in enumerate(snapshot.sections):
            is_last = position == count - 1
            replaces = is_last and index > possible.snapshot.end[0]
            if replaces:
                possible.snapshots.append(snapshot)
            stored = self._store.snapshots.write(
                SnapshotPart(snapshot.metadata, (section,), position == 0, is_last)
            )
            if replaces:
                assert stored is not None
                assert stored.metadata == snapshot.metadata
                self._is_durable(snapshot)
            yield

    def _receive(self) -> None:
        """The next piece of a leader's snapshot, or the first one of another."""
        if next(self._received, self) is self:
            self._received = self._receive_snapshot()

    def _receive_snapshot(self) -> Iterator[None]:
        rng, possible = self._rng, self._possible
        log = possible.log
        first = possible.snapshot.end[0] + 1
        index = rng.choice((rng.randint(first, max(first, log.last)), log.last + 3))
        term = log.term_of(index) or log.term + 1
        later = log.term_of(index + 1)
        if later is None and rng.random() < 0.5:
            term = max(log.term, term) + 1  # what the log holds there was never committed
        snapshot = self._random_snapshot(index, term)
        data = file_of(snapshot)
        offset = 0
        while offset < len(data):
            length = rng.choice((100, 500, 10_000))
            piece = data[offset : offset + length]
            is_last = offset + len(piece) == len(data)
            replaces = is_last and index > possible.snapshot.end[0]
            if replaces:
                possible.snapshots.append(snapshot)
            at = self._store.snapshots.receive(snapshot.metadata, len(data), offset, piece)
            if index <= possible.snapshot.end[0] and not replaces:
                assert at == len(data)
                return
            offset += len(piece)
            assert at == offset
            if replaces:
                self._is_durable(snapshot)
            yield

    def _is_durable(self, snapshot: Snapshot) -> None:
        possible = self._possible
        possible.snapshots = [snapshot]
        self._log_is_behind = joined(possible.log, snapshot) != possible.log

    def _random_snapshot(self, index: int, term: int) -> Snapshot:
        rng = self._rng
        sections = tuple(
            rng.randbytes(rng.choice((0, 10, 300, 2000))) for _ in range(rng.randint(1, 4))
        )
        return Snapshot(SnapshotMetadata(index, term, index * 10, MEMBERS), sections)


def live(disk: MemoryDisk, rng: random.Random, possible: Possible, steps: int) -> None:
    Life(disk, rng, possible).live(steps)


@pytest.mark.parametrize("seed", range(12))
def test_power_may_go_at_any_operation(seed: int) -> None:
    """Counted through: one more operation in each turn, until the life is over before."""
    for operations in itertools.count():
        disk = initialized_disk()
        rng = random.Random(seed)
        possible = Possible()
        disk.stop_after(operations)
        stopped = True
        with contextlib.suppress(StoppedError):
            live(disk, rng, possible, steps=30)
            stopped = False
        if rng.random() < 0.7:
            disk.crash(random.Random(seed * 1000 + operations))
        else:
            disk.kill()
        live(disk, rng, possible, steps=3)
        live(disk, rng, possible, steps=0)
        if not stopped:
            break


@pytest.mark.parametrize("seed", range(100))
def test_power_or_process_may_go_again_and_again(seed: int) -> None:
    """Also while what an earlier crash left is being mended."""
    rng = random.Random(seed)
    disk = initialized_disk()
    possible = Possible()
    for _ in range(40):
        disk.stop_after(rng.choice((rng.randint(0, 12), rng.randint(0, 80))))
        with contextlib.suppress(StoppedError):
            live(disk, rng, possible, steps=25)
        if rng.random() < 0.6:
            disk.crash(rng)
        else:
            disk.kill()
    live(disk, rng, possible, steps=0)


def damage_newest(disk: MemoryDisk, rng: random.Random) -> None:
    names = [name for name in disk.names() if name.endswith(".snapshot")]
    if names:
        file = disk.open(names[-1])
        at = rng.randrange(file.size)
        file.write_at(at, bytes([file.read_at(at, 1)[0] ^ 0x10]))
        file.sync()


@pytest.mark.parametrize("seed", range(150))
def test_a_damaged_snapshot_never_makes_a_node_forget_how_far_it_went(seed: int) -> None:
    """It may have told others that it has all of this, and its vote has to keep to that."""
    rng = random.Random(seed)
    disk = initialized_disk()
    possible = Possible()
    for _ in range(rng.randint(1, 4)):
        disk.stop_after(rng.randint(20, 250))
        with contextlib.suppress(StoppedError):
            live(disk, rng, possible, steps=60)
        disk.crash(rng)
    damage_newest(disk, rng)
    state = open_store(disk).take_durable_state()
    last = state.entries[-1].index if state.entries else state.start.index
    assert any(
        (log.term, log.vote, log.last) == (state.term, state.voted_for, last)
        and all(each in state.entries for each in log.entries if each.index > snapshot.end[0])
        for snapshot in possible.snapshots
        for log in (joined(other, snapshot) for other in possible.logs)
    )
    if not state.snapshot_is_lost:
        assert state.start.index <= state.snapshot.index <= last
    disk.crash(rng)
    assert open_store(disk).take_durable_state() == state
