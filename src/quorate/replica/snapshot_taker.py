"""When a server takes a snapshot of its state, and how it does so while it goes on applying.

A snapshot is due when the persisted Raft state has outgrown its bound, or when somebody asks for
one. The state gives it out in sections, which go to the disk in parts with a pause between them:
however large the state, no turn of the server has more than one part to make. A small state is a
single part, so its snapshot is taken at once.

What is in a snapshot, how it lies on the disk and what Raft does with it is not known here.
"""

from collections.abc import Iterator

import msgspec

from quorate.raft.configuration import NodeId
from quorate.raft.entry import Entry
from quorate.raft.snapshot import SnapshotMetadata
from quorate.storage.snapshots import SnapshotPart

NEVER = -1
"""The `max_raft_state` of a server that takes no snapshot unless it is asked for one."""

_STAGGERED_NODES = 5
"""Nodes with consecutive ids of which no two have the same bound."""


class SnapshotSettings(msgspec.Struct, frozen=True, kw_only=True):
    """When and how fast a server takes snapshots. Each server may have its own.

    Attributes:
        max_raft_state: bytes of persisted Raft state; with more, a snapshot is taken. `NEVER`
            sets no bound.
        part_bytes: a part has at least so many bytes, if there are as many, and about one
            section more at most.
        pause_us: between a part that is written and the next, so that clients come first.
        retry_us: after a snapshot for which there was no space, or that took the place of a damaged
            one and is damaged too, the next is tried so much later.
        sending_factor: while a follower is brought up, the bound is so many times as high: each
            snapshot that is taken meanwhile may leave it behind again. 1: nobody is waited for.
    """

    max_raft_state: int = 64 * 1024 * 1024
    part_bytes: int = 128 * 1024
    pause_us: int = 4_000
    retry_us: int = 10_000_000
    sending_factor: int = 8

    @property
    def trailing_bytes(self) -> int:
        """How much of the log stays for followers that are a little behind: a quarter of it."""
        return max(0, self.max_raft_state // 4)

    def of_node(self, node: NodeId) -> "SnapshotSettings":
        """What these settings mean for one of several nodes that have the same.

        Their logs grow alike, so with one bound all of them would be busy with snapshots at the
        same time. Each takes a bound that is a little lower, by a share that its id tells.
        """
        if self.max_raft_state == NEVER:
            return self
        share = self.max_raft_state * ((node - 1) % _STAGGERED_NODES) // (4 * _STAGGERED_NODES)
        return msgspec.structs.replace(self, max_raft_state=self.max_raft_state - share)

    def __post_init__(self) -> None:
        if self.max_raft_state < NEVER:
            raise ValueError(
                f"max_raft_state must be -1 (never) or a number of bytes; got {self.max_raft_state}"
            )
        if self.part_bytes < 1 or self.pause_us < 0 or self.retry_us < 0:
            raise ValueError(
                "part_bytes must be at least 1, pause_us and retry_us not negative; "
                f"got {self.part_bytes}, {self.pause_us} and {self.retry_us}"
            )
        if self.sending_factor < 1:
            raise ValueError(f"sending_factor must be at least 1; got {self.sending_factor}")


class _Walk(msgspec.Struct):
    """A snapshot that is being taken.

    Attributes:
        metadata: what it covers.
        sections: those that were not given out yet.
        bytes_taken: of those that were.
        is_whole: all of them were.
    """

    metadata: SnapshotMetadata
    sections: Iterator[bytes]
    bytes_taken: int = 0
    is_whole: bool = False


class SnapshotTaker:
    """The snapshots of one server, one at a time.

    Args:
        settings: when and how fast.

    Attributes:
        has_failed: there was no space for the last one that was begun, and none since; to be
            looked at only.
    """

    def __init__(self, settings: SnapshotSettings) -> None:
        self._settings = settings
        self._is_wanted = False
        self._applied_bytes = 0
        self._walk: _Walk | None = None
        self._part_is_out = False
        self._not_before = 0
        self._replaced_until = 0
        self.has_failed = False

    # ------------------------------------------------------------------ when

    def applied(self, entry: Entry) -> None:
        """An entry was applied, which the next snapshot will cover."""
        self._applied_bytes += entry.size

    def want(self) -> None:
        """Somebody asks for a snapshot. If one is being taken, another follows it."""
        self._is_wanted = True

    def want_at_once(self) -> None:
        """Somebody asks who may know better: after a failure there may be space again."""
        self._is_wanted = True
        if self.has_failed:
            self.has_failed = False
            self._not_before = 0

    def replace_damaged(self, now: int) -> None:
        """The newest one cannot be read any more: another takes its place.

        On a disk that damages that one too there is no third before `retry_us` have passed.
        """
        if self._walk is None and not self._is_wanted and now >= self._replaced_until:
            self._is_wanted = True
            self._replaced_until = now + self._settings.retry_us

    def satisfied(self) -> None:
        """Nothing was applied since the last snapshot: whoever asked for one has it."""
        self._is_wanted = False

    def may_be_due(self, raft_state_bytes: int) -> bool:
        """Whether it is worth to look closer: one is under way, wanted, or the bound is passed."""
        bound = self._settings.max_raft_state
        return (
            self._walk is not None
            or self._is_wanted
            or (raft_state_bytes > bound and bound != NEVER)
        )

    def is_due(
        self, raft_state_bytes: int, now: int, *, brings_up_a_follower: bool = False
    ) -> bool:
        """Whether a snapshot should be begun now.

        Args:
            raft_state_bytes: how much Raft state the disk holds.
            now: in microseconds.
            brings_up_a_follower: see `Raft.brings_up_a_follower`.
        """
        if self._walk is not None or self._part_is_out or now < self._not_before:
            return False
        if self._is_wanted:
            return True
        bound = self._settings.max_raft_state
        factor = self._settings.sending_factor if brings_up_a_follower else 1
        if bound == NEVER or raft_state_bytes <= factor * bound:
            return False
        # What is not applied yet stays in the log, and so does a part of what is. A snapshot that
        # would free next to nothing is not worth its writing.
        return 4 * self._applied_bytes >= raft_state_bytes

    def begin(self, metadata: SnapshotMetadata, sections: Iterator[bytes]) -> None:
        """Begins a snapshot.

        Args:
            metadata: what it covers: everything applied so far.
            sections: the state, as of now.
        """
        self._is_wanted = False
        self._applied_bytes = 0
        self._walk = _Walk(metadata, sections)

    def abandon(self) -> None:
        """A newer snapshot has come from elsewhere: the present one is for nothing."""
        self._walk = None
        self._applied_bytes = 0
        self.has_failed = False

    # ------------------------------------------------------------------ how fast

    @property
    def snapshot_under_way(self) -> SnapshotMetadata | None:
        """What the snapshot covers that is being taken; None if none is."""
        return None if self._walk is None else self._walk.metadata

    @property
    def bytes_taken(self) -> int:
        """How much the snapshot that is being taken has so far."""
        return 0 if self._walk is None else self._walk.bytes_taken

    def take_part(self, now: int) -> SnapshotPart | None:
        """The next part, if it is time for it; then `written` or `failed` follows."""
        walk = self._walk
        if walk is None or self._part_is_out or now < self._not_before:
            return None
        sections: list[bytes] = []
        size = 0
        is_last = False
        while size < self._settings.part_bytes and not is_last:
            section = next(walk.sections, None)
            if section is None:
                is_last = True
            elif not section:  # the state had to tidy up, which is enough for one time
                break
            else:
                sections.append(section)
                size += len(section)
        if not sections and not is_last:
            self._not_before = now + self._settings.pause_us
            return None
        part = SnapshotPart(
            walk.metadata, tuple(sections), is_first=not walk.bytes_taken, is_last=is_last
        )
        walk.bytes_taken += size
        walk.is_whole = is_last
        self._part_is_out = True
        return part

    def written(self, now: int) -> None:
        """The part is on the disk, the whole snapshot durable if it was the last."""
        self._part_is_out = False
        if self._walk is not None and self._walk.is_whole:
            self._walk = None
            self.has_failed = False
        self._not_before = now + (0 if self._walk is None else self._settings.pause_us)

    def failed(self, now: int) -> None:
        """There was no space for the part. The old snapshot stays; a new one is tried later."""
        self._part_is_out = False
        self._walk = None
        self._is_wanted = True
        self.has_failed = True
        self._not_before = now + self._settings.retry_us

    def deadline(self) -> int | None:
        """When `take_part` or `is_due` should be called at the latest, for the sake of time."""
        if self._part_is_out or (self._walk is None and not self._is_wanted):
            return None
        return self._not_before
