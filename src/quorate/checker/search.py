"""The search for a linearization of one key's history.

Wing and Gong ("Testing and verifying concurrent objects", 1993) search for an order of the
operations that the sequential specification allows, depth first. Lowe ("Testing for
linearizability", 2017) remembers the configurations that the search has met, and lets an operation
take effect only just in time: when another one that is about to return can't do without it.

A configuration is a place in the timeline, a state, and what has become of each open operation. It
is *required* (it has to take effect before it returns), *done*, or *optional*: it may take effect
or not. Pending operations are optional. So is a write once an overwrite takes effect while it is
open: it may have taken effect just before, unseen. When an optional operation returns without
having taken effect, that is what happened to it.

docs/checker.md proves that what is left out here can't matter.
"""

import enum
from collections import deque
from collections.abc import Callable, Iterator, Sequence

import msgspec

from quorate.checker.history import Operation
from quorate.checker.model import Effect, Specification
from quorate.checker.timeline import Timeline


class Outcome(enum.Enum):
    """What the search has found."""

    OK = "ok"
    """There is a linearization."""
    ILLEGAL = "illegal"
    """There is none."""
    UNKNOWN = "unknown"
    """The limit was reached before it was known."""


class Finding(msgspec.Struct, frozen=True):
    """What a search has found.

    Attributes:
        outcome: whether there is a linearization.
        linearization: the operations, by their indices, in an order that explains the first
            `returns` returns.
        returns: how many returns there are, if the outcome is OK; else how far the search came.
    """

    outcome: Outcome
    linearization: tuple[int, ...]
    returns: int


class Step(msgspec.Struct, frozen=True):
    """An operation takes effect, after the steps before it."""

    before: "Step | None"
    operation: int
    place: int
    count: int


class Configuration(msgspec.Struct, frozen=True):
    """How far the search is, on one of its ways.

    Attributes:
        place: the next return to account for.
        state: the object's.
        required: the set of the open operations that have to take effect before they return.
        done: the set of the open operations that have taken effect.
        last: the steps that led here.
    """

    place: int
    state: int
    required: int
    done: int
    last: Step | None

    @property
    def progress(self) -> tuple[int, int]:
        """How far it is: returns accounted for, then operations that took effect."""
        return self.place, 0 if self.last is None else self.last.count


