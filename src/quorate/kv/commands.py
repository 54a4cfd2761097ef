"""The writes of the key/value table and what they answer, as structs and as bytes.

Only writes have an encoding: they travel through the log. This module knows neither the table
nor any client protocol. MessagePack, by msgspec; a struct is an array that begins with the number
of its type. Surplus elements are refused and never skipped: skipping them recurses, and how deep
that may go differs from one call stack to the next, hence from one server to the next.
"""

import enum

import msgspec

from quorate.kv.errors import MalformedError


class Put(
    msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True, tag=1, gc=False
):
    """Replaces the value of `key`. Answers None."""

    key: bytes
    value: bytes


class Append(
    msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True, tag=2, gc=False
):
    """Appends `arg` to the value of `key`; a missing key counts as empty and is created.

    Answers the new length of the value in bytes.
    """

    key: bytes
    arg: bytes


class Delete(
    msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True, tag=3, gc=False
):
    """Removes the keys. Answers how many existed; a key that is named twice counts once."""

    keys: tuple[bytes, ...]


class PutMany(
    msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True, tag=4, gc=False
):
    """Replaces the values of several keys, all of them or none. Answers None.

    Attributes:
        pairs: keys with their new values; of several values for one key the last one stays.
    """

    pairs: tuple[tuple[bytes, bytes], ...]


Command = Put | Append | Delete | PutMany


class FailureCode(enum.IntEnum):
    """Why a command changed nothing."""

    VALUE_TOO_LARGE = 1
    """A value would have become longer than the table allows."""
    MALFORMED = 2
    """The bytes are not a command."""


class Failure(
    msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True, tag=1, gc=False
):
    """The command was executed and changed nothing.

    Attributes:
        code: for programs.
        text: for people; begins with `ERR`, as Redis words its errors.
    """

    code: FailureCode
    text: str


Reply = int | Failure | None
"""What a write answers; None is OK."""

OK_REPLY = b"\xc0"
"""The encoding of None (MessagePack's nil), by far the most frequent reply."""

_encoder = msgspec.msgpack.Encoder()
_command_decoder: msgspec.msgpack.Decoder[Command] = msgspec.msgpack.Decoder(Command)
_reply_decoder: msgspec.msgpack.Decoder[Reply] = msgspec.msgpack.Decoder(Reply)


def encode_command(command: Command) -> bytes:
    """The command as it travels through the log."""
    return _encoder.encode(command)


def decode_command(data: bytes) -> Command:
    """The inverse of `encode_command`.

    Raises:
        MalformedError: the bytes are not a command.
    """
    try:
        return _command_decoder.decode(data)
    except msgspec.DecodeError as error:
        raise MalformedError(f"not a command: {error}") from error


def encode_reply(reply: Reply) -> bytes:
    """The reply as the sessions store it and servers pass it on."""
    return OK_REPLY if reply is None else _encoder.encode(reply)


def decode_reply(data: bytes) -> Reply:
    """The inverse of `encode_reply`.

    Raises:
        MalformedError: the bytes are not a reply.
    """
    if data == OK_REPLY:
        return None
    try:
        return _reply_decoder.decode(data)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise MalformedError(f"not a reply: {error}") from error
