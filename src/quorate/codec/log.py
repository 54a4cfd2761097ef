"""The records of the durable log as bytes. Storage adds frames around them, nothing else."""

import msgspec

from quorate.codec.errors import DecodeError
from quorate.raft.configuration import NodeId
from quorate.raft.entry import Entry
from quorate.raft.snapshot import LogStart


class SegmentHeader(msgspec.Struct, frozen=True, array_like=True, tag=1, gc=False):
    """The first record of each segment file: everything that older segments may take with them.

    Attributes:
        format_version: the version of the log's format.
        term: the current term when the segment was begun.
        voted_for: the vote in that term.
        start: what the log began after.
        last_index: of the log's last entry, or of `start` if it was empty. Tells whether older
            segments that are gone held something that is still needed.
    """

    format_version: int
    term: int
    voted_for: NodeId | None
    start: LogStart
    last_index: int


class WriteRecord(msgspec.Struct, frozen=True, array_like=True, tag=2):
    """One `LogWrite`: term, vote, and entries that replace all from the first one's index on."""

    term: int
    voted_for: NodeId | None
    entries: tuple[Entry, ...]


class StartRecord(msgspec.Struct, frozen=True, array_like=True, tag=3):
    """A `LogWrite` that moves the beginning of the log, before its entries are taken in.

    Attributes:
        start: what the log begins after from now on.
        last_index: of the log's last entry after that; that of `start` if no entry stayed. It
            follows from the entries, but some of them may be in segments that are gone.
        write: the rest of the write.
    """

    start: LogStart
    last_index: int
    write: WriteRecord


LogRecord = SegmentHeader | WriteRecord | StartRecord

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
