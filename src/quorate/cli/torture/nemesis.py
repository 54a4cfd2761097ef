"""Who inflicts the faults: draws them from a seed, one after the other, and writes down when.

There are two: one for machines, one for the network. Of each sort one fault is in force at a time,
so a majority can work most of the time, though not always: both may strike together, and now and
then everybody is killed at once.
"""

import asyncio
import random
from collections.abc import Callable, Mapping

import msgspec

from quorate.cli.torture.fault import Fault
from quorate.cli.torture.victims import NotBackError
from quorate.runtime.clock import monotonic_us

STRIKE_S = (0.3, 4.0)
"""How long a fault is in force; until all is well again it may take longer."""
CALM_S = (0.3, 2.5)
"""The pause before the next one."""


class Mark(msgspec.Struct):
    """One fault that was inflicted. Times are microseconds.

    Attributes:
        kind: which.
        begun: when it began.
        ended: when all was well again.
        texts: what was done.
    """

    kind: str
    begun: int
    ended: int = 0
    texts: list[str] = []


class Nemesis:
    """Inflicts faults of one sort.

    Args:
        kinds: the faults, by their names.
        rng: for what is left to chance.
        marks: where it writes down what it has done.
        tell: is told what it does.
    """

    def __init__(
        self,
        kinds: Mapping[str, Fault],
        rng: random.Random,
        marks: list[Mark],
        tell: Callable[[str], None],
    ) -> None:
        self._kinds = kinds
        self._rng = rng
        self._marks = marks
        self._tell = tell

    async def rage(self, until: int) -> None:
        """Until this time (microseconds), and then to the end of the last fault.

        Each kind comes once before any comes again.
        """
        deck: list[str] = []
        while monotonic_us() < until:
            if not deck:
                deck = list(self._kinds)
                self._rng.shuffle(deck)
            await self._inflict(deck.pop())
            await asyncio.sleep(self._rng.uniform(*CALM_S))

    async def _inflict(self, kind: str) -> None:
        mark = Mark(kind, monotonic_us())
        self._marks.append(mark)

        def tell(text: str) -> None:
            mark.texts.append(text)
            self._tell(text)

        try:
            await self._kinds[kind](self._rng.uniform(*STRIKE_S), tell)
        except NotBackError as error:  # the other sort may be the reason; in the end all must be
            tell(str(error))
        mark.ended = monotonic_us()
