"""What the search knows of the objects whose histories it searches: a sequential specification.

A model says what operations do when they happen one after another. The search sees it through
small integers: an operation is its index among those of one key that is checked, a state is
whatever integer the specification stands for it. Equal states must be equal integers, so that
comparing and hashing a state costs nothing, however large it is.
"""

import enum
from collections.abc import Callable, Collection, Sequence
from typing import Protocol

from quorate.checker.history import Operation


class Effect(enum.Enum):
    """What an operation can do, whatever the state is.

    The search is right if every operation is an UPDATE. The others let it leave out orders that
    can't matter (docs/checker.md, "What the search leaves out").
    """

    READ = enum.auto()
    """Never changes the state. It is refused if its result is not what the state gives."""
    WRITE = enum.auto()
    """Is never refused."""
    OVERWRITE = enum.auto()
    """Is never refused, and leads to one state, whatever state it finds."""
    UPDATE = enum.auto()
    """May be refused, because its result tells of the state, and may change the state."""


class Specification(Protocol):
    """The sequential behaviour of what stands behind one key."""

    @property
    def initial(self) -> int:
        """The state before any operation."""
        ...

    @property
    def effects(self) -> Sequence[Effect]:
        """By operation, what it can do."""
        ...

    @property
    def alike(self) -> Sequence[int]:
        """By operation, a number that two share only if no step can tell them apart.

        They are of the same kind, with the same argument and the same result.
        """
        ...

    @property
    def impossible(self) -> Collection[int]:
        """Reads that no state can answer. It need not be all of them; none is right, too."""
        ...

    def step(self, state: int, operation: int) -> int | None:
        """The state after the operation; None if this state refuses it: its result is wrong.

        A pending READ is never asked about: it has no result, so it says nothing.
        """
        ...

    def is_hopeless(self, state: int) -> bool:
        """Whether only an OVERWRITE leads out of it.

        A hopeless state refuses every READ, every WRITE leaves the state hopeless, and no
        operation of the key is an UPDATE.
        """
        ...

    def forgone(self, before: int, after: int) -> frozenset[int]:
        """The reads that were possible before and, after this step, are for ever refused.

        Whatever else takes effect later. It need not be all of them; none is right, too.

        Args:
            before: a state.
            after: the state that a step led to from there.
        """
        ...


Model = Callable[[Sequence[Operation]], Specification]
"""A kind of object, one of which stands behind each key: from all operations of a key to what they
do there, one after another."""
