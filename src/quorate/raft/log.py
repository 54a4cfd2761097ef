"""The log in memory, with what a snapshot has replaced of it (Raft §5.3, §7).

Index and term of the entry just before the first one are known, so that the consistency check
of AppendEntries works at the log's very beginning too. Some entries that the snapshot covers may
still be there, for followers that are a little behind. What is durable and what is committed is
not this module's business.

"a server always uses the latest configuration in its log, regardless of whether the entry is
committed" (Raft §6). So the log knows it, and a truncation brings back the one before.
"""

from bisect import bisect_left, bisect_right
from collections.abc import Iterator, Sequence
from operator import attrgetter

from quorate.raft.configuration import Configuration
from quorate.raft.entry import ENTRY_HEADER_BYTES, Entry
from quorate.raft.snapshot import LogStart, SnapshotMetadata

_term_of = attrgetter("term")
"""Terms never decrease along the log, so they can be searched by bisection."""
_data_of = attrgetter("data")
_configuration_of = attrgetter("configuration")

_COUNTED_TOGETHER = 1024
"""So many entries are counted in one go, where the limit is not near."""

MAX_FREED_ENTRIES = 4096
"""So many dropped entries are freed at once, in some milliseconds; the rest waits."""


class RaftLog:
    """Consecutive entries, from somewhere within a snapshot on, or right behind it.

    `start.index <= snapshot.index <= last_index` always holds.

    Args:
        start: what the log begins after.
        snapshot: what was last compacted.
        entries: consecutive, beginning at `start.index + 1`.

    Attributes:
        start: what the log begins after.
        snapshot: what was last compacted.
        last_index: of the last entry; if there is none, of the one that the log begins after.
        configuration: the latest one, committed or not.
    """

    def __init__(
        self, start: LogStart, snapshot: SnapshotMetadata, entries: Sequence[Entry] = ()
    ) -> None:
        self.start = start
        self.snapshot = snapshot
        self.last_index = start.index
        self.configuration = snapshot.configuration
        self._entries: list[Entry] = []
        self._dropped: list[list[Entry]] = []
        # That of the snapshot, and those of the entries behind it, each with its index.
        self._configurations = [(snapshot.index, snapshot.configuration)]
        for entry in entries:
            self.append(entry)
        assert start.index <= snapshot.index <= self.last_index
        assert self.term_at(snapshot.index) == snapshot.term

    @property
    def first_index(self) -> int:
        """The index of the first entry that the log holds or will hold."""
        return self.start.index + 1

    @property
    def last_term(self) -> int:
        """The term of the last entry."""
        return self._entries[-1].term if self._entries else self.start.term

    @property
    def last_time_ms(self) -> int:
        """The cluster time of the last entry, in milliseconds."""
        return self._entries[-1].time_ms if self._entries else self.snapshot.time_ms

    @property
    def configuration_index(self) -> int:
        """The index of its entry, or of the snapshot that holds it."""
        return self._configurations[-1][0]

    @property
    def previous_configuration(self) -> tuple[int, Configuration]:
        """The one before and its index; a truncation would bring it back."""
        return self._configurations[-2]

    def configuration_at(self, index: int) -> Configuration:
        """The configuration as of an entry that the snapshot does not cover, or of its end."""
        assert self.snapshot.index <= index <= self.last_index
        return next(known for at, known in reversed(self._configurations) if at <= index)

    def term_at(self, index: int) -> int | None:
        """The term of the entry at `index`; None if the log does not know it."""
        position = index - self.start.index - 1
        if 0 <= position < len(self._entries):
            return self._entries[position].term
        return self.start.term if position == -1 else None

    def first_index_of_term_at(self, index: int) -> int:
        """The first index that the log holds of the term of its entry at `index`."""
        term = self._entries[index - self.first_index].term
        return self.first_index + bisect_left(self._entries, term, key=_term_of)

    def last_index_of_term(self, term: int) -> int | None:
        """The last index whose entry has this term; None if the log knows none."""
        index = self.start.index + bisect_right(self._entries, term, key=_term_of)
        return index if self.term_at(index) == term else None

    def is_up_to_date(self, *, last_log_index: int, last_log_term: int) -> bool:
        """Whether a candidate's log is at least as up-to-date as this one (Raft §5.4.1)."""
        return (last_log_term, last_log_index) >= (self.last_term, self.last_index)

    def slice(self, first: int, last: int) -> tuple[Entry, ...]:
        """The entries from `first` to `last`, both included."""
        assert first >= self.first_index, "entries before the log's beginning are gone"
        assert last <= self.last_index
        return tuple(self._entries[first - self.first_index : last - self.start.index])

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
            size += self._entries[end].size
            if size > max_bytes and end > begin:
                break
            end += 1
        return tuple(self._entries[begin:end])

    def has_more_than(self, max_bytes: int, *, first: int, last: int) -> bool:
        """Whether the entries from `first` to `last` have more bytes, headers included."""
        begin, end = first - self.first_index, last - self.start.index
        assert begin >= 0
        for at in range(begin, end, _COUNTED_TOGETHER):
            max_bytes -= _size(self._entries[at : min(at + _COUNTED_TOGETHER, end)])
            if max_bytes < 0:
                return True
        return False

    def append(self, entry: Entry) -> None:
        """Adds the next entry."""
        assert entry.index == self.last_index + 1, "the log has no gaps"
        assert entry.term >= self.last_term, "terms in the log never decrease"
        self._entries.append(entry)
        self.last_index = entry.index
        if entry.configuration is not None and entry.index > self.snapshot.index:
            self._configurations.append((entry.index, entry.configuration))
            self.configuration = entry.configuration

    def truncate_from(self, index: int) -> None:
        """Forgets the entry at `index` and all that follow it."""
        assert self.first_index <= index <= self.last_index
        del self._entries[index - self.first_index :]
        self.last_index = index - 1
        assert index > self.snapshot.index, "what a snapshot covers is committed"
        while self.configuration_index >= index:
            self._configurations.pop()
        self.configuration = self._configurations[-1][1]

    def compact(self, snapshot: SnapshotMetadata, *, trailing_bytes: int) -> None:
        """Forgets what a snapshot covers, but for the last entries of it.

        If the log does not hold the snapshot's last entry, all its entries are those of a past
        that the snapshot has replaced: "If existing log entry has same index and term as
        snapshot's last included entry, retain log entries following it and reply. 7. Discard the
        entire log" (Raft §7, Figure 13, steps 6 and 7).

        Args:
            snapshot: not older than the present one.
            trailing_bytes: what the entries that stay have together, headers included.
        """
        assert snapshot.index >= self.snapshot.index, "a snapshot replaces an older one"
        if self.term_at(snapshot.index) == snapshot.term:
            begin = self._trailing_start(snapshot.index, trailing_bytes)
            term = self.term_at(begin)
            assert term is not None
            self._drop(begin - self.start.index)
            self.start = LogStart(begin, term)
        else:
            self._drop(len(self._entries))
            self.start = LogStart(snapshot.index, snapshot.term)
            self.last_index = snapshot.index
        self.snapshot = snapshot
        behind = [known for known in self._configurations if snapshot.index < known[0]]
        self._configurations = [
            (snapshot.index, snapshot.configuration),
            *(known for known in behind if known[0] <= self.last_index),
        ]
        self.configuration = self._configurations[-1][1]

    def free_dropped(self) -> None:
        """Lets go of some of the entries that were dropped.

        To free a long log in one go would take a tenth of a second and more.
        """
        if self._dropped:
            del self._dropped[-1][-MAX_FREED_ENTRIES:]
            if not self._dropped[-1]:
                self._dropped.pop()

    def _drop(self, count: int) -> None:
        # Those that stay are copied: mostly they are few.
        dropped, self._entries = self._entries, self._entries[count:]
        del dropped[count:]
        self._dropped.append(dropped)
        self.free_dropped()

    def _trailing_start(self, index: int, trailing_bytes: int) -> int:
        # There may be hundreds of thousands, and everybody waits: one by one took 50 ms and more.
        count = index - self.start.index
        while count > 0:
            some = self._entries[max(0, count - _COUNTED_TOGETHER) : count]
            size = _size(some)
            if size > trailing_bytes:
                break
            trailing_bytes -= size
            count -= len(some)
        while count > 0:
            trailing_bytes -= self._entries[count - 1].size
            if trailing_bytes < 0:
                break
            count -= 1
        return self.start.index + count


def _size(entries: list[Entry]) -> int:
    # What is not Python is quick, and configurations are few.
    configurations: Iterator[Configuration] = filter(None, map(_configuration_of, entries))
    size = ENTRY_HEADER_BYTES * len(entries) + sum(map(len, map(_data_of, entries)))
    return size + sum(known.size for known in configurations)
