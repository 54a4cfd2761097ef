"""Opening the log at a start: what was found becomes durable, and what it lacks is appended.

What it may lack is that it begins behind a snapshot that replaced its entries (`restart`), and the
entry that makes this node the only member of a new cluster (`disaster`). Both follow from what is
durable elsewhere, so a crash in between costs nothing: the next start does the same.
"""

import msgspec

from quorate.raft.configuration import Configuration
from quorate.raft.entry import Entry, EntryKind
from quorate.raft.ready import DurableState, LogWrite
from quorate.storage.disk import Disk
from quorate.storage.errors import IdentityError
from quorate.storage.identity import Foundation, Identity
from quorate.storage.recovery import recover_log
from quorate.storage.restart import Restart, plan_restart
from quorate.storage.segments import DEFAULT_SEGMENT_SIZE
from quorate.storage.snapshots import remove_unfinished_snapshots
from quorate.storage.wal import WriteAheadLog


def examine_log(disk: Disk, identity: Identity) -> Restart:
    """What a start would begin with, but for a foundation. Read-only.

    Raises:
        CorruptionError: a file is not what was written.
        UnsupportedFormatError: another version of Quorate wrote it.
    """
    beginning = Configuration(voters=identity.members)
    return plan_restart(disk, recover_log(disk).contents, beginning)


def open_log(
    disk: Disk, identity: Identity, *, segment_size: int = DEFAULT_SEGMENT_SIZE
) -> tuple[WriteAheadLog, Restart]:
    """Open the log, ready to grow; all that the result says is durable.

    Args:
        disk: the directory.
        identity: whose it is.
        segment_size: bytes of each new segment.

    Raises:
        CorruptionError: a file is not what was written. Nothing was changed.
        UnsupportedFormatError: another version of Quorate wrote it. Nothing was changed.
        IdentityError: the log is not the one that the cluster was founded on. Nothing was changed.
    """
    found = recover_log(disk)
    restart = plan_restart(disk, found.contents, Configuration(voters=identity.members))
    founding = _founding_write(disk, identity.foundation, restart.state)
    log = WriteAheadLog.open(disk, found, segment_size=segment_size)
    # They may be what fills the disk, and what follows may need a new segment.
    remove_unfinished_snapshots(disk)
    for write in (restart.correction, founding):
        if write is not None:
            log.append(write)
            log.sync()
    return log, restart if founding is None else _with_write(restart, founding)


def last_index(state: DurableState) -> int:
    """The index of the last entry."""
    return state.entries[-1].index if state.entries else state.snapshot.index


def _founding_write(
    disk: Disk, foundation: Foundation | None, state: DurableState
) -> LogWrite | None:
    """The write that founds the new cluster; None if there is nothing to found, or it is done.

    Nobody else is a member until this node has committed the entry, so no log but this one's can
    ever be without it.
    """
    if foundation is None or last_index(state) >= foundation.index:
        return None
    if last_index(state) != foundation.index - 1 or state.term >= foundation.term:
        raise IdentityError(
            f"the log in {disk.location('')} ends with entry {last_index(state)}, but the cluster "
            f"was made from one that ended with entry {foundation.index - 1}: put that log back"
        )
    last = state.entries[-1] if state.entries else state.snapshot
    entry = Entry(
        index=foundation.index,
        term=foundation.term,
        time_ms=last.time_ms,
        kind=EntryKind.CONFIGURATION,
        configuration=foundation.configuration,
    )
    return LogWrite(0, foundation.term, None, (entry,))


def _with_write(restart: Restart, write: LogWrite) -> Restart:
    state = msgspec.structs.replace(
        restart.state,
        term=write.term,
        voted_for=write.voted_for,
        entries=restart.state.entries + write.entries,
    )
    return Restart(state, restart.snapshot, restart.correction, restart.warnings)
