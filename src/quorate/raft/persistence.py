"""The state that Raft keeps on disk, and how much of it is there already.

Figure 2's persistent state: `current_term`, `voted_for` and the log. Changes are made in memory
and handed out as numbered writes, one at a time; whatever changes while a write is on its way
goes into the next. Writes complete in order.

The durable index is subtle. A truncation lowers it at once, also for the write that is just on
its way: when that old write completes, it must not vouch for indices whose entries have since
been replaced. Only a write that was issued after the truncation raises it again.
"""

from collections.abc import Sequence

from quorate.raft.configuration import NodeId
from quorate.raft.entry import Entry
from quorate.raft.log import RaftLog
from quorate.raft.ready import DurableState, LogWrite


class Persistence:
    """Term, vote and log, with the numbers of the writes that make them durable."""

    def __init__(self, durable: DurableState) -> None:
        self.current_term = durable.term
        self.voted_for = durable.voted_for
        self.log = RaftLog(durable.snapshot, durable.entries)
        self.durable_index = self.log.last_index
        self._issued = 0
        self._completed = 0
        self._in_flight_last_index = 0
        """Up to which index the write on its way still vouches for the log."""
        self._first_unwritten = self.log.last_index + 1
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

    # ------------------------------------------------------------------ writes

    def take_write(self) -> LogWrite | None:
        """The next write; None if there is nothing to write or one is still on its way."""
        if self._issued > self._completed:
            return None
        has_entries = self._first_unwritten <= self.log.last_index
        if not has_entries and self._vote_write <= self._issued:
            return None
        self._issued += 1
        entries = self.log.slice(self._first_unwritten, self.log.last_index) if has_entries else ()
        self._first_unwritten = self.log.last_index + 1
        self._in_flight_last_index = self.log.last_index
        return LogWrite(
            number=self._issued,
            term=self.current_term,
            voted_for=self.voted_for,
            entries=entries,
        )

    def complete(self, number: int) -> None:
        """The write of this number is safe on the disk."""
        assert number == self._issued == self._completed + 1, "writes complete once and in order"
        self._completed = number
        self.durable_index = max(self.durable_index, self._in_flight_last_index)

    # ------------------------------------------------------------------ what depends on them

    def write_for_vote(self) -> int:
        """The write after which the current term and vote are durable."""
        return self._vote_write

    def write_for_entries(self, last_index: int) -> int:
        """The write after which the log is durable up to `last_index`, term and vote included."""
        if last_index <= self.durable_index:
            return self._vote_write
        if last_index < self._first_unwritten:
            return max(self._issued, self._vote_write)
        return self._issued + 1

    def is_complete(self, number: int) -> bool:
        """Whether the write of this number is durable."""
        return number <= self._completed
