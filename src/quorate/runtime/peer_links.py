"""The links to the other servers: one connection for each direction of each pair.

A server sends on the connections that it made itself and receives on those that it accepted. So
each direction comes up, breaks and comes back by itself. Messages for a server that cannot be
reached, or that takes them too slowly, are dropped: Raft expects that.

Called are the members, and whoever calls: a server that is no member yet as far as this one knows,
or no more, is answered too. Each is called where it says itself that it listens, as long as its
address in the members' list has not changed since; so one whose address has changed only has to
call the others. If a call fails, the other places are tried that are known: where one that is
connected to this server says that it is, and where the operator says that it may be.
"""

import asyncio
import contextlib
import math
import random
import socket
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Protocol, cast

import msgspec

from quorate.clerk.addresses import parse_address
from quorate.clerk.backoff import Backoff
from quorate.raft.configuration import Membership, NodeId
from quorate.raft.messages import PeerMessage
from quorate.runtime.complaints import Complaints
from quorate.runtime.keepalive import keep_alive
from quorate.wire.errors import PeerProtocolError, PeerRefusedError
from quorate.wire.peer_hello import Hello, member_since, refuse_reason, was_removed
from quorate.wire.peer_link import PeerConnection

FIRST_BACKOFF_S = 0.05
"""The longest wait before a first call is repeated; it doubles with each further one."""
LONGEST_BACKOFF_S = 1.0
"""Where that stops."""
HANDSHAKE_TIMEOUT_S = 5.0
"""A connection that is not made by then, or on which nobody said who he is, is given up."""
MAX_UNSENT_BYTES = 64 * 1024 * 1024
"""Messages are dropped while a link has more than this to send."""
UNACKNOWLEDGED_S = 5.0
"""A connection is given up when the other machine has acknowledged nothing for so long.

By itself TCP would try ever less often, and be heard again long after the network has come back.
While there is nothing to send it is asked each second, so that a connection that is there means
that the process at its other end is there too, or was so short a time ago.
"""
COPY_S = 2 * UNACKNOWLEDGED_S
"""After so long it is certain of two processes with one data id that both run."""
DISMISSAL_S = 1.0
"""So long a server that was removed still gets answers to what it had sent before it knew."""
MAX_STRANGERS = 16
"""Connections on which nobody has said yet who he is; when one more comes, the oldest yields.

Not the new one: a server says who it is as soon as it is connected, so who has waited longest is
no server, and many of those must not keep one out.
"""
MAX_GUESTS = 16
"""Servers that are talked to although they are no members as far as this one knows.

When one more comes, the one that was accepted first is forgotten. Whoever is new to this server's
list of members only will be in it soon, and calls again.
"""


