"""What a server's disk must hold, by what was synced; and whether the server tells the truth.

The record is kept from the writes alone, apart from the storage code that it judges. It answers
two questions that end in data loss, long before any client could notice:

1. After a restart: does the server remember all that was synced, and nothing that was not written?
   An entry may be gone from the log only if a snapshot covers it.
2. Before a message goes out: is what it promises (a vote, entries that were appended, a snapshot
   that has come) on the disk?

Whether a snapshot covers what was committed is the business of `invariants`.
"""

from collections.abc import Iterator

from quorate.raft.configuration import Configuration, NodeId
from quorate.raft.core import Raft
from quorate.raft.messages import (
    AppendEntries,
    AppendEntriesAnswer,
    InstallSnapshot,
    InstallSnapshotAnswer,
    PeerMessage,
    RequestVote,
    RequestVoteAnswer,
    SnapshotNeeded,
)
from quorate.raft.ready import DurableState, LogWrite
from quorate.raft.snapshot import LogStart, SnapshotMetadata
from quorate.sim.durable_log import DurableLog
from quorate.sim.errors import InvariantError


class DurableRecord:
    """The synced writes and the snapshots of one server, through all its lives.

    Attributes:
        overwritten: how many synced entries other ones, or a snapshot, have replaced.
        snapshot: the newest durable snapshot.
    """

    def __init__(self, node: NodeId) -> None:
        self.overwritten = 0
        self.snapshot: SnapshotMetadata | None = None
        self._node = node
        self._log = DurableLog()
        self._unsynced: LogWrite | None = None
        self._unfinished: SnapshotMetadata | None = None
        self._damaged: SnapshotMetadata | None = None
        self._is_rotten = False
        self._votes: dict[int, NodeId] = {}
        self._offers: dict[tuple[NodeId, int], InstallSnapshot] = {}

    @property
    def lacks_snapshot(self) -> bool:
        """Whether the snapshot that there was is damaged, and none has come in its place."""
        return self._damaged is not None or self._is_rotten

    def holds(self, index: int, term: int) -> bool:
        """Whether the entry of this index and term is synced, or in a durable snapshot."""
        return self._covers(index) or (index > 0 and self._log.term_at(index) == term)

    def _covers(self, index: int) -> bool:
        return self.snapshot is not None and index <= self.snapshot.index

    def configurations_behind(self, index: int) -> Iterator[Configuration]:
        """Those that a restart may find in the log behind an entry."""
        for log in self._possible_logs():
            for entry in log.entries:
                if entry.index > index and entry.configuration is not None:
                    yield entry.configuration

    # ------------------------------------------------------------------ the disk

    def written(self, write: LogWrite) -> None:
        """The server hands a write to its disk."""
        self._unsynced = write

    def synced(self) -> None:
        """The disk says that the write is durable."""
        write, self._unsynced = self._unsynced, None
        assert write is not None, "a sync follows a write"
        if write.start is not None and not self._covers(write.start.index):
            raise InvariantError(
                f"node {self._node} has dropped entries up to {write.start.index} from its log, "
                f"but its disk holds the snapshot {self.snapshot}"
            )
        self.overwritten += self._log.write(write)

    def snapshot_completed(self, snapshot: SnapshotMetadata) -> None:
        """The server hands the last piece of a snapshot to its disk."""
        if self._is_rotten or not self._covers(snapshot.index):
            self._unfinished = snapshot

    def snapshot_given_up(self) -> None:
        """There was no space for the snapshot, or it was found to be none."""
        self._unfinished = None

    def snapshot_stored(self, newest: SnapshotMetadata | None) -> None:
        """The disk says which its newest snapshot is, and that it is durable."""
        if newest == self.snapshot:
            if newest == self._unfinished:
                self._is_rotten = False  # it was taken again
            self._unfinished = None
        elif newest is None or newest != self._unfinished:
            raise InvariantError(
                f"node {self._node} has got {newest} as its newest snapshot, but it was to be "
                f"{self._unfinished or self.snapshot}"
            )
        else:
            self.snapshot, self._unfinished, self._damaged = newest, None, None
            self._is_rotten = False

    def snapshot_damaged(self) -> None:
        """The newest snapshot is not readable any more; the log says where it ended."""
        self._damaged, self.snapshot, self._unfinished = self.snapshot, None, None
        self._is_rotten = False

    def snapshot_rots(self) -> None:
        """The newest snapshot is not readable any more, but the server does not know."""
        self._is_rotten = True

    def recovered(self, found: DurableState) -> bool:
        """The server has read its disk.

        Returns:
            Whether it found a write, or a snapshot, that was never synced. It may: from now on
            that is durable.

        Raises:
            InvariantError: it found something else than was written, or less than was synced.
        """
        self._offers.clear()
        if self._is_rotten:
            self._damaged, self.snapshot, self._is_rotten = self.snapshot, None, False
        snapshot = found.snapshot if found.snapshot.index else None
        for log in self._possible_logs():
            fits_lost = found.snapshot_is_lost and self._is_lost(found.start, log)
            fits = not found.snapshot_is_lost and snapshot in (self.snapshot, self._unfinished)
            if (fits or fits_lost) and log.joined(snapshot).is_what(found):
                was_synced = log is self._log and (fits_lost or snapshot == self.snapshot)
                self._log = log.joined(snapshot)
                if not fits_lost:
                    self.snapshot, self._damaged = snapshot, None
                self._unsynced = self._unfinished = None
                return not was_synced
        raise InvariantError(
            f"node {self._node} found term {found.term}, vote {found.voted_for}, entries "
            f"{found.start.index + 1} to {found.start.index + len(found.entries)} and "
            f"{'no' if found.snapshot_is_lost else 'the'} snapshot of {found.snapshot.index} on "
            f"its disk, where {self._log} and the snapshot {self.snapshot} had been synced"
        )

    def _is_lost(self, start: LogStart, log: DurableLog) -> bool:
        """Whether the server has to wait for a snapshot of this, and no less."""
        damaged = self._damaged
        if damaged is None:
            return False
        if log.term_at(damaged.index) == damaged.term:
            return start == log.start
        return start == LogStart(damaged.index, damaged.term)

    def _possible_logs(self) -> Iterator[DurableLog]:
        yield self._log
        if self._unsynced is not None:
            log = self._log.copy()
            log.write(self._unsynced)
            yield log

    # ------------------------------------------------------------------ promises

    def offered(self, sender: NodeId, offer: InstallSnapshot) -> None:
        """A leader has sent a piece of its snapshot, which is going to be answered."""
        self._offers[sender, offer.id] = offer

    def check(self, to: NodeId, message: PeerMessage, raft: Raft) -> None:
        """Checks a message that the server is about to send.

        Raises:
            InvariantError: it promises what the server would not remember after a crash.
        """
        match message:
            case RequestVote(term=term):
                self._check_vote(term, self._node)
            case RequestVoteAnswer(term=term, vote_granted=True):
                self._check_vote(term, to)
            case AppendEntries(term=term) | SnapshotNeeded(term=term):
                self._check_term(message, term)
            case InstallSnapshot(term=term, snapshot=snapshot):
                self._check_term(message, term)
                self._check_snapshot(snapshot)
            case AppendEntriesAnswer(term=term, success=True, match_index=match_index):
                self._check_term(message, term)
                # Once the term has moved on the entry may have been replaced; then it is moot.
                if match_index and term == raft.current_term:
                    self._check_entry(match_index, raft.term_at(match_index))
            case InstallSnapshotAnswer(id=request_id, term=term, next_offset=next_offset):
                self._check_term(message, term)
                offer = self._offers[to, request_id]
                if next_offset == offer.size and term == offer.term:
                    self._check_entry(offer.snapshot.index, offer.snapshot.term)

    def _check_term(self, message: PeerMessage, term: int) -> None:
        if self._log.term < term:
            raise InvariantError(
                f"node {self._node} sends {type(message).__name__} of term {term}, but its disk "
                f"only knows of term {self._log.term}"
            )

    def _check_vote(self, term: int, candidate: NodeId) -> None:
        # "Each server will vote for at most one candidate in a given term" (§5.2).
        given = self._votes.setdefault(term, candidate)
        if given != candidate:
            raise InvariantError(
                f"node {self._node} votes for {candidate} in term {term}, after it had voted for "
                f"{given}"
            )
        log = self._log
        if log.term < term or (log.term == term and log.voted_for != candidate):
            raise InvariantError(
                f"node {self._node} votes for {candidate} in term {term}, but its disk knows of "
                f"term {log.term} and a vote for {log.voted_for}"
            )

    def _check_entry(self, index: int, term: int | None) -> None:
        if not self._covers(index) and (term is None or not self.holds(index, term)):
            raise InvariantError(
                f"node {self._node} says that it has entry {index} of term {term}, but it is not "
                "on its disk"
            )

    def _check_snapshot(self, snapshot: SnapshotMetadata) -> None:
        if not self._covers(snapshot.index):
            raise InvariantError(
                f"node {self._node} sends a snapshot that ends with entry {snapshot.index}, but it "
                f"is not on its disk, which has {self.snapshot}"
            )
