"""What the nodes' processes hold, as Linux tells it: whether they grow without bounds."""

from pathlib import Path

import msgspec

from quorate.raft.configuration import NodeId

MAX_MEMORY_BYTES = 512 * 1024 * 1024
MAX_FILES = 200


class Holdings(msgspec.Struct, frozen=True):
    """Of a node's process, or of several at most.

    Attributes:
        node: whose.
        memory_bytes: how much of it was resident at most.
        files: how many are open, sockets included.
    """

    node: NodeId
    memory_bytes: int
    files: int

    @property
    def is_bounded(self) -> bool:
        """Whether that is no more than it should be, whatever has happened."""
        return self.memory_bytes <= MAX_MEMORY_BYTES and self.files <= MAX_FILES

    def most(self, other: "Holdings") -> "Holdings":
        """The greater of what both have held."""
        return Holdings(
            self.node,
            max(self.memory_bytes, other.memory_bytes),
            max(self.files, other.files),
        )


def holdings_of(node: NodeId, pid: int) -> Holdings | None:
    """What the process of a node holds; None if it has just ended, or this system does not tell."""
    process = Path(f"/proc/{pid}")
    try:
        status = (process / "status").read_text()
        files = len(list((process / "fd").iterdir()))
    except (FileNotFoundError, ProcessLookupError):
        return None
    memory = [line.split()[1] for line in status.splitlines() if line.startswith("VmHWM:")]
    return Holdings(node, int(memory[0]) * 1024, files) if memory else None
