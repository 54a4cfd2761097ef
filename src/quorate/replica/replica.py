"""A replica: Raft, the replicated state, and those who wait for it, in one object without I/O.

Operations and reads are *submitted* with a ticket and end with one outcome for that ticket. A
submission is one attempt: it goes into the log if this server leads, is passed on to the leader
otherwise, and is never repeated here. Whoever submitted it knows from the outcome whether it may
have been executed, and may submit again: sessions see to it that it counts once.

The log is kept short by snapshots of the state, which the replica has its driver write and, after
a restart or when a leader has sent one, read back.

Who waits for an index waits for that index *and term*. When this server stops leading, all who
wait are told at once that they are `Interrupted`; so nobody is left hanging, and nobody gets the
result of another entry that took the place of his.
"""

from collections.abc import Callable, Iterator, Sequence
from itertools import chain
from typing import Generic

import msgspec

from quorate.codec.batch import (
    OpenSession,
    Operation,
    OperationResult,
    Submission,
    SubmissionOutcomes,
    decode_batch,
    decode_results,
    encode_batch,
    encode_results,
    operation_bytes,
)
from quorate.codec.errors import DecodeError
from quorate.raft.configuration import NodeId
from quorate.raft.core import Raft
from quorate.raft.entry import Entry, EntryKind
from quorate.raft.messages import PeerMessage
from quorate.raft.ready import (
    ForwardAnswered,
    ForwardedProposal,
    ForwardLost,
    ForwardOutcome,
    ForwardRefused,
)
from quorate.raft.snapshot import SnapshotMetadata
from quorate.replica.outcomes import (
    Completed,
    Interrupted,
    NotProposed,
    Outcome,
    ReadReady,
)
from quorate.replica.replicated_state import QueryT, ReplicatedState, ResultT
from quorate.replica.snapshot_taker import SnapshotSettings, SnapshotTaker
from quorate.replica.waiting_reads import WaitingReads
from quorate.storage.snapshots import SnapshotPart, StoredSnapshot

_Batch = list[tuple[int, Operation]]
"""Operations of one entry with their tickets."""


class ReplicaLimits(msgspec.Struct, frozen=True, kw_only=True):
    """Local limits; they only ever refuse before anything is proposed.

    Attributes:
        max_batch_bytes: commands in one entry; a single operation always fits.
        max_uncommitted_bytes: data that a leader takes into its log before it is committed.
            Beyond it, proposals wait or are refused as `NotProposed`.
    """

    max_batch_bytes: int = 1024 * 1024
    max_uncommitted_bytes: int = 64 * 1024 * 1024


class _Proposed(msgspec.Struct, frozen=True):
    """An entry of ours in the log, and who waits for it."""

    term: int
    size: int
    waiting: tuple[int, ...] | ForwardedProposal


