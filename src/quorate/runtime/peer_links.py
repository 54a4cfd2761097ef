"""The links to the other servers: one connection for each direction of each pair.

A server sends on the connections that it made itself and receives on those that it accepted. So
each direction comes up, breaks and comes back by itself. Messages for a server that cannot be
reached, or that takes them too slowly, are dropped: Raft expects that.
"""

import asyncio
import logging
import random
import time
from collections.abc import Callable
from typing import Protocol, cast

import msgspec

from quorate.clerk.addresses import parse_address
from quorate.raft.configuration import Member, NodeId
from quorate.raft.messages import PeerMessage
from quorate.wire.errors import PeerProtocolError
from quorate.wire.peer_hello import Hello, refuse_reason
from quorate.wire.peer_link import PeerConnection

FIRST_BACKOFF_S = 0.05
LONGEST_BACKOFF_S = 1.0
HANDSHAKE_TIMEOUT_S = 5.0
MAX_UNSENT_BYTES = 64 * 1024 * 1024
"""Messages are dropped while a link has more than this to send."""
COMPLAINT_PERIOD_S = 60.0
"""A server that keeps calling after it was refused is complained of once in this time."""
MAX_COMPLAINTS_PER_PERIOD = 100
"""More different complaints than these in one period are not logged."""

log = logging.getLogger("quorate")


class Listener(Protocol):
    """Who hears of messages and links: the driver."""

    def received(self, sender: NodeId, messages: list[PeerMessage]) -> None:
        """Another server has sent messages."""

    def link_changed(self, peer: NodeId, *, up: bool) -> None:
        """The connection to another server was made or was lost."""


class KnownPeers(Protocol):
    """What is durably remembered of other servers: the store."""

    def known_data_id(self, peer: NodeId) -> str | None:
        """The data directory that the peer is remembered with."""

    def remember_peer(self, node: NodeId, data_id: str) -> None:
        """Durably remembers it."""


class Complaints:
    """What is wrong with connections, in the log: not again and again, for callers call again."""

    def __init__(self) -> None:
        self._told: dict[tuple[str, str], float] = {}

    def tell(self, transport: asyncio.Transport, text: str) -> None:
        """Logs one line, unless the same was logged of the same host within the last minute."""
        now = time.monotonic()
        told = self._told
        while told and now - next(iter(told.values())) >= COMPLAINT_PERIOD_S:
            del told[next(iter(told))]
        host, port = (transport.get_extra_info("peername") or ("(closed)", 0))[:2]
        if (host, text) not in told and len(told) < MAX_COMPLAINTS_PER_PERIOD:
            told[host, text] = now
            log.warning("peer connection %s:%s %s", host, port, text)


class PeerProtocol(asyncio.Protocol):
    """One connection between two servers, of either direction.

    Args:
        mine: what this server says of itself on this connection.
        members: the servers of the cluster.
        known: what is remembered of other servers.
        complaints: where it is told why a connection was refused or broken off.
        on_accepted: called when both sides have said who they are and this one accepts.
        on_messages: called with the sender and its messages.
        on_lost: called when the connection has ended, with the peer if it had been accepted.
    """

    def __init__(
        self,
        mine: Hello,
        *,
        members: frozenset[NodeId],
        known: KnownPeers,
        complaints: Complaints,
        on_accepted: Callable[["PeerProtocol", NodeId], None],
        on_messages: Callable[[NodeId, list[PeerMessage]], None],
        on_lost: Callable[["PeerProtocol"], None],
    ) -> None:
        self._mine = mine
        self._members = members
        self._known = known
        self._complaints = complaints
        self._on_accepted = on_accepted
        self._on_messages = on_messages
        self._on_lost = on_lost
        self._connection = PeerConnection(mine)
        self._transport: asyncio.Transport | None = None
        self._handshake_limit: asyncio.TimerHandle
        self.peer: NodeId | None = None
        """Who is at the other end, once it is accepted."""
        self.closed = asyncio.Event()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """The socket is open; the side that called says first who it is."""
        transport = cast(asyncio.Transport, transport)  # uvloop's are not of that class
        self._transport = transport
        loop = asyncio.get_running_loop()
        self._handshake_limit = loop.call_later(HANDSHAKE_TIMEOUT_S, self._handshake_takes_too_long)
        if self._mine.to is not None:
            transport.write(self._connection.greet())

    def data_received(self, data: bytes) -> None:
        """The other side has sent something."""
        assert self._transport is not None
        try:
            messages = self._connection.receive(data)
            if self.peer is None and self._connection.hello is not None:
                messages = self._judge(self._connection.hello)
        except PeerProtocolError as error:
            self._complaints.tell(self._transport, f"broken off: {error}")
            self._transport.close()
            return
        if messages and self.peer is not None:
            self._on_messages(self.peer, messages)

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - asyncio's signature
        """The socket is closed."""
        self._handshake_limit.cancel()
        self.closed.set()
        self._on_lost(self)

    def send(self, messages: list[PeerMessage]) -> None:
        """Sends messages together, or drops them if too many are unsent already."""
        assert self._transport is not None
        if self._transport.get_write_buffer_size() < MAX_UNSENT_BYTES:
            encode = self._connection.encode
            self._transport.write(b"".join([encode(message) for message in messages]))

    def close(self) -> None:
        """Ends the connection."""
        if self._transport is not None:
            self._transport.close()

    def _judge(self, theirs: Hello) -> list[PeerMessage]:
        assert self._transport is not None
        reason = refuse_reason(self._mine, theirs, self._known.known_data_id(theirs.sender))
        if reason is None and theirs.sender not in self._members:
            reason = (
                f"node {theirs.sender} is no member of this cluster as node {self._mine.sender} "
                "knows it: check its id"
            )
        if reason is not None:
            self._complaints.tell(self._transport, f"refused: {reason}")
            self._transport.write(self._connection.refuse(reason))
            self._transport.close()
            return []
        self._known.remember_peer(theirs.sender, theirs.data_id)
        if self._mine.to is None:
            self._transport.write(self._connection.greet())
        self.peer = theirs.sender
        self._handshake_limit.cancel()
        messages = self._connection.accept()
        self._on_accepted(self, theirs.sender)
        return messages

    def _handshake_takes_too_long(self) -> None:
        assert self._transport is not None
        self._complaints.tell(
            self._transport, f"broken off: no hello came within {HANDSHAKE_TIMEOUT_S:g} s"
        )
        self._transport.close()


