"""What is alive of the log, but for the entries themselves.

Where it begins and ends, the terms, how large it is, and which segments still hold some of
it. One bookkeeping serves while a log is read back and while it grows, so both come to the same.
"""

from quorate.codec.log import StartRecord, WriteRecord, encode_record
from quorate.raft.snapshot import LogStart
from quorate.storage.runs import Runs
from quorate.storage.state_size import StateSize


class LiveLog:
    """The live log after the records taken in so far.

    Args:
        start: what the log begins after.
        last_index: of its last entry. Those up to there are in segments that are gone: nothing
            is known of them but that they exist.
    """

    def __init__(self, start: LogStart, last_index: int) -> None:
        self._start = start
        self._size = StateSize(start.index, last_index)
        self._terms = Runs()
        self._segments = Runs()

    @property
    def start(self) -> LogStart:
        """What the log begins after."""
        return self._start

    @property
    def last_index(self) -> int:
        """The index of the last entry, or the one after which the log begins."""
        return self._size.last_index

    @property
    def raft_state_bytes(self) -> int:
        """Bytes of the newest term and vote and all live entries; see `state_size`."""
        return self._size.total

    @property
    def first_segment(self) -> int | None:
        """The segment that holds the first entry; all older ones are dead. None: no entries."""
        if self.last_index == self._start.index:
            return None
        return self._segments.value_at(self._start.index + 1)

    def term_at(self, index: int) -> int | None:
        """The term of the entry at this index, or of the start; None if that is not known."""
        if index == self._start.index:
            return self._start.term
        if not self._start.index < index <= self.last_index:
            return None
        return self._terms.value_at(index)

    def last_index_behind(self, start: LogStart) -> int:
        """The index of the last entry once the log begins after `start`; see `LogStart`."""
        return self.last_index if self.term_at(start.index) == start.term else start.index

    def move_start(self, record: StartRecord) -> None:
        """Let the log begin later; not the record's `write` yet."""
        self._start = record.start
        first = record.start.index + 1
        self._size.move_start(record.start.index, record.last_index)
        self._terms.forget_before(first)
        self._segments.forget_before(first)

    def record(self, record: WriteRecord, encoded_size: int | None, *, segment: int) -> None:
        """Take in a write.

        Args:
            record: the write.
            encoded_size: its bytes without a frame; None if it was encoded within another record.
            segment: the number of the segment that holds it.
        """
        if encoded_size is None:
            encoded_size = len(encode_record(record))
        self._size.record(record, encoded_size)
        entries = record.entries
        if not entries:
            return
        self._segments.set_from(entries[0].index, segment)
        self._terms.set_from(entries[0].index, entries[0].term)
        if entries[0].term != entries[-1].term:
            for entry in entries:
                self._terms.set_from(entry.index, entry.term)
