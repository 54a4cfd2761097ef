"""The log in memory, from the last snapshot on (Raft §5.3, §7).

Index and term of the entry just before the first one are known from the snapshot, so that the
consistency check of AppendEntries works at the log's very beginning too. What is durable and
what is committed is not this module's business.
"""

from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from operator import attrgetter

from quorate.raft.entry import ENTRY_HEADER_BYTES, Entry
from quorate.raft.snapshot import SnapshotMetadata

_term_of = attrgetter("term")
"""Terms never decrease along the log, so they can be searched by bisection."""


class RaftLog:
    """Consecutive entries after a snapshot.

    Args:
        snapshot: what the log begins after.
        entries: consecutive, beginning at `snapshot.index + 1`.
    """

    def __init__(self, snapshot: SnapshotMetadata, entries: Sequence[Entry] = ()) -> None:
        self.snapshot = snapshot
        self._entries: list[Entry] = []
        for entry in entries:
            self.append(entry)

    @property
    def first_index(self) -> int:
        """The index of the first entry that the log holds or will hold."""
        return self.snapshot.index + 1

    @property
    def last_index(self) -> int:
        """The index of the last entry; that of the snapshot if there is none."""
        return self.snapshot.index + len(self._entries)

    @property
    def last_term(self) -> int:
        """The term of the last entry."""
        return self._entries[-1].term if self._entries else self.snapshot.term

    @property
    def last_time_ms(self) -> int:
        """The cluster time of the last entry, in milliseconds."""
        return self._entries[-1].time_ms if self._entries else self.snapshot.time_ms

    def term_at(self, index: int) -> int | None:
        """The term of the entry at `index`; None if the log does not know it."""
        if self.first_index <= index <= self.last_index:
            return self._entries[index - self.first_index].term
        return self.snapshot.term if index == self.snapshot.index else None

    def first_index_of_term_at(self, index: int) -> int:
        """The first index that the log holds of the term of its entry at `index`."""
        term = self._entries[index - self.first_index].term
        return self.first_index + bisect_left(self._entries, term, key=_term_of)

    def last_index_of_term(self, term: int) -> int | None:
        """The last index whose entry has this term; None if the log knows none."""
        index = self.snapshot.index + bisect_right(self._entries, term, key=_term_of)
        return index if self.term_at(index) == term else None

    def slice(self, first: int, last: int) -> tuple[Entry, ...]:
        """The entries from `first` to `last`, both included."""
        assert first >= self.first_index, "entries before the log's beginning are gone"
        assert last <= self.last_index
        return tuple(self._entries[first - self.first_index : last - self.snapshot.index])

    def slice_bytes(
        self, first: int, max_bytes: int, *, last: int | None = None
    ) -> tuple[Entry, ...]:
        """Entries from `first` on with at most `max_bytes`, but at least one.

        Args:
            first: the index of the first entry.
            max_bytes: how much they have together, headers included; one entry may have more.
            last: the index of the last entry that may be among them; the log's last by default.
        """
        last = self.last_index if last is None else last
        assert self.first_index <= first <= last <= self.last_index
        begin = first - self.first_index
        end = begin
        size = 0
        while end <= last - self.first_index:
            size += ENTRY_HEADER_BYTES + len(self._entries[end].data)
            if size > max_bytes and end > begin:
                break
            end += 1
        return tuple(self._entries[begin:end])

    def append(self, entry: Entry) -> None:
        """Adds the next entry."""
        assert entry.index == self.last_index + 1, "the log has no gaps"
        assert entry.term >= self.last_term, "terms in the log never decrease"
        self._entries.append(entry)

    def truncate_from(self, index: int) -> None:
        """Forgets the entry at `index` and all that follow it."""
        assert self.first_index <= index <= self.last_index
        del self._entries[index - self.first_index :]

    def is_up_to_date(self, *, last_log_index: int, last_log_term: int) -> bool:
        """Whether a candidate's log is at least as up-to-date as this one (Raft §5.4.1)."""
        return (last_log_term, last_log_index) >= (self.last_term, self.last_index)
