"""The reads of the key/value table.

A read is answered from one server's memory and never travels, so it has no encoding.
"""

import msgspec


class Get(msgspec.Struct, frozen=True, gc=False):
    """The value of `key`, or None if there is no such key."""

    key: bytes


class GetMany(msgspec.Struct, frozen=True, gc=False):
    """A tuple with the value of each key, or None in its place, in the order of `keys`.

    None instead of the tuple if the values have more than `max_bytes` together.
    """

    keys: tuple[bytes, ...]
    max_bytes: int


class Exists(msgspec.Struct, frozen=True, gc=False):
    """How many of the keys exist; one that is named twice counts twice, as in Redis."""

    keys: tuple[bytes, ...]


class Length(msgspec.Struct, frozen=True, gc=False):
    """The length of the value of `key` in bytes; 0 if there is no such key."""

    key: bytes


class Count(msgspec.Struct, frozen=True, gc=False):
    """How many keys there are."""


Query = Get | GetMany | Exists | Length | Count

QueryResult = bytes | int | tuple[bytes | None, ...] | None
"""Which of these a query answers stands in its docstring."""
