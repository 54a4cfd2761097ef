"""What the clients were told, what the servers hold, and whether the two agree.

Each key has one writer, which appends `KEY.1;`, `KEY.2;`, ... one after the other. So from the
value alone it can be told which appends are in it, how often, and in which order.
"""

import itertools
from collections import Counter
from collections.abc import Iterable

import msgspec


class KeyRecord(msgspec.Struct):
    """What the writer of one key knows.

    Attributes:
        key: the key.
        sent: how many appends were begun; they are numbered from 1.
        acknowledged: the numbers of those that were acknowledged.
        unknown: the numbers of those whose outcome is unknown: there once, or not at all.
        refused: the numbers of those that were reported as not executed: never there.
    """

    key: bytes
    sent: int = 0
    acknowledged: list[int] = []
    unknown: list[int] = []
    refused: list[int] = []

    def element(self, number: int) -> bytes:
        """What the append of this number appends."""
        return b"%b.%d;" % (self.key, number)


class Tally(msgspec.Struct, frozen=True, kw_only=True):
    """Counts of appends.

    Attributes:
        lost: acknowledged, and not in the value.
        doubled: in the value more than once.
        misplaced: in the value after one with a greater number.
        unexpected: in the value though never sent, or though reported as not executed.
    """

    lost: int = 0
    doubled: int = 0
    misplaced: int = 0
    unexpected: int = 0

    @property
    def is_clean(self) -> bool:
        """Whether all that was promised holds."""
        return not (self.lost or self.doubled or self.misplaced or self.unexpected)


def verify(record: KeyRecord, value: bytes) -> Tally:
    """Compares what the writer of a key was told with the value of the key."""
    elements = value.split(b";")
    rest = elements.pop()  # nothing, since every element ends with the separator
    numbers = [_number_of(record, element) for element in elements]
    valid = [number for number in numbers if number is not None]
    counts = Counter(valid)
    return Tally(
        lost=sum(1 for number in record.acknowledged if number not in counts),
        doubled=sum(count - 1 for count in counts.values()),
        misplaced=sum(1 for one, next_ in itertools.pairwise(valid) if next_ < one),
        unexpected=len(numbers) - len(valid) + (1 if rest else 0),
    )


def total(tallies: Iterable[Tally]) -> Tally:
    """The sums."""
    rows = [msgspec.structs.astuple(tally) for tally in tallies]
    lost, doubled, misplaced, unexpected = map(sum, zip(*rows, strict=True))
    return Tally(lost=lost, doubled=doubled, misplaced=misplaced, unexpected=unexpected)


def _number_of(record: KeyRecord, element: bytes) -> int | None:
    """Which append this is; None if it must not be there."""
    key, _, digits = element.rpartition(b".")
    if key != record.key or not digits.isdigit():
        return None
    number = int(digits)
    is_possible = 1 <= number <= record.sent and number not in record.refused
    return number if is_possible else None
