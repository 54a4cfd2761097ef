"""What the nodes' processes hold, as Linux tells it: whether they grow without bounds."""

from pathlib import Path

import msgspec

from quorate.raft.configuration import NodeId

MAX_MEMORY_BYTES = 512 * 1024 * 1024
MAX_FILES = 200


class Holdings(msgspec.Struct, frozen=True):
    """Of one process.

    Attributes:
        node: whose.
        memory_bytes: how much of it is resident.
        files: how many are open, sockets included.
    """

    node: NodeId
    memory_bytes: int
    files: int

    @property
    def is_bounded(self) -> bool:
        """Whether that is no more than it should be, whatever has happened."""
        return self.memory_bytes <= MAX_MEMORY_BYTES and self.files <= MAX_FILES


def holdings_of(node: NodeId, pid: int) -> Holdings | None:
    """What the process of a node holds; None if this system does not tell."""
    process = Path(f"/proc/{pid}")
    if not process.exists():
        return None
    status = (process / "status").read_text()
    (memory,) = [line.split()[1] for line in status.splitlines() if line.startswith("VmRSS:")]
    return Holdings(node, int(memory) * 1024, len(list((process / "fd").iterdir())))
