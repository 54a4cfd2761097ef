"""The door to the data directory: everything that a node reads from and writes to its disk.

`Store.initialize` once, `Store.open` at each start. A `StorageError` from any method ends the
store's life, and with it the node's: nothing may be acknowledged that was not durable before.
"""

from typing import Self

from quorate.raft.configuration import Member, NodeId
from quorate.raft.ready import DurableState, LogWrite
from quorate.storage.disk import Disk
from quorate.storage.errors import DiskFullError, IdentityError
from quorate.storage.identity import Identity, has_identity, load_identity, save_identity
from quorate.storage.opening import open_log
from quorate.storage.restart import Restart
from quorate.storage.segments import DEFAULT_SEGMENT_SIZE
from quorate.storage.snapshots import Snapshots, named_snapshots
from quorate.storage.wal import WriteAheadLog


class Store:
    """An open data directory.

    `append` and `sync` may run in a thread, one call at a time; `prepare_next_segment` and
    `remove_dead_segments` in another, and whatever `snapshots` does in a third; everything else
    belongs to the thread that opened the store.

    Attributes:
        identity: whose directory this is; `boot` counts this start already.
        snapshots: the snapshots.
        warnings: what an operator should know of how the store was found.
    """

    def __init__(
        self,
        disk: Disk,
        identity: Identity,
        log: WriteAheadLog,
        snapshots: Snapshots,
        restart: Restart,
    ) -> None:
        self.identity = identity
        self.snapshots = snapshots
        self.warnings = restart.warnings
        self._recovered: DurableState | None = restart.state
        self._disk = disk
        self._log = log

    @staticmethod
    def initialize(
        disk: Disk,
        *,
        cluster_id: str,
        node: NodeId,
        data_id: str,
        members: tuple[Member, ...],
        segment_size: int = DEFAULT_SEGMENT_SIZE,
    ) -> None:
        """Make the directory that of a new node. A crash in between leaves it uninitialised.

        Args:
            disk: the directory.
            cluster_id: the cluster that the node belongs to.
            node: the node's number.
            data_id: random, of this directory alone.
            members: the members that the cluster starts with; none if it exists already.
            segment_size: bytes of the log's first segment.

        Raises:
            IdentityError: the directory is a node's already, or holds what is left of one.
        """
        if has_identity(disk):
            identity = load_identity(disk)
            raise IdentityError(
                f"{disk.location('')} is already the data directory of node {identity.node} of "
                f"cluster {identity.cluster_id}: start it without `--initialize`"
            )
        if named_snapshots(disk):
            raise IdentityError(
                f"{disk.location('')} holds the snapshot of a node: it would be taken for this "
                "one's. Give the new node an empty directory"
            )
        identity = Identity(cluster_id=cluster_id, node=node, data_id=data_id, members=members)
        WriteAheadLog.create(disk, segment_size=segment_size)
        save_identity(disk, identity)

    @classmethod
    def open(cls, disk: Disk, *, segment_size: int = DEFAULT_SEGMENT_SIZE) -> Self:
        """Read everything and count the start. Damaged data is left untouched.

        Args:
            disk: the directory.
            segment_size: bytes of each new segment of the log.

        Raises:
            IdentityError: the directory is not initialised.
            CorruptionError: a file is not what was written. A damaged snapshot alone is none:
                see `warnings` and `DurableState.snapshot_is_lost`.
            UnsupportedFormatError: another version of Quorate wrote it.
        """
        identity = load_identity(disk)
        log, restart = open_log(disk, identity, segment_size=segment_size)
        if log.needs_cleaning:
            log.remove_dead_segments()
        snapshots = Snapshots(disk, restart.snapshot)
        identity = identity.with_next_boot()
        save_identity(disk, identity)
        return cls(disk, identity, log, snapshots, restart)

    def take_durable_state(self) -> DurableState:
        """What the disk held when the store was opened, for the Raft core; to be taken once.

        The store keeps no hold on it: the entries live as long as the core needs them.
        """
        state, self._recovered = self._recovered, None
        assert state is not None, "it was taken already"
        return state

    @property
    def raft_state_bytes(self) -> int:
        """Bytes of the newest term and vote and all live entries with their framing."""
        return self._log.raft_state_bytes

    def append(self, write: LogWrite) -> None:
        """Write to the log; durable after the next `sync`, which comes before the next append."""
        if write.start is not None:
            newest = self.snapshots.newest
            assert newest is not None, "only a durable snapshot moves the beginning of the log"
            assert write.start.index <= newest.metadata.index, "no more goes than it covers"
        self._log.append(write)

    def sync(self) -> None:
        """Make the appended write durable."""
        self._log.sync()

    @property
    def needs_next_segment(self) -> bool:
        """Whether it is time for `prepare_next_segment`."""
        return self._log.needs_next_segment

    def prepare_next_segment(self) -> DiskFullError | None:
        """Preallocate ahead of time; see `WriteAheadLog.prepare_next_segment`."""
        return self._log.prepare_next_segment()

    @property
    def needs_cleaning(self) -> bool:
        """Whether it is time for `remove_dead_segments`; looked at after a sync."""
        return self._log.needs_cleaning

    def remove_dead_segments(self) -> None:
        """Give back the space of the log before its beginning; see `WriteAheadLog`."""
        self._log.remove_dead_segments()

    def known_data_id(self, peer: NodeId) -> str | None:
        """The `data_id` that a peer is remembered with; None if it is not."""
        return self.identity.peer_data_ids.get(peer)

    def remember_peer(self, node: NodeId, data_id: str) -> None:
        """Durably remember a peer's `data_id`; does nothing if it is known already."""
        identity = self.identity.with_peer(node, data_id)
        if identity is not self.identity:
            save_identity(self._disk, identity)
            self.identity = identity

    def close(self) -> None:
        """Let the files go, without a sync. The disk remains the caller's."""
        self._log.close()
        self.snapshots.close()
