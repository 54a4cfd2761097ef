"""The key/value table: the state machine of a Quorate server.

A table is a pure function of the commands that it applied: it knows no clock, no session, no log
and no client. Its limit on values can change what APPEND does, so it is part of the state and is
the same on every server.
"""

import hashlib
from collections.abc import Iterator

import msgspec

from quorate.kv.commands import (
    OK_REPLY,
    Append,
    Delete,
    Failure,
    FailureCode,
    Put,
    PutMany,
    decode_command,
    encode_reply,
)
from quorate.kv.errors import MalformedError
from quorate.kv.layered_values import LayeredValues, Value
from quorate.kv.queries import Count, Exists, Get, GetMany, Length, Query, QueryResult

DEFAULT_MAX_VALUE_BYTES = 1024 * 1024

SECTION_BYTES = 64 * 1024
"""A section of a snapshot ends with the value that reaches this."""

_ITEM_BYTES = 8
"""About what an item takes in a section beside its key and value."""

MERGED_PER_CALL = 500
"""How many of the changes made during a snapshot are merged into the table at a time, behind it."""


FREED_PER_STEP = 2_000
"""So many keys are freed at a time when the table is not needed any more."""


class _Section(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """A part of a table, in no particular order; a snapshot has at least one."""

    max_value_bytes: int
    values: dict[bytes, bytes]


_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(_Section)


def _portions(values: dict[bytes, Value]) -> Iterator[dict[bytes, Value]]:
    """The items of a dict that nobody changes meanwhile, as many at a time as make a section."""
    portion: dict[bytes, Value] = {}
    size = 0
    for key, value in values.items():
        portion[key] = value
        size += len(key) + len(value) + _ITEM_BYTES
        if size >= SECTION_BYTES:
            yield portion
            portion, size = {}, 0
    if portion or not values:
        yield portion


class Table:
    """Values by key, changed by commands and read by queries.

    Args:
        max_value_bytes: no value becomes longer than this. Every server of a cluster has to
            begin with the same number; afterwards it travels in snapshots.
    """

    def __init__(self, max_value_bytes: int = DEFAULT_MAX_VALUE_BYTES) -> None:
        self._max_value_bytes = max_value_bytes
        # A value that was appended to is a bytearray: it grows in place. Building a value of
        # 1 MiB from pieces of 20 bytes costs 0.05 us a piece so, and 148 us by concatenation of
        # bytes. It never leaves the table: readers get a copy.
        self._values: dict[bytes, Value] | LayeredValues = {}
        # The same object as `_values` while there are two layers: during a snapshot, and then
        # until what changed meanwhile is merged. Otherwise commands pay nothing for snapshots.
        self._layered: LayeredValues | None = None

    def apply(self, command: bytes) -> bytes:
        """Executes an encoded command and answers its encoded reply; never raises.

        A command that fails changes nothing. Bytes that are no command fail like any other: what
        one server answers, all answer.
        """
        try:
            decoded = decode_command(command)
        except MalformedError:
            # The text is ours, not the decoder's, which may differ between versions of it.
            return encode_reply(Failure(FailureCode.MALFORMED, "ERR malformed command"))
        match decoded:
            case Put():
                if len(decoded.value) > self._max_value_bytes:
                    return self._too_large()
                self._values[decoded.key] = decoded.value
                return OK_REPLY
            case Append():
                return self._append(decoded.key, decoded.arg)
            case Delete():
                removed = [self._values.pop(key, None) for key in decoded.keys]
                return encode_reply(len(removed) - removed.count(None))
            case PutMany():
                if any(len(value) > self._max_value_bytes for _, value in decoded.pairs):
                    return self._too_large()
                self._values.update(decoded.pairs)
                return OK_REPLY

    def query(self, query: Query) -> QueryResult:
        """Answers a read; the type of the result stands with each query."""
        match query:
            case Get():
                return self._get(query.key)
            case GetMany():
                # The sum comes first: giving a value out may mean to copy it.
                if sum(len(self._values.get(key, b"")) for key in query.keys) > query.max_bytes:
                    return None
                return tuple(self._get(key) for key in query.keys)
            case Exists():
                return sum(1 for key in query.keys if key in self._values)
            case Length():
                return len(self._values.get(query.key, b""))
            case Count():
                return len(self._values)

    def snapshot(self) -> Iterator[bytes]:
        """The whole state as of now, limit included, in sections of about `SECTION_BYTES`.

        A section is larger only for the sake of its last value. The order of the keys is that of
        this table's past, so equal tables need not give equal bytes: `digest` compares them.
        """
        if self._layered is not None:
            assert not self._layered.is_frozen, "a snapshot is under way already"
            self._merge(self._layered.change_count)  # what a dropped one has left
        assert isinstance(self._values, dict)
        self._values = self._layered = LayeredValues(self._values)
        walk = self._walk(self._layered)
        next(walk)
        return walk

    def restore(self, section: bytes) -> None:
        """Takes in one section of a snapshot; on a new table, for each of them.

        Raises:
            MalformedError: the bytes are no such section; nothing was taken in.
        """
        try:
            contents = _decoder.decode(section)
        except msgspec.DecodeError as error:
            raise MalformedError(f"not a section of a table: {error}") from error
        assert isinstance(self._values, dict), "only a new table is restored"
        self._max_value_bytes = contents.max_value_bytes
        self._values.update(contents.values)

    def dismantle(self) -> Iterator[None]:
        """Lets the keys go, `FREED_PER_STEP` at a time; nothing else is called any more."""
        if self._layered is not None:
            self._layered.thaw()
        while not self._merge(MERGED_PER_CALL):
            yield
        values = self._values
        assert isinstance(values, dict)
        while values:
            for _ in range(min(FREED_PER_STEP, len(values))):
                values.popitem()
            yield

    def digest(self) -> bytes:
        """A checksum of the whole state, limit included; equal for equal tables."""
        checksum = hashlib.sha256(_encoder.encode(self._max_value_bytes))
        for key in sorted(self._values):
            checksum.update(_encoder.encode((key, self._values.get(key))))
        return checksum.digest()

    def _walk(self, layered: LayeredValues) -> Iterator[bytes]:
        """The sections of a snapshot, behind an empty one.

        That one is fetched when the snapshot begins: only a generator that was begun ends what it
        has to end when it is dropped.
        """
        try:
            yield b""
            for values in _portions(layered.base):
                yield _encoder.encode((self._max_value_bytes, values))
        finally:
            layered.thaw()
        while not self._merge(MERGED_PER_CALL):
            yield b""

    def _merge(self, count: int) -> bool:
        """Brings so many changes into the layer below; True if there are no two layers any more."""
        layered = self._layered
        if layered is None:
            return True
        if layered.is_frozen or not layered.merge(count):
            return False
        self._values, self._layered = layered.base, None
        return True

    def _append(self, key: bytes, arg: bytes) -> bytes:
        value = self._values.get(key, b"")
        if len(value) + len(arg) > self._max_value_bytes:
            return self._too_large()
        if not isinstance(value, bytearray) or (
            self._layered is not None and not self._layered.may_grow(key)
        ):
            value = self._values[key] = bytearray(value)
        value += arg
        return encode_reply(len(value))

    def _too_large(self) -> bytes:
        limit = self._max_value_bytes
        text = f"ERR string exceeds maximum allowed size ({limit} bytes)"
        return encode_reply(Failure(FailureCode.VALUE_TOO_LARGE, text))

    def _get(self, key: bytes) -> bytes | None:
        value = self._values.get(key)
        return bytes(value) if isinstance(value, bytearray) else value
