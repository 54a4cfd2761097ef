"""What a node wants done with snapshots, for drivers whose disk does it at once."""

import msgspec

from quorate.node.node import Node, NodeReady
from quorate.raft.ready import ChunkToSend, Envelope, ReceivedChunk
from quorate.storage.snapshots import Snapshots


def read_chunk(chunk: ChunkToSend, files: Snapshots) -> list[Envelope]:
    """The message with a piece of a snapshot; none if that snapshot is gone.

    Raises:
        CorruptionError: the core doubted that snapshot, and it is damaged.
    """
    request = chunk.request
    if chunk.is_doubted:
        files.check(request.snapshot.index)
    data = files.read(request.snapshot.index, request.offset, chunk.length)
    if data is None:
        return []
    return [Envelope(chunk.to, msgspec.structs.replace(request, data=data))]


def write_chunk(chunk: ReceivedChunk, files: Snapshots) -> int:
    """Writes a piece of a leader's snapshot; returns up to where that has come."""
    request = chunk.request
    return files.receive(request.snapshot, request.size, request.offset, request.data)


def work_on_snapshots(node: Node, ready: NodeReady, files: Snapshots, now: int) -> bool:
    """Does all that a node wants done, but for the messages with pieces of snapshots.

    Returns:
        Whether there was anything; then the node wants another turn.
    """
    if ready.restore_from is not None:
        for section in files.sections():
            node.restore(section, now)
    for chunk in ready.received_chunks:
        node.chunk_written(chunk, write_chunk(chunk, files), now)
    if ready.snapshot_part is not None:
        node.snapshot_written(files.write(ready.snapshot_part), now)
    return bool(ready.restore_from or ready.received_chunks or ready.snapshot_part)
