"""The operations that a Clerk offers: how each is asked for, and what its reply means.

Both shells offer exactly these, so what is wrong with an argument, and what a reply becomes in
Python, is decided here once. Sizes are not: the servers know their limits. But what no server reads
is not sent: its answer is a connection that ends, which tells nothing, and so the write would be
repeated for ever, and its fence after it.
"""

from collections.abc import Callable
from typing import Generic, TypeVar

import msgspec

from quorate.clerk.errors import CommandError
from quorate.clerk.replies import Reply, UnexpectedReplyError
from quorate.wire.resp_guard import RequestLimits

Result = TypeVar("Result")

_MAX_ARGUMENT_BYTES = RequestLimits().max_bulk_bytes


class Operation(msgspec.Struct, Generic[Result], frozen=True):
    """One command for the servers.

    Attributes:
        arguments: the command's name and its arguments.
        is_write: whether it goes through a session, to be executed at most once.
        result_of: what a reply that is no error becomes for the caller; raises
            `UnexpectedReplyError` for one that the command never has.
    """

    arguments: tuple[bytes, ...]
    is_write: bool
    result_of: Callable[[Reply], Result]


def put(key: bytes | str, value: bytes | str) -> Operation[None]:
    """Replaces the value of `key`."""
    return Operation((b"SET", _encoded("key", key), _encoded("value", value)), True, _done)


def append(key: bytes | str, arg: bytes | str) -> Operation[int]:
    """Appends to the value of `key`, which counts as empty if it is missing.

    The result is the length of the whole value in bytes.
    """
    return Operation((b"APPEND", _encoded("key", key), _encoded("arg", arg)), True, integer)


def delete(key: bytes | str) -> Operation[bool]:
    """Removes `key`; the result is whether it existed."""
    return Operation((b"DEL", _encoded("key", key)), True, _existed)


def get(key: bytes | str) -> Operation[bytes]:
    """The value of `key`; a missing key reads as empty."""
    return Operation((b"GET", _encoded("key", key)), False, _value_or_empty)


def get_or_none(key: bytes | str) -> Operation[bytes | None]:
    """The value of `key`, or None if there is no such key."""
    return Operation((b"GET", _encoded("key", key)), False, _value_or_none)


def _encoded(what: str, text: bytes | str) -> bytes:
    if not isinstance(text, bytes | str):
        kind = type(text).__name__
        raise TypeError(f"{what} must be bytes, or str (encoded as UTF-8), not {kind}")
    encoded = text.encode() if isinstance(text, str) else text
    if len(encoded) > _MAX_ARGUMENT_BYTES:
        raise CommandError(f"ERR {what} exceeds what servers read ({_MAX_ARGUMENT_BYTES} bytes)")
    return encoded


def integer(reply: Reply) -> int:
    """The reply, if it is an integer.

    Raises:
        UnexpectedReplyError: it is something else.
    """
    if isinstance(reply, int):
        return reply
    raise UnexpectedReplyError(f"expected an integer, got {type(reply).__name__}")


def _existed(reply: Reply) -> bool:
    return integer(reply) > 0


def _done(reply: Reply) -> None:
    if reply != b"OK":
        raise UnexpectedReplyError(f"expected OK, got {type(reply).__name__}")


def _value_or_none(reply: Reply) -> bytes | None:
    if reply is None or isinstance(reply, bytes):
        return reply
    raise UnexpectedReplyError(f"expected a string or nil, got {type(reply).__name__}")


def _value_or_empty(reply: Reply) -> bytes:
    return _value_or_none(reply) or b""
