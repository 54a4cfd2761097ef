"""A number for each index of the log, kept in little space because it hardly ever changes.

The term of each entry and the segment that it was written to never decrease along the log, so
there are few runs of equal ones.
"""

from bisect import bisect_left, bisect_right


class Runs:
    """Numbers by index; the last one goes on for ever."""

    def __init__(self) -> None:
        self._firsts: list[int] = []
        self._values: list[int] = []

    def value_at(self, index: int) -> int | None:
        """The number at this index; None if it is before the first one that was set."""
        position = bisect_right(self._firsts, index) - 1
        return self._values[position] if position >= 0 else None

    def set_from(self, index: int, value: int) -> None:
        """Let this be the number from this index on."""
        position = bisect_left(self._firsts, index)
        del self._firsts[position:]
        del self._values[position:]
        if not self._values or self._values[-1] != value:
            self._firsts.append(index)
            self._values.append(value)

    def forget_before(self, index: int) -> None:
        """Nobody asks for a smaller index any more."""
        position = bisect_right(self._firsts, index) - 1
        if position > 0:
            del self._firsts[:position]
            del self._values[:position]
