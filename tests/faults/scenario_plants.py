"""The bugs that others had, as far as they can be planted here; `tests/scenarios` tells of them."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

import msgspec
import pytest

from quorate.node.own_session import OwnSession
from quorate.node.results import NOT_EXECUTED
from quorate.raft.core import Raft
from quorate.raft.messages import ForwardAnswer, PeerMessage, PreVote, PreVoteAnswer
from quorate.raft.ready import LogWrite
from quorate.raft.remote import RemoteCalls
from quorate.raft.snapshot_transfer import SnapshotTransfer
from quorate.replica.replica import Replica
from quorate.replica.replicated_state import ReplicatedState
from quorate.storage.errors import DiskFullError
from quorate.storage.memory_disk import MemoryFile
from quorate.storage.wal import WriteAheadLog

if TYPE_CHECKING:
    from collections.abc import Callable

    from quorate.kv.queries import Query, QueryResult
    from quorate.raft.configuration import NodeId
    from quorate.raft.leader import Leader
    from quorate.raft.ready import ForwardOutcome
    from quorate.raft.snapshot import SnapshotMetadata
    from quorate.replica.outcomes import Outcome, ReadReady

# ---------------------------------------------------------------------- elections


def what_an_older_term_asks_before_an_election_is_ignored(patches: pytest.MonkeyPatch) -> None:
    """etcd-io/etcd#8243: and what it answers, too."""
    receive = Raft.receive

    def deaf(self: Raft, sender: NodeId, message: PeerMessage, now: int) -> None:
        if isinstance(message, PreVote | PreVoteAnswer) and message.term < self.current_term:
            return
        receive(self, sender, message, now)

    patches.setattr(Raft, "receive", deaf)


# ---------------------------------------------------------------------- a disk that stalls


def a_leader_waits_for_its_own_disk(patches: pytest.MonkeyPatch) -> None:
    """etcd-io/etcd#15247: while that does not come, nothing is committed."""
    advance = Raft._advance_commit_index

    def waiting(self: Raft, leader: Leader) -> None:
        if self._persistence.durable_index > self.commit_index:
            advance(self, leader)

    patches.setattr(Raft, "_advance_commit_index", waiting)


def a_leader_whose_write_does_not_end_looks_at_no_timer(patches: pytest.MonkeyPatch) -> None:
    """etcd-io/etcd#13527: so it goes on leading without a majority."""
    wake = Raft.wake

    def stuck(self: Raft, now: int) -> None:
        if not (self.is_leader and self._persistence.durable_index < self.last_index):
            wake(self, now)

    patches.setattr(Raft, "wake", stuck)


# ---------------------------------------------------------------------- replies


def an_answer_is_taken_for_that_to_the_oldest_request(patches: pytest.MonkeyPatch) -> None:
    """RedisLabs/redisraft#26: answers are matched by their order on a connection."""
    forward_answered = RemoteCalls.forward_answered

    def by_order(self: RemoteCalls, answer: ForwardAnswer) -> list[ForwardOutcome]:
        oldest = next(iter(self._forwards), answer.id)
        return forward_answered(self, msgspec.structs.replace(answer, id=oldest))

    patches.setattr(RemoteCalls, "forward_answered", by_order)


def a_write_whose_leader_is_gone_is_called_not_executed(patches: pytest.MonkeyPatch) -> None:
    """RedisLabs/redisraft#23."""
    interrupted = OwnSession.interrupted

    def refused(self: OwnSession, ticket: int, now: int) -> None:
        for write in self._attempts[ticket].writes:
            self._settle(write, NOT_EXECUTED)
        interrupted(self, ticket, now)

    patches.setattr(OwnSession, "interrupted", refused)


# ---------------------------------------------------------------------- the state


def a_new_leader_starts_empty(patches: pytest.MonkeyPatch) -> None:
    """RedisLabs/redisraft#14: what came before its leadership is in its log alone."""
    become_leader = Raft._become_leader
    take_outcomes = Replica.take_outcomes
    new: set[int] = set()

    def become(self: Raft) -> None:
        become_leader(self)
        new.add(id(self))

    def empty(self: Replica[Query, QueryResult], now: int) -> tuple[list[Outcome], list[ReadReady]]:
        if id(self._raft) in new:
            new.remove(id(self._raft))
            self.state._machine = self._new_state()._machine
        return take_outcomes(self, now)

    patches.setattr(Raft, "_become_leader", become)
    patches.setattr(Replica, "take_outcomes", empty)


def a_snapshot_says_that_one_entry_less_was_applied(patches: pytest.MonkeyPatch) -> None:
    """etcd-io/etcd#13514, as far as an entry is applied again after a restart."""
    snapshot_metadata = Raft.snapshot_metadata

    def behind(self: Raft, index: int) -> SnapshotMetadata:
        return snapshot_metadata(self, max(index - 1, self.snapshot.index + 1))

    patches.setattr(Raft, "snapshot_metadata", behind)


# ---------------------------------------------------------------------- snapshots on their way


def a_state_of_which_some_was_read_is_put_in_place(patches: pytest.MonkeyPatch) -> None:
    """A node that has read a part of its snapshot serves that."""
    patches.setattr(
        ReplicatedState, "is_restored", property(lambda self: self._sections > 0, None, None)
    )


def a_piece_that_is_not_answered_is_waited_for(patches: pytest.MonkeyPatch) -> None:
    """etcd-io/etcd#10225: for ever, whatever becomes of the follower."""
    patches.setattr(SnapshotTransfer, "may_send", lambda self, _now: self.expires_at is None)
    patches.setattr(SnapshotTransfer, "restart", lambda _self: None)


def a_leader_goes_on_with_the_next_piece_whatever_the_follower_has(
    patches: pytest.MonkeyPatch,
) -> None:
    """logcabin/logcabin#174."""
    answered = SnapshotTransfer.answered

    def forward_only(self: SnapshotTransfer, request_id: int, next_offset: int) -> int:
        return answered(self, request_id, max(next_offset, self.offset))

    patches.setattr(SnapshotTransfer, "answered", forward_only)


# ---------------------------------------------------------------------- the disk


def what_does_not_fit_is_taken_for_written(patches: pytest.MonkeyPatch) -> None:
    """cockroachdb/cockroach#32631."""
    for name in ("write_at", "preallocate"):
        operation = getattr(MemoryFile, name)

        def careless(
            self: MemoryFile, *arguments: object, operation: Callable[..., None] = operation
        ) -> None:
            with contextlib.suppress(DiskFullError):
                operation(self, *arguments)

        patches.setattr(MemoryFile, name, careless)


def term_and_vote_are_two_records(patches: pytest.MonkeyPatch) -> None:
    """hashicorp/raft#661."""
    append = WriteAheadLog.append

    def in_two(self: WriteAheadLog, write: LogWrite) -> None:
        if write.term > self._term:
            append(self, LogWrite(write.number, write.term, self._voted_for, ()))
            self.sync()
        append(self, write)

    patches.setattr(WriteAheadLog, "append", in_two)


# ---------------------------------------------------------------------- clocks


def a_leader_believes_its_clock_whatever_it_shows(patches: pytest.MonkeyPatch) -> None:
    """etcd-io/etcd#6700, as far as that can be: time that did not pass counts as passed."""

    def observe(self: Raft, now: int) -> None:
        self._now = now

    patches.setattr(Raft, "_observe", observe)
