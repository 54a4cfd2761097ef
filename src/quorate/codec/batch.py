"""The operations that one log entry carries, and their outcomes, as bytes.

A `Batch` is the data of an entry. It is encoded once, by the server that first took the
operations from its clients, and travels unchanged to the leader, the logs and the followers.

Surplus elements of an operation are refused and never skipped: skipping them recurses, and how
deep that may go differs from one call stack to the next. What a leader takes into the log has to
be readable wherever it is applied.
"""

import enum

import msgspec

from quorate.codec.errors import DecodeError


class Submission(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True, tag=1):
    """Writes of one session with consecutive sequence numbers.

    Without commands it only keeps the session alive and moves `acked`.

    Attributes:
        session: the session's id.
        acked: the session's owner has seen every reply up to this number, or has given up on
            it; nothing up to this number will ever be executed again.
        first_seq: the sequence number of `commands[0]`; 1 or more.
        commands: encoded for the state machine.
        owner: whose session it is, as in `OpenSession`. A client cannot get into the session of
            a node by guessing its id: to everybody but its owner a session does not exist.
    """

    session: int
    acked: int
    first_seq: int
    commands: tuple[bytes, ...]
    owner: int = 0


class OpenSession(
    msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True, tag=2, gc=False
):
    """Opens a session; its id is the index of the entry, so an entry opens at most one.

    Attributes:
        owner: 0 for a client's session. A number that stands for a node and its data directory,
            for the session in which that node executes the writes of its plain connections: there
            is at most one for each owner, and it is *ordered*: its writes take effect in the order
            of their numbers, without gaps.
        incarnation: for a node's session, a number that grows with each session that the node
            asks for. Asking again with the same number finds the same session; a greater one
            ends the session of the smaller; a smaller one is refused.
    """

    owner: int = 0
    incarnation: int = 0


Operation = Submission | OpenSession


def operation_bytes(operation: Operation) -> int:
    """About how many bytes an operation takes in an entry."""
    match operation:
        case Submission(commands=commands):
            return _OVERHEAD_BYTES + sum(map(len, commands)) + _OVERHEAD_PER_COMMAND * len(commands)
        case OpenSession():
            return _OVERHEAD_BYTES


_OVERHEAD_BYTES = 32
_OVERHEAD_PER_COMMAND = 5


class Refusal(enum.IntEnum):
    """Why an operation was refused. None of these executed anything now."""

    STALE = 1
    """The number is at or below `acked`; it will never be executed (again)."""
    SESSION_EXPIRED = 2
    """There is no such session (any more)."""
    BEYOND_WINDOW = 3
    """The number, or the bytes of stored replies, exceed the session's window."""
    MISMATCH = 4
    """The number was used before for a different command."""
    OUT_OF_ORDER = 5
    """An ordered session: a write before this one is missing. Send again from that one."""
    TOO_MANY_SESSIONS = 6
    """All sessions were active within the last minute and there are as many as may be."""
    SUPERSEDED = 7
    """A session of a later incarnation of the same owner exists."""


Outcome = bytes | Refusal
"""The state machine's encoded reply to a command, or why it was refused."""


class OpenedSession(msgspec.Struct, frozen=True, array_like=True, tag=1, gc=False):
    """An `OpenSession` succeeded, or found the session of the same incarnation."""

    session: int


class RefusedSession(msgspec.Struct, frozen=True, array_like=True, tag=2, gc=False):
    """An `OpenSession` was refused."""

    reason: Refusal


class SubmissionOutcomes(msgspec.Struct, frozen=True, array_like=True, tag=3):
    """The outcome of each command of a `Submission`, in order.

    A submission to a session that does not exist has one refusal for each of its commands, and
    one if it has no commands.
    """

    outcomes: tuple[Outcome, ...]


OperationResult = OpenedSession | RefusedSession | SubmissionOutcomes

_encoder = msgspec.msgpack.Encoder()
_batch_decoder: msgspec.msgpack.Decoder[tuple[Operation, ...]] = msgspec.msgpack.Decoder(
    tuple[Operation, ...]
)
_results_decoder: msgspec.msgpack.Decoder[tuple[OperationResult, ...]] = msgspec.msgpack.Decoder(
    tuple[OperationResult, ...]
)


def encode_batch(operations: tuple[Operation, ...]) -> bytes:
    """The operations as the data of one entry."""
    return _encoder.encode(operations)


def decode_batch(data: bytes) -> tuple[Operation, ...]:
    """The inverse of `encode_batch`.

    Raises:
        DecodeError: the bytes are not a batch.
    """
    try:
        return _batch_decoder.decode(data)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise DecodeError(f"not a batch of operations: {error}") from error


def encode_results(results: tuple[OperationResult, ...]) -> bytes:
    """The results of a batch, one for each of its operations."""
    return _encoder.encode(results)


def decode_results(data: bytes) -> tuple[OperationResult, ...]:
    """The inverse of `encode_results`.

    Raises:
        DecodeError: the bytes are not results.
    """
    try:
        return _results_decoder.decode(data)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise DecodeError(f"not the results of a batch: {error}") from error
