"""What a node says of itself."""

import msgspec


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
        raft_state_bytes: term, vote and live log entries as its disk holds them, in bytes.
        client_address: where clients reach it.
        peer_address: where other nodes reach it.
        cluster_id: the cluster that it belongs to.
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
    raft_state_bytes: int
    client_address: str
    peer_address: str
    cluster_id: str
    pid: int
    connections: int
    version: str


class NodeInfo(msgspec.Struct, frozen=True, kw_only=True):
    """What stays the same while a node runs; fields as in `NodeStatus`."""

    client_address: str = ""
    peer_address: str = ""
    cluster_id: str = ""
    pid: int = 0
    version: str = ""
