"""The operations of one key in the order of their calls and returns, laid out for the search.

The search accounts for one operation after another in the order in which they returned. *Place* k
lies just before the k-th return: the operation due there has to have taken effect. All sets of
operations that the search compares and remembers are sets of *open* operations, those called but
not returned, so an operation has a bit for as long as it is open, and a later one gets the same bit
afterwards. Sets are integers as wide as there are operations open at the same time, not as long as
the history. What is pending has a bit for good, above the others.
"""

from bisect import bisect_left
from collections.abc import Sequence
from heapq import heappop, heappush

import msgspec

from quorate.checker.history import Operation
from quorate.checker.model import Effect


class Place(msgspec.Struct, frozen=True):
    """A point in time, just before a return. Sets are without what is pending.

    Attributes:
        due: the operation that returns.
        called: the set of what has been called since the place before.
        open: the set of what has been called and has not returned.
        reads: those of them that only read.
        writes: those of them that are never refused.
        pending: how many operations that never return have been called, reads left out.
    """

    due: int
    called: int
    open: int
    reads: int
    writes: int
    pending: int


class Timeline:
    """The places of one key's history.

    Args:
        operations: of one key.
        effects: what each can do.
        end: how many returns there are. What returns later counts as pending, and what is called
            after the last of them is left out.

    Attributes:
        places: one for each return.
        bits: by operation, the set of it alone. A pending read has none, for it says nothing.
        returns: the operations that return.
        first_place: by operation, the first place at which it has been called.
        pending: the operations that never return, in the order of their calls, reads left out.
    """

    def __init__(
        self, operations: Sequence[Operation], effects: Sequence[Effect], end: int
    ) -> None:
        self.places: list[Place] = []
        self.bits = [0] * len(operations)
        self.first_place = [0] * len(operations)
        self.pending: list[int] = []
        # By number of a bit: the operations that have it, one after another, and where they return.
        self._holders: list[list[int]] = []
        self._ends: list[list[int]] = []
        self._lay_out(_events(operations), effects, end)
        for position, operation in enumerate(self.pending, start=len(self._holders)):
            self.bits[operation] = 1 << position

    def open_at(self, place: int, operations: int) -> list[int]:
        """The members of a set, in the order of their returns.

        Args:
            place: where.
            operations: a set of what is open there, and not pending.
        """
        found = []
        while operations:
            lowest = operations & -operations
            operations ^= lowest
            number = lowest.bit_length() - 1
            turn = bisect_left(self._ends[number], place)
            found.append((self._ends[number][turn], self._holders[number][turn]))
        found.sort()
        return [operation for _, operation in found]

    def _lay_out(self, events: list[tuple[int, bool]], effects: Sequence[Effect], end: int) -> None:
        returning = [operation for operation, is_return in events if is_return][:end]
        self.returns = frozenset(returning)
        free: list[int] = []
        called = is_open = reads = writes = 0
        for operation, is_return in events:
            if len(self.places) == len(returning):
                break
            bit = self.bits[operation]
            if is_return:
                place = Place(operation, called, is_open, reads, writes, len(self.pending))
                number = bit.bit_length() - 1
                self._ends[number].append(len(self.places))
                self.places.append(place)
                heappush(free, number)
                called, is_open, reads, writes = 0, is_open & ~bit, reads & ~bit, writes & ~bit
                continue
            self.first_place[operation] = len(self.places)
            effect = effects[operation]
            if operation not in self.returns:
                if effect is not Effect.READ:
                    self.pending.append(operation)
                continue
            bit = self._bit_for(operation, free)
            called, is_open = called | bit, is_open | bit
            reads |= bit if effect is Effect.READ else 0
            writes |= bit if effect in (Effect.WRITE, Effect.OVERWRITE) else 0

    def _bit_for(self, operation: int, free: list[int]) -> int:
        """Takes the lowest bit that nothing open has."""
        if not free:
            heappush(free, len(self._holders))
            self._holders.append([])
            self._ends.append([])
        number = heappop(free)
        self._holders[number].append(operation)
        self.bits[operation] = 1 << number
        return self.bits[operation]


def in_order_of_return(operations: Sequence[Operation]) -> list[int]:
    """The operations that return, earliest return first."""
    return [operation for operation, is_return in _events(operations) if is_return]


def _events(operations: Sequence[Operation]) -> list[tuple[int, bool]]:
    """Calls and returns in their order: the operation, and whether it is its return.

    Calls come before returns of the same instant: the instants of both belong to an operation.
    """
    events = [(o.called, False, number) for number, o in enumerate(operations)]
    events += [(o.returned, True, n) for n, o in enumerate(operations) if o.returned is not None]
    return [(number, is_return) for _, is_return, number in sorted(events)]
