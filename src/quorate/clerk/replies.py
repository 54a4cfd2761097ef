"""A reply of a server, as a value. How it looks in bytes is the business of `quorate.wire`."""

from typing import TypeAlias, Union

import msgspec


class ErrorReply(msgspec.Struct, frozen=True):
    """A server's refusal: `CODE text`.

    Attributes:
        code: the first word, in capitals.
        text: the rest, for people; empty if there is none.
    """

    code: str
    text: str = ""

    def __str__(self) -> str:
        return f"{self.code} {self.text}".rstrip()


Reply: TypeAlias = Union[bytes, int, ErrorReply, list["Reply"], None]  # noqa: UP007 -- recursive
"""Simple and bulk strings are bytes, nil is None, an array is a list."""


class UnexpectedReplyError(Exception):
    """The reply is not of a kind that the request can have: the peer is no server of ours."""
