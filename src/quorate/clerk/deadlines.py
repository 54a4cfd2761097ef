"""Which call's deadline comes next: a heap that calls may leave early."""

import heapq
import math


def deadline_after(timeout: float | None, now: int) -> int | None:
    """The deadline of a call that begins now, in microseconds.

    Args:
        timeout: seconds, or None (or what comes to infinity) for no deadline.
        now: microseconds.

    Raises:
        ValueError: the timeout is negative or not a number.
    """
    if timeout is None:
        return None
    if not timeout >= 0:
        raise ValueError(f"a timeout is a number of seconds, 0 or more, or None; got {timeout}")
    microseconds = timeout * 1_000_000
    return None if microseconds == math.inf else now + round(microseconds)


class Deadlines:
    """The deadlines of the calls under way.

    A call that ends early leaves its place in the heap behind. The heap is rebuilt when most of
    it is such places, so it stays in proportion to the calls under way.
    """

    def __init__(self) -> None:
        self._deadline_of: dict[int, int] = {}
        self._heap: list[tuple[int, int]] = []

    def add(self, ticket: int, deadline: int) -> None:
        """The call is to end by `deadline`."""
        self._deadline_of[ticket] = deadline
        heapq.heappush(self._heap, (deadline, ticket))

    def discard(self, ticket: int) -> None:
        """The call has ended; it need not have had a deadline."""
        if self._deadline_of.pop(ticket, None) is None:
            return
        if len(self._heap) > 2 * len(self._deadline_of) + 64:
            self._heap = [(deadline, left) for left, deadline in self._deadline_of.items()]
            heapq.heapify(self._heap)

    def next(self) -> int | None:
        """The earliest deadline."""
        heap = self._heap
        while heap and heap[0][1] not in self._deadline_of:
            heapq.heappop(heap)
        return heap[0][0] if heap else None

    def take_due(self, now: int) -> list[int]:
        """The calls whose deadline has come, the earliest first; they are gone from here."""
        due = []
        while self._heap and self._heap[0][0] <= now:
            _, ticket = heapq.heappop(self._heap)
            if self._deadline_of.pop(ticket, None) is not None:
                due.append(ticket)
        return due
