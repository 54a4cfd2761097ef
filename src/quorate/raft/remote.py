"""What a server that does not lead asks of the leader: read indices, and forwarded proposals.

Reads wait here through elections until some leader answers. All that wait share one request; one
that is not answered in time is given up and asked again under a new id, so that an answer is
never taken for a read that began after it was given.
"""

import msgspec

from quorate.raft.configuration import NodeId
from quorate.raft.deadlines import earliest
from quorate.raft.messages import Forward, ForwardAnswer, ReadIndex, ReadIndexAnswer
from quorate.raft.outbox import Outbox
from quorate.raft.ready import (
    ForwardAnswered,
    ForwardLost,
    ForwardOutcome,
    ForwardRefused,
    ReadyRead,
)
from quorate.raft.settings import Settings


class _Asked(msgspec.Struct, gc=False):
    """The `ReadIndex` request under way; it covers the first `reads` of the waiting ones."""

    request_id: int
    reads: int
    leader: NodeId
    expires_at: int


class _Forwarded(msgspec.Struct, frozen=True, gc=False):
    """A `Forward` request under way."""

    ticket: int
    leader: NodeId
    expires_at: int


class RemoteCalls:
    """Requests of this server to its leader.

    Args:
        outbox: where requests go.
        settings: when a request counts as lost.
    """

    def __init__(self, outbox: Outbox, settings: Settings) -> None:
        self._outbox = outbox
        self._settings = settings
        self._reads: list[int] = []
        self._asked: _Asked | None = None
        self._forwards: dict[int, _Forwarded] = {}

    # ------------------------------------------------------------------ reads

    def add_read(self, ticket: int) -> None:
        """A read waits for a read index."""
        self._reads.append(ticket)

    @property
    def has_reads(self) -> bool:
        """Whether any read waits."""
        return bool(self._reads)

    def send_reads(self, leader: NodeId, term: int, now: int) -> None:
        """Asks the leader for all reads that wait, unless an earlier request is under way."""
        if not self._reads:
            return
        asked = self._asked
        if asked is not None and asked.leader == leader and now < asked.expires_at:
            return
        request_id = self._outbox.take_id()
        self._asked = _Asked(
            request_id, len(self._reads), leader, now + self._settings.append_timeout_us
        )
        self._outbox.send(leader, ReadIndex(request_id, term))

    def read_answered(self, answer: ReadIndexAnswer) -> list[ReadyRead]:
        """The reads that an answer settles.

        A server that could not tell is asked again only after the time-out, or another as soon
        as it leads.
        """
        asked = self._asked
        if asked is None or asked.request_id != answer.id or answer.read_index is None:
            return []
        settled = self._reads[: asked.reads]
        del self._reads[: asked.reads]
        self._asked = None
        return [ReadyRead(ticket, answer.read_index) for ticket in settled]

    def lose_request_for_reads(self) -> None:
        """Gives up the request under way: the reads that it covers are asked for again."""
        self._asked = None

    def take_reads(self) -> list[int]:
        """All reads that wait, because this server leads now and can tell itself."""
        reads, self._reads = self._reads, []
        self._asked = None
        return reads

    # ------------------------------------------------------------------ forwarded proposals

    @property
    def has_forwards(self) -> bool:
        """Whether any proposal waits for its answer."""
        return bool(self._forwards)

    def forward(self, ticket: int, leader: NodeId, term: int, data: bytes, now: int) -> None:
        """Sends proposals to the leader."""
        request_id = self._outbox.take_id()
        expires_at = now + self._settings.forward_timeout_us
        self._forwards[request_id] = _Forwarded(ticket, leader, expires_at)
        self._outbox.send(leader, Forward(request_id, term, data))

    def forward_answered(self, answer: ForwardAnswer) -> list[ForwardOutcome]:
        """The outcome of a forwarded proposal; empty if it was given up before."""
        forwarded = self._forwards.pop(answer.id, None)
        if forwarded is None:
            return []
        if answer.data is None:
            return [ForwardRefused(forwarded.ticket)]
        return [ForwardAnswered(forwarded.ticket, answer.data)]

    def expire_forwards(self, leader: NodeId | None, now: int) -> list[ForwardOutcome]:
        """Gives up what was sent to another leader than the present one, or too long ago.

        Something waits.
        """
        oldest = next(iter(self._forwards.values()))
        if oldest.leader != leader:
            return self.lose_forwards()
        lost: list[ForwardOutcome] = []
        for request_id, forwarded in list(self._forwards.items()):
            if forwarded.expires_at > now:
                break
            del self._forwards[request_id]
            lost.append(ForwardLost(forwarded.ticket))
        return lost

    def lose_forwards(self) -> list[ForwardOutcome]:
        """Gives up all that is under way."""
        lost, self._forwards = self._forwards, {}
        return [ForwardLost(forwarded.ticket) for forwarded in lost.values()]

    # ------------------------------------------------------------------ time

    def deadline(self) -> int | None:
        """When a request under way counts as lost."""
        due = None if self._asked is None else self._asked.expires_at
        if not self._forwards:
            return due
        return earliest(due, next(iter(self._forwards.values())).expires_at)
