"""The links to the other servers: one connection for each direction of each pair.

A server sends on the connections that it made itself and receives on those that it accepted. So
each direction comes up, breaks and comes back by itself. Messages for a server that cannot be
reached, or that takes them too slowly, are dropped: Raft expects that.
"""

import asyncio
import random
from collections.abc import Callable
from typing import Protocol, cast

import msgspec

from quorate.clerk.addresses import parse_address
from quorate.clerk.backoff import Backoff
from quorate.raft.configuration import Member, NodeId
from quorate.raft.messages import PeerMessage
from quorate.runtime.complaints import Complaints
from quorate.wire.errors import PeerProtocolError
from quorate.wire.peer_hello import Hello, refuse_reason
from quorate.wire.peer_link import PeerConnection

FIRST_BACKOFF_S = 0.05
"""The longest wait before a first call is repeated; it doubles with each further one."""
LONGEST_BACKOFF_S = 1.0
"""Where that stops."""
HANDSHAKE_TIMEOUT_S = 5.0
"""A connection that is not made by then, or on which nobody said who he is, is given up."""
MAX_UNSENT_BYTES = 64 * 1024 * 1024
"""Messages are dropped while a link has more than this to send."""
MAX_STRANGERS = 16
"""Connections on which nobody has said yet who he is; when one more comes, the oldest yields.

Not the new one: a server says who it is as soon as it is connected, so who has waited longest is
no server, and many of those must not keep one out.
"""


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
        self._address = ("", 0)
        self._is_unwanted = False
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
        address = transport.get_extra_info("peername")
        if address is None or self._is_unwanted:
            transport.abort()  # it was reset before it was accepted, or it comes too late
            return
        # Now, for once the other side has reset the connection the kernel does not know any more.
        self._address = address[:2]
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
            self.break_off(f"broken off: {error}")
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
        """Ends the connection, or sees that it ends as soon as it is made."""
        self._is_unwanted = True
        if self._transport is not None:
            self._transport.close()

    def break_off(self, complaint: str) -> None:
        """Ends the connection and tells the log why."""
        if self._transport is not None:
            self._complain(complaint)
        self.close()

    def _complain(self, text: str) -> None:
        self._complaints.tell(self._address, text, asyncio.get_running_loop().time())

    def _judge(self, theirs: Hello) -> list[PeerMessage]:
        assert self._transport is not None
        reason = refuse_reason(self._mine, theirs, self._known.known_data_id(theirs.sender))
        if reason is None and theirs.sender not in self._members:
            reason = (
                f"node {theirs.sender} is no member of this cluster as node {self._mine.sender} "
                "knows it: check its id"
            )
        if reason is not None:
            self._complain(f"refused: {reason}")
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
        self.break_off(f"broken off: no hello came within {HANDSHAKE_TIMEOUT_S:g} s")


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
        self._strangers: dict[PeerProtocol, None] = {}  # the oldest first
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
        self._strangers[protocol] = None
        if len(self._strangers) > MAX_STRANGERS:
            oldest = next(iter(self._strangers))
            del self._strangers[oldest]
            oldest.break_off(
                f"broken off: {MAX_STRANGERS} later callers have not said who they are"
            )
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
        self._strangers.pop(protocol, None)
        previous = self._incoming.get(peer)
        self._incoming[peer] = protocol
        if previous is not None:
            previous.close()

    def _incoming_lost(self, protocol: PeerProtocol) -> None:
        self._open.discard(protocol)
        self._strangers.pop(protocol, None)
        if protocol.peer is not None and self._incoming.get(protocol.peer) is protocol:
            del self._incoming[protocol.peer]
            self._changed(protocol.peer, up=False)

    def _received(self, sender: NodeId, messages: list[PeerMessage]) -> None:
        if self._listener is not None:
            self._listener.received(sender, messages)

    # ------------------------------------------------------------------ outgoing

    async def _keep_calling(self, member: Member) -> None:
        backoff = Backoff(
            minimum_us=round(FIRST_BACKOFF_S * 1e6),
            maximum_us=round(LONGEST_BACKOFF_S * 1e6),
            rng=self._rng,
        )
        while True:
            if await self._call(member):
                backoff.reset()
            await asyncio.sleep(backoff.next_us() / 1e6)

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