class Replica(Generic[QueryT, ResultT]):
    """One server's copy of the replicated state machine.

    Args:
        raft: the consensus core.
        new_state: makes an empty state machine with its sessions.
        limits: local limits.
        snapshots: when and how fast snapshots are taken.
        raft_state_bytes: how much Raft state the disk holds.

    Attributes:
        state: the state machine with its sessions, as of the last entry applied; to be looked at
            only.
        raft_state_bytes: how much Raft state the disk holds; to be looked at only.
        restored_bytes: how much has come of the snapshot that is being restored; to be looked at
            only.
    """

    def __init__(
        self,
        raft: Raft,
        new_state: Callable[[], ReplicatedState[QueryT, ResultT]],
        limits: ReplicaLimits | None = None,
        *,
        snapshots: SnapshotSettings | None = None,
        raft_state_bytes: int = 0,
    ) -> None:
        self._raft = raft
        self._new_state = new_state
        self.state = new_state()
        self._limits = limits or ReplicaLimits()
        self.raft_state_bytes = raft_state_bytes
        self._taker = SnapshotTaker(snapshots or SnapshotSettings())
        self.restored_bytes = 0
        self._restoring: ReplicatedState[QueryT, ResultT] | None = None
        self._restore_from: SnapshotMetadata | None = None
        self._discarded: Iterator[None] | None = None
        self._discarding_at = 0
        self._queue: _Batch = []
        self._proposed: dict[int, _Proposed] = {}
        self._proposed_bytes = 0
        self._forwarded: dict[int, _Batch] = {}
        self._next_forward = 1
        self._reads: WaitingReads[QueryT] = WaitingReads()
        self._outcomes: list[Outcome] = []

    # ------------------------------------------------------------------ what goes in

    def submit(self, ticket: int, operation: Operation) -> None:
        """Tries once to get the operation executed. One `Outcome` with this ticket follows."""
        self._queue.append((ticket, operation))

    def read(self, ticket: int, query: QueryT) -> None:
        """Asks for a linearizable read. A `ReadReady` follows once a leader can confirm it."""
        self._reads.add(ticket, query)

    def cancel_read(self, ticket: int) -> None:
        """Nobody waits for this read any more."""
        self._reads.cancel(ticket)

    def receive(self, sender: NodeId, message: PeerMessage, now: int) -> None:
        """Takes in a message of another server."""
        self._raft.receive(sender, message, now)

    def persisted(self, number: int, now: int, *, raft_state_bytes: int) -> None:
        """The write of this number is on the disk, which holds so much Raft state now."""
        self.raft_state_bytes = raft_state_bytes
        self._raft.persisted(number, now)

    # ------------------------------------------------------------------ what comes out

    def take_outcomes(self, now: int) -> tuple[list[Outcome], list[ReadReady]]:
        """Applies what is committed; returns what has become of submissions and reads."""
        reads: list[ReadReady] = []
        while True:
            self._ask_for_read_index(now)
            events = self._raft.take_events(now)
            if events.snapshot is not None:
                self._begin_restoring(events.snapshot, now)
            if events.snapshot_wanted:
                self._taker.want()
            for entry in events.committed:
                self._settle(entry, self.state.apply(entry))
                self._taker.applied(entry)
            for outcome in events.forward_outcomes:
                self._settle_forward(outcome)
            for read in events.reads:
                self._reads.confirmed(read.index)
            for proposal in events.forwarded:
                self._propose_forwarded(proposal, now)
            ready_reads = self._reads.take_ready(self.state.last_applied)
            reads.extend(ReadReady(ticket, query) for ticket, query in ready_reads)
            if not self._reads.is_index_wanted:
                break
        self._interrupt_if_deposed()
        outcomes, self._outcomes = self._outcomes, []
        return outcomes, reads

    # ------------------------------------------------------------------ snapshots

    def request_snapshot(self) -> None:
        """Somebody wants a snapshot of what is applied by now, whether it is due or not."""
        self._taker.want_at_once()

    def take_snapshot_part(self, now: int) -> SnapshotPart | None:
        """What is to be written next of a snapshot; `snapshot_written` or `_failed` follows."""
        self._free_discarded(now)
        if self.is_restoring:
            return None
        is_damaged = self._raft.snapshot_is_damaged
        if not is_damaged and not self._taker.may_be_due(self.raft_state_bytes):
            return None
        applied = self.state.last_applied
        is_news = applied > self._raft.snapshot.index and self._raft.knows_members_at(applied)
        if is_news or is_damaged:
            if is_damaged:
                self._taker.replace_damaged(now)
            # Until the disk has let go of what the last snapshot covers, its size makes none due.
            size = self.raft_state_bytes if self._raft.log_start_is_durable else 0
            brings_up = self._raft.brings_up_a_follower
            if self._taker.is_due(size, now, brings_up_a_follower=brings_up):
                self._taker.begin(self._raft.snapshot_metadata(applied), self.state.snapshot())
        else:
            self._taker.satisfied()
        return self._taker.take_part(now)

    def snapshot_written(self, stored: StoredSnapshot | None, now: int) -> None:
        """A part is written.

        Args:
            stored: the whole snapshot, if it was the last part and all of it is durable.
            now: in microseconds.
        """
        self._taker.written(now)
        if stored is not None:
            self._raft.compact(stored.metadata, stored.size, now)

    def snapshot_failed(self, now: int) -> None:
        """There was no space for a part; what was written of that snapshot is gone."""
        self._taker.failed(now)

    @property
    def taker(self) -> SnapshotTaker:
        """Takes the snapshots; to be looked at only."""
        return self._taker

    def deadline(self) -> int | None:
        """When `take_snapshot_part` should be called at the latest."""
        if self._discarded is not None:
            return self._discarding_at
        return None if self.is_restoring else self._taker.deadline()

    @property
    def is_restoring(self) -> bool:
        """Whether the state is being read from a snapshot, and nothing is applied meanwhile."""
        return self._restoring is not None

    def take_restore(self) -> SnapshotMetadata | None:
        """The snapshot whose sections are to be given to `restore` from now on; told once."""
        snapshot, self._restore_from = self._restore_from, None
        return snapshot

    def restore(self, section: bytes, now: int) -> None:
        """Takes in the next section of the snapshot that `take_restore` has told of.

        Raises:
            ValueError: it is none.
        """
        assert self._restoring is not None
        self._restoring.restore(section)
        self.restored_bytes += len(section)
        if self._restoring.is_restored:
            # Until now, whoever was promised an answer has had it from the state that was.
            self._discard(self.state, now)
            self.state, self._restoring = self._restoring, None
            self._raft.snapshot_restored(self.state.last_applied, now)

    def _begin_restoring(self, snapshot: SnapshotMetadata, now: int) -> None:
        self._taker.abandon()
        if self._restoring is not None:
            self._discard(self._restoring, now)
        self._restoring = self._new_state()
        self.restored_bytes = 0
        self._restore_from = snapshot

    def _discard(self, state: ReplicatedState[QueryT, ResultT], now: int) -> None:
        """Sees that a state is freed that nobody needs, a little with each turn."""
        self._discarded = chain(self._discarded or (), state.dismantle())
        self._discarding_at = now

    def _free_discarded(self, now: int) -> None:
        self._discarding_at = now
        if self._discarded is not None and next(self._discarded, self) is self:
            self._discarded = None

    # ------------------------------------------------------------------ submissions

    @property
    def has_to_propose(self) -> bool:
        """Whether something was submitted that `propose` would hand on now."""
        return bool(self._queue) and not self._raft.is_transferring

    @property
    def has_outcomes(self) -> bool:
        """Whether it is known already what has become of something."""
        return bool(self._outcomes)

    def propose(self, now: int) -> None:
        """Hands what was submitted to the leader, be it this server or another.

        While this server hands its leadership over, it waits for whoever leads then.
        """
        if self._raft.is_transferring:
            return
        queue, self._queue = self._queue, []
        for batch in _batches(queue, self._limits.max_batch_bytes):
            tickets = tuple(ticket for ticket, _ in batch)
            data = encode_batch(tuple(operation for _, operation in batch))
            if self._raft.is_leader:
                if not self._propose(data, tickets, now):
                    self._outcomes.extend(NotProposed(ticket) for ticket in tickets)
            elif self._raft.forward(self._next_forward, data, now):
                self._forwarded[self._next_forward] = batch
                self._next_forward += 1
            else:
                self._outcomes.extend(NotProposed(ticket) for ticket in tickets)

    def _propose(self, data: bytes, waiting: tuple[int, ...] | ForwardedProposal, now: int) -> bool:
        if self._proposed_bytes >= self._limits.max_uncommitted_bytes:
            return False
        entry = self._raft.propose(data, now)
        if entry is None:
            return False
        self._proposed[entry.index] = _Proposed(entry.term, len(data), waiting)
        self._proposed_bytes += len(data)
        return True

    def _propose_forwarded(self, proposal: ForwardedProposal, now: int) -> None:
        # Validate at the gateway: what is in the log is trusted by all servers for ever.
        if not _is_valid_batch(proposal.data) or not self._propose(proposal.data, proposal, now):
            self._raft.answer_forward(proposal, None)

    def _settle(self, entry: Entry, results: tuple[OperationResult, ...]) -> None:
        proposed = self._proposed.pop(entry.index, None)
        if proposed is None:
            return
        self._proposed_bytes -= proposed.size
        ours = proposed.term == entry.term and entry.kind is EntryKind.DATA
        match proposed.waiting:
            case ForwardedProposal() as proposal:
                data = encode_results(results) if ours else None
                self._raft.answer_forward(proposal, data)
            case tickets if ours:
                self._complete(tickets, results, is_hearsay=False)
            case tickets:
                # Another entry is committed at our index, so ours never will be.
                self._outcomes.extend(NotProposed(ticket) for ticket in tickets)

    def _settle_forward(self, outcome: ForwardOutcome) -> None:
        batch = self._forwarded.pop(outcome.ticket)
        match outcome:
            case ForwardAnswered(data=data) if (results := _results_of(batch, data)) is not None:
                self._complete([ticket for ticket, _ in batch], results, is_hearsay=True)
            case ForwardAnswered() | ForwardRefused() | ForwardLost():
                # A refusal too: if the network delivered the request twice, it speaks for one
                # copy only, and the other may be in the log.
                self._outcomes.extend(Interrupted(ticket) for ticket, _ in batch)

    def _complete(
        self, tickets: Sequence[int], results: Sequence[OperationResult], *, is_hearsay: bool
    ) -> None:
        for ticket, result in zip(tickets, results, strict=True):
            self._outcomes.append(Completed(ticket, result, is_hearsay))

    def _interrupt_if_deposed(self) -> None:
        # Who is still waiting then does so for an entry of an earlier leadership. Its fate is
        # another leader's business, or it waits to be applied: either way he may ask again.
        if not self._proposed:
            return
        led_term = self._raft.current_term if self._raft.is_leader else None
        if next(iter(self._proposed.values())).term == led_term:
            return  # then all are of this term: the first has the oldest
        deposed = [index for index, p in self._proposed.items() if p.term != led_term]
        for index in deposed:
            proposed = self._proposed.pop(index)
            self._proposed_bytes -= proposed.size
            if not isinstance(proposed.waiting, ForwardedProposal):
                self._outcomes.extend(Interrupted(ticket) for ticket in proposed.waiting)

    # ------------------------------------------------------------------ reads

    def _ask_for_read_index(self, now: int) -> None:
        ticket = self._reads.begin()
        if ticket is not None:
            self._raft.read(ticket, now)


