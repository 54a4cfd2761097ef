"""What a node says of itself."""

import msgspec


class SnapshotProgress(msgspec.Struct, frozen=True):
    """How far a snapshot has come that is being taken, received, restored or sent.

    Attributes:
        index: of the last entry of the log that it covers.
        offset: how many of its bytes are done.
        size: of all of it, in bytes; None if that is not known yet.
        to: to which node it is sent, if it is.
    """

    index: int
    offset: int
    size: int | None
    to: int | None = None


class MemberStatus(msgspec.Struct, frozen=True):
    """A member of the cluster, as one node knows it.

    Attributes:
        id: its number.
        votes: whether it is a voter; else it is a learner.
        is_promoting: a learner that the leader makes a voter as soon as it has caught up.
        peer_address: where other nodes reach it.
        client_address: where clients reach it.
        data_id: of its data directory; empty until that is known.
        match_index: up to where its log is known to be as the leader's; None if this node does not
            lead, or is the member itself.
        silent_ms: for how long it has answered nothing; None likewise.
        is_in_touch: whether that is less than the leader's election timeout, and its link was not
            lost since; None likewise.
    """

    id: int
    votes: bool
    is_promoting: bool
    peer_address: str
    client_address: str
    data_id: str
    match_index: int | None
    silent_ms: int | None
    is_in_touch: bool | None


class LinkStatus(msgspec.Struct, frozen=True):
    """A node's own connection to another one, over which it sends.

    Attributes:
        to: the other node.
        is_up: whether there is one.
        is_refused: there is none because one of the two does not talk to the other.
        trouble: why there is none, as far as that is known, and if it is refused, what to do; empty
            if there is one.
    """

    to: int
    is_up: bool
    is_refused: bool
    trouble: str


class NodeStatus(msgspec.Struct, frozen=True):
    """The state of one node; `QUORATE.STATUS` answers it as JSON.

    Attributes:
        id: the node's number.
        role: `follower`, `pre-candidate`, `candidate` or `leader`.
        term: its current term.
        leader: the id of the leader, as far as it knows.
        commit_index: up to which index it knows the log to be committed.
        last_applied: up to which index it has applied the log.
        last_index: the last index of its log.
        last_term: the term of that entry.
        raft_state_bytes: term, vote and live log entries as its disk holds them, in bytes.
        snapshot_index: up to which index its newest snapshot covers the log; 0 without one. Of a
            lost one, how far that went.
        snapshot_bytes: its size; 0 without one.
        snapshot_age_ms: by how much cluster time has gone on since; None without one. It stands
            still without a leader.
        snapshot_is_lost: its snapshot cannot be read any more. It waits for one from the leader,
            and neither serves nor stands for election before that.
        snapshot_has_failed: there was no space for the last snapshot that it began to take, and
            it will try again.
        snapshot_taking: the snapshot that it is taking.
        snapshot_receiving: the one that the leader is sending to it.
        snapshot_restoring: the one that it is reading, after its start or after one was received.
        snapshots_sending: those that it sends, as the leader, to followers that lag behind.
        members: of the cluster, as it knows them; voters first.
        configuration_index: the index of the entry that says so, or of the snapshot.
        configuration_is_committed: whether it knows that to be committed.
        is_transferring: whether it is handing its leadership over.
        links: its connections to the other members.
        client_address: where clients reach it.
        peer_address: where other nodes reach it.
        cluster_id: the cluster that it belongs to.
        data_id: of its data directory.
        pid: its process; 0 in a simulation.
        connections: how many clients are connected.
        version: of Quorate.
    """

    id: int
    role: str
    term: int
    leader: int | None
    commit_index: int
    last_applied: int
    last_index: int
    last_term: int
    raft_state_bytes: int
    snapshot_index: int
    snapshot_bytes: int
    snapshot_age_ms: int | None
    snapshot_is_lost: bool
    snapshot_has_failed: bool
    snapshot_taking: SnapshotProgress | None
    snapshot_receiving: SnapshotProgress | None
    snapshot_restoring: SnapshotProgress | None
    snapshots_sending: tuple[SnapshotProgress, ...]
    members: tuple[MemberStatus, ...]
    configuration_index: int
    configuration_is_committed: bool
    is_transferring: bool
    links: tuple[LinkStatus, ...]
    client_address: str
    peer_address: str
    cluster_id: str
    data_id: str
    pid: int
    connections: int
    version: str


class NodeInfo(msgspec.Struct, frozen=True, kw_only=True):
    """What stays the same while a node runs; fields as in `NodeStatus`."""

    client_address: str = ""
    peer_address: str = ""
    cluster_id: str = ""
    data_id: str = ""
    pid: int = 0
    version: str = ""
