"""What a server's disk must hold, by what was synced; and whether the server tells the truth.

The record is kept from the writes alone, apart from the storage code that it judges. It answers
two questions that end in data loss, long before any client could notice:

1. After a restart: does the server remember all that was synced, and nothing that was not written?
2. Before a message goes out: is what it promises (a vote, entries that were appended) on the disk?
"""

from quorate.raft.configuration import NodeId
from quorate.raft.core import Raft
from quorate.raft.entry import Entry
from quorate.raft.messages import (
    AppendEntries,
    AppendEntriesAnswer,
    PeerMessage,
    RequestVote,
    RequestVoteAnswer,
)
from quorate.raft.ready import DurableState, LogWrite
from quorate.sim.errors import InvariantError


class DurableRecord:
    """The synced writes of one server, through all its lives; of a new server at first.

    Attributes:
        overwritten: how many synced entries other ones have replaced.
    """

    def __init__(self, node: NodeId) -> None:
        self.overwritten = 0
        self._node = node
        self._term = 0
        self._voted_for: NodeId | None = None
        self._entries: list[Entry] = []
        self._unsynced: LogWrite | None = None
        self._votes: dict[int, NodeId] = {}

    def holds(self, index: int, term: int) -> bool:
        """Whether the entry of this index and term is synced."""
        return 0 < index <= len(self._entries) and self._entries[index - 1].term == term

    # ------------------------------------------------------------------ the disk

    def written(self, write: LogWrite) -> None:
        """The server hands a write to its disk."""
        self._unsynced = write

    def synced(self) -> None:
        """The disk says that the write is durable."""
        write, self._unsynced = self._unsynced, None
        assert write is not None, "a sync follows a write"
        self._term, self._voted_for = write.term, write.voted_for
        if write.entries:
            position = write.entries[0].index - 1
            self.overwritten += len(self._entries) - position
            self._entries[position:] = write.entries

    def recovered(self, found: DurableState) -> bool:
        """The server has read its disk.

        Returns:
            Whether it found a write that was never synced. It may: from now on that is durable.

        Raises:
            InvariantError: it found something else than was written, or less than was synced.
        """
        found_unsynced = self._unsynced is not None and not self._is(found)
        if found_unsynced:
            self.synced()
        self._unsynced = None
        if not self._is(found):
            raise InvariantError(
                f"node {self._node} found term {found.term}, vote {found.voted_for} and "
                f"{len(found.entries)} entries on its disk, where term {self._term}, vote "
                f"{self._voted_for} and {len(self._entries)} entries had been synced"
            )
        return found_unsynced

    def _is(self, found: DurableState) -> bool:
        return (self._term, self._voted_for, self._entries) == (
            found.term,
            found.voted_for,
            list(found.entries),
        )

    # ------------------------------------------------------------------ promises

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
            case AppendEntries(term=term):
                self._check_term(message, term)
            case AppendEntriesAnswer(term=term, success=True, match_index=match_index):
                self._check_term(message, term)
                # Once the term has moved on the entry may have been replaced; then it is moot.
                if match_index and term == raft.current_term:
                    self._check_entry(match_index, raft.term_at(match_index))

    def _check_term(self, message: PeerMessage, term: int) -> None:
        if self._term < term:
            raise InvariantError(
                f"node {self._node} sends {type(message).__name__} of term {term}, but its disk "
                f"only knows of term {self._term}"
            )

    def _check_vote(self, term: int, candidate: NodeId) -> None:
        # "Each server will vote for at most one candidate in a given term" (§5.2).
        given = self._votes.setdefault(term, candidate)
        if given != candidate:
            raise InvariantError(
                f"node {self._node} votes for {candidate} in term {term}, after it had voted for "
                f"{given}"
            )
        if self._term < term or (self._term == term and self._voted_for != candidate):
            raise InvariantError(
                f"node {self._node} votes for {candidate} in term {term}, but its disk knows of "
                f"term {self._term} and a vote for {self._voted_for}"
            )

    def _check_entry(self, index: int, term: int | None) -> None:
        if term is None or not self.holds(index, term):
            raise InvariantError(
                f"node {self._node} says that it has entry {index} of term {term}, but it is not "
                "on its disk"
            )
