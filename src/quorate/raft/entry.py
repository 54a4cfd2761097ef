"""One entry of the replicated log.

To Raft an entry's `data` is opaque. What Raft itself needs to know stands in the other fields:
where the entry is (`index`), who created it (`term`), what it is for (`kind`), when, in cluster
time, its leader created it (`time_ms`), and which members the cluster has from it on
(`configuration`).
"""

import enum

import msgspec

from quorate.raft.configuration import Configuration


class EntryKind(enum.IntEnum):
    """What an entry is for."""

    NO_OP = 0
    """Empty; a leader's first entry of its term (Raft §8)."""
    DATA = 1
    """Bytes for the replicated state machine."""
    CONFIGURATION = 2
    """The members of the cluster from here on (dissertation §4.1)."""


ENTRY_HEADER_BYTES = 35
"""What an entry takes besides its data, at most: the other fields in their longest encoding.

Limits in bytes count it, so that many small entries cannot get around them.
"""


class Entry(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """An entry of the log; see the module header for the fields.

    Attributes:
        index: the position in the log; the first entry ever has index 1.
        term: the term of the leader that created it.
        time_ms: cluster time in milliseconds; never less than that of the entry before it.
        kind: what the entry is for.
        data: the command or commands, opaque to Raft; empty unless `kind` is `DATA`.
        configuration: the members; None unless `kind` is `CONFIGURATION`.
    """

    index: int
    term: int
    time_ms: int
    kind: EntryKind
    data: bytes = b""
    configuration: Configuration | None = None

    @property
    def size(self) -> int:
        """How many bytes it takes, as limits count it."""
        size = ENTRY_HEADER_BYTES + len(self.data)
        return size if self.configuration is None else size + self.configuration.size
