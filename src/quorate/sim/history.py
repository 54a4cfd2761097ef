"""What the clients of a world have seen, and whether a service that never lies can explain it.

All writes are appends of elements, each unique in the whole run: `writer:n;` is the n-th of a
writer. So the final value of a key tells which appends took effect, how often and in which order;
each append has a place in it, and each read saw it up to a place. A history is linearizable if
and only if these places never contradict the times at which the operations began and ended.
"""

from collections.abc import Iterable, Sequence

import msgspec

from quorate.sim.errors import HistoryError


class Writer(msgspec.Struct, frozen=True):
    """A client, or one connection of it.

    Attributes:
        name: its own.
        is_ordered: its operations take effect in the order in which it began them.
        settles: a read that it begins after an append of its own ended as unknown shows for good
            whether that took effect (`OutcomeUnknownError`).
    """

    name: bytes
    is_ordered: bool = False
    settles: bool = False


class Append(msgspec.Struct, eq=False):
    """One append and what its client knows of it. Times are virtual microseconds.

    Attributes:
        writer: who.
        number: its number among the writer's appends.
        key: where.
        begun: when.
        ended: when its client got an outcome.
        outcome: `pending`, `acknowledged`, `unknown` or `not executed`.
        length: of the value after it, as the client was told.
    """

    writer: Writer
    number: int
    key: bytes
    begun: int
    ended: int | None = None
    outcome: str = "pending"
    length: int | None = None

    @property
    def element(self) -> bytes:
        """What is appended."""
        return b"%b:%d;" % (self.writer.name, self.number)


class Read(msgspec.Struct, eq=False):
    """One read; `value` is None until it was answered. Times are virtual microseconds."""

    writer: Writer
    key: bytes
    begun: int
    ended: int | None = None
    value: bytes | None = None


class History:
    """The appends and reads of all clients."""

    def __init__(self) -> None:
        self._operations: list[Append | Read] = []
        self._numbers: dict[bytes, int] = {}

    def begin_append(self, writer: Writer, key: bytes, now: int) -> Append:
        """A client begins to append an element of its own."""
        number = self._numbers.get(writer.name, 0) + 1
        self._numbers[writer.name] = number
        append = Append(writer, number, key, now)
        self._operations.append(append)
        return append

    def begin_read(self, writer: Writer, key: bytes, now: int) -> Read:
        """A client begins to read a key."""
        read = Read(writer, key, now)
        self._operations.append(read)
        return read

    @staticmethod
    def acknowledged(append: Append, length: int, now: int) -> None:
        """The append took effect; the value has this length after it."""
        append.outcome, append.ended, append.length = "acknowledged", now, length

    @staticmethod
    def unknown(append: Append, now: int) -> None:
        """The append took effect, will do so, or never will."""
        append.outcome, append.ended = "unknown", now

    @staticmethod
    def not_executed(append: Append, now: int) -> None:
        """The append never takes effect."""
        append.outcome, append.ended = "not executed", now

    @staticmethod
    def answered(read: Read, value: bytes, now: int) -> None:
        """The read was answered."""
        read.value, read.ended = value, now

    def count(self, outcome: str) -> int:
        """How many appends have this outcome."""
        return sum(append.outcome == outcome for append in self._appends())

    @property
    def keys(self) -> list[bytes]:
        """All keys that anybody ever appended to or read."""
        return sorted({operation.key for operation in self._operations})

    @property
    def operations(self) -> Sequence[Append | Read]:
        """All of them, in the order in which they began."""
        return self._operations

    @property
    def reads(self) -> int:
        """How many reads were answered."""
        return sum(isinstance(o, Read) and o.value is not None for o in self._operations)

    def check(self, values: dict[bytes, bytes]) -> None:
        """Checks all that was seen against the final values of all keys.

        Raises:
            HistoryError: something acknowledged is lost, something is there twice or though it
                was said not to be executed, a client was told something that is not so, a read
                was stale, or something took effect out of order.
        """
        of_key: dict[bytes, list[Append | Read]] = {key: [] for key in sorted(values)}
        for operation in self._operations:
            of_key[operation.key].append(operation)
        for key, operations in of_key.items():
            value = values[key]
            appends = [operation for operation in operations if isinstance(operation, Append)]
            _check_contents(key, value, appends)
            places = _places(value, operations)
            _check_answers(key, value, operations, places)
            _check_times(key, operations, places)
            _check_programs(key, operations, places)
            _check_settled(key, operations, places)

    def _appends(self) -> Iterable[Append]:
        return (operation for operation in self._operations if isinstance(operation, Append))


class _Place(msgspec.Struct, frozen=True):
    """Where an operation stands in the final value, in bytes from its beginning.

    Attributes:
        after: the least value that it can have followed.
        until: the value that it made, or saw.
    """

    after: int
    until: int


_Places = dict[int, _Place]
"""By position among the key's operations; only those that took effect."""


