"""The links between simulated servers that say who they are, as `runtime.peer_links` has them.

One connection for each direction of each pair: a server sends on the connections that it made and
receives on those that it accepted. What is said on a connection goes through the network, hellos
too, with all that befalls messages there; the connection itself lasts until one of its ends does,
or until one of them has become unwelcome to the other. Whatever was under way on it then is lost.
So nothing ever comes from a process to another one than it was meant for.

Who is talked to is decided by production's own `refuse_reason`.
"""

from collections import Counter
from collections.abc import Callable
from functools import partial
from typing import Protocol

import msgspec

from quorate.raft.configuration import Membership, NodeId
from quorate.raft.messages import PeerMessage
from quorate.sim.network import Network
from quorate.sim.process import Process
from quorate.wire.peer_hello import Hello, decode_hello, encode_hello, member_since, refuse_reason

_Action = Callable[[], None]


class Listener(Protocol):
    """Who hears of messages and links: the server."""

    def received(self, sender: NodeId, message: PeerMessage) -> None:
        """Another server has sent a message."""

    def link_changed(self, peer: NodeId, *, up: bool) -> None:
        """The connection to another server was made or was lost."""

    def peer_identified(self, peer: NodeId, data_id: str) -> None:
        """Another server has said which data directory it has, and is believed."""


class KnownPeers(Protocol):
    """What is durably remembered of other servers: the store."""

    def known_data_id(self, peer: NodeId) -> str | None:
        """The data directory that the peer is remembered with."""

    def remember_peer(self, node: NodeId, data_id: str) -> None:
        """Durably remembers it."""


class _Connection:
    """From one process to another; hellos are those that the other end has accepted."""

    def __init__(self, caller: "PeerLinks", called: "PeerLinks") -> None:
        self.caller = caller
        self.called = called
        self.callers_hello: Hello | None = None
        self.calleds_hello: Hello | None = None
        self.is_over = False

    def break_off(self) -> None:
        """Ends it; each end that is still there is told after a while."""
        if not self.is_over:
            self.is_over = True
            self.caller.tell(partial(self.caller.outgoing_lost, self))
            self.called.tell(partial(self.called.incoming_lost, self))


