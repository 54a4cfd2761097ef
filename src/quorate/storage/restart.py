"""What a node starts with: which snapshot, and what of the log stays behind it.

Snapshot and log are made durable one after the other, so a crash may leave either of them ahead.
The rules (Raft §7, InstallSnapshot, steps 6 and 7):

1. The newest snapshot counts as soon as it has its name, whatever the log says. If the log holds
   its last entry with the same term, or begins right behind it, the log stays as it is. If not,
   the log's entries are those of a past that the snapshot has replaced: all of them go.
2. If that snapshot is damaged but the log holds its last entry, an older one that the log reaches
   will do, or none if the log was never shortened.
3. Otherwise something is lost that this node has vouched for. It must not forget how far that
   went: it may go on voting, but it takes part in nothing else until it has got a snapshot from
   a leader that covers at least as much.

Read-only. Nothing here knows what a snapshot or an entry contains.
"""

from dataclasses import dataclass

from quorate.raft.configuration import Configuration
from quorate.raft.ready import DurableState, LogWrite
from quorate.raft.snapshot import LogStart, SnapshotMetadata
from quorate.storage.disk import Disk
from quorate.storage.errors import CorruptionError
from quorate.storage.replay import LogContents
from quorate.storage.snapshots import (
    NamedSnapshot,
    StoredSnapshot,
    check_named_snapshot,
    named_snapshots,
)


@dataclass(frozen=True, slots=True)
class Restart:
    """What a node starts with.

    Attributes:
        state: for the Raft core.
        snapshot: the snapshot that it begins with; None if there is none.
        correction: what has to be written to the log, so that it says so too; None if it does.
        warnings: what an operator should know.
    """

    state: DurableState
    snapshot: StoredSnapshot | None
    correction: LogWrite | None
    warnings: tuple[str, ...]


def plan_restart(disk: Disk, log: LogContents, members: Configuration) -> Restart:
    """Find out what a node starts with.

    Args:
        disk: the directory.
        log: what its log says.
        members: those that the cluster was started with.

    Raises:
        CorruptionError: a snapshot is valid and contradicts the log.
        UnsupportedFormatError: another version of Quorate wrote a snapshot.
    """
    files = named_snapshots(disk)
    beginning = SnapshotMetadata(index=0, term=0, time_ms=0, configuration=members)
    if not files or files[0].end.index < log.start.index:
        if log.start.index == 0:
            return _begin(log, beginning, None, ())
        return _lose(log, log.start, members, "there is no snapshot of what is before it")
    newest = files[0]
    snapshot, damage = _check(disk, newest)
    if snapshot is not None:
        if newest.end.index == log.start.index and newest.end != log.start:
            raise CorruptionError(
                disk.location(newest.name),
                0,
                f"it ends with an entry of term {newest.end.term}, but the log begins after that "
                f"entry with term {log.start.term}",
            )
        return _begin(log, snapshot.metadata, snapshot, ())
    if newest.end.index == log.start.index:
        return _lose(log, log.start, members, damage)
    if not log.holds(newest.end):
        return _lose(log, newest.end, members, damage)
    for older in files[1:]:
        if log.holds(older.end):
            snapshot, more_damage = _check(disk, older)
            if snapshot is not None:
                return _begin(
                    log, snapshot.metadata, snapshot, (f"{damage}; {older.name} is used",)
                )
            damage = f"{damage}; {more_damage}"
    if log.start.index == 0:
        return _begin(log, beginning, None, (f"{damage}; the log has everything",))
    return _lose(log, log.start, members, damage)


def _check(disk: Disk, named: NamedSnapshot) -> tuple[StoredSnapshot | None, str]:
    """The snapshot, or what is wrong with it."""
    try:
        return check_named_snapshot(disk, named), ""
    except CorruptionError as error:
        return None, f"{error.file} is damaged at byte {error.offset}: {error.reason}"


def _begin(
    log: LogContents,
    metadata: SnapshotMetadata,
    snapshot: StoredSnapshot | None,
    warnings: tuple[str, ...],
) -> Restart:
    """Start with a snapshot, or with the beginning of all."""
    end = LogStart(metadata.index, metadata.term)
    kept = log if log.holds(end) else _behind(log, end)
    state = DurableState(
        term=kept.term,
        voted_for=kept.voted_for,
        snapshot=metadata,
        entries=kept.entries,
        log_start=None if kept.start == end else kept.start,
        snapshot_size=snapshot.size if snapshot is not None else 0,
    )
    return Restart(state, snapshot, _correction(log, kept), warnings)


def _lose(log: LogContents, end: LogStart, members: Configuration, damage: str) -> Restart:
    """Start without the snapshot that ends here."""
    kept = log if log.holds(end) else _behind(log, end)
    state = DurableState(
        term=kept.term,
        voted_for=kept.voted_for,
        snapshot=SnapshotMetadata(end.index, end.term, time_ms=0, configuration=members),
        entries=kept.entries,
        snapshot_is_lost=True,
    )
    warning = (
        f"{damage}; the log begins after entry {end.index}, so this node waits for a snapshot from "
        "the leader and does not serve before it has one"
    )
    return Restart(state, None, _correction(log, kept), (warning,))


def _behind(log: LogContents, end: LogStart) -> LogContents:
    """What is left of a log when its entries go because it does not hold this one."""
    if end.term > log.term:
        # The snapshot was durable before the term that it came in. No vote was given in that term,
        # for that would be durable.
        return LogContents(end.term, None, end)
    return LogContents(log.term, log.voted_for, end)


def _correction(log: LogContents, kept: LogContents) -> LogWrite | None:
    if kept is log:
        return None
    return LogWrite(0, kept.term, kept.voted_for, start=kept.start)
