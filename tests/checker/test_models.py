"""The search is not about keys and values: any sequential specification will do."""

from collections.abc import Sequence

import pytest

from quorate.checker import Kind, Operation, Outcome, check
from quorate.checker.model import Effect


class Counter:
    """An append adds one and is told the sum before: every operation is an UPDATE."""

    def __init__(self, operations: Sequence[Operation]) -> None:
        self.initial = 0
        self.effects = [Effect.UPDATE] * len(operations)
        self.alike = range(len(operations))
        self.impossible = ()
        self._told = [operation.result for operation in operations]

    def step(self, state: int, operation: int) -> int | None:
        return state + 1 if self._told[operation] in (None, state) else None

    @staticmethod
    def is_hopeless(state: int) -> bool:  # noqa: ARG004 - no state is
        return False

    @staticmethod
    def forgone(before: int, after: int) -> frozenset[int]:  # noqa: ARG004 - there are no reads
        return frozenset()


def added(told: int | None, called: float, returned: float | None) -> Operation:
    return Operation(
        client="A",
        kind=Kind.APPEND,
        key=b"k",
        argument=b"",
        result=told,
        called=called,
        returned=returned,
    )


@pytest.mark.parametrize(
    ("history", "outcome"),
    [
        ([added(0, 0, 1), added(1, 2, 3)], Outcome.OK),
        ([added(1, 0, 2), added(0, 1, 3)], Outcome.OK),
        ([added(1, 0, 1), added(0, 2, 3)], Outcome.ILLEGAL),
        ([added(0, 0, 2), added(0, 1, 3)], Outcome.ILLEGAL),
        ([added(None, 0, None), added(0, 1, 2), added(2, 3, 4)], Outcome.OK),
        ([added(None, 0, None), added(0, 1, 2), added(3, 3, 4)], Outcome.ILLEGAL),
    ],
)
def test_a_counter(history: list[Operation], outcome: Outcome) -> None:
    assert check(history, model=Counter).outcome is outcome
