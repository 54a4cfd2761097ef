"""What the log on a server's disk says, by the writes and snapshots alone: the twin of storage."""

from quorate.raft.configuration import NodeId
from quorate.raft.entry import Entry
from quorate.raft.ready import DurableState, LogWrite
from quorate.raft.snapshot import LogStart, SnapshotMetadata


class DurableLog:
    """The log of one server; of a new one at first."""

    def __init__(self) -> None:
        self.term = 0
        self.voted_for: NodeId | None = None
        self.start = LogStart(index=0, term=0)
        self.entries: list[Entry] = []

    def __str__(self) -> str:
        last = self.start.index + len(self.entries)
        return (
            f"term {self.term}, vote {self.voted_for} and entries {self.start.index + 1} to {last}"
        )

    def copy(self) -> "DurableLog":
        """One that changes by itself."""
        log = DurableLog()
        log.term, log.voted_for, log.start = self.term, self.voted_for, self.start
        log.entries = list(self.entries)
        return log

    def term_at(self, index: int) -> int | None:
        """The term of an entry, or of the one that the log begins after; None if not known."""
        if index == self.start.index:
            return self.start.term
        position = index - self.start.index - 1
        return self.entries[position].term if 0 <= position < len(self.entries) else None

    def write(self, write: LogWrite) -> int:
        """A write is on the disk; returns how many entries it has replaced."""
        self.term, self.voted_for = write.term, write.voted_for
        replaced = 0
        if write.start is not None:
            replaced += self.begin_after(write.start)
        if write.entries:
            position = write.entries[0].index - self.start.index - 1
            replaced += len(self.entries) - position
            self.entries[position:] = write.entries
        return replaced

    def begin_after(self, start: LogStart) -> int:
        """The log begins here from now on; returns how many entries behind it have gone."""
        is_held = self.term_at(start.index) == start.term
        keep = start.index - self.start.index if is_held else len(self.entries)
        gone = len(self.entries[max(0, start.index - self.start.index) : keep])
        del self.entries[:keep]
        self.start = start
        return gone

    def joined(self, snapshot: SnapshotMetadata | None) -> "DurableLog":
        """What a restart makes of this log and a snapshot beside it (Raft §7)."""
        if snapshot is None or self.term_at(snapshot.index) == snapshot.term:
            return self
        log = self.copy()
        log.start, log.entries = LogStart(snapshot.index, snapshot.term), []
        if log.term < snapshot.term:
            log.term, log.voted_for = snapshot.term, None
        return log

    def is_what(self, found: DurableState) -> bool:
        """Whether it is this that was found."""
        return (self.term, self.voted_for, self.start, self.entries) == (
            found.term,
            found.voted_for,
            found.start,
            list(found.entries),
        )
