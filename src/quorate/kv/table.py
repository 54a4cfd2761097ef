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
    Command,
    Delete,
    Failure,
    FailureCode,
    Put,
    PutMany,
    decode_command,
    encode_reply,
)
from quorate.kv.errors import MalformedError
from quorate.kv.queries import Count, Exists, Get, GetMany, Length, Query, QueryResult

DEFAULT_MAX_VALUE_BYTES = 1024 * 1024

SECTION_BYTES = 64 * 1024
"""A section of a snapshot ends with the value that reaches this."""

_ITEM_BYTES = 8
"""About what an item takes in a section beside its key and value."""


class _Section(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """A part of a table, in no particular order; a snapshot has at least one."""

    max_value_bytes: int
    values: dict[bytes, bytes]


_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(_Section)


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
        self._values: dict[bytes, bytes | bytearray] = {}

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
        return self._execute(decoded)

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
        sections: list[bytes] = []
        values: dict[bytes, bytes | bytearray] = {}
        size = 0
        for key, value in self._values.items():
            values[key] = value
            size += len(key) + len(value) + _ITEM_BYTES
            if size >= SECTION_BYTES:
                sections.append(_encoder.encode((self._max_value_bytes, values)))
                values, size = {}, 0
        if values or not sections:
            sections.append(_encoder.encode((self._max_value_bytes, values)))
        return iter(sections)

    def restore(self, section: bytes) -> None:
        """Takes in one section of a snapshot; on a new table, for each of them.

        Raises:
            MalformedError: the bytes are no such section; nothing was taken in.
        """
        try:
            contents = _decoder.decode(section)
        except msgspec.DecodeError as error:
            raise MalformedError(f"not a section of a table: {error}") from error
        self._max_value_bytes = contents.max_value_bytes
        self._values.update(contents.values)

    def digest(self) -> bytes:
        """A checksum of the whole state, limit included; equal for equal tables."""
        checksum = hashlib.blake2b(_encoder.encode(self._max_value_bytes), digest_size=16)
        for key in sorted(self._values):
            checksum.update(_encoder.encode((key, self._values[key])))
        return checksum.digest()

    def _execute(self, command: Command) -> bytes:
        match command:
            case Put():
                if len(command.value) > self._max_value_bytes:
                    return self._too_large()
                self._values[command.key] = command.value
                return OK_REPLY
            case Append():
                return self._append(command.key, command.arg)
            case Delete():
                removed = [self._values.pop(key, None) for key in command.keys]
                return encode_reply(len(removed) - removed.count(None))
            case PutMany():
                if any(len(value) > self._max_value_bytes for _, value in command.pairs):
                    return self._too_large()
                self._values.update(command.pairs)
                return OK_REPLY

    def _append(self, key: bytes, arg: bytes) -> bytes:
        value = self._values.get(key, b"")
        if len(value) + len(arg) > self._max_value_bytes:
            return self._too_large()
        if not isinstance(value, bytearray):
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
