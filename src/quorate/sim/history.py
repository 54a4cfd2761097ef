"""What the clients of a world have seen, and whether a service that never lies can explain it.

All writes are appends of elements, each unique in the whole run: `writer:n;` is the n-th of a
writer. So a value tells which appends took effect, how often and in which order.
"""

import msgspec


class HistoryError(AssertionError):
    """The clients have seen what must not be; the text says what and where."""


class Writer(msgspec.Struct, frozen=True):
    """Who appends.

    Attributes:
        name: of fixed length, so that no element is part of another.
        is_ordered: whether its appends take effect in the order in which it made them.
    """

    name: bytes
    is_ordered: bool


class Append(msgspec.Struct):
    """One append and what its client knows of it.

    Attributes:
        writer: who.
        number: its number among the writer's appends.
        key: where.
        outcome: `pending`, `acknowledged`, `unknown` or `not executed`.
    """

    writer: Writer
    number: int
    key: bytes
    outcome: str = "pending"

    @property
    def element(self) -> bytes:
        """What is appended."""
        return b"%b:%d;" % (self.writer.name, self.number)


class _Observation(msgspec.Struct, frozen=True):
    """A read that has ended: the value was `value` at some time between `begun` and `ended`."""

    ended: int
    value: bytes


class History:
    """The appends and reads of all clients."""

    def __init__(self) -> None:
        self._appends: dict[bytes, list[Append]] = {}
        self._acknowledged_at: dict[bytes, list[tuple[int, bytes]]] = {}
        self._longest: dict[bytes, list[_Observation]] = {}
        self._numbers: dict[bytes, int] = {}
        self.acknowledged = 0
        self.unknown = 0
        self.not_executed = 0
        self.reads = 0

    def begin_append(self, writer: Writer, key: bytes) -> Append:
        """A client begins to append an element of its own."""
        number = self._numbers.get(writer.name, 0) + 1
        self._numbers[writer.name] = number
        append = Append(writer, number, key)
        self._appends.setdefault(key, []).append(append)
        return append

    def end_append(self, append: Append, outcome: str, now: int) -> None:
        """The client has an outcome."""
        append.outcome = outcome
        match outcome:
            case "acknowledged":
                self.acknowledged += 1
                acknowledged = self._acknowledged_at.setdefault(append.key, [])
                acknowledged.append((now, append.element))
            case "unknown":
                self.unknown += 1
            case _:
                self.not_executed += 1

    def end_read(self, key: bytes, value: bytes, *, begun: int, ended: int) -> None:
        """A read has ended; checks it against all that had ended before it began.

        Raises:
            HistoryError: the read was stale.
        """
        self.reads += 1
        earlier = [seen for seen in self._longest.get(key, []) if seen.ended < begun]
        for seen in earlier[-1:]:
            if not value.startswith(seen.value):
                raise HistoryError(
                    f"a read of {key!r} that began at {begun} us gave {value!r}, but one that "
                    f"had ended at {seen.ended} us had given {seen.value!r}"
                )
        for time, element in reversed(self._acknowledged_at.get(key, [])):
            if time < begun and element not in value:
                raise HistoryError(
                    f"a read of {key!r} that began at {begun} us lacks {element!r}, which was "
                    f"acknowledged at {time} us: {value!r}"
                )
        observations = self._longest.setdefault(key, [])
        if not observations or len(value) > len(observations[-1].value):
            observations.append(_Observation(ended, value))

    def check(self, values: dict[bytes, bytes]) -> None:
        """Checks the final values of all keys.

        Raises:
            HistoryError: something acknowledged is lost, something is there twice that was asked
                for once, something is there that was said not to be executed or was never asked
                for, or one client's appends are out of order.
        """
        for key, appends in sorted(self._appends.items()):
            found = [element + b";" for element in values[key].split(b";")[:-1]]
            for element in found:
                if found.count(element) > 1:
                    raise HistoryError(f"{element!r} is {found.count(element)} times in {key!r}")
            for append in appends:
                if append.outcome == "acknowledged" and append.element not in found:
                    raise HistoryError(f"{append.element!r} was acknowledged and is not in {key!r}")
                if append.outcome == "not executed" and append.element in found:
                    raise HistoryError(
                        f"{append.element!r} is in {key!r}, though it was not to be executed"
                    )
            asked = {append.element: append for append in appends}
            unasked = set(found) - set(asked)
            if unasked:
                raise HistoryError(f"{sorted(unasked)!r} in {key!r} were never asked for")
            _check_order(key, [asked[element] for element in found])


def _check_order(key: bytes, found: list[Append]) -> None:
    last: dict[bytes, int] = {}
    for append in found:
        writer = append.writer
        if writer.is_ordered and append.number <= last.get(writer.name, 0):
            raise HistoryError(
                f"{append.element!r} in {key!r} stands behind a later one of its writer"
            )
        last[writer.name] = append.number
