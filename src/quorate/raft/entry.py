"""One entry of the replicated log.

To Raft an entry's `data` is opaque. What Raft itself needs to know stands in the header fields:
where the entry is (`index`), who created it (`term`), what it is for (`kind`) and when, in
cluster time, its leader created it (`time_ms`).
"""

import enum

import msgspec


class EntryKind(enum.IntEnum):
    """What an entry is for."""

    NO_OP = 0
    """Empty; a leader's first entry of its term (Raft §8)."""
    DATA = 1
    """Bytes for the replicated state machine."""


ENTRY_HEADER_BYTES = 34
"""What an entry takes besides its data, at most: five header fields in their longest encoding.

Limits in bytes count it, so that many small entries cannot get around them.
"""


class Entry(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """An entry of the log; see the module header for the fields.

    Attributes:
        index: the position in the log; the first entry ever has index 1.
        term: the term of the leader that created it.
        time_ms: cluster time in milliseconds; never less than that of the entry before it.
        kind: what the entry is for.
        data: the command or commands, opaque to Raft.
    """

    index: int
    term: int
    time_ms: int
    kind: EntryKind
    data: bytes
