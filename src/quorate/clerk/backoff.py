"""How long to wait before the next attempt: exponential, with jitter, up to a bound."""

import random


class Backoff:
    """The waits between attempts that fail one after the other.

    Args:
        minimum_us: the bound of the first wait; it doubles with each failure.
        maximum_us: where it stops growing.
        rng: spreads the waits of several clients.
    """

    def __init__(self, *, minimum_us: int, maximum_us: int, rng: random.Random) -> None:
        self._minimum_us = minimum_us
        self._maximum_us = maximum_us
        self._rng = rng
        self._bound_us = minimum_us

    def next_us(self) -> int:
        """The wait after one more failure: between half and all of its bound, at least 1."""
        bound = self._bound_us
        self._bound_us = min(2 * bound, self._maximum_us)
        return self._rng.randint((bound + 1) // 2, bound)

    def reset(self) -> None:
        """Something succeeded."""
        self._bound_us = self._minimum_us