def _check_contents(key: bytes, value: bytes, appends: list[Append]) -> None:
    found = [element + b";" for element in value.split(b";")[:-1]]
    there = set(found)
    if len(there) != len(found):
        twice = next(element for element in found if found.count(element) > 1)
        raise HistoryError(
            f"{twice!r} is {found.count(twice)} times in {key!r}",
            *(append for append in appends if append.element == twice),
        )
    for append in appends:
        if append.outcome == "acknowledged" and append.element not in there:
            raise HistoryError(f"{append.element!r} was acknowledged and is not in {key!r}", append)
        if append.outcome == "not executed" and append.element in there:
            raise HistoryError(
                f"{append.element!r} is in {key!r}, though it was not to be executed", append
            )
    unasked = there - {append.element for append in appends}
    if unasked:
        raise HistoryError(f"{sorted(unasked)!r} in {key!r} were never asked for")


def _places(value: bytes, operations: list[Append | Read]) -> _Places:
    ends: dict[bytes, int] = {}
    end = 0
    for element in value.split(b";")[:-1]:
        end += len(element) + 1
        ends[element + b";"] = end
    places: _Places = {}
    for position, operation in enumerate(operations):
        match operation:
            case Read(value=bytes(seen)):
                places[position] = _Place(len(seen), len(seen))
            case Append(element=element) if element in ends:
                places[position] = _Place(ends[element] - len(element), ends[element])
            case _:
                pass
    return places


def _check_answers(
    key: bytes, value: bytes, operations: list[Append | Read], places: _Places
) -> None:
    for position, place in places.items():
        match operations[position]:
            case Read(value=bytes(seen)) as read if not value.startswith(seen):
                raise HistoryError(
                    f"a read of {key!r} that began at {read.begun} us gave {seen!r}, which the "
                    f"value never was",
                    read,
                )
            case Append(length=int(length)) as append if length != place.until:
                raise HistoryError(
                    f"{append.element!r} was acknowledged with a length of {length}, but it ends "
                    f"at {place.until} of {key!r}",
                    append,
                )
            case _:
                pass


def _check_times(key: bytes, operations: list[Append | Read], places: _Places) -> None:
    """What ended before something else began stands before it."""
    begun = sorted(places, key=lambda position: operations[position].begun)
    ended = sorted(
        (end, position)
        for position in places
        if (end := operations[position].ended) is not None and _is_certain(operations[position])
    )
    latest: int | None = None
    next_end = 0
    for position in begun:
        operation = operations[position]
        while next_end < len(ended) and ended[next_end][0] < operation.begun:
            candidate = ended[next_end][1]
            if latest is None or places[candidate].until > places[latest].until:
                latest = candidate
            next_end += 1
        if latest is not None and places[position].after < places[latest].until:
            raise HistoryError(
                f"{_describe(operation)} of {key!r} began at {operation.begun} us and is at "
                f"{places[position].after}, but {_describe(operations[latest])} had ended at "
                f"{operations[latest].ended} us at {places[latest].until}",
                operations[latest],
                operation,
            )


def _check_programs(key: bytes, operations: list[Append | Read], places: _Places) -> None:
    """What an ordered writer began first stands first.

    Except that an append in doubt may still take effect after a later read.
    """
    latest: dict[Writer, int] = {}
    latest_certain: dict[Writer, int] = {}
    for position, place in places.items():
        operation = operations[position]
        writer = operation.writer
        if not writer.is_ordered:
            continue
        before = (latest if isinstance(operation, Append) else latest_certain).get(writer)
        if before is not None and place.after < places[before].until:
            raise HistoryError(
                f"{_describe(operation)} of {key!r} is at {place.after}, before "
                f"{_describe(operations[before])} at {places[before].until}, which its writer "
                "had begun earlier",
                operations[before],
                operation,
            )
        latest[writer] = position
        if _is_certain(operation):
            latest_certain[writer] = position


def _check_settled(key: bytes, operations: list[Append | Read], places: _Places) -> None:
    """What a writer's own later read did not show of an append in doubt never came."""
    in_doubt: dict[Writer, list[int]] = {}
    for position, place in places.items():
        operation = operations[position]
        match operation:
            case Append(outcome="unknown", writer=writer) if writer.settles:
                in_doubt.setdefault(writer, []).append(position)
            case Read(writer=writer, begun=begun):
                for doubtful in in_doubt.get(writer, []):
                    append = operations[doubtful]
                    assert append.ended is not None
                    if append.ended < begun and places[doubtful].until > place.until:
                        raise HistoryError(
                            f"{_describe(append)} was in doubt, a later read of {key!r} by its "
                            "own writer did not show it, and yet it took effect",
                            append,
                            operations[position],
                        )
            case _:
                pass


def _is_certain(operation: Append | Read) -> bool:
    return isinstance(operation, Read) or operation.outcome == "acknowledged"


def _describe(operation: Append | Read) -> str:
    match operation:
        case Append(element=element):
            return f"the append of {element!r}"
        case Read(writer=writer):
            return f"a read by {writer.name!r}"
