"""A whole server without I/O: a replica of the key/value table, and the gateway for its clients.

The driver feeds it (`receive` from peers, `client_data` from clients, `persisted` from the disk,
`wake` from the clock) and drains it (`take_ready`). The same object runs on real sockets and in
the simulator.
"""

import random

import msgspec

from quorate.kv.queries import Count, Query, QueryResult
from quorate.kv.table import Table
from quorate.node.connection_commands import NodeView
from quorate.node.gateway import Gateway
from quorate.node.limits import NodeLimits
from quorate.node.results import encode_not_leader
from quorate.node.status import NodeInfo, NodeStatus
from quorate.raft.configuration import NodeId
from quorate.raft.core import Raft
from quorate.raft.messages import PeerMessage
from quorate.raft.ready import DurableState, Envelope, LogWrite
from quorate.raft.settings import Settings
from quorate.replica.replica import Replica
from quorate.replica.replicated_state import ReplicatedState
from quorate.replica.sessions import SessionLimits, SessionTable

_REQUEST_IDS_PER_BOOT = 1 << 40


class NodeReady(msgspec.Struct, frozen=True):
    """What the driver has to do now; each list is in order.

    Attributes:
        messages: to be sent to other servers, at once.
        write: to be made durable; then `persisted`.
        replies: bytes for clients: (connection id, bytes).
        closing: connections to close once their bytes are sent.
        broken: the same for clients that broke the protocol. They may still be sending, and are to
            have a chance to see their error all the same.
        given_up: connections to end at once, since their clients hold up all others; the node has
            forgotten them.
    """

    messages: list[Envelope]
    write: LogWrite | None
    replies: list[tuple[int, bytes]]
    closing: list[int]
    broken: list[int]
    given_up: list[int]


