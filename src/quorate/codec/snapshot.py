"""What a snapshot file says of itself, as bytes.

The sections in between are opaque here: they are whatever the state machine makes of them.
"""

import msgspec

from quorate.codec.errors import DecodeError
from quorate.raft.snapshot import SnapshotMetadata


class SnapshotHeader(msgspec.Struct, frozen=True, array_like=True, tag=1):
    """The first record of a snapshot file."""

    format_version: int
    metadata: SnapshotMetadata


class SnapshotEnd(msgspec.Struct, frozen=True, array_like=True, tag=2, gc=False):
    """The last record of a snapshot file; one without it was cut off.

    Attributes:
        sections: how many sections there are.
        checksum: CRC32C of all records before it: each section may be right and yet be one of
            another snapshot, if two servers sent pieces of theirs.
    """

    sections: int
    checksum: int


_encoder = msgspec.msgpack.Encoder()
_header_decoder = msgspec.msgpack.Decoder(SnapshotHeader)
_end_decoder = msgspec.msgpack.Decoder(SnapshotEnd)


def encode_snapshot_record(record: SnapshotHeader | SnapshotEnd) -> bytes:
    """The record as bytes."""
    return _encoder.encode(record)


def decode_snapshot_header(data: bytes) -> SnapshotHeader:
    """The inverse of `encode_snapshot_record`.

    Raises:
        DecodeError: the bytes are no header.
    """
    try:
        return _header_decoder.decode(data)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise DecodeError(f"not the header of a snapshot: {error}") from error


def decode_snapshot_end(data: bytes) -> SnapshotEnd:
    """The inverse of `encode_snapshot_record`.

    Raises:
        DecodeError: the bytes are no end record.
    """
    try:
        return _end_decoder.decode(data)
    except (msgspec.DecodeError, RecursionError) as error:
        raise DecodeError(f"not the end of a snapshot: {error}") from error
