"""What a leader knows of one follower's log, and the flow of AppendEntries to it.

As long as the follower needs no snapshot there are two states, as in the dissertation's
pipelining (§10.2.2):

* probing: the leader does not know where the logs match. One request at a time, until one
  succeeds.
* pipelining: the logs match up to `match_index`, and the leader sends on without waiting, up to
  a number of unanswered requests. `next_index` runs ahead of the answers.

A request that was not answered in time, or that failed, leads back to probing. A slot is free
again when its answer comes or its own timer ends, whatever becomes of the call that carried it.

A follower that is far behind is *brought up*: it gets a snapshot if it needs one, and then takes in
the log in rounds (dissertation §4.2.1), each of which ends with what was committed when it began.
When little is left after a round, it is up.
"""

import msgspec

from quorate.raft.deadlines import earliest
from quorate.raft.snapshot_transfer import SnapshotTransfer


class _Slot(msgspec.Struct, gc=False):
    """One unanswered AppendEntries with entries (or a probe)."""

    prev_log_index: int
    expires_at: int


class Progress:
    """One follower, as its leader sees it.

    Args:
        next_index: where to begin; one behind the leader's last entry.
        now: the present time.
        first_id: the id that the leader's next request will have.

    Attributes:
        first_id: answers to requests with lesser ids are not this follower's. They may be of one
            that was a member under the same id, and had other data.
        match_index: the log is known to be durable at the follower and equal up to here.
        next_index: the first entry to send next.
        probing: see the module header.
        acknowledged_id: the greatest id of a request of this leader that was answered in its
            term. The follower acknowledged the leader some time after it was sent.
        last_contact_at: when an answer last came, in microseconds.
        is_cut_off: its link was lost, and nothing was heard since.
        last_sent_at: when anything was last sent, in microseconds; None before that.
        last_sent_id: the id of the last request that was sent.
        answer_time_us: how long it took to answer, when last the last request was answered.
        commit_index_sent: the commit index that it takes over from what was sent, if that arrives.
        commit_index_awaited: a read that it serves waits until it has taken over this one.
        needed_index: the follower's own snapshot is lost, and it has asked for one that covers
            at least this; 0 if not.
        transfer: a snapshot on its way to it.
        round_end: where the round ends that it is in, or was in last; see the module header.
        advanced_at: when it last got further, with pieces or with entries, or answered before a
            transfer began; None if it never did.
    """

    def __init__(self, *, next_index: int, now: int, first_id: int) -> None:
        self.first_id = first_id
        self.match_index = 0
        self.next_index = next_index
        self.probing = True
        self.acknowledged_id = 0
        self.last_contact_at = now
        self.is_cut_off = False
        self.last_sent_at: int | None = None
        self.last_sent_id = 0
        self.answer_time_us = 0
        self.commit_index_sent = 0
        self.commit_index_awaited = 0
        self.needed_index = 0
        self.transfer: SnapshotTransfer | None = None
        self.round_end = 0
        self.advanced_at: int | None = None
        self._slots: dict[int, _Slot] = {}

    @property
    def is_far_behind(self) -> bool:
        """Whether it is far behind; it may have got stuck."""
        return self.transfer is not None or self.match_index < self.round_end

    @property
    def awaits_commit_index(self) -> bool:
        """Whether nothing on its way tells it that what a read of it waits for is committed."""
        return self.commit_index_sent < self.commit_index_awaited <= self.match_index

    def may_send(self, max_in_flight: int) -> bool:
        """Whether another AppendEntries with entries may be sent now."""
        return len(self._slots) < (1 if self.probing else max_in_flight)

    def sent(
        self, request_id: int, *, prev_log_index: int, last_index: int, expires_at: int
    ) -> None:
        """An AppendEntries with the entries up to `last_index` is on its way."""
        self._slots[request_id] = _Slot(prev_log_index, expires_at)
        if not self.probing:
            self.next_index = last_index + 1

    def earliest_expiry(self) -> int | None:
        """When the oldest unanswered request counts as lost, in microseconds."""
        if not self._slots:
            return None
        return next(iter(self._slots.values())).expires_at

    def deadline(self) -> int | None:
        """When something unanswered is to be sent again, in microseconds."""
        expiry = self.earliest_expiry()
        return expiry if self.transfer is None else earliest(expiry, self.transfer.expires_at)

    def expire(self, now: int) -> None:
        """Begins again where the logs match if a request was lost."""
        earliest = self.earliest_expiry()
        if earliest is not None and earliest <= now:
            self._go_back()

    def restart(self) -> None:
        """Forgets what is in flight and begins again after `match_index`."""
        self._go_back()
        if self.transfer is not None:
            self.transfer.restart()

    def _go_back(self) -> None:
        # If nothing matched yet, the search goes on where it was.
        self._slots.clear()
        self.commit_index_sent = 0
        if not self.probing:
            self.probing = True
            self.next_index = self.match_index + 1

    def succeeded(self, request_id: int, *, match_index: int) -> None:
        """The follower's log is durable and equal to the leader's up to `match_index`.

        That stays true for the whole term, so it counts even if the request was given up.
        """
        answered_in_time = self._slots.pop(request_id, None) is not None
        self.match_index = max(self.match_index, match_index)
        self.next_index = max(self.next_index, self.match_index + 1)
        if answered_in_time:
            self.probing = False

    def installed(self, index: int) -> None:
        """The follower has a snapshot up to `index`, durably, and goes on behind it."""
        self.match_index = max(self.match_index, index)
        self.next_index = max(self.next_index, self.match_index + 1)
        if self.needed_index <= index:
            self.needed_index = 0
        if self.transfer is not None and self.transfer.snapshot.index <= index:
            self.transfer = None

    def failed(self, request_id: int, *, next_index: int) -> None:
        """The follower has no matching entry where this request wanted to go on.

        Args:
            request_id: an answer to a request that was given up already changes nothing.
            next_index: where to try next, by the answer's hints.
        """
        slot = self._slots.get(request_id)
        if slot is None:
            return
        self._slots.clear()
        self.probing = True
        self.next_index = max(self.match_index + 1, min(next_index, slot.prev_log_index))