class Search:
    """The search through one key's history.

    Args:
        operations: of one key.
        specification: of that key.
        end: how many returns to account for. What returns later counts as pending.
        max_steps: after so many configurations it gives up.
        is_expired: is asked now and then; if it says so, the search gives up too.
    """

    def __init__(
        self,
        operations: Sequence[Operation],
        specification: Specification,
        *,
        end: int,
        max_steps: int | None,
        is_expired: Callable[[], bool],
    ) -> None:
        self._specification = specification
        self._effects = specification.effects
        self._timeline = Timeline(operations, self._effects, end)
        self._places = self._timeline.places
        self._visited = _Visited()
        self._forgone: dict[tuple[int, int], tuple[frozenset[int], int]] = {}
        self._max_steps = max_steps
        self._is_expired = is_expired

    def run(self) -> Finding:
        """Searches until it is known whether there is a linearization, or the limit is reached."""
        start = Configuration(0, self._specification.initial, self._called_at(0), 0, None)
        furthest = start
        ways = [iter((start,))]
        steps = 0
        while ways:
            entered = next(ways[-1], None)
            if entered is None:
                ways.pop()
                continue
            configuration = self._settled(entered)
            if configuration.progress > furthest.progress:
                furthest = configuration
            if configuration.place == len(self._places):
                return Finding(Outcome.OK, self._order(configuration), len(self._places))
            if not self._visited.add(configuration):
                continue
            if steps == self._max_steps or (steps % 256 == 0 and self._is_expired()):
                return self._failed(Outcome.UNKNOWN, furthest)
            steps += 1
            ways.append(self._moves(configuration))
        return self._failed(Outcome.ILLEGAL, furthest)

    def _failed(self, outcome: Outcome, furthest: Configuration) -> Finding:
        return Finding(outcome, self._order(furthest), furthest.place)

    def _settled(self, configuration: Configuration) -> Configuration:
        """Goes on with what needs no choice, up to a return that does or the end."""
        place, required, done = configuration.place, configuration.required, configuration.done
        state, last = configuration.state, configuration.last
        while place < len(self._places):
            here = self._places[place]
            # A read that is right now may as well take effect now: it changes nothing.
            for read in self._timeline.open_at(place, required & here.reads):
                if self._specification.step(state, read) is not None:
                    last = self._step(last, read, place)
                    required ^= self._timeline.bits[read]
                    done |= self._timeline.bits[read]
            bit = self._timeline.bits[here.due]
            if not done & bit:
                break
            place += 1
            done ^= bit
            required |= self._called_at(place)
        return Configuration(place, state, required, done, last)

    def _called_at(self, place: int) -> int:
        return self._places[place].called if place < len(self._places) else 0

    def _moves(self, configuration: Configuration) -> Iterator[Configuration]:
        """The configurations that one more operation leads to, the likeliest first.

        First of all the operation that is due. Another one has no business in making the state
        hopeless: it can wait until it is due, or until an overwrite makes it optional.
        """
        due = self._places[configuration.place].due
        after = self._step_to(configuration, due)
        is_last_resort = after is not None and self._specification.is_hopeless(after)
        if after is not None and not is_last_resort:
            yield self._moved(configuration, due, after)
        for operation in self._candidates(configuration):
            state = self._step_to(configuration, operation)
            if state is not None and not self._specification.is_hopeless(state):
                yield self._moved(configuration, operation, state)
        if not configuration.required & self._timeline.bits[due]:
            yield self._without_due(configuration)
        elif after is not None and is_last_resort:
            yield self._moved(configuration, due, after)

    def _step_to(self, configuration: Configuration, operation: int) -> int | None:
        """The state after the operation; None if it is refused, or a read could never be right."""
        before = configuration.state
        after = self._specification.step(before, operation)
        if after is None or after == before:
            return after
        change = (before, after)
        if change not in self._forgone:
            reads = self._specification.forgone(before, after) & self._timeline.returns
            latest = max(map(self._timeline.first_place.__getitem__, reads), default=0)
            self._forgone[change] = (reads, latest)
        reads, latest = self._forgone[change]
        place = configuration.place
        if latest > place:
            return None
        if reads:
            waiting = configuration.required & self._places[place].reads
            if not reads.isdisjoint(self._timeline.open_at(place, waiting)):
                return None
        return after

    def _without_due(self, configuration: Configuration) -> Configuration:
        """The optional operation that is due returns without having taken effect."""
        place = configuration.place + 1
        required = configuration.required | self._called_at(place)
        return msgspec.structs.replace(configuration, place=place, required=required)

    def _candidates(self, configuration: Configuration) -> Iterator[int]:
        """What may take effect before the operation that is due, earliest return first.

        Of operations that are alike only the first: the others can take its part later. It must
        be required then, or the others optional too, so that it can take theirs.
        """
        here = self._places[configuration.place]
        required, done = configuration.required, configuration.done
        alike, bits = self._specification.alike, self._timeline.bits
        required_kinds: set[int] = set()
        optional_kinds: set[int] = set()
        (required_kinds if required & bits[here.due] else optional_kinds).add(alike[here.due])
        not_done = here.open & ~done & ~here.reads & ~bits[here.due]
        for operation in self._timeline.open_at(configuration.place, not_done):
            kind, is_required = alike[operation], bool(required & bits[operation])
            if kind in required_kinds or (kind in optional_kinds and not is_required):
                continue
            (required_kinds if is_required else optional_kinds).add(kind)
            yield operation
        for position in range(here.pending):
            operation = self._timeline.pending[position]
            kind = alike[operation]
            if not done & bits[operation] and kind not in required_kinds | optional_kinds:
                optional_kinds.add(kind)
                yield operation

    def _moved(self, configuration: Configuration, operation: int, state: int) -> Configuration:
        bit = self._timeline.bits[operation]
        required = configuration.required & ~bit
        if self._effects[operation] is Effect.OVERWRITE:
            required &= ~self._places[configuration.place].writes
        return Configuration(
            configuration.place,
            state,
            required,
            configuration.done | bit,
            self._step(configuration.last, operation, configuration.place),
        )

    @staticmethod
    def _step(before: Step | None, operation: int, place: int) -> Step:
        return Step(before, operation, place, 1 if before is None else before.count + 1)

    def _order(self, configuration: Configuration) -> tuple[int, ...]:
        """All that took effect, in order, with the writes that were overwritten unseen."""
        steps: list[Step] = []
        step = configuration.last
        while step is not None:
            steps.append(step)
            step = step.before
        steps.reverse()
        unseen = deque(self._unseen(configuration.place, {step.operation for step in steps}))
        order: list[int] = []
        for step in steps:
            if self._effects[step.operation] is Effect.OVERWRITE:
                while unseen and unseen[0][0] <= step.place:
                    order.append(unseen.popleft()[1])
            order.append(step.operation)
        assert not unseen, "what returned without having taken effect was overwritten"
        return tuple(order)

    def _unseen(self, place: int, done: set[int]) -> list[tuple[int, int]]:
        """What returned before a place without a step of its own.

        Returns:
            The first place at which it was open, and the operation, in the order of the former.
        """
        returned = {here.due for here in self._places[:place]} - done
        return [
            (number, operation)
            for number, here in enumerate(self._places[:place])
            for operation in self._timeline.open_at(number, here.called)
            if operation in returned
        ]


class _Visited:
    """The configurations that the search has met, by place and state.

    A configuration is not worth a visit if one was met that can do all that it can: one that
    requires no operation that this one doesn't require, and has done none that this one hasn't.
    """

    def __init__(self) -> None:
        self._met: dict[tuple[int, int], list[tuple[int, int]]] = {}

    def add(self, configuration: Configuration) -> bool:
        """Notes a configuration; False if it isn't worth a visit."""
        required, done = configuration.required, configuration.done
        met = self._met.setdefault((configuration.place, configuration.state), [])
        for other_required, other_done in met:
            if not other_required & ~required and not other_done & ~done:
                return False
        met.append((required, done))
        return True
