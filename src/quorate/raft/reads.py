"""Linearizable reads without writing to the log: ReadIndex (dissertation §6.4).

A leader may serve a read at its commit index once a majority has confirmed, *after the read
arrived*, that it is still the leader. All reads that wait share one round of confirmations. A
round is named by the id of the first request that may confirm it: ids only grow, and each
request is sent after the round began, so an answer to that id or a later one proves that its
sender still followed this leader then. An answer to anything sent before the round proves
nothing for it; this is why a round cannot be mistaken for an earlier one. A follower's request that
makes a majority with the leader is served without a round (`Raft._receive_read_index`).
"""

import msgspec

from quorate.raft.configuration import NodeId


class LocalRead(msgspec.Struct, frozen=True, gc=False):
    """A read that this server's own clients wait for."""

    ticket: int


class RemoteRead(msgspec.Struct, frozen=True, gc=False):
    """A follower's `ReadIndex` request."""

    origin: NodeId
    request_id: int


Read = LocalRead | RemoteRead


class ReadRounds:
    """The reads that wait at a leader: one round under way, the others for the next."""

    def __init__(self) -> None:
        self._waiting: list[Read] = []
        self._round: list[Read] = []
        self.read_index = 0
        """The index at which the reads of the round under way are served."""
        self.first_id = 0
        """The first request whose answer confirms the round under way."""
        self.ask_all_at: int | None = None
        """When those are asked for their confirmation too that were not needed at first; None if
        that was done."""

    @property
    def wait(self) -> bool:
        """Whether there are any, in this round or for the next."""
        return bool(self._round or self._waiting)

    @property
    def is_under_way(self) -> bool:
        """Whether a round waits for its majority."""
        return bool(self._round)

    def add(self, read: Read) -> None:
        """A read has arrived; it takes part in the next round.

        A follower that asks again has given up its earlier request, and no answer to that would
        settle anything. So of each follower only the newest request waits, and however long a
        leader cannot confirm anything, they are no more than there are servers.
        """
        if isinstance(read, RemoteRead):
            self._waiting = [
                other
                for other in self._waiting
                if not (isinstance(other, RemoteRead) and other.origin == read.origin)
            ]
        self._waiting.append(read)

    def begin(self, *, read_index: int, first_id: int, ask_all_at: int) -> None:
        """Begins a round for all reads that wait, unless one is under way.

        Args:
            read_index: the leader's commit index, which covers an entry of its own term.
            first_id: the id of the leader's next request.
            ask_all_at: when more servers are to be asked than a majority needs.
        """
        if self._round or not self._waiting:
            return
        self._round, self._waiting = self._waiting, []
        self.read_index = read_index
        self.first_id = first_id
        self.ask_all_at = ask_all_at

    def take_asking_all(self, now: int) -> bool:
        """Whether it is time to ask all of them; once in each round."""
        if self.ask_all_at is None or now < self.ask_all_at:
            return False
        self.ask_all_at = None
        return True

    def take_confirmed(self, acknowledged_id: int) -> list[Read]:
        """The reads of the round, if a majority has answered a request of this id or a later."""
        if acknowledged_id < self.first_id:
            return []
        confirmed, self._round = self._round, []
        return confirmed

    def abandon(self) -> list[Read]:
        """All reads that were not confirmed, because this server no longer leads."""
        return self._round + self._waiting
