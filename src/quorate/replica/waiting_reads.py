"""Reads on their way to being served: for want of an index, and then for want of its entry.

All reads that wait when a read index is asked for share it. Only one is asked for at a time, so
that what arrives meanwhile goes together into the next.
"""

from collections import deque
from typing import Generic, TypeVar

QueryT = TypeVar("QueryT")


class WaitingReads(Generic[QueryT]):
    """The reads of one replica; queries are opaque."""

    def __init__(self) -> None:
        self._arrived: dict[int, QueryT] = {}
        self._asked: dict[int, QueryT] | None = None
        self._confirmed: deque[tuple[int, dict[int, QueryT]]] = deque()
        self._next_ticket = 1

    def add(self, ticket: int, query: QueryT) -> None:
        """A read has arrived."""
        self._arrived[ticket] = query

    def cancel(self, ticket: int) -> None:
        """Forgets a read wherever it is."""
        self._arrived.pop(ticket, None)
        if self._asked is not None:
            self._asked.pop(ticket, None)
        for _, reads in self._confirmed:
            reads.pop(ticket, None)

    @property
    def is_index_wanted(self) -> bool:
        """Whether reads wait that no read index was asked for yet, and one can be."""
        return self._asked is None and bool(self._arrived)

    def begin(self) -> int | None:
        """A ticket to ask for a read index with; None if there is no need or one is asked for."""
        if not self.is_index_wanted:
            return None
        self._asked, self._arrived = self._arrived, {}
        ticket = self._next_ticket
        self._next_ticket += 1
        return ticket

    def confirmed(self, index: int) -> None:
        """The reads that an index was asked for may be served once it is applied."""
        assert self._asked is not None, "an index comes once for each time it was asked for"
        self._confirmed.append((index, self._asked))
        self._asked = None

    def take_ready(self, last_applied: int) -> list[tuple[int, QueryT]]:
        """The reads that may be served now: (ticket, query), in order of arrival."""
        ready: list[tuple[int, QueryT]] = []
        while self._confirmed and self._confirmed[0][0] <= last_applied:
            ready.extend(self._confirmed.popleft()[1].items())
        return ready
