"""What the records of a log add up to: term, vote and the live entries.

Checks what must hold between one record and the next. Knows neither files nor frames.
"""

from quorate.codec.log import LogRecord, SegmentHeader, WriteRecord
from quorate.raft.entry import Entry
from quorate.raft.ready import DurableState
from quorate.raft.snapshot import SnapshotMetadata
from quorate.storage.state_size import StateSize


class Replay:
    """The state after the records applied so far.

    Args:
        snapshot: the log begins after the last entry that it covers.
    """

    def __init__(self, snapshot: SnapshotMetadata) -> None:
        self.state_size = StateSize(snapshot.index)
        self._snapshot = snapshot
        self._newest: WriteRecord | None = None
        self._entries = list[Entry]()

    @property
    def durable_state(self) -> DurableState:
        """The state that a server starts with; there is none before the first record."""
        assert self._newest is not None
        return DurableState(
            self._newest.term, self._newest.voted_for, self._snapshot, tuple(self._entries)
        )

    def apply(self, record: LogRecord, encoded_size: int, *, begins_segment: bool) -> str | None:
        """Apply the next record, or say what is wrong with it.

        Args:
            record: the record.
            encoded_size: its bytes, without the frame.
            begins_segment: whether it is the first one of its segment.
        """
        if isinstance(record, SegmentHeader) != begins_segment:
            return "a segment begins with its header, and has only one"
        if isinstance(record, SegmentHeader):
            wrong = self._contradiction_of_header(record)
            record = WriteRecord(record.term, record.voted_for, ())
        else:
            wrong = self._contradiction_of_write(record)
        if wrong is not None:
            return wrong
        self._newest = record
        self.state_size.record(record, encoded_size)
        if record.entries:
            # The entries replace everything from the first one's index on.
            del self._entries[self._position(record.entries[0].index) :]
            self._entries.extend(record.entries)
        return None

    def _contradiction_of_header(self, header: SegmentHeader) -> str | None:
        start = (self._snapshot.index, self._snapshot.term)
        if (header.start_index, header.start_term) != start:
            return (
                f"the log begins after entry {header.start_index} of term {header.start_term}, "
                f"but the snapshot before it ends with entry {start[0]} of term {start[1]}"
            )
        newest = self._newest or header
        if (header.term, header.voted_for) != (newest.term, newest.voted_for):
            return "the segment's header does not repeat term and vote of the segment before it"
        return None

    def _contradiction_of_write(self, record: WriteRecord) -> str | None:
        if self._newest is not None and record.term < self._newest.term:
            return f"the term goes back from {self._newest.term} to {record.term}"
        if not record.entries:
            return None
        first = record.entries[0].index
        last = self.state_size.last_index
        if not self._snapshot.index < first <= last + 1:
            return f"entry {first} cannot follow entry {last}"
        position = self._position(first)
        term = self._entries[position - 1].term if position else self._snapshot.term
        for index, entry in enumerate(record.entries, first):
            if entry.index != index:
                return f"entry {entry.index} stands where entry {index} should be"
            if entry.term < term:
                return f"the term of entry {index} is {entry.term}, after one of term {term}"
            term = entry.term
        if term > record.term:
            return f"an entry of term {term} was written in term {record.term}"
        return None

    def _position(self, index: int) -> int:
        """Where in the list of live entries the one with this index is."""
        return index - self._snapshot.index - 1
