"""What the records of a log add up to: term, vote, where the log begins, and the live entries.

Checks what must hold between one record and the next. Knows neither files nor frames.

The first segment found may not be the first one written. Its header says what the log was then:
entries from `start` to `last_index`, of which nothing more is known. That is right if all of them
are overwritten, or left behind by the start, before the log ends; `missing` tells whether so.
"""

from dataclasses import dataclass

from quorate.codec.log import LogRecord, SegmentHeader, StartRecord, WriteRecord
from quorate.raft.configuration import NodeId
from quorate.raft.entry import Entry
from quorate.raft.snapshot import LogStart
from quorate.storage.live_log import LiveLog


@dataclass(frozen=True, slots=True)
class LogContents:
    """What a log says, apart from snapshots.

    Attributes:
        term: the current term.
        voted_for: the vote in that term.
        start: what the log begins after.
        entries: consecutive, from the one behind `start` on.
    """

    term: int
    voted_for: NodeId | None
    start: LogStart
    entries: tuple[Entry, ...] = ()

    def holds(self, end: LogStart) -> bool:
        """Whether this is an entry of the log, or what it begins after."""
        position = end.index - self.start.index - 1
        if position == -1:
            return end == self.start
        return 0 <= position < len(self.entries) and self.entries[position].term == end.term


class Replay:
    """The state after the records applied so far; the first one is a segment's header."""

    def __init__(self, header: SegmentHeader) -> None:
        self.live = LiveLog(header.start, header.last_index)
        self._term = header.term
        self._voted_for = header.voted_for
        # The entries that are known, and the index that the first of them has or will have.
        self._entries: list[Entry] = []
        self._first = header.last_index + 1

    @property
    def contents(self) -> LogContents:
        """What the log says."""
        return LogContents(self._term, self._voted_for, self.live.start, tuple(self._entries))

    @property
    def missing(self) -> str | None:
        """Which entries of the log should have been in segments before the first one."""
        first = self.live.start.index + 1
        return f"entries {first} to {self._first - 1}" if first < self._first else None

    def apply(
        self, record: LogRecord, encoded_size: int, *, segment: int, begins_segment: bool
    ) -> str | None:
        """Apply the next record, or say what is wrong with it.

        Args:
            record: the record.
            encoded_size: its bytes, without the frame.
            segment: the number of its segment.
            begins_segment: whether it is the first one there.
        """
        if isinstance(record, SegmentHeader) != begins_segment:
            return "a segment begins with its header, and has only one"
        match record:
            case SegmentHeader():
                return self._contradiction_of_header(record)
            case StartRecord():
                wrong = self._contradiction_of_start(record)
                if wrong is not None:
                    return wrong
                self._move_start(record)
                return self._take_in(record.write, None, segment)
            case WriteRecord():
                return self._take_in(record, encoded_size, segment)

    def _contradiction_of_header(self, header: SegmentHeader) -> str | None:
        if (header.term, header.voted_for) != (self._term, self._voted_for):
            return "the segment's header does not repeat term and vote of the segment before it"
        if (header.start, header.last_index) != (self.live.start, self.live.last_index):
            return "the segment's header does not repeat where the log begins and ends"
        return None

    def _contradiction_of_start(self, record: StartRecord) -> str | None:
        old, new = self.live.start, record.start
        if new.index < old.index:
            return f"the beginning of the log goes back from entry {old.index} to {new.index}"
        if new.term > record.write.term:
            return f"an entry of term {new.term} was left behind in term {record.write.term}"
        if new.index == old.index and new.term != old.term:
            return f"entry {old.index} had term {old.term} and now has {new.term}"
        if new.index > self.live.last_index or self.live.term_at(new.index) is not None:
            expected = {self.live.last_index_behind(new)}
        else:
            expected = {new.index, self.live.last_index}
        if record.last_index not in expected:
            return f"the log cannot end with entry {record.last_index} when it begins later"
        return None

    def _move_start(self, record: StartRecord) -> None:
        first = record.start.index + 1
        if record.last_index == record.start.index:
            self._entries.clear()
            self._first = first
        elif self._first < first:
            del self._entries[: first - self._first]
            self._first = first
        self.live.move_start(record)

    def _take_in(self, record: WriteRecord, encoded_size: int | None, segment: int) -> str | None:
        wrong = self._contradiction_of_write(record)
        if wrong is not None:
            return wrong
        self._term, self._voted_for = record.term, record.voted_for
        self.live.record(record, encoded_size, segment=segment)
        if record.entries:
            # The entries replace everything from the first one's index on.
            first = record.entries[0].index
            del self._entries[max(0, first - self._first) :]
            self._entries.extend(record.entries)
            self._first = min(self._first, first)
        return None

    def _contradiction_of_write(self, record: WriteRecord) -> str | None:
        if record.term < self._term:
            return f"the term goes back from {self._term} to {record.term}"
        if not record.entries:
            return None
        first, start, last = record.entries[0].index, self.live.start, self.live.last_index
        if not start.index < first <= last + 1:
            return f"entry {first} cannot follow entry {last}"
        term = self.live.term_at(first - 1)
        term = start.term if term is None else term
        for index, entry in enumerate(record.entries, first):
            if entry.index != index:
                return f"entry {entry.index} stands where entry {index} should be"
            if entry.term < term:
                return f"the term of entry {index} is {entry.term}, after one of term {term}"
            term = entry.term
        if term > record.term:
            return f"an entry of term {term} was written in term {record.term}"
        return None