class PeerLinks:
    """The connections of one life of a server.

    Args:
        hello: what it says of itself; `to` and `member_since` are filled in.
        membership: the members, as it knows them.
        listener: hears of messages and links.
        known: what is remembered of other servers.
        network: carries what is said.
        draw_pause: how long it waits before it calls again, in virtual microseconds.
        peer: gives the links of another server's present life, if it runs.
        process: this life.
        perform: does something that may have to do with the disk.
        happened: counts what happens, by name.
    """

    def __init__(
        self,
        hello: Hello,
        membership: Membership,
        *,
        listener: Listener,
        known: KnownPeers,
        network: Network,
        draw_pause: Callable[[], int],
        peer: Callable[[NodeId], "PeerLinks | None"],
        process: Process,
        perform: Callable[[_Action], None],
        happened: Counter[str],
    ) -> None:
        self.me = hello.sender
        self._hello = hello
        self._membership = membership
        self._listener = listener
        self._known = known
        self._network = network
        self._draw_pause = draw_pause
        self._peer = peer
        self._process = process
        self._perform = perform
        self._happened = happened
        self._accepted_hellos: dict[NodeId, Hello] = {}
        self._attempts: dict[NodeId, _Connection] = {}
        self._outgoing: dict[NodeId, _Connection] = {}
        self._incoming: dict[NodeId, _Connection] = {}
        self._called: set[NodeId] = set()

    def start(self) -> None:
        """Begins to call the members."""
        self._call_members()

    def end(self) -> None:
        """The process ends."""
        self._called.clear()
        for connection in self._connections():
            connection.break_off()

    def send(self, to: NodeId, message: PeerMessage) -> None:
        """Sends a message, or drops it if there is no link."""
        connection = self._outgoing.get(to)
        if connection is not None and not connection.is_over:
            deliver = partial(connection.called.message_arrived, connection)
            self._network.send(self.me, to, message, lambda _sender, copy: deliver(copy))

    def members_changed(self, membership: Membership) -> None:
        """The members may have changed: if they have, everybody is judged anew."""
        if membership == self._membership:
            return
        self._membership = membership
        self._call_members()
        for node in sorted(self._called):
            self._end_calling_stranger(node)
        for connection in self._connections():
            theirs = self._theirs(connection)
            if theirs is not None and self._refuse_reason(self._hello_to(None), theirs):
                self._happened["links ended by a change of members"] += 1
                connection.break_off()

    def break_with(self, peer: NodeId) -> None:
        """The connections with another server break."""
        for connections in (self._outgoing, self._incoming):
            if peer in connections:
                connections[peer].break_off()

    # ------------------------------------------------------------------ who is who

    def _call_members(self) -> None:
        for member in self._membership.configuration.members:
            self._begin_calling(member.id)

    def _hello_to(self, node: NodeId | None) -> Hello:
        since = member_since(self._hello.data_id, self.me, self._membership)
        return msgspec.structs.replace(self._hello, to=node, member_since=since)

    def _refuse_reason(self, mine: Hello, theirs: Hello) -> str | None:
        return refuse_reason(
            mine,
            theirs,
            membership=self._membership,
            remembered_data_id=self._known.known_data_id(theirs.sender),
            previous=self._accepted_hellos.get(theirs.sender),
            is_second=False,  # a server's former life has always ended
        )

    def _accepts(self, mine: Hello, theirs: Hello) -> bool:
        """Judges a hello; who is accepted is durably remembered before anything else is heard."""
        if self._refuse_reason(mine, theirs) is not None:
            self._happened["servers refused"] += 1
            return False
        self._accepted_hellos[theirs.sender] = theirs
        if not theirs.has_joined:
            self._known.remember_peer(theirs.sender, theirs.data_id)
            self._listener.peer_identified(theirs.sender, theirs.data_id)
        return True

    def _theirs(self, connection: _Connection) -> Hello | None:
        is_mine = connection.caller is self
        return connection.calleds_hello if is_mine else connection.callers_hello

    def _connections(self) -> list[_Connection]:
        connections = (self._attempts, self._outgoing, self._incoming)
        return [connection for some in connections for connection in some.values()]

    # ------------------------------------------------------------------ as the one who calls

    def _begin_calling(self, node: NodeId) -> None:
        if node != self.me and node not in self._called:
            self._called.add(node)
            self._call(node)

    def _end_calling_stranger(self, node: NodeId) -> None:
        """Calls a server no more that is no member and does not call either."""
        is_member = self._membership.configuration.member(node) is not None
        if node in self._called and node not in self._incoming and not is_member:
            self._called.remove(node)
            for connections in (self._attempts, self._outgoing):
                if node in connections:
                    connections[node].break_off()

    def _call(self, node: NodeId) -> None:
        if node not in self._called or node in self._outgoing:
            return
        previous = self._attempts.pop(node, None)
        if previous is not None:
            previous.break_off()
        self._do_after(self._draw_pause(), partial(self._call, node))
        called = self._peer(node)
        if called is None:
            return
        connection = self._attempts[node] = _Connection(self, called)
        mine = encode_hello(self._hello_to(node))
        self._network.carry(self.me, node, mine, partial(called.hello_arrived, connection, mine))

    def answer_arrived(self, connection: _Connection, theirs: bytes) -> None:
        """The server that was called has said who it is."""
        self._do(partial(self._take_answer, connection, decode_hello(theirs)))

    def _take_answer(self, connection: _Connection, theirs: Hello) -> None:
        node = connection.called.me
        if connection.is_over or self._attempts.get(node) is not connection:
            return
        if not self._accepts(self._hello_to(node), theirs):
            connection.break_off()
            return
        connection.calleds_hello = theirs
        self._outgoing[node] = self._attempts.pop(node)
        self._listener.link_changed(node, up=True)

    def outgoing_lost(self, connection: _Connection) -> None:
        """A connection that this server made has ended."""
        node = connection.called.me
        if self._attempts.get(node) is connection:
            del self._attempts[node]
        if self._outgoing.get(node) is connection:
            del self._outgoing[node]
            self._listener.link_changed(node, up=False)
            self._do_after(self._draw_pause(), partial(self._call, node))

    # ------------------------------------------------------------------ as the one who is called

    def hello_arrived(self, connection: _Connection, theirs: bytes) -> None:
        """Another server calls."""
        self._do(partial(self._take_hello, connection, decode_hello(theirs)))

    def _take_hello(self, connection: _Connection, theirs: Hello) -> None:
        if connection.is_over or connection.callers_hello is not None:
            return
        mine = self._hello_to(None)
        if not self._accepts(mine, theirs):
            connection.break_off()
            return
        connection.callers_hello = theirs
        caller = theirs.sender
        previous = self._incoming.get(caller)
        self._incoming[caller] = connection
        if previous is not None:
            previous.break_off()
        self._begin_calling(caller)
        answer = encode_hello(mine)
        arrives = partial(connection.caller.answer_arrived, connection, answer)
        self._network.carry(self.me, caller, answer, arrives)

    def message_arrived(self, connection: _Connection, message: PeerMessage) -> None:
        """A message has come on a connection."""
        self._do(partial(self._take_message, connection, message))

    def _take_message(self, connection: _Connection, message: PeerMessage) -> None:
        sender = connection.caller.me
        if not connection.is_over and self._incoming.get(sender) is connection:
            self._listener.received(sender, message)

    def incoming_lost(self, connection: _Connection) -> None:
        """A connection that this server accepted has ended."""
        node = connection.caller.me
        if self._incoming.get(node) is connection:
            del self._incoming[node]
            self._listener.link_changed(node, up=False)
            self._end_calling_stranger(node)

    # ------------------------------------------------------------------ in this process

    def tell(self, action: _Action) -> None:
        """Something is noticed here, after a while."""
        self._do_after(self._network.latency(), action)

    def _do(self, action: _Action) -> None:
        self._process.do(partial(self._perform, action))

    def _do_after(self, delay: int, action: _Action) -> None:
        self._process.after(delay, partial(self._perform, action))