class Listener(Protocol):
    """Who hears of messages and links: the driver."""

    def received(self, sender: NodeId, messages: list[PeerMessage]) -> None:
        """Another server has sent messages."""

    def link_changed(self, peer: NodeId, *, up: bool) -> None:
        """A connection with another server, of either direction, was made or was lost."""

    def link_made(self, peer: NodeId) -> None:
        """What is sent to another server goes over a connection now."""

    def link_failed(self, peer: NodeId, trouble: str, *, is_refused: bool) -> None:
        """There is no such connection, and this is why."""

    def peer_identified(self, peer: NodeId, data_id: str) -> None:
        """Another server has said which data directory it has, and is believed."""

    def removed(self) -> None:
        """Another server has said that this one was removed from the cluster."""


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
        refuse_reason: tells why another server is not talked to; None if it is.
        was_removed: tells whether another server was removed from the cluster.
        complaints: where it is told why a connection was refused or broken off.
        on_accepted: called when both sides have said who they are and this one accepts.
        on_removed: called when the other side says that this server was removed from the cluster.
        on_messages: called with the sender and its messages.
        on_lost: called with this when the connection has ended.
    """

    def __init__(
        self,
        mine: Hello,
        *,
        refuse_reason: Callable[[Hello, Hello], str | None],
        was_removed: Callable[[Hello], bool],
        complaints: Complaints,
        on_accepted: Callable[["PeerProtocol", Hello], None],
        on_removed: Callable[[], None],
        on_messages: Callable[[NodeId, list[PeerMessage]], None],
        on_lost: Callable[["PeerProtocol"], None],
    ) -> None:
        self._mine = mine
        self._refuse_reason = refuse_reason
        self._complaints = complaints
        self._was_removed = was_removed
        self._on_accepted = on_accepted
        self._on_removed = on_removed
        self._on_messages = on_messages
        self._on_lost = on_lost
        self._connection = PeerConnection(mine)
        self._transport: asyncio.Transport | None = None
        self._address = ("", 0)
        self._is_unwanted = False
        self._handshake_limit: asyncio.TimerHandle
        self.peer: NodeId | None = None
        """Who is at the other end, once it is accepted."""
        self.is_dismissed = False
        """One side has told the other that it was removed."""
        self.trouble = ""
        """Why it was refused or broken off, if it was."""
        self.is_refused = False
        """One side does not talk to the other."""
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
        _give_up_in_time(transport.get_extra_info("socket"))
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
            self.is_refused = isinstance(error, PeerRefusedError)
            if isinstance(error, PeerRefusedError) and error.was_removed:
                self.is_dismissed = True
                self._on_removed()
            self.break_off(f"broken off: {error}")
            return
        if messages and self.peer is not None:
            self._on_messages(self.peer, messages)

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - asyncio's signature
        """The socket is closed."""
        self._handshake_limit.cancel()
        self.closed.set()
        self._on_lost(self)

    @property
    def hello(self) -> Hello | None:
        """What the other side has said of itself, if it is accepted."""
        return None if self.peer is None else self._connection.hello

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
        """Ends the connection at once, whatever is unsent, and tells the log why."""
        self._is_unwanted = True
        if self._transport is not None:
            self._complain(complaint)
            self._transport.abort()

    def dismiss(self, reason: str) -> None:
        """Tells the other side, which was accepted, that it was removed; it has to hang up."""
        assert self._transport is not None
        if not self.is_dismissed:
            self.is_dismissed = True
            self._complain(f"dismissed: {reason}")
            self._transport.write(self._connection.dismiss(reason))
            asyncio.get_running_loop().call_later(DISMISSAL_S, self.close)

    def _complain(self, text: str) -> None:
        self.trouble = text
        self._complaints.tell(self._address, text, asyncio.get_running_loop().time())

    def _judge(self, theirs: Hello) -> list[PeerMessage]:
        assert self._transport is not None
        reason = self._refuse_reason(self._mine, theirs)
        if reason is not None:
            self.is_refused = True
            self._complain(f"refused: {reason}")
            was_removed = self._was_removed(theirs)
            self._transport.write(self._connection.refuse(reason, was_removed=was_removed))
            self._transport.close()
            return []
        self.peer = theirs.sender
        self._handshake_limit.cancel()
        if self._mine.to is None:
            self._transport.write(self._connection.greet())
        messages = self._connection.accept()
        self._on_accepted(self, theirs)
        return messages

    def _handshake_takes_too_long(self) -> None:
        self.break_off(f"broken off: no hello came within {HANDSHAKE_TIMEOUT_S:g} s")


@dataclass(slots=True)
class _SecondLife:
    """A process that came while another one was connected as the same server."""

    life: str
    since: float
    is_copy: bool = False


class PeerLinks:
    """All connections of one server to and from the others.

    Args:
        hello: what this server says of itself; `to` and `member_since` are filled in.
        membership: the members, as this server knows them.
        known: what is remembered of other servers.
        rng: for the pauses between attempts.
        given_addresses: where other servers may be reached, by the operator: each is called there
            in turn with where the members know it. If many have moved, nobody else can tell.
        way_to: where to connect so as to reach who listens on an address; by default, there.
    """

    def __init__(
        self,
        hello: Hello,
        membership: Membership,
        *,
        known: KnownPeers,
        rng: random.Random,
        given_addresses: Mapping[NodeId, str] | None = None,
        way_to: Callable[[str], str] = str,
    ) -> None:
        self._hello = hello
        self._membership = membership
        self._known = known
        self._addresses: dict[NodeId, str] = {}
        self._given_addresses = given_addresses or {}
        self._way_to = way_to
        self._accepted_hellos: dict[NodeId, Hello] = {}
        self._second_lives: dict[NodeId, _SecondLife] = {}
        self._complaints = Complaints()
        self._rng = rng
        self._listener: Listener | None = None
        self._outgoing: dict[NodeId, PeerProtocol] = {}
        self._incoming: dict[NodeId, PeerProtocol] = {}
        self._open_incoming: set[PeerProtocol] = set()
        self._strangers: dict[PeerProtocol, None] = {}  # the oldest first
        self._callers: dict[NodeId, asyncio.Task[None]] = {}
        self._came_back: dict[NodeId, asyncio.Event] = {}
        self._called: dict[NodeId, str] = {}  # where those are called that are not reached yet

    def start(self, listener: Listener) -> None:
        """Begins to call the other servers, and does so again whenever a call ends."""
        self._listener = listener
        self.members_changed(self._membership)

    def members_changed(self, membership: Membership) -> None:
        """The members are these now, or it has become known that they are."""
        before = {member.id: member for member in self._membership.configuration.members}
        self._membership = membership
        for member in membership.configuration.members:
            known = before.get(member.id)
            has_moved = known is None or member.peer_address != known.peer_address
            if member.id not in self._addresses or has_moved:
                self._addresses[member.id] = member.peer_address
            self._begin_calling(member.id)
        for node in list(self._callers):
            self._end_calling_stranger(node)
        for hello in self._accepted_hellos.values():
            self._remember(hello)
        for protocol in [*self._incoming.values(), *self._outgoing.values()]:
            self._judge_again(protocol)

    def incoming_protocol(self) -> PeerProtocol:
        """The protocol for a connection that another server makes."""
        protocol = self._new_protocol(
            self._hello_to(None), on_accepted=self._incoming_accepted, on_lost=self._incoming_lost
        )
        self._open_incoming.add(protocol)
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
        for caller in self._callers.values():
            caller.cancel()
        await asyncio.gather(*self._callers.values(), return_exceptions=True)
        for protocol in list(self._open_incoming):
            protocol.close()

    def _new_protocol(
        self,
        mine: Hello,
        *,
        on_accepted: Callable[[PeerProtocol, Hello], None],
        on_lost: Callable[[PeerProtocol], None],
    ) -> PeerProtocol:
        return PeerProtocol(
            mine,
            refuse_reason=self._refuse_reason,
            was_removed=self._was_removed,
            complaints=self._complaints,
            on_accepted=on_accepted,
            on_removed=self._removed,
            on_messages=self._received,
            on_lost=on_lost,
        )

    # ------------------------------------------------------------------ who is who

    def _hello_to(self, node: NodeId | None) -> Hello:
        since = member_since(self._hello.data_id, self._hello.sender, self._membership)
        return msgspec.structs.replace(self._hello, to=node, member_since=since)

    def _refuse_reason(self, mine: Hello, theirs: Hello) -> str | None:
        remembered = self._known.known_data_id(theirs.sender)
        previous = self._accepted_hellos.get(theirs.sender)
        return refuse_reason(
            mine,
            theirs,
            membership=self._membership,
            remembered_data_id=remembered,
            previous=previous,
            is_second=previous is not None and self._notes_second(theirs, previous),
        )

    def _notes_second(self, theirs: Hello, previous: Hello) -> bool:
        """Whether this process runs beside the previous life of its server, which is connected.

        That is noted, with the time. After `COPY_S` it is no later life, but a process on a copy of
        the data directory, also when the previous life has ended.
        """
        if theirs.data_id != previous.data_id or theirs.life == previous.life:
            return False
        node, now = theirs.sender, asyncio.get_running_loop().time()
        second = self._second_lives.get(node)
        if second is None or second.life != theirs.life:
            second = _SecondLife(theirs.life, now)
        links = (self._incoming.get(node), self._outgoing.get(node))
        hellos = [link.hello for link in links if link is not None]
        if any(hello is not None and hello.life == previous.life for hello in hellos):
            self._second_lives[node] = second
            second.is_copy = now - second.since > COPY_S
            return True
        return second.is_copy

    def _was_removed(self, theirs: Hello) -> bool:
        if theirs.cluster_id != self._hello.cluster_id:
            return False  # a cluster made from a survivor of another one did not remove its members
        return was_removed(theirs, self._membership)

    def _accepted(self, theirs: Hello) -> None:
        self._accepted_hellos[theirs.sender] = theirs
        if _is_elsewhere(theirs.peer_address):
            self._addresses[theirs.sender] = theirs.peer_address
        self._remember(theirs)
        self._forget_guests()

    def _remember(self, theirs: Hello) -> None:
        """Durably remembers the data directory of one that the cluster was started with.

        Who has joined is known by the members' list or not at all. It may have the number of one
        that the cluster was started with, and must not be taken for that one.
        """
        if theirs.has_joined or not self._is_member(theirs.sender):
            return
        self._known.remember_peer(theirs.sender, theirs.data_id)
        if self._listener is not None:
            self._listener.peer_identified(theirs.sender, theirs.data_id)

    def _forget_guests(self) -> None:
        """Sees that there are no more than may be: anybody can say that he is some server."""
        guests = [node for node in self._accepted_hellos if not self._is_member(node)]
        for node in guests[:-MAX_GUESTS]:
            if node in self._callers:
                self._end_calling(node)
            for link in (self._incoming.get(node), self._outgoing.get(node)):
                if link is not None:
                    link.break_off(f"broken off: {MAX_GUESTS} later callers are no members either")
            for known in (self._accepted_hellos, self._addresses, self._second_lives):
                known.pop(node, None)

    def _is_member(self, node: NodeId) -> bool:
        return self._membership.configuration.member(node) is not None

    def _judge_again(self, protocol: PeerProtocol) -> None:
        """Ends the connection with a server that would not be accepted any more."""
        assert protocol.hello is not None, "it was accepted"
        reason = self._refuse_reason(self._hello_to(None), protocol.hello)
        if reason is None:
            return
        if not self._was_removed(protocol.hello):
            protocol.break_off(f"broken off: {reason}")
        elif self._incoming.get(protocol.hello.sender) is protocol:
            protocol.dismiss(reason)
        elif self._is_member(protocol.hello.sender):
            # What it has sent is answered yet, but its number is somebody else's already.
            protocol.break_off(f"broken off: {reason}")

    # ------------------------------------------------------------------ incoming

    def _incoming_accepted(self, protocol: PeerProtocol, theirs: Hello) -> None:
        peer = theirs.sender
        self._accepted(theirs)
        self._strangers.pop(protocol, None)
        previous = self._incoming.get(peer)
        self._incoming[peer] = protocol
        if previous is not None:
            previous.close()
        self._end_calling_the_former(theirs)
        if self._called.get(peer) not in (None, self._addresses.get(peer)):
            self._end_calling(peer)  # it has just said where it is
        self._begin_calling(peer)
        if peer in self._callers and peer not in self._outgoing:
            self._came_back[peer].set()

    def _end_calling_the_former(self, theirs: Hello) -> None:
        """Breaks off a connection to another life of a server, whose machine may be gone."""
        outgoing = self._outgoing.get(theirs.sender)
        former = None if outgoing is None else outgoing.hello
        if outgoing is None or former is None:
            return
        if (former.data_id, former.life) != (theirs.data_id, theirs.life):
            outgoing.break_off(f"broken off: node {theirs.sender} was started anew")

    def _incoming_lost(self, protocol: PeerProtocol) -> None:
        self._open_incoming.discard(protocol)
        self._strangers.pop(protocol, None)
        if protocol.peer is not None and self._incoming.get(protocol.peer) is protocol:
            del self._incoming[protocol.peer]
            self._changed(protocol.peer, up=False)
            if protocol.is_dismissed:
                loop = asyncio.get_running_loop()
                loop.call_later(DISMISSAL_S, self._end_calling_stranger, protocol.peer)
            else:
                self._end_calling_stranger(protocol.peer)

    def _removed(self) -> None:
        if self._listener is not None:
            self._listener.removed()

    def _received(self, sender: NodeId, messages: list[PeerMessage]) -> None:
        if self._listener is not None:
            self._listener.received(sender, messages)

    # ------------------------------------------------------------------ outgoing

    def _begin_calling(self, node: NodeId) -> None:
        is_other = node != self._hello.sender and node not in self._callers
        if self._listener is not None and is_other and node in self._addresses:
            self._came_back[node] = asyncio.Event()
            call = self._keep_calling(node)
            self._callers[node] = asyncio.create_task(call, name=f"peer-{node}")

    def _end_calling_stranger(self, node: NodeId) -> None:
        """Calls a server no more that is no member and does not call either."""
        if node in self._callers and node not in self._incoming and not self._is_member(node):
            self._end_calling(node)
            self._addresses.pop(node, None)
            self._tell_failure(node, "it is no member", is_refused=False)

    def _end_calling(self, node: NodeId) -> None:
        self._callers.pop(node).cancel()
        self._came_back.pop(node, None)
        self._called.pop(node, None)

    async def _keep_calling(self, node: NodeId) -> None:
        backoff = Backoff(
            minimum_us=round(FIRST_BACKOFF_S * 1e6),
            maximum_us=round(LONGEST_BACKOFF_S * 1e6),
            rng=self._rng,
        )
        came_back = self._came_back[node]
        failed = 0
        while True:
            came_back.clear()
            places = self._places(node)
            if places and await self._call(node, places[failed % len(places)]):
                backoff.reset()
            else:
                failed += 1
            # Who calls is there: it is called back at once, for a leader may need it at once.
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(backoff.next_us() / 1e6):
                    await came_back.wait()

    def _places(self, node: NodeId) -> list[str]:
        """Where it may be; where it should be first."""
        incoming = self._incoming.get(node)
        hello = None if incoming is None else incoming.hello
        told = "" if hello is None or not _is_elsewhere(hello.peer_address) else hello.peer_address
        places = (self._addresses[node], told, self._given_addresses.get(node, ""))
        return [place for place in dict.fromkeys(places) if place]

    async def _call(self, node: NodeId, address: str) -> bool:
        """Connects and stays until the connection ends; returns whether it was accepted."""
        self._called[node] = address
        protocol = self._new_protocol(
            self._hello_to(node),
            on_accepted=self._outgoing_accepted,
            on_lost=self._outgoing_lost,
        )
        host, port = parse_address(self._way_to(address))
        loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout(HANDSHAKE_TIMEOUT_S):
                await loop.create_connection(lambda: protocol, host, port)
        except OSError as error:  # a time-out is one too; a name that does not resolve yet as well
            reason = error.strerror or str(error) or "no answer in time"
            self._failed(node, address, reason, is_refused=False)
            return False
        except ValueError as error:  # what no host can be called, such as "a..b"
            self._failed(node, address, str(error), is_refused=False)
            return False
        try:
            await protocol.closed.wait()
        finally:
            protocol.close()
        trouble = protocol.trouble or "the connection was lost"
        if protocol.peer is None:
            self._failed(node, address, trouble, is_refused=protocol.is_refused)
            return False
        self._tell_failure(node, f"{address}: {trouble}", is_refused=protocol.is_refused)
        return True

    def _failed(self, node: NodeId, address: str, trouble: str, *, is_refused: bool) -> None:
        self._called.pop(node, None)
        if [address] == self._places(node)[:1]:  # elsewhere it need not be
            self._tell_failure(node, f"{address}: {trouble}", is_refused=is_refused)

    def _tell_failure(self, node: NodeId, trouble: str, *, is_refused: bool) -> None:
        if self._listener is not None:
            self._listener.link_failed(node, trouble, is_refused=is_refused)

    def _outgoing_accepted(self, protocol: PeerProtocol, theirs: Hello) -> None:
        self._accepted(theirs)
        self._outgoing[theirs.sender] = protocol
        self._called.pop(theirs.sender, None)
        if theirs.sender in self._came_back:
            self._came_back[theirs.sender].clear()
        if self._listener is not None:
            self._listener.link_made(theirs.sender)
        self._changed(theirs.sender, up=True)

    def _outgoing_lost(self, protocol: PeerProtocol) -> None:
        if protocol.peer is not None and self._outgoing.get(protocol.peer) is protocol:
            del self._outgoing[protocol.peer]
            if not protocol.is_dismissed:  # else answers are still to come from there
                self._changed(protocol.peer, up=False)

    def _changed(self, peer: NodeId, *, up: bool) -> None:
        if self._listener is not None:
            self._listener.link_changed(peer, up=up)


def _give_up_in_time(connection: socket.socket) -> None:
    """Has the kernel end a connection whose other machine is silent."""
    keep_alive(connection, idle_s=1, interval_s=1, probes=math.ceil(UNACKNOWLEDGED_S))
    if sys.platform == "linux":  # others have no such limit for one connection
        limit_ms = round(UNACKNOWLEDGED_S * 1000)
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, limit_ms)


def _is_elsewhere(text: str) -> bool:
    """Whether another server can be called there.

    Who listens on all of its addresses has not said which of them others reach; who called that
    would reach itself.
    """
    try:
        return not parse_address(text).is_everywhere
    except ValueError:
        return False
