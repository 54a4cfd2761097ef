"""What the layer above has been given of the committed log, and what it is given next.

Committed entries go out in order and in portions. A snapshot that was installed goes out instead
of the entries that it covers; until the layer above has taken it over, which may take a while, no
entries follow, and the server goes on replicating and voting meanwhile.
"""

from quorate.raft.entry import Entry
from quorate.raft.log import RaftLog
from quorate.raft.snapshot import SnapshotMetadata


class Delivery:
    """How far the layer above has come.

    Args:
        log: where the entries are.
        max_bytes: of the entries in one portion, with their headers.

    Attributes:
        index: everything up to here was given out, as entries or as a snapshot.
    """

    def __init__(self, log: RaftLog, *, max_bytes: int) -> None:
        self._log = log
        self._max_bytes = max_bytes
        self.index = log.snapshot.index
        self._snapshot: SnapshotMetadata | None = None
        self._restoring_index = 0

    def has_something(self, commit_index: int) -> bool:
        """Whether there is a portion, or a snapshot, to be given out."""
        return self._snapshot is not None or self.is_due(commit_index)

    def is_due(self, commit_index: int) -> bool:
        """Whether there are committed entries that can be given out now."""
        return self.index < commit_index and not self._restoring_index

    def take_entries(self, commit_index: int) -> tuple[Entry, ...]:
        """The next portion of committed entries."""
        if not self.is_due(commit_index):
            return ()
        entries = self._log.slice_bytes(self.index + 1, self._max_bytes, last=commit_index)
        self.index = entries[-1].index
        return entries

    def install(self, snapshot: SnapshotMetadata) -> None:
        """The layer above is to go on behind this snapshot."""
        assert snapshot.index >= self.index, "a snapshot never leads backwards"
        self.index = self._restoring_index = snapshot.index
        self._snapshot = snapshot

    def take_snapshot(self) -> SnapshotMetadata | None:
        """The snapshot to go on behind, once."""
        snapshot, self._snapshot = self._snapshot, None
        return snapshot

    def restored(self, index: int) -> None:
        """The layer above has taken over the snapshot of this index.

        If there is a newer one by now, it has to take that over too.
        """
        if index == self._restoring_index:
            self._restoring_index = 0
