"""Replies as bytes, in RESP2 and in RESP3.

The frequent ones are constants and small functions; `encode_reply` takes anything nested. Which
reply a command has is not known here.
"""

from collections.abc import Mapping, Sequence
from typing import Literal, TypeAlias

import msgspec

RespVersion: TypeAlias = Literal[2, 3]
"""The protocol of a connection: 2 until the client says `HELLO 3`."""

OK = b"+OK\r\n"

_NULL = {2: b"$-1\r\n", 3: b"_\r\n"}
_one_line = str.maketrans("\r\n", "  ")  # as Redis does with what it quotes in an error


class ErrorReply(msgspec.Struct, frozen=True, gc=False):
    """An error as a client sees it: `-CODE text`.

    Attributes:
        code: what programs match on, one word in capitals: `ERR`, `UNKNOWN`.
        text: for people; may be empty.
    """

    code: str
    text: str


class SimpleString(msgspec.Struct, frozen=True, gc=False):
    """A status such as `OK`, as opposed to a string of data."""

    text: str


Reply: TypeAlias = (
    "int | bytes | str | ErrorReply | SimpleString | Sequence[Reply] | Mapping[str, Reply] | None"
)
"""What `encode_reply` takes. A str is sent as a bulk string in UTF-8."""


def encode_null(version: RespVersion) -> bytes:
    """The reply for what does not exist."""
    return _NULL[version]


def encode_integer(number: int) -> bytes:
    """A number of at most 64 bits."""
    return b":%d\r\n" % number


def encode_bulk(value: bytes) -> bytes:
    """A string of any bytes."""
    return b"$%d\r\n%b\r\n" % (len(value), value)


def encode_array(replies: Sequence[bytes]) -> bytes:
    """An array of replies that are encoded already."""
    return b"*%d\r\n%b" % (len(replies), b"".join(replies))


def encode_simple_string(text: str) -> bytes:
    """A status; line breaks become spaces, since they would end the reply."""
    return f"+{text.translate(_one_line)}\r\n".encode()


def encode_error(code: str, text: str) -> bytes:
    """An error; line breaks become spaces, since they would end the reply."""
    line = f"-{code} {text}" if text else f"-{code}"
    return line.translate(_one_line).encode(errors="replace") + b"\r\n"


def encode_reply(reply: Reply, version: RespVersion) -> bytes:
    """Any reply. In RESP2 a mapping is an array in which each key is followed by its value."""
    match reply:
        case bytes():
            return encode_bulk(reply)
        case int():
            return encode_integer(reply)
        case None:
            return encode_null(version)
        case str():
            return encode_bulk(reply.encode())
        case SimpleString(text):
            return encode_simple_string(text)
        case ErrorReply(code, text):
            return encode_error(code, text)
        case Mapping():
            items = [encode_reply(item, version) for pair in reply.items() for item in pair]
            if version == 3:
                return b"%%%d\r\n%b" % (len(reply), b"".join(items))
            return encode_array(items)
        case _:
            return encode_array([encode_reply(item, version) for item in reply])
