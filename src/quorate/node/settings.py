"""How a node is to behave: what its parts are told, in one place."""

import msgspec

from quorate.node.limits import NodeLimits
from quorate.raft.settings import Settings
from quorate.replica.sessions import SessionLimits
from quorate.replica.snapshot_taker import SnapshotSettings


class NodeSettings(msgspec.Struct, frozen=True, kw_only=True):
    """The settings of one node.

    Attributes:
        raft: of consensus. `trailing_bytes` follows from `snapshots`.
        sessions: limits of the session table, the same on all servers of a cluster.
        snapshots: when and how fast this server takes snapshots.
        limits: of this server alone.
    """

    raft: Settings = Settings()
    sessions: SessionLimits = SessionLimits()
    snapshots: SnapshotSettings = SnapshotSettings()
    limits: NodeLimits = NodeLimits()
