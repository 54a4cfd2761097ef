"""What a client's command asks for, once its name and arguments have been understood."""

from collections.abc import Callable

import msgspec

from quorate.codec.batch import Operation
from quorate.kv.queries import Query, QueryResult
from quorate.wire.resp_reply import Reply

REQUEST_BYTES = 400
"""A request takes about so much memory, besides its arguments, until it is answered.

Measured: with its place in the order of replies, in the books on what is due, among what was
submitted; most of it is the same whatever is asked for.
"""
ARGUMENT_BYTES = 56
"""An argument takes about so much memory besides its own bytes. Measured, likewise."""
ANSWER_BYTES = 150
"""An answer that waits for earlier ones takes about so much besides its own bytes. Likewise."""


def pending_bytes(arguments: list[bytes]) -> int:
    """About how much memory a request with these takes until it is answered, in bytes."""
    size = REQUEST_BYTES + ARGUMENT_BYTES * len(arguments)
    for argument in arguments:
        size += len(argument)
    return size


def printable(argument: bytes, longest: int = 128) -> str:
    """The beginning of an argument, as errors quote it."""
    return argument[:longest].decode("utf-8", "replace")


class CommandError(Exception):
    """The command is refused; the client gets this error.

    Attributes:
        code: the first word of the error reply.
        text: the rest of it.
    """

    def __init__(self, text: str, *, code: str = "ERR") -> None:
        super().__init__(f"{code} {text}")
        self.code = code
        self.text = text


class Immediate(msgspec.Struct, frozen=True):
    """Answered by this node alone, without the log.

    Attributes:
        reply: the answer, encoded.
        closes: whether the connection ends after it.
        wants_snapshot: whether the node is to take a snapshot.
    """

    reply: bytes
    closes: bool = False
    wants_snapshot: bool = False


class Read(msgspec.Struct, frozen=True, gc=False):
    """A linearizable read.

    Attributes:
        query: for the state machine.
        reply: makes the reply of the query's result.
    """

    query: Query
    reply: Callable[[QueryResult], Reply]


class Write(msgspec.Struct, frozen=True, gc=False):
    """A write of a connection without a session; `command` is encoded for the state machine."""

    command: bytes


class Call(msgspec.Struct, frozen=True, gc=False):
    """An operation on a client's own session: `ONCE`, or the opening of a session."""

    operation: Operation


Request = Read | Write | Call
"""What goes to the state machine, as opposed to what a node answers alone."""
