"""The records of the durable log as bytes. Storage adds frames around them, nothing else."""

import msgspec

from quorate.codec.errors import DecodeError
from quorate.raft.configuration import NodeId
from quorate.raft.entry import Entry


class SegmentHeader(msgspec.Struct, frozen=True, array_like=True, tag=1, gc=False):
    """The first record of each segment file: everything that older segments may take with them.

    Attributes:
        format_version: the version of the log's format.
        term: the current term when the segment was begun.
        voted_for: the vote in that term.
        start_index: the log begins after this index (the last one that a snapshot covers).
        start_term: the term of the entry at `start_index`.
    """

    format_version: int
    term: int
    voted_for: NodeId | None
    start_index: int
    start_term: int


class WriteRecord(msgspec.Struct, frozen=True, array_like=True, tag=2):
    """One `LogWrite`: term, vote, and entries that replace all from the first one's index on."""

    term: int
    voted_for: NodeId | None
    entries: tuple[Entry, ...]


LogRecord = SegmentHeader | WriteRecord

_encoder = msgspec.msgpack.Encoder()
_decoder: msgspec.msgpack.Decoder[LogRecord] = msgspec.msgpack.Decoder(LogRecord)


def encode_record(record: LogRecord) -> bytes:
    """The record as bytes."""
    return _encoder.encode(record)


def decode_record(data: bytes | memoryview) -> LogRecord:
    """The inverse of `encode_record`.

    Raises:
        DecodeError: the bytes are not a record.
    """
    try:
        return _decoder.decode(data)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise DecodeError(f"not a log record: {error}") from error
