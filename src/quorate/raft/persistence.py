"""The state that Raft keeps on disk, and how much of it is there already.

Figure 2's persistent state: `current_term`, `voted_for` and the log. Changes are made in memory
and handed out as numbered writes, one at a time; whatever changes while a write is on its way
goes into the next, and into further ones if it is much. Writes complete in order.

The durable index is subtle. A truncation lowers it at once, also for the write that is just on
its way: when that old write completes, it must not vouch for indices whose entries have since
been replaced. Only a write that was issued after the truncation raises it again. A snapshot on
the disk vouches for all that it covers, whether or not the log's own writes have come so far.
"""

from collections.abc import Sequence

import msgspec

from quorate.raft.configuration import NodeId
from quorate.raft.entry import Entry
from quorate.raft.log import RaftLog
from quorate.raft.ready import DurableState, LogWrite
from quorate.raft.settings import Settings
from quorate.raft.snapshot import LogStart, SnapshotMetadata


class Promise(msgspec.Struct, frozen=True, gc=False):
    """What a message says is on this server's disk, within the term that it was made in.

    Attributes:
        write: the number of the write that makes term and vote durable.
        last_index: the log up to here, or a snapshot. While the term lasts, no entry that was
            promised is truncated: it came from the only leader of the term, who never deletes
            any (§5.3), and whose snapshots are of the same log.
    """

    write: int
    last_index: int


class Persistence:
    """Term, vote and log, and which promises about them are kept.

    Args:
        durable: what the disk holds.
        settings: how much one write may hold.
    """

    def __init__(self, durable: DurableState, settings: Settings) -> None:
        self._max_write_bytes = settings.max_write_bytes
        self._trailing_bytes = settings.trailing_bytes
        self.current_term = durable.term
        self.voted_for = durable.voted_for
        self.log = RaftLog(durable.start, durable.snapshot, durable.entries)
        # A crash may have come between the snapshot and the write that shortens the log.
        self.log.compact(durable.snapshot, trailing_bytes=settings.trailing_bytes)
        self.snapshot_size = durable.snapshot_size
        """Bytes of the newest snapshot; 0 if there is none that could be sent."""
        self.previous_index = durable.snapshot.index
        """What the snapshot before the newest covers; older ones are not kept."""
        self.durable_index = self.log.last_index
        self._issued = 0
        self._completed = 0
        self._in_flight_last_index = 0
        """Up to which index the write on its way still vouches for the log."""
        self._first_unwritten = self.log.last_index + 1
        self._written_start: LogStart = durable.start
        """Where the log begins on the disk, once all writes that were issued are on it."""
        self._start_write = 0
        """The number of the write that says so."""
        self._vote_write = 0
        """The number of the write that makes the newest term and vote durable."""

    # ------------------------------------------------------------------ changes

    def adopt_term(self, term: int) -> None:
        """Enters a newer term, in which no vote was given yet."""
        assert term > self.current_term, "terms never go back"
        self.current_term = term
        self.voted_for = None
        self._vote_write = self._issued + 1

    def vote(self, candidate: NodeId) -> None:
        """Gives this term's vote."""
        assert self.voted_for in (None, candidate), "one vote in each term (Raft §5.2)"
        if self.voted_for is None:
            self.voted_for = candidate
            self._vote_write = self._issued + 1

    def append(self, entries: Sequence[Entry]) -> None:
        """Adds entries after the last one."""
        for entry in entries:
            self.log.append(entry)

    def truncate_from(self, index: int) -> None:
        """Removes a conflicting suffix of the log."""
        self.log.truncate_from(index)
        self.durable_index = min(self.durable_index, index - 1)
        self._in_flight_last_index = min(self._in_flight_last_index, index - 1)
        self._first_unwritten = min(self._first_unwritten, index)

    def compact(self, snapshot: SnapshotMetadata, size: int) -> None:
        """Puts a snapshot that is on the disk in place of what it covers.

        1. The disk holds the snapshot, so all that it covers is durable.
        2. If entries behind it stay, they are as durable as they were. What was to be written
           before the log's new start is not written any more.
        3. If none stay, it is as with a truncation: a write that is on its way does not vouch for
           what comes behind the snapshot from now on.

        A crash before the next write finds the new snapshot beside the old log, and makes of
        them the same by the same rule.

        Args:
            snapshot: what it covers; not older than the present one.
            size: its bytes.
        """
        self.previous_index = self.log.snapshot.index
        self.log.compact(snapshot, trailing_bytes=self._trailing_bytes)
        self.snapshot_size = size
        last_index = self.log.last_index
        self.durable_index = min(max(self.durable_index, snapshot.index), last_index)
        self._in_flight_last_index = min(self._in_flight_last_index, last_index)
        self._first_unwritten = min(
            max(self._first_unwritten, self.log.first_index), last_index + 1
        )

    def lose_snapshot(self) -> None:
        """The newest snapshot cannot be read any more, so there is none to be sent."""
        self.snapshot_size = 0

    # ------------------------------------------------------------------ writes

    @property
    def log_start_is_durable(self) -> bool:
        """Whether the log begins on the disk where it begins here."""
        return self.log.start == self._written_start and self._start_write <= self._completed

    @property
    def has_write(self) -> bool:
        """Whether there is something to write, and no write on its way."""
        return self._issued == self._completed and (
            self._first_unwritten <= self.log.last_index
            or self._vote_write > self._issued
            or self.log.start != self._written_start
        )

    def take_write(self) -> LogWrite | None:
        """The next write; None if there is nothing to write or one is still on its way."""
        if not self.has_write:
            return None
        has_entries = self._first_unwritten <= self.log.last_index
        start = None if self.log.start == self._written_start else self.log.start
        self._issued += 1
        if start is not None:
            self._start_write = self._issued
        entries: tuple[Entry, ...] = ()
        if has_entries:
            entries = self.log.slice_bytes(self._first_unwritten, self._max_write_bytes)
        self._first_unwritten += len(entries)
        self._in_flight_last_index = self._first_unwritten - 1
        self._written_start = self.log.start
        return LogWrite(
            number=self._issued,
            term=self.current_term,
            voted_for=self.voted_for,
            entries=entries,
            start=start,
        )

    def complete(self, number: int) -> None:
        """The write of this number is safe on the disk."""
        assert number == self._issued == self._completed + 1, "writes complete once and in order"
        self._completed = number
        self.durable_index = max(self.durable_index, self._in_flight_last_index)

    # ------------------------------------------------------------------ what depends on them

    def promise_of_vote(self) -> Promise:
        """That the current term and vote are durable."""
        return Promise(self._vote_write, 0)

    def promise_of_entries(self, last_index: int) -> Promise:
        """That the log is durable up to `last_index`, current term and vote included."""
        return Promise(self._vote_write, last_index)

    def is_kept(self, promise: Promise) -> bool:
        """Whether the disk holds what was promised in the current term."""
        return promise.write <= self._completed and promise.last_index <= self.durable_index
