"""How large the persisted Raft state is, apart from how it happens to lie on the disk.

Counted are the newest term and vote, and each live entry as if it had a frame of its own. The
size is thus a function of the state alone: dead records, padding, preallocation and the grouping
of entries into writes do not matter, and it is the same before and after a restart.
"""

from quorate.codec.log import WriteRecord, encode_record
from quorate.raft.configuration import NodeId
from quorate.storage.frames import HEADER_SIZE


def _record_size(term: int, voted_for: NodeId | None) -> int:
    """The bytes of a record without entries; one with a single entry has the entry's more."""
    return len(encode_record(WriteRecord(term, voted_for, ())))


_SMALLEST_RECORD = _record_size(0, None)
_FRAMING = HEADER_SIZE + _SMALLEST_RECORD


class StateSize:
    """The size of the state, kept up to date in constant time per entry.

    Args:
        start_index: the log begins after this index.
        last_index: of its last entry. Entries up to there, if there are any, count nothing: what
            they are is not known, and they will be gone before somebody asks for the size.
    """

    def __init__(self, start_index: int, last_index: int | None = None) -> None:
        self._start_index = start_index
        self._term = 0
        self._voted_for: NodeId | None = None
        self._empty_record = _SMALLEST_RECORD
        # For each live entry: the bytes of it and of all entries before it, the live ones and
        # `_dropped` bytes of those that the start has passed.
        self._ends = [0] * (0 if last_index is None else last_index - start_index)
        self._dropped = 0

    @property
    def last_index(self) -> int:
        """The index of the last live entry, or the one after which the log begins."""
        return self._start_index + len(self._ends)

    @property
    def total(self) -> int:
        """Bytes of the newest term and vote and all live entries."""
        return HEADER_SIZE + self._empty_record + self._end - self._dropped

    def move_start(self, start_index: int, last_index: int) -> None:
        """Let the log begin after `start_index`; its last entry is then the one at `last_index`.

        That is the last one until now, or the one at `start_index`: then none stays.
        """
        if last_index == start_index:
            self._ends.clear()
            self._dropped = 0
        elif start_index > self._start_index:
            count = start_index - self._start_index
            self._dropped = self._ends[count - 1]
            del self._ends[:count]
        self._start_index = start_index

    def record(self, record: WriteRecord, encoded_size: int) -> None:
        """Take a write into account that is `encoded_size` bytes long without its frame."""
        if record.term != self._term or record.voted_for != self._voted_for:
            self._term = record.term
            self._voted_for = record.voted_for
            self._empty_record = _record_size(record.term, record.voted_for)
        entries = record.entries
        if not entries:
            return
        ends = self._ends
        # The entries replace everything from the first one's index on.
        del ends[entries[0].index - self._start_index - 1 :]
        size = self._end
        if len(entries) == 1:  # by far the most frequent, and without any encoding
            ends.append(size + _FRAMING + encoded_size - self._empty_record)
            return
        for entry in entries:
            size += HEADER_SIZE + len(encode_record(WriteRecord(0, None, (entry,))))
            ends.append(size)

    @property
    def _end(self) -> int:
        return self._ends[-1] if self._ends else self._dropped