class Node:
    """One server of the key/value service.

    Args:
        node: its id.
        boot: how often it has started, this time included.
        durable: what its disk holds.
        settings: of Raft.
        session_limits: of the session table, the same on all servers of a cluster.
        limits: of this server alone.
        info: what `status` reports besides.
        rng: for the election timeouts.
        now: in microseconds of a monotonic clock.
        raft_state_bytes: how much Raft state its disk holds.

    Attributes:
        raft: the consensus core, to be looked at only.
        state: the replicated state, to be looked at only.
    """

    def __init__(
        self,
        node: NodeId,
        *,
        boot: int,
        durable: DurableState,
        rng: random.Random,
        now: int,
        settings: Settings | None = None,
        session_limits: SessionLimits | None = None,
        limits: NodeLimits | None = None,
        info: NodeInfo | None = None,
        raft_state_bytes: int = 0,
    ) -> None:
        self._id = node
        self._info = info or NodeInfo()
        self._settings = settings or Settings()
        self.raft = Raft(
            node,
            durable=durable,
            settings=self._settings,
            rng=rng,
            now=now,
            first_request_id=boot * _REQUEST_IDS_PER_BOOT + 1,
        )
        self.state: ReplicatedState[Query, QueryResult] = ReplicatedState(
            Table(), SessionTable(session_limits or SessionLimits())
        )
        self._replica = Replica(self.raft, self.state)
        self._gateway = Gateway(
            node, boot=boot, limits=limits or NodeLimits(), view=self._view, query=self.state.query
        )
        self._raft_state_bytes = raft_state_bytes

    # ------------------------------------------------------------------ what goes in

    def receive(self, sender: NodeId, message: PeerMessage, now: int) -> None:
        """Takes in a message of another server."""
        self._replica.receive(sender, message, now)

    def link_changed(self, peer: NodeId, *, up: bool, now: int) -> None:
        """The connection to another server was made or was lost."""
        self.raft.link_changed(peer, up=up, now=now)

    def open_connection(self) -> int:
        """A client has connected; returns the connection's id."""
        return self._gateway.open_connection()

    def client_data(self, connection: int, data: bytes, now: int) -> None:
        """Takes in a client's bytes."""
        self._gateway.receive(connection, data, now)

    def finish_connection(self, connection: int) -> None:
        """A client will send nothing more, but may still read replies."""
        self._gateway.finish_connection(connection)

    def client_unsent(self, connection: int, size: int, now: int) -> None:
        """So many bytes of replies wait because the client does not take them in.

        To be told at once when what `take_ready` gave out is sent and a part of it is left, when
        there is nothing left any more, and now and then between the two.
        """
        self._gateway.client_unsent(connection, size, now)

    def close_connection(self, connection: int, now: int) -> None:
        """A client has gone."""
        self._gateway.close_connection(connection, now)

    def is_congested(self, connection: int) -> bool:
        """Whether no more should be read from this client for now."""
        return self._gateway.is_congested(connection)

    def persisted(self, number: int, now: int, *, raft_state_bytes: int) -> None:
        """The write of this number is on the disk, which holds so much Raft state now."""
        self._raft_state_bytes = raft_state_bytes
        self.raft.persisted(number, now)

    def wake(self, now: int) -> None:
        """Lets timers that are due take effect."""
        self.raft.wake(now)

    def deadline(self, now: int) -> int | None:
        """When `wake` and `take_ready` should be called at the latest."""
        due = (self.raft.deadline(), self._gateway.deadline(now))
        return min((time for time in due if time is not None), default=None)

    # ------------------------------------------------------------------ what comes out

    def take_ready(self, now: int) -> NodeReady:
        """What has to be done now; see `NodeReady`. All of the one before is done."""
        replies: list[tuple[int, bytes]] = []
        closing: list[int] = []
        broken: list[int] = []
        given_up: list[int] = []
        self._gateway.turn_begins()
        while True:
            outcomes, reads = self._replica.take_outcomes(now)
            for outcome in outcomes:
                self._gateway.take_outcome(outcome, now)
            for read in reads:
                self._gateway.read_ready(read)
            wanted = self._gateway.take_ready(
                now, can_submit=self._can_submit, refusal=self._refusal()
            )
            replies += wanted.replies
            closing += wanted.closing
            broken += wanted.broken
            given_up += wanted.given_up
            for ticket, query in wanted.reads:
                self._replica.read(ticket, query)
            for ticket in wanted.cancelled_reads:  # perhaps one of those, after a pause
                self._replica.cancel_read(ticket)
            for ticket, operation in wanted.operations:
                self._replica.submit(ticket, operation)
            if not wanted.reads and not wanted.operations:
                break
            self._replica.propose(now)
        ready = self.raft.take_ready(now)
        return NodeReady(ready.messages, ready.write, replies, closing, broken, given_up)

    def status(self) -> NodeStatus:
        """What this node says of itself."""
        raft = self.raft
        return NodeStatus(
            id=self._id,
            role=raft.role_name,
            term=raft.current_term,
            leader=raft.leader,
            commit_index=raft.commit_index,
            last_applied=self.state.last_applied,
            last_index=raft.last_index,
            raft_state_bytes=self._raft_state_bytes,
            client_address=self._info.client_address,
            peer_address=self._info.peer_address,
            cluster_id=self._info.cluster_id,
            pid=self._info.pid,
            connections=self._gateway.connections,
            version=self._info.version,
        )

    @property
    def _can_submit(self) -> bool:
        return self.raft.is_leader or (self._settings.forwarding and self.raft.leader is not None)

    def _refusal(self) -> bytes | None:
        """The answer to everything that needs the leader, if this server does not reach it."""
        if self._settings.forwarding or self.raft.is_leader:
            return None
        return encode_not_leader(self._leader_address())

    def _leader_address(self) -> str | None:
        leader = self.raft.leader
        member = None if leader is None else self.raft.configuration.member(leader)
        return None if member is None else member.client_address

    def _view(self) -> NodeView:
        keys = self.state.query(Count())
        assert isinstance(keys, int)
        return NodeView(
            status=self.status(),
            leader_address=self._leader_address(),
            keys=keys,
        )
