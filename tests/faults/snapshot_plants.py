"""Plants in what is done with snapshots, from the state to the disk."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec
import pytest

from quorate.kv.layered_values import LayeredValues
from quorate.raft import incoming
from quorate.raft.core import Raft
from quorate.raft.delivery import Delivery
from quorate.raft.log import RaftLog
from quorate.raft.persistence import Persistence
from quorate.raft.snapshot import LogStart, SnapshotMetadata
from quorate.replica.replica import Replica
from quorate.replica.replicated_state import ReplicatedState
from quorate.replica.sessions import SessionTable
from quorate.storage import restart, segments, wal
from quorate.storage.memory_disk import MemoryDisk
from quorate.storage.replay import LogContents
from quorate.storage.snapshot_file import PacedFile
from quorate.storage.snapshots import SnapshotPart, Snapshots, named_snapshots
from quorate.storage.store import Store
from quorate.storage.wal import WriteAheadLog

if TYPE_CHECKING:
    from quorate.codec.log import SegmentHeader
    from quorate.kv.layered_values import Value
    from quorate.kv.queries import Query, QueryResult
    from quorate.raft.configuration import NodeId
    from quorate.raft.messages import InstallSnapshot
    from quorate.raft.ready import LogWrite
    from quorate.storage.disk import Disk, File
    from quorate.storage.segments import Segment
    from quorate.storage.snapshots import StoredSnapshot

# ---------------------------------------------------------------------- the state


def a_snapshot_lacks_the_sessions(patches: pytest.MonkeyPatch) -> None:
    patches.setattr(SessionTable, "restore", lambda _self, _section: None)


def a_value_is_replaced_under_the_walk(patches: pytest.MonkeyPatch) -> None:
    set_item = LayeredValues.__setitem__

    def in_place(self: LayeredValues, key: bytes, value: Value) -> None:
        set_item(self, key, value)
        if key in self._base:
            self._base[key] = value

    patches.setattr(LayeredValues, "__setitem__", in_place)


def cluster_time_is_not_restored(patches: pytest.MonkeyPatch) -> None:
    restore = ReplicatedState.restore

    def without_time(self: ReplicatedState[Query, QueryResult], section: bytes) -> None:
        restore(self, section)
        if self.is_restored:
            self._time_ms = 0

    patches.setattr(ReplicatedState, "restore", without_time)


# ---------------------------------------------------------------------- what a snapshot covers


def the_metadata_has_the_current_term(patches: pytest.MonkeyPatch) -> None:
    snapshot_metadata = Raft.snapshot_metadata

    def of_current_term(self: Raft, index: int) -> SnapshotMetadata:
        metadata = snapshot_metadata(self, index)
        return msgspec.structs.replace(metadata, term=self.current_term)

    patches.setattr(Raft, "snapshot_metadata", of_current_term)


def the_metadata_has_the_commit_index(patches: pytest.MonkeyPatch) -> None:
    """The index of what is committed, though less is applied."""
    snapshot_metadata = Raft.snapshot_metadata

    def of_committed(self: Raft, index: int) -> SnapshotMetadata:
        del index
        self._delivery.index, given_out = self.commit_index, self._delivery.index
        metadata = snapshot_metadata(self, self.commit_index)
        self._delivery.index = given_out
        return metadata

    patches.setattr(Raft, "snapshot_metadata", of_committed)


def the_log_begins_with_a_wrong_term(patches: pytest.MonkeyPatch) -> None:
    """That of the snapshot, though trailing entries stay."""
    compact = RaftLog.compact

    def with_term_of_snapshot(
        self: RaftLog, snapshot: SnapshotMetadata, *, trailing_bytes: int
    ) -> None:
        compact(self, snapshot, trailing_bytes=trailing_bytes)
        self.start = LogStart(self.start.index, snapshot.term)

    patches.setattr(RaftLog, "compact", with_term_of_snapshot)


def one_trailing_entry_too_few(patches: pytest.MonkeyPatch) -> None:
    drop = RaftLog._drop

    def one_more(self: RaftLog, count: int) -> None:
        drop(self, count + 1)

    patches.setattr(RaftLog, "_drop", one_more)


# ---------------------------------------------------------------------- what must be durable


def the_log_is_dropped_before_the_snapshot_is_durable(patches: pytest.MonkeyPatch) -> None:
    take_part = Replica.take_snapshot_part

    def too_early(self: Replica[Query, QueryResult], now: int) -> SnapshotPart | None:
        part = take_part(self, now)
        if part is not None and part.is_first:
            self._raft.compact(part.metadata, 1, now)
        return part

    def append(self: Store, write: LogWrite) -> None:
        self._log.append(write)

    patches.setattr(Replica, "take_snapshot_part", too_early)
    patches.setattr(Store, "append", append)


def a_snapshot_counts_before_it_is_synced(patches: pytest.MonkeyPatch) -> None:
    patches.setattr(PacedFile, "sync", lambda _self: None)


def _without_directory_sync(patches: pytest.MonkeyPatch, owner: type, name: str) -> None:
    function = getattr(owner, name)

    def without_sync(*arguments: object, **named: object) -> object:
        with pytest.MonkeyPatch.context() as inner:
            inner.setattr(MemoryDisk, "sync_directory", lambda _self: None)
            return function(*arguments, **named)

    patches.setattr(owner, name, without_sync)


def a_snapshot_counts_before_its_name_is_durable(patches: pytest.MonkeyPatch) -> None:
    _without_directory_sync(patches, Snapshots, "_count")


def the_old_snapshot_goes_before_the_new_one_is_durable(patches: pytest.MonkeyPatch) -> None:
    write = Snapshots.write

    def without_the_old(self: Snapshots, part: SnapshotPart) -> StoredSnapshot | None:
        if part.is_last:
            for named in named_snapshots(self._disk):
                self._disk.remove(named.name)
        return write(self, part)

    patches.setattr(Snapshots, "write", without_the_old)


def a_snapshot_is_acknowledged_before_it_is_durable(patches: pytest.MonkeyPatch) -> None:
    receive = Raft._receive_install_snapshot

    def too_early(self: Raft, sender: NodeId, request: InstallSnapshot) -> None:
        receive(self, sender, request)
        is_last = request.offset + len(request.data) == request.size
        if is_last and request.term == self.current_term:
            with pytest.MonkeyPatch.context() as inner:
                inner.setattr(Persistence, "is_kept", lambda _self, _promise: True)
                self._answer_chunk(sender, request, request.id, request.size)

    patches.setattr(Raft, "_receive_install_snapshot", too_early)


# ---------------------------------------------------------------------- the log's beginning


def the_beginning_of_the_log_is_not_recorded(patches: pytest.MonkeyPatch) -> None:
    take_write = Persistence.take_write

    def without_start(self: Persistence) -> LogWrite | None:
        write = take_write(self)
        return None if write is None else msgspec.structs.replace(write, start=None)

    patches.setattr(Persistence, "take_write", without_start)


def a_new_segment_forgets_the_beginning_of_the_log(patches: pytest.MonkeyPatch) -> None:
    begin_segment = segments.begin_segment

    def without_start(
        disk: Disk, name: str, file: File, *, number: int, header: SegmentHeader, sequence: int
    ) -> Segment:
        header = msgspec.structs.replace(header, start=LogStart(0, 0))
        return begin_segment(disk, name, file, number=number, header=header, sequence=sequence)

    patches.setattr(wal, "begin_segment", without_start)


def segments_are_removed_too_early(patches: pytest.MonkeyPatch) -> None:
    """All but the one that is being written to, as soon as the log begins anywhere else."""
    sync = WriteAheadLog.sync

    def eager(self: WriteAheadLog) -> None:
        sync(self)
        if self._live.start.index > 0:
            self._first_live_segment = self._active.number

    patches.setattr(WriteAheadLog, "sync", eager)


def a_restart_keeps_entries_that_a_snapshot_has_replaced(patches: pytest.MonkeyPatch) -> None:
    behind = restart._behind

    def keeping(log: LogContents, end: LogStart) -> LogContents:
        kept = behind(log, end)
        rest = tuple(entry for entry in log.entries if entry.index > end.index)
        return LogContents(kept.term, kept.voted_for, kept.start, rest)

    patches.setattr(restart, "_behind", keeping)


def a_restart_believes_the_log_rather_than_the_snapshot(patches: pytest.MonkeyPatch) -> None:
    patches.setattr(restart, "_behind", lambda log, _end: log)


# ---------------------------------------------------------------------- from the leader


def a_snapshot_is_installed_over_newer_state(patches: pytest.MonkeyPatch) -> None:
    def install(self: Delivery, snapshot: SnapshotMetadata) -> None:
        self.index = self._restoring_index = snapshot.index
        self._snapshot = snapshot

    def take_over(self: Raft, snapshot: SnapshotMetadata, size: int) -> None:
        if snapshot.index > self.snapshot.index:
            self._delivery.install(snapshot)
            self.commit_index = max(self.commit_index, snapshot.index)
            self._persistence.compact(snapshot, size)

    patches.setattr(Delivery, "install", install)
    patches.setattr(Raft, "_take_over", take_over)


def pieces_of_different_snapshots_are_put_together(patches: pytest.MonkeyPatch) -> None:
    patches.setattr(incoming, "_key", lambda _request: (0, 0, 0))


def pieces_are_sent_of_whatever_snapshot_is_the_newest(patches: pytest.MonkeyPatch) -> None:
    read = Snapshots.read

    def of_newest(self: Snapshots, index: int, offset: int, length: int) -> bytes | None:
        if self.newest is not None:
            index = self.newest.metadata.index
        return read(self, index, offset, length)

    patches.setattr(Snapshots, "read", of_newest)
