"""What a follower does with the entries of its leader: Figure 2, AppendEntries, steps 2 to 4.

Whether the sender leads, and what is committed when entries are taken in, is not decided here.
"""

from quorate.raft.configuration import NodeId
from quorate.raft.entry import Entry
from quorate.raft.messages import AppendEntries, AppendEntriesAnswer
from quorate.raft.outbox import Outbox
from quorate.raft.persistence import Persistence


class Acceptance:
    """Checks requests against the log, takes their entries in, and answers.

    Args:
        persistence: the log.
        outbox: where answers go, each when it is true of the disk.
    """

    def __init__(self, persistence: Persistence, outbox: Outbox) -> None:
        self._persistence = persistence
        self._log = persistence.log
        self._outbox = outbox

    def accept(self, sender: NodeId, request: AppendEntries, *, commit_index: int) -> int | None:
        """Answers a request of the current leader.

        Args:
            sender: the leader.
            request: its request.
            commit_index: what is committed never changes (Raft §5.4).

        Returns:
            Up to which index the log is equal to the leader's, as far as this request tells;
            None if it was refused.
        """
        previous = request.prev_log_index
        # "2. Reply false if log doesn't contain an entry at prevLogIndex whose term matches
        # prevLogTerm". What a snapshot covers is committed, so it matches.
        if previous > self._log.last_index:
            conflict_index = self._log.last_index + 1
            self.refuse(sender, request, conflict_index=conflict_index, conflict_term=0)
            return None
        if previous >= self._log.start.index:
            term = self._log.term_at(previous)
            assert term is not None
            if term != request.prev_log_term:
                assert previous > commit_index, "a committed entry never changes (§5.4)"
                first = self._log.first_index_of_term_at(previous)
                self.refuse(sender, request, conflict_index=first, conflict_term=term)
                return None
        self._take_in(request.entries, commit_index=commit_index)
        match_index = previous + len(request.entries)
        answer = AppendEntriesAnswer(
            id=request.id,
            term=self._persistence.current_term,
            success=True,
            match_index=match_index,
            conflict_index=0,
            conflict_term=0,
        )
        self._outbox.send_after(self._persistence.promise_of_entries(match_index), sender, answer)
        return match_index

    def refuse(
        self, sender: NodeId, request: AppendEntries, *, conflict_index: int, conflict_term: int
    ) -> None:
        """Answers that the logs do not match, with the hints of §5.3; or that the term is old."""
        answer = AppendEntriesAnswer(
            id=request.id,
            term=self._persistence.current_term,
            success=False,
            match_index=0,
            conflict_index=conflict_index,
            conflict_term=conflict_term,
        )
        self._outbox.send_after(self._persistence.promise_of_vote(), sender, answer)

    def _take_in(self, entries: tuple[Entry, ...], *, commit_index: int) -> None:
        """Brings the log in line with these entries, which follow one that matches."""
        # "3. If an existing entry conflicts with a new one (same index but different terms),
        # delete the existing entry and all that follow it. 4. Append any new entries not already
        # in the log". Without a conflict nothing is deleted: the request may be an old one that
        # was overtaken.
        for position, entry in enumerate(entries):
            if entry.index <= self._log.start.index:
                continue
            term = self._log.term_at(entry.index)
            if term == entry.term:
                continue
            if term is not None:
                assert entry.index > commit_index, "a committed entry never changes (§5.4)"
                self._persistence.truncate_from(entry.index)
            self._persistence.append(entries[position:])
            return
