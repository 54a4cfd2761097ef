"""A whole server without I/O: a replica of the key/value table, and the gateway for its clients.

The driver feeds it (`receive` from peers, `client_data` from clients, `persisted` from the disk,
`wake` from the clock) and drains it (`take_ready`). The same object runs on real sockets and in
the simulator.
"""

import random
from collections.abc import Mapping

import msgspec

from quorate.kv.queries import Count, Query, QueryResult
from quorate.kv.table import Table
from quorate.node.connection_commands import NodeView
from quorate.node.gateway import Gateway
from quorate.node.members import Members
from quorate.node.results import REMOVED, encode_not_leader
from quorate.node.settings import NodeSettings
from quorate.node.status import (
    LinkStatus,
    MemberStatus,
    NodeInfo,
    NodeStatus,
    SnapshotProgress,
)
from quorate.raft.configuration import NodeId
from quorate.raft.core import Raft
from quorate.raft.deadlines import earliest
from quorate.raft.messages import PeerMessage
from quorate.raft.ready import ChunkToSend, DurableState, Envelope, LogWrite, ReceivedChunk
from quorate.raft.snapshot import SnapshotMetadata
from quorate.replica.replica import Replica
from quorate.replica.replicated_state import ReplicatedState
from quorate.replica.sessions import SessionTable
from quorate.storage.snapshots import SnapshotPart, StoredSnapshot

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
        snapshot_part: to be written; then `snapshot_written` or `snapshot_failed`.
        chunks_to_send: pieces of a snapshot on this disk, to be read and sent; see `ChunkToSend`.
        received_chunks: pieces of a snapshot of the leader's, to be written, in order; then
            `chunk_written` for each.
        restore_from: the sections of this snapshot are to be read and given to `restore`, all in
            order, as soon as may be.
    """

    messages: list[Envelope]
    write: LogWrite | None
    chunks_to_send: list[ChunkToSend]
    received_chunks: list[ReceivedChunk]
    replies: list[tuple[int, bytes]] = msgspec.field(default_factory=list)
    closing: list[int] = msgspec.field(default_factory=list)
    broken: list[int] = msgspec.field(default_factory=list)
    given_up: list[int] = msgspec.field(default_factory=list)
    snapshot_part: SnapshotPart | None = None
    restore_from: SnapshotMetadata | None = None


class Node:
    """One server of the key/value service.

    Args:
        node: its id.
        boot: how often it has started, this time included.
        durable: what its disk holds.
        settings: how it is to behave.
        info: what `status` reports besides.
        peer_data_ids: which data directories the others that the cluster was started with had when
            they were last heard.
        has_joined: its data directory was made when the cluster existed already, not with it.
        rng: for the election timeouts.
        now: in microseconds of a monotonic clock.
        raft_state_bytes: how much Raft state its disk holds.

    Attributes:
        raft: the consensus core, to be looked at only.
    """

    def __init__(
        self,
        node: NodeId,
        *,
        boot: int,
        durable: DurableState,
        rng: random.Random,
        now: int,
        settings: NodeSettings | None = None,
        info: NodeInfo | None = None,
        peer_data_ids: Mapping[NodeId, str] | None = None,
        has_joined: bool = False,
        raft_state_bytes: int = 0,
    ) -> None:
        self._id = node
        self._is_leaving = False
        self._was_removed = False
        self._hopeless_at: int | None = None
        self._info = info or NodeInfo()
        settings = settings or NodeSettings()
        self._raft_settings = msgspec.structs.replace(
            settings.raft, trailing_bytes=settings.snapshots.trailing_bytes
        )
        self.raft = Raft(
            node,
            durable=durable,
            settings=self._raft_settings,
            rng=rng,
            now=now,
            first_request_id=boot * _REQUEST_IDS_PER_BOOT + 1,
            data_ids=_data_ids(self._info.data_id, has_joined=has_joined),
        )
        self._replica: Replica[Query, QueryResult] = Replica(
            self.raft,
            lambda: ReplicatedState(Table(), SessionTable(settings.sessions)),
            snapshots=settings.snapshots.of_node(node),
            raft_state_bytes=raft_state_bytes,
        )
        self._links: dict[NodeId, LinkStatus] = {}
        self._members = Members(self.raft, {**(peer_data_ids or {}), node: self._info.data_id})
        self._gateway = Gateway(
            node,
            boot=boot,
            data_id=self._info.data_id,
            limits=settings.limits,
            view=self._view,
            query=self._query,
            administer=self._administer,
        )

    # ------------------------------------------------------------------ what goes in

    def receive(self, sender: NodeId, message: PeerMessage, now: int) -> bool:
        """Takes in a message of another server.

        Returns:
            Whether `take_ready` is to follow. Most of what a leader receives makes nothing due.
        """
        raft = self.raft
        term, leader = raft.current_term, raft.leader
        self._replica.receive(sender, message, now)
        return raft.has_ready or raft.current_term != term or raft.leader != leader

    def link_changed(self, peer: NodeId, *, up: bool, now: int) -> None:
        """A connection with another server, of either direction, was made or was lost."""
        self.raft.link_changed(peer, up=up, now=now)

    def link_made(self, peer: NodeId) -> None:
        """What is sent to another server goes over a connection now."""
        self._links[peer] = LinkStatus(peer, is_up=True, is_refused=False, trouble="")

    def link_failed(self, peer: NodeId, trouble: str, *, is_refused: bool) -> None:
        """There is no such connection, and this is why."""
        if self.raft.configuration.member(peer) is None:
            self._links.pop(peer, None)  # there may be any number of those
            return
        self._links[peer] = LinkStatus(peer, is_up=False, is_refused=is_refused, trouble=trouble)

    def peer_identified(self, peer: NodeId, data_id: str) -> None:
        """Another server has said which data directory it has, and is believed."""
        self._members.identified(peer, data_id)

    def removed(self) -> None:
        """Another server has said that this one was removed from the cluster.

        There is no way back for it, so from now on all its clients are sent elsewhere at once, but
        for those whose commands are on their way to the leader, who will answer.
        """
        self._was_removed = True

    def leave(self) -> None:
        """This server is about to end.

        From now on clients that wait for an answer do not wait for a leader any longer than an
        election takes, for those who would elect one may be ending too.
        """
        self._is_leaving = True

    def transfer_leadership(self, now: int) -> bool:
        """Begins to hand leadership over to whoever is best suited.

        Returns:
            False if there is nobody, if this server does not lead, or if it does so already.
        """
        successor = self.raft.successor(now)
        return successor is not None and self.raft.transfer_leadership(successor, now)

    def open_connection(self) -> int:
        """A client has connected; returns the connection's id."""
        return self._gateway.open_connection()

    def client_data(self, connection: int, data: bytes, now: int) -> bool:
        """Takes in a client's bytes; returns `is_congested`."""
        return self._gateway.receive(connection, data, now)

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

    @property
    def is_idle(self) -> bool:
        """Whether everything that clients have sent is answered."""
        return self._gateway.is_idle

    def is_congested(self, connection: int) -> bool:
        """Whether no more should be read from this client for now."""
        return self._gateway.is_congested(connection)

    def persisted(self, number: int, now: int, *, raft_state_bytes: int) -> None:
        """The write of this number is on the disk, which holds so much Raft state now."""
        self._replica.persisted(number, now, raft_state_bytes=raft_state_bytes)

    def request_snapshot(self) -> None:
        """An operator wants a snapshot, whether it is due or not."""
        self._replica.request_snapshot()

    def snapshot_written(self, stored: StoredSnapshot | None, now: int) -> None:
        """The part of a snapshot is written; if it was the last, all of that is durable now."""
        self._replica.snapshot_written(stored, now)

    def snapshot_failed(self, now: int) -> None:
        """There was no space for the part, and what was written of that snapshot is gone."""
        self._replica.snapshot_failed(now)

    def snapshot_damaged(self, index: int, now: int) -> None:
        """A snapshot of which a `ChunkToSend` wanted a piece was found damaged."""
        self.raft.snapshot_damaged(index, now)

    def chunk_written(self, chunk: ReceivedChunk, next_offset: int, now: int) -> None:
        """A piece of the leader's snapshot is written.

        Args:
            chunk: which.
            next_offset: everything before it is there; if that is the size of the snapshot, all
                of it is durable.
            now: in microseconds.
        """
        self.raft.chunk_written(chunk, next_offset, now)

    def restore(self, section: bytes, now: int) -> None:
        """Takes in the next section of the snapshot that `NodeReady.restore_from` has named."""
        self._replica.restore(section, now)

    def wake(self, now: int) -> None:
        """Lets timers that are due take effect."""
        self.raft.wake(now)

    def deadline(self, now: int) -> int | None:
        """When `wake` and `take_ready` should be called at the latest."""
        due = earliest(self.raft.deadline(), self._gateway.deadline(now))
        due = earliest(due, self._replica.deadline())
        if self._hopeless_at is None or self._gateway.is_idle:
            return due
        return earliest(due, self._hopeless_at)

    # ------------------------------------------------------------------ what comes out

    @property
    def has_answers(self) -> bool:
        """Whether there are replies that wait for nobody."""
        return self._gateway.has_answers

    def take_urgent(self, now: int) -> NodeReady | None:
        """What the leader waits for, if this server follows and has something to write or to send.

        To be asked for before `take_ready`, until there is nothing: it is done before anything is
        applied, since nobody waits for that here.
        """
        if self.raft.is_leader or not self.raft.has_urgent:
            return None
        ready = self.raft.take_ready(now)
        return NodeReady(
            messages=ready.messages,
            write=ready.write,
            chunks_to_send=ready.chunks,
            received_chunks=ready.received,
        )

    def take_ready(self, now: int, *, submits: bool = True) -> NodeReady:
        """What has to be done now; see `NodeReady`. All of the one before is done.

        Args:
            now: in microseconds.
            submits: whether writes of clients are submitted; if not, they wait for the next call.
        """
        replies: list[tuple[int, bytes]] = []
        closing: list[int] = []
        broken: list[int] = []
        given_up: list[int] = []
        self._gateway.turn_begins()
        self._members.complete(now)
        while True:
            outcomes, reads = self._replica.take_outcomes(now)
            for outcome in outcomes:
                self._gateway.take_outcome(outcome, now)
            for read in reads:
                self._gateway.read_ready(read)
            wanted = self._gateway.take_ready(
                now,
                can_submit=submits and self._can_submit,
                is_hopeless=self._is_hopeless(now),
                refusal=self._refusal(),
                finishes_begun=self._was_removed and self.raft.leader is not None,
            )
            replies += wanted.replies
            closing += wanted.closing
            broken += wanted.broken
            given_up += wanted.given_up
            if wanted.wants_snapshot:
                self._replica.request_snapshot()
            for ticket, query in wanted.reads:
                self._replica.read(ticket, query)
            for ticket in wanted.cancelled_reads:  # perhaps one of those, after a pause
                self._replica.cancel_read(ticket)
            for ticket, operation in wanted.operations:
                self._replica.submit(ticket, operation)
            if not wanted.reads and not self._replica.has_to_propose:
                break
            self._replica.propose(now)
            if not wanted.reads and not self._replica.has_outcomes:
                break
        ready = self.raft.take_ready(now)
        return NodeReady(
            messages=ready.messages,
            write=ready.write,
            replies=replies,
            closing=closing,
            broken=broken,
            given_up=given_up,
            snapshot_part=self._replica.take_snapshot_part(now),
            chunks_to_send=ready.chunks,
            received_chunks=ready.received,
            restore_from=self._replica.take_restore(),
        )

    def status(self) -> NodeStatus:
        """What this node says of itself."""
        raft, taker = self.raft, self._replica.taker
        under_way, receiving = taker.snapshot_under_way, raft.receiving
        return NodeStatus(
            id=self._id,
            role=raft.role_name,
            term=raft.current_term,
            leader=raft.leader,
            commit_index=raft.commit_index,
            last_applied=self.state.last_applied,
            last_index=raft.last_index,
            last_term=raft.last_term,
            raft_state_bytes=self._replica.raft_state_bytes,
            snapshot_index=raft.snapshot.index,
            snapshot_bytes=raft.snapshot_size,
            snapshot_age_ms=self._snapshot_age_ms(),
            snapshot_is_lost=raft.snapshot_is_lost,
            snapshot_has_failed=taker.has_failed,
            snapshot_taking=None
            if under_way is None
            else SnapshotProgress(under_way.index, taker.bytes_taken, size=None),
            snapshot_receiving=None
            if receiving is None
            else SnapshotProgress(receiving.index, receiving.offset, receiving.size),
            snapshot_restoring=self._restoring(),
            snapshots_sending=tuple(
                SnapshotProgress(sent.index, sent.offset, sent.size, to=peer)
                for peer, sent in raft.sending.items()
            ),
            members=self._member_statuses(),
            configuration_index=raft.membership.index,
            configuration_is_committed=raft.configuration_is_committed,
            is_transferring=raft.is_transferring,
            links=self._link_statuses(),
            client_address=self._info.client_address,
            peer_address=self._info.peer_address,
            cluster_id=self._info.cluster_id,
            data_id=self._info.data_id,
            pid=self._info.pid,
            connections=self._gateway.connections,
            version=self._info.version,
        )

    def _member_statuses(self) -> tuple[MemberStatus, ...]:
        configuration, followers = self.raft.configuration, self.raft.followers
        return tuple(
            MemberStatus(
                id=member.id,
                votes=configuration.is_voter(member.id),
                is_promoting=member.id in configuration.promoting,
                peer_address=member.peer_address,
                client_address=member.client_address,
                data_id=member.data_id,
                match_index=None if follower is None else follower.match_index,
                silent_ms=None if follower is None else follower.silent_us // 1000,
                is_in_touch=None if follower is None else follower.is_in_touch,
            )
            for member in configuration.members
            for follower in (followers.get(member.id),)
        )

    def _link_statuses(self) -> tuple[LinkStatus, ...]:
        return tuple(
            self._links.get(member.id)
            or LinkStatus(member.id, is_up=False, is_refused=False, trouble="it was not made yet")
            for member in self.raft.configuration.members
            if member.id != self._id
        )

    def _administer(self, arguments: list[bytes], now: int) -> None:
        self._members.execute(arguments, now, leader_address=self._leader_address())

    def _snapshot_age_ms(self) -> int | None:
        if not self.raft.snapshot_size:
            return None
        # While a newer one is restored, the state is still the one before it.
        return max(0, self.state.time_ms - self.raft.snapshot.time_ms)

    def _restoring(self) -> SnapshotProgress | None:
        raft = self.raft
        if raft.snapshot_is_lost or self.state.last_applied >= raft.snapshot.index:
            return None
        return SnapshotProgress(
            raft.snapshot.index, self._replica.restored_bytes, raft.snapshot_size
        )

    @property
    def state(self) -> ReplicatedState[Query, QueryResult]:
        """The replicated state, to be looked at only."""
        return self._replica.state

    def _query(self, query: Query) -> QueryResult:
        return self._replica.state.query(query)

    @property
    def _can_submit(self) -> bool:
        forwarding = self._raft_settings.forwarding
        return self.raft.is_leader or (forwarding and self.raft.leader is not None)

    def _is_hopeless(self, now: int) -> bool:
        """Whether clients wait in vain: this server ends, and there was no leader for long."""
        if not self._is_leaving or self._can_submit:
            self._hopeless_at = None
            return False
        if self._hopeless_at is None:
            self._hopeless_at = now + self._raft_settings.election_timeout_us
        return now >= self._hopeless_at

    def _refusal(self) -> bytes | None:
        """The answer to everything that needs the leader, if this server does not reach it."""
        if self._was_removed:
            return REMOVED
        if self._raft_settings.forwarding or self.raft.is_leader:
            return None
        return encode_not_leader(self._leader_address())

    def _leader_address(self) -> str | None:
        leader = self.raft.leader
        member = None if leader is None else self.raft.configuration.member(leader)
        return None if member is None else member.client_address

    def _servers(self) -> tuple[int | str, ...]:
        membership = self.raft.membership
        if membership.committed is None:
            return (0,)
        addresses = [member.client_address for member in membership.committed.members]
        return (membership.committed_index, *filter(None, addresses))

    def _view(self) -> NodeView:
        keys = self.state.query(Count())
        assert isinstance(keys, int)
        return NodeView(
            status=self.status(),
            leader_address=self._leader_address(),
            servers=self._servers(),
            keys=keys,
        )


def _data_ids(data_id: str, *, has_joined: bool) -> frozenset[str] | None:
    """By which data ids a member of the node's id is this node."""
    if not data_id:
        return None
    # The members that a cluster is started with are known by their ids alone at first.
    return frozenset((data_id,)) if has_joined else frozenset((data_id, ""))