def _batches(queue: _Batch, max_bytes: int) -> list[_Batch]:
    """Splits operations into batches, in order, each with at most one `OpenSession`."""
    batches: list[_Batch] = []
    size = max_bytes
    opens = False
    for item in queue:
        is_open = isinstance(item[1], OpenSession)
        bytes_ = operation_bytes(item[1])
        if size + bytes_ > max_bytes or (opens and is_open):
            batches.append([])
            size, opens = 0, False
        batches[-1].append(item)
        size += bytes_
        opens = opens or is_open
    return batches


def _results_of(batch: _Batch, data: bytes) -> tuple[OperationResult, ...] | None:
    """The results in another server's answer; None if they cannot be those of this batch."""
    try:
        results = decode_results(data)
    except DecodeError:
        return None
    if len(results) != len(batch):
        return None
    fit = all(
        _fits(result, operation) for result, (_, operation) in zip(results, batch, strict=True)
    )
    return results if fit else None


def _fits(result: OperationResult, operation: Operation) -> bool:
    match operation:
        case OpenSession():
            return not isinstance(result, SubmissionOutcomes)
        case Submission(commands=commands):
            # One without commands has one outcome if there is no such session, else none.
            return isinstance(result, SubmissionOutcomes) and (
                len(result.outcomes) == len(commands) or not commands
            )


def _is_valid_batch(data: bytes) -> bool:
    try:
        operations = decode_batch(data)
    except DecodeError:
        return False
    return sum(isinstance(operation, OpenSession) for operation in operations) <= 1
