"""A message between servers as bytes.

MessagePack, by msgspec: every message is an array that begins with the number of its type. The
bytes of an entry's data are copied as they are, so a batch that was encoded when it was proposed
is never encoded again, neither for the log nor for any follower.
"""

import msgspec

from quorate.codec.errors import DecodeError
from quorate.raft.configuration import Configuration
from quorate.raft.entry import EntryKind
from quorate.raft.messages import AppendEntries, InstallSnapshot, PeerMessage

MAX_TIME_MS = 2**62
"""No cluster lives so long; and to add to such a time, or to store it, never goes wrong."""

_encoder = msgspec.msgpack.Encoder()
_decoder: msgspec.msgpack.Decoder[PeerMessage] = msgspec.msgpack.Decoder(PeerMessage)


def encode_message(message: PeerMessage) -> bytes:
    """The message as bytes, without any framing."""
    return _encoder.encode(message)


def decode_message(data: bytes | memoryview) -> PeerMessage:
    """The inverse of `encode_message`.

    Raises:
        DecodeError: the bytes are not a message.
    """
    try:
        message = _decoder.decode(data)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise DecodeError(f"not a peer message: {error}") from error
    match message:
        case AppendEntries():
            _check_entries(message)
        case InstallSnapshot():
            _check_chunk(message)
    return message


def _check_entries(request: AppendEntries) -> None:
    """Entries follow each other and what they say they follow; past here that is trusted."""
    index, term = request.prev_log_index, request.prev_log_term
    if (index == 0) != (term == 0) or not term <= request.term > 0:
        raise DecodeError(
            f"AppendEntries of term {request.term} follows an entry of index {index} and term "
            f"{term}"
        )
    time_ms = 0
    for entry in request.entries:
        index += 1
        if (entry.kind is EntryKind.CONFIGURATION) != _has_voters(entry.configuration):
            raise DecodeError(
                f"AppendEntries holds an entry {index} whose configuration is missing or out "
                "of place"
            )
        if entry.index != index or not max(term, 1) <= entry.term <= request.term:
            raise DecodeError(
                f"AppendEntries after index {request.prev_log_index} holds an entry of index "
                f"{entry.index} and term {entry.term} in place {index}"
            )
        if not time_ms <= entry.time_ms <= MAX_TIME_MS:
            raise DecodeError(
                f"AppendEntries holds an entry {index} of {entry.time_ms} ms after one of {time_ms}"
            )
        term, time_ms = entry.term, entry.time_ms


def _has_voters(configuration: Configuration | None) -> bool:
    return configuration is not None and bool(configuration.voters)


def _check_chunk(request: InstallSnapshot) -> None:
    """The piece is one of such a snapshot, and the snapshot one that this leader can have."""
    snapshot = request.snapshot
    end = request.offset + len(request.data)
    if not 0 <= request.offset < end <= request.size:
        raise DecodeError(
            f"InstallSnapshot holds bytes {request.offset} to {end} of a snapshot of {request.size}"
        )
    if snapshot.index < 1 or not 0 < snapshot.term <= request.term:
        raise DecodeError(
            f"InstallSnapshot of term {request.term} holds a snapshot of index {snapshot.index} "
            f"and term {snapshot.term}"
        )
    if not 0 <= snapshot.time_ms <= MAX_TIME_MS:
        raise DecodeError(f"InstallSnapshot holds a snapshot of {snapshot.time_ms} ms")
    if not _has_voters(snapshot.configuration):
        raise DecodeError("InstallSnapshot holds a snapshot of a cluster without voters")