class PeerLinks:
    """All connections of one server to and from the others.

    Args:
        hello: what this server says of itself; `to` is filled in for each call.
        members: the servers of the cluster, this one included.
        known: what is remembered of other servers.
        rng: for the pauses between attempts.
    """

    def __init__(
        self,
        hello: Hello,
        members: tuple[Member, ...],
        *,
        known: KnownPeers,
        rng: random.Random,
    ) -> None:
        self._hello = hello
        self._others = [member for member in members if member.id != hello.sender]
        self._members = frozenset(member.id for member in members)
        self._known = known
        self._complaints = Complaints()
        self._rng = rng
        self._listener: Listener | None = None
        self._outgoing: dict[NodeId, PeerProtocol] = {}
        self._incoming: dict[NodeId, PeerProtocol] = {}
        self._open: set[PeerProtocol] = set()
        self._callers: list[asyncio.Task[None]] = []

    def start(self, listener: Listener) -> None:
        """Begins to call the other servers, and does so again whenever a call ends."""
        self._listener = listener
        self._callers = [
            asyncio.create_task(self._keep_calling(member), name=f"peer-{member.id}")
            for member in self._others
        ]

    def incoming_protocol(self) -> PeerProtocol:
        """The protocol for a connection that another server makes."""
        protocol = self._new_protocol(
            self._hello, on_accepted=self._incoming_accepted, on_lost=self._incoming_lost
        )
        self._open.add(protocol)
        return protocol

    def send(self, to: NodeId, messages: list[PeerMessage]) -> None:
        """Sends messages, or drops them if there is no link."""
        protocol = self._outgoing.get(to)
        if protocol is not None:
            protocol.send(messages)

    async def close(self) -> None:
        """Ends all connections and calls nobody any more."""
        for caller in self._callers:
            caller.cancel()
        await asyncio.gather(*self._callers, return_exceptions=True)
        for protocol in list(self._open):
            protocol.close()

    def _new_protocol(
        self,
        mine: Hello,
        *,
        on_accepted: Callable[[PeerProtocol, NodeId], None],
        on_lost: Callable[[PeerProtocol], None],
    ) -> PeerProtocol:
        return PeerProtocol(
            mine,
            members=self._members,
            known=self._known,
            complaints=self._complaints,
            on_accepted=on_accepted,
            on_messages=self._received,
            on_lost=on_lost,
        )

    # ------------------------------------------------------------------ incoming

    def _incoming_accepted(self, protocol: PeerProtocol, peer: NodeId) -> None:
        previous = self._incoming.get(peer)
        self._incoming[peer] = protocol
        if previous is not None:
            previous.close()

    def _incoming_lost(self, protocol: PeerProtocol) -> None:
        self._open.discard(protocol)
        if protocol.peer is not None and self._incoming.get(protocol.peer) is protocol:
            del self._incoming[protocol.peer]
            self._changed(protocol.peer, up=False)

    def _received(self, sender: NodeId, messages: list[PeerMessage]) -> None:
        if self._listener is not None:
            self._listener.received(sender, messages)

    # ------------------------------------------------------------------ outgoing

    async def _keep_calling(self, member: Member) -> None:
        backoff_s = FIRST_BACKOFF_S
        while True:
            if await self._call(member):
                backoff_s = FIRST_BACKOFF_S
            await asyncio.sleep(backoff_s * (0.5 + self._rng.random() / 2))
            backoff_s = min(LONGEST_BACKOFF_S, 2 * backoff_s)

    async def _call(self, member: Member) -> bool:
        """Connects and stays until the connection ends; returns whether it was accepted."""
        protocol = self._new_protocol(
            msgspec.structs.replace(self._hello, to=member.id),
            on_accepted=self._outgoing_accepted,
            on_lost=self._outgoing_lost,
        )
        host, port = parse_address(member.peer_address)
        loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout(HANDSHAKE_TIMEOUT_S):
                await loop.create_connection(lambda: protocol, host, port)
        except OSError:  # a time-out is one too; a name that does not resolve yet as well
            return False
        try:
            await protocol.closed.wait()
        finally:
            protocol.close()
        return protocol.peer is not None

    def _outgoing_accepted(self, protocol: PeerProtocol, peer: NodeId) -> None:
        self._outgoing[peer] = protocol
        self._changed(peer, up=True)

    def _outgoing_lost(self, protocol: PeerProtocol) -> None:
        if protocol.peer is not None and self._outgoing.get(protocol.peer) is protocol:
            del self._outgoing[protocol.peer]
            self._changed(protocol.peer, up=False)

    def _changed(self, peer: NodeId, *, up: bool) -> None:
        if self._listener is not None:
            self._listener.link_changed(peer, up=up)
