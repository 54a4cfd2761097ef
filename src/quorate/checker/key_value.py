"""The model of a key of the key/value table: put, append, get and delete.

Values grow to many kilobytes by short appends, so a state must not hold one. All that a state has
to answer is which reads are right in it. So the values that were read are sorted once, and a state
is the range of them that begin with its value, and its length. An append narrows the range by
comparing its argument with the bytes that follow in it. Values that no read begins with all have
the empty range: until the next put or delete no read can be right, so they are one state, which
is hopeless. Only if an append was answered with a length, or a delete with a count, they are told
apart by their lengths.
"""

from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from itertools import accumulate, chain
from math import inf

from quorate.checker.history import Kind, Operation
from quorate.checker.model import Effect

_State = tuple[int, int, int, bool]
"""The range of read values that begin with the value, as first and end; its length; whether the
key exists. The value of a missing key is empty."""

_HOPELESS: _State = (0, 0, 0, True)


class KeySpecification:
    """One key that is put, appended to, got and deleted (`model.Specification`).

    Args:
        operations: all of that key.
    """

    def __init__(self, operations: Sequence[Operation]) -> None:
        self._operations = operations
        self._values = sorted({o.result for o in operations if isinstance(o.result, bytes)})
        self._position = {value: position for position, value in enumerate(self._values)}
        self.effects = [_effect(operation) for operation in operations]
        self._tells_lengths = Effect.UPDATE in self.effects
        numbers: dict[tuple[object, ...], int] = {}
        self.alike = [
            numbers.setdefault((o.kind, o.argument, o.result), len(numbers)) for o in operations
        ]
        self._states: list[_State] = []
        self._numbers: dict[_State, int] = {}
        self._steps: dict[tuple[int, int], int | None] = {}
        self._forgone: dict[tuple[int, int], frozenset[int]] = {}
        self._reads: list[list[int]] = [[] for _ in self._values]
        for number, operation in enumerate(operations):
            if isinstance(operation.result, bytes):
                self._reads[self._position[operation.result]].append(number)
        roots, lengths = self._count_roots()
        self.impossible = {
            read
            for reads, count in zip(self._reads, roots, strict=True)
            for read in reads
            if not count
        }
        # The length of what a value must have grown from; infinite if that isn't certain.
        self._root_lengths = [
            length if count == 1 else inf for count, length in zip(roots, lengths, strict=True)
        ]
        self._missing: _State = (0, len(self._values), 0, False)
        self.initial = self._intern(self._missing)

    def step(self, state: int, operation: int) -> int | None:
        """See `Specification`."""
        memory = (state, self.alike[operation])
        if memory not in self._steps:
            self._steps[memory] = self._compute(state, self._operations[operation])
        return self._steps[memory]

    def is_hopeless(self, state: int) -> bool:
        """See `Specification`."""
        return self._states[state] == _HOPELESS and not self._tells_lengths

    def forgone(self, before: int, after: int) -> frozenset[int]:
        """See `Specification`.

        Whatever the value before began with, a value read can't come again if it begins so, unless
        by another put or from the empty value. The reads of such values that the value after is no
        beginning of are forgone.
        """
        memory = (before, after)
        if memory not in self._forgone:
            first, end, length, _ = self._states[before]
            kept_first, kept_end, *_ = self._states[after]
            if not first <= kept_first < kept_end <= end:
                kept_first = kept_end = end
            self._forgone[memory] = frozenset(
                read
                for position in chain(range(first, kept_first), range(kept_end, end))
                if self._root_lengths[position] <= length
                for read in self._reads[position]
            )
        return self._forgone[memory]

    def _count_roots(self) -> tuple[list[int], list[int]]:
        """By read value, how many roots it has, and the sum of their lengths.

        The roots of a value are what it can have grown from by appends: each put of what it begins
        with; and if it begins with the argument of an append, or is empty, the missing key, at the
        start and after each delete.
        """
        count = len(self._values)
        # Each put and append changes these for the range of values that begin with its argument.
        roots, lengths, appends = ([0] * (count + 1) for _ in range(3))
        for operation in self._operations:
            if operation.argument is None:
                continue
            first, end, length, _ = self._extended((0, count, 0, True), operation.argument)
            is_put = operation.kind is Kind.PUT
            changes = (roots, is_put), (lengths, length * is_put), (appends, not is_put)
            for changed, change in changes:
                changed[first] += change
                changed[end] -= change
        from_missing = 1 + sum(operation.kind is Kind.DELETE for operation in self._operations)
        counts = [
            puts + (from_missing if appended or not value else 0)
            for value, puts, appended in zip(
                self._values, accumulate(roots), accumulate(appends), strict=False
            )
        ]
        return counts, list(accumulate(lengths))[:count]

    def _compute(self, number: int, operation: Operation) -> int | None:
        state = self._states[number]
        first, end, length, exists = state
        result, argument = operation.result, operation.argument
        match operation.kind:
            case Kind.GET if isinstance(result, bytes):
                is_read = first < end and first == self._position[result]
                return number if is_read and length == len(result) else None
            case Kind.GET:
                return None if exists else number
            case Kind.PUT:
                assert argument is not None
                return self._intern(self._extended((0, len(self._values), 0, True), argument))
            case Kind.APPEND:
                assert argument is not None
                if result is not None and result != length + len(argument):
                    return None
                return self._intern(self._extended(state, argument))
            case Kind.DELETE:
                return self._intern(self._missing) if result in (None, int(exists)) else None

    def _extended(self, state: _State, argument: bytes) -> _State:
        """The state whose value ends with the argument in addition."""
        first, end, length, _ = state
        longer = length + len(argument)

        def following(value: bytes) -> bytes:
            return value[length:longer]

        first = bisect_left(self._values, argument, first, end, key=following)
        end = bisect_right(self._values, argument, first, end, key=following)
        return first, end, longer, True

    def _intern(self, state: _State) -> int:
        first, end, length, exists = state
        if first == end:
            is_told_apart = self._tells_lengths or not exists
            state = (0, 0, length, exists) if is_told_apart else _HOPELESS
        number = self._numbers.setdefault(state, len(self._states))
        if number == len(self._states):
            self._states.append(state)
        return number


def _effect(operation: Operation) -> Effect:
    match operation.kind, operation.result:
        case Kind.GET, _:
            return Effect.READ
        case Kind.PUT, _:
            return Effect.OVERWRITE
        case Kind.APPEND, None:
            return Effect.WRITE
        case Kind.DELETE, None:
            return Effect.OVERWRITE
        case _:
            return Effect.UPDATE
