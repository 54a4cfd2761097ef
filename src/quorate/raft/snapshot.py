"""What Raft knows of a snapshot (Raft §7): what it covers. Its contents are bytes elsewhere."""

import msgspec

from quorate.raft.configuration import Configuration


class SnapshotMetadata(msgspec.Struct, frozen=True, array_like=True):
    """The last entry that a snapshot covers, and the members as of it.

    A log that was never compacted begins after the snapshot of index 0 and term 0, which covers
    nothing but holds the configuration that the cluster was started with.

    Attributes:
        index: of the last entry covered.
        term: of that entry.
        time_ms: cluster time of that entry, in milliseconds.
        configuration: the members as of that entry.
    """

    index: int
    term: int
    time_ms: int
    configuration: Configuration


class LogStart(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """What the log begins after: its entries have indices from `index` + 1 on.

    Everything up to here is covered by a snapshot. If a log that begins earlier holds this very
    entry, what comes behind it stays; if not, its entries are those of a past that the snapshot
    has replaced, and all of them go (Raft §7, InstallSnapshot, steps 6 and 7).

    Attributes:
        index: of the last entry that is not in the log any more.
        term: of that entry.
    """

    index: int
    term: int
