"""Pieces of snapshots on their way from server to server: between Raft's messages and the disk."""

import msgspec

from quorate.raft.ready import ChunkToSend, Envelope, ReceivedChunk
from quorate.storage.snapshots import Snapshots


def read_chunk(files: Snapshots, chunk: ChunkToSend) -> Envelope | None:
    """The message with a piece of a snapshot; None if that snapshot is gone.

    Raises:
        CorruptionError: the snapshot is damaged; noticed if its file ends before that piece does,
            or if the core doubted it.
    """
    request = chunk.request
    if chunk.is_doubted:
        files.check(request.snapshot.index)
    data = files.read(request.snapshot.index, request.offset, chunk.length)
    if data is None:
        return None
    return Envelope(chunk.to, msgspec.structs.replace(request, data=data))


def write_chunk(files: Snapshots, chunk: ReceivedChunk) -> int:
    """Write a piece of a leader's snapshot; returns up to where that has come.

    Raises:
        DiskFullError: as `Snapshots.receive` does.
    """
    request = chunk.request
    return files.receive(request.snapshot, request.size, request.offset, request.data)
