"""A little cluster for the tests of whole nodes: real nodes, disks and a network by hand.

Nothing moves by itself. Time passes when a test says so; messages are delivered by `settle`, unless
the test cut their link, loses them or holds them back; a write is on the disk at once, unless that
disk is stalled, and so is what is to be done with snapshots. Clients are raw connections: bytes in,
bytes out. As a real driver does, a client's bytes stay unread while the node is congested. Only the
public interface of the node is used.
"""

from __future__ import annotations

import random
import re
from collections import Counter, deque
from functools import partial
from typing import TYPE_CHECKING, Any

import hiredis
import msgspec
import pytest

from quorate.codec.peer import decode_message, encode_message
from quorate.node.limits import NodeLimits
from quorate.node.node import Node, NodeReady
from quorate.node.settings import NodeSettings
from quorate.node.status import NodeInfo
from quorate.raft.configuration import Member, NodeId
from quorate.raft.messages import PeerMessage
from quorate.raft.ready import ChunkToSend, DurableState, LogWrite, ReceivedChunk
from quorate.raft.settings import Settings
from quorate.replica.sessions import SessionLimits
from quorate.replica.snapshot_taker import SnapshotSettings
from quorate.storage.errors import CorruptionError, DiskFullError
from quorate.storage.memory_disk import MemoryDisk
from quorate.storage.snapshot_chunks import read_chunk, write_chunk
from quorate.storage.snapshots import SnapshotPart, Snapshots
from quorate.storage.store import Store

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


SECOND = 1_000_000
SEGMENT_SIZE = 32 * 1024
"""Of the log on the disk."""
MANY_TURNS = 10_000
"""More than a cluster takes to come to rest in any of these tests."""


def encode(*arguments: bytes | str | int) -> bytes:
    """A command as an array of bulk strings."""
    parts = [b"%b" % (a if isinstance(a, bytes) else str(a).encode()) for a in arguments]
    bulks = [b"$%d\r\n%b\r\n" % (len(part), part) for part in parts]
    return b"*%d\r\n%b" % (len(parts), b"".join(bulks))


class Packet(msgspec.Struct, frozen=True):
    """A message on its way."""

    sender: NodeId
    to: NodeId
    message: PeerMessage


class Disk:
    """A real store on a disk in memory, the one write that is not yet durable, and snapshot work.

    A write is durable as a whole or not at all; one that a crash meets is lost.
    """

    def __init__(self, me: NodeId, members: tuple[Member, ...]) -> None:
        self.files = MemoryDisk()
        self.pending: LogWrite | None = None
        self.is_stalled = False
        self.snapshot_work: deque[Callable[[], list[Packet]]] = deque()
        """What is to be done with snapshots, in order; each yields messages."""
        self.snapshots_are_stalled = False
        self.store: Store
        Store.initialize(
            self.files,
            cluster_id="cluster",
            node=me,
            data_id=f"data-{me}",
            members=members,
            segment_size=SEGMENT_SIZE,
        )

    def open(self) -> DurableState:
        """What it holds for a server that starts."""
        self.pending = None
        self.snapshot_work.clear()
        self.store = Store.open(self.files, segment_size=SEGMENT_SIZE)
        return self.store.take_durable_state()

    def complete(self) -> int:
        """Makes the write durable; returns its number."""
        assert self.pending is not None
        write, self.pending = self.pending, None
        if self.store.needs_next_segment:
            self.store.prepare_next_segment()
        self.store.append(write)
        self.store.sync()
        if self.store.needs_cleaning:
            self.store.remove_dead_segments()
        return write.number

    @property
    def snapshots(self) -> Snapshots:
        """The snapshots that it holds."""
        return self.store.snapshots

    @property
    def size(self) -> int:
        """How much Raft state it holds, in bytes."""
        return self.store.raft_state_bytes

    @property
    def used(self) -> int:
        """How many bytes all of its files have."""
        return sum(self.files.open(name).size for name in self.files.names())


class Client:
    """One connection, as the bytes at its far end."""

    def __init__(self, server: Server) -> None:
        self.id = server.node.open_connection()
        self.server = server
        self.is_closed = False
        self.unread: deque[bytes] = deque()
        """Sent, and not read by the server, because it is congested."""
        self.unsent = 0
        """Bytes of replies that wait at the server until it reads."""
        self._received = bytearray()
        self._piles_up = False

    def send(self, *arguments: bytes | str | int) -> None:
        """Sends one command; the server reads it when it is not congested."""
        self.send_raw(encode(*arguments))

    def send_raw(self, *pieces: bytes) -> None:
        """Sends bytes, each piece as one chunk."""
        self.unread.extend(pieces)
        self.server.has_input = True

    def finish(self) -> None:
        """Sends no more, but still listens."""
        self.server.read_clients()
        self.server.node.finish_connection(self.id)
        self.server.has_input = True

    def close(self) -> None:
        """Goes away."""
        self.is_closed = True
        self.unread.clear()
        self.server.clients.pop(self.id, None)
        self.server.node.close_connection(self.id, self.server.now)

    def stop_reading(self) -> None:
        """Takes no more replies in; a byte of those before is left over."""
        self.let_replies_pile_up()
        self._leave_unsent(1)

    def let_replies_pile_up(self) -> None:
        """Takes no more replies in from the next on."""
        self._piles_up = True

    def read_on(self, size: int) -> None:
        """Takes so many bytes in of what has piled up."""
        self._leave_unsent(self.unsent - size)

    def go_on_reading(self) -> None:
        """Takes replies in again."""
        self._piles_up = False
        self._leave_unsent(0)

    def _leave_unsent(self, size: int) -> None:
        self.unsent = size
        self.server.node.client_unsent(self.id, size, self.server.now)
        self.server.has_input = True

    def take(self) -> bytes:
        """What has come since the last time."""
        received, self._received = bytes(self._received), bytearray()
        return received

    def take_replies(self) -> list[Any]:
        """The same, parsed: an error is a `hiredis.ReplyError`."""
        reader = hiredis.Reader(notEnoughData=StopIteration)
        reader.feed(self.take())
        replies = list(iter(reader.gets, StopIteration))
        assert not reader.has_data(), "replies are whole"
        return replies

    def deliver(self, data: bytes) -> None:
        """The server has sent something."""
        assert not self.is_closed, "nothing comes after the end"
        self._received += data
        if self._piles_up:
            self._leave_unsent(self.unsent + len(data))


class Server:
    """One node with its disk and its clients; a driver that moves only when it is told to."""

    def __init__(self, cluster: Cluster, me: NodeId, disk: Disk) -> None:
        self.me = me
        self.disk = disk
        self.clients: dict[int, Client] = {}
        self.has_input = True
        """Whether something has happened to it since its last turn."""
        self.largest_output = 0
        """The most bytes that it ever had for one client in one turn."""
        self.largest_turn = 0
        """The same for all clients."""
        self._cluster = cluster
        self._restorations = 0
        self.node: Node
        self.start()

    @property
    def now(self) -> int:
        """Its clock, in microseconds."""
        return self._cluster.now

    def start(self) -> None:
        """Starts on what its disk holds."""
        self.has_input = True
        durable = self.disk.open()
        self.node = Node(
            self.me,
            boot=self.disk.store.identity.boot,
            durable=durable,
            rng=self._cluster.rng,
            now=self._cluster.now,
            settings=self._cluster.node_settings,
            info=NodeInfo(
                client_address=f"client:{self.me}",
                peer_address=f"peer:{self.me}",
                cluster_id="cluster",
                pid=self.me + 4000,
                version="1.2.3",
            ),
            raft_state_bytes=self.disk.size,
        )

    def connect(self) -> Client:
        """A new client."""
        client = Client(self)
        self.clients[client.id] = client
        self.has_input = True
        return client

    def read_clients(self) -> None:
        """Reads what clients have sent, from each until it is congested."""
        for client in list(self.clients.values()):
            while client.unread and not self.node.is_congested(client.id):
                self.node.client_data(client.id, client.unread.popleft(), self._cluster.now)

    def wake(self) -> None:
        """Its timer is due."""
        self.node.wake(self._cluster.now)
        self.has_input = True

    def receive(self, packet: Packet) -> None:
        """A message arrives."""
        message = decode_message(encode_message(packet.message))
        self.has_input |= self.node.receive(packet.sender, message, self._cluster.now)

    def link_changed(self, peer: NodeId, *, up: bool) -> None:
        """The link to another server broke, or is there."""
        self.node.link_changed(peer, up=up, now=self._cluster.now)
        self.has_input = True

    def turn(self) -> list[Packet]:
        """One turn of the driver, if there is a reason; what it sent to other servers."""
        if not self.has_input:
            return []
        self.has_input = False
        self.read_clients()
        if (urgent := self.node.take_urgent(self.now)) is not None:
            self.has_input = True
            return self._carry_out(urgent)
        ready = self.node.take_ready(self.now)
        packets = self._carry_out(ready)
        bytes_to: Counter[int] = Counter()
        for number, data in ready.replies:
            bytes_to[number] += len(data)
            if number in self.clients and not self.clients[number].is_closed:
                self.clients[number].deliver(data)
        self.largest_output = max(self.largest_output, *bytes_to.values(), 0)
        self.largest_turn = max(self.largest_turn, bytes_to.total())
        for number in ready.closing + ready.broken:
            if number in self.clients:
                self.clients.pop(number).is_closed = True
                self.node.close_connection(number, self.now)
        for number in ready.given_up:
            self.clients.pop(number).is_closed = True
        self.has_input |= any(
            client.unread and not self.node.is_congested(client.id)
            for client in self.clients.values()
        )
        return packets

    def _carry_out(self, ready: NodeReady) -> list[Packet]:
        if ready.write is not None:
            assert self.disk.pending is None, "at most one write is on its way"
            self.disk.pending = ready.write
        self._plan_snapshot_work(ready)
        return [Packet(self.me, envelope.to, envelope.message) for envelope in ready.messages]

    def _plan_snapshot_work(self, ready: NodeReady) -> None:
        work = self.disk.snapshot_work
        if ready.snapshot_part is not None:
            work.append(partial(self._write_part, ready.snapshot_part))
        work.extend(partial(self._read_chunk, chunk) for chunk in ready.chunks_to_send)
        work.extend(partial(self._write_chunk, chunk) for chunk in ready.received_chunks)
        if ready.restore_from is not None:
            self._restorations += 1
            sections = self.disk.snapshots.sections()
            work.append(partial(self._restore, self._restorations, sections))

    def work_on_snapshots(self) -> list[Packet] | None:
        """Does the next piece of work; what it sent to others, None if there is nothing to do."""
        if not self.disk.snapshot_work:
            return None
        self.has_input = True
        return self.disk.snapshot_work.popleft()()

    def _write_part(self, part: SnapshotPart) -> list[Packet]:
        try:
            stored = self.disk.snapshots.write(part)
        except DiskFullError:
            self.node.snapshot_failed(self.now)
        else:
            self.node.snapshot_written(stored, self.now)
        return []

    def _read_chunk(self, chunk: ChunkToSend) -> list[Packet]:
        try:
            envelope = read_chunk(self.disk.snapshots, chunk)
        except CorruptionError:
            self.node.snapshot_damaged(chunk.request.snapshot.index, self.now)
            return []
        return [] if envelope is None else [Packet(self.me, envelope.to, envelope.message)]

    def _write_chunk(self, chunk: ReceivedChunk) -> list[Packet]:
        try:
            next_offset = write_chunk(self.disk.snapshots, chunk)
        except DiskFullError:
            next_offset = 0
        self.node.chunk_written(chunk, next_offset, self.now)
        return []

    def _restore(self, restoration: int, sections: Iterator[bytes]) -> list[Packet]:
        if restoration == self._restorations:  # else a newer snapshot has come meanwhile
            section = next(sections, None)
            if section is not None:
                self.node.restore(section, self.now)
                self.disk.snapshot_work.append(partial(self._restore, restoration, sections))
        return []

    def complete_write(self) -> bool:
        """The write on its way becomes durable; whether there was one."""
        if self.disk.pending is None:
            return False
        number = self.disk.complete()
        self.node.persisted(number, self._cluster.now, raft_state_bytes=self.disk.size)
        self.has_input = True
        return True


class Cluster:
    """Several nodes, the network between them, and their clients.

    Args:
        size: the nodes have the ids 1 to `size`.
        limits: of all nodes.
        session_limits: the replicated ones.
        settings: of Raft.
        snapshots: when and how fast they are taken.
        seed: of the election timeouts.
    """

    def __init__(
        self,
        size: int = 3,
        *,
        limits: NodeLimits | None = None,
        session_limits: SessionLimits | None = None,
        settings: Settings | None = None,
        snapshots: SnapshotSettings | None = None,
        seed: int = 0,
    ) -> None:
        self.rng = random.Random(seed)
        self.node_settings = NodeSettings(
            raft=settings or Settings(),
            sessions=session_limits or SessionLimits(),
            snapshots=snapshots or SnapshotSettings(),
            limits=limits or NodeLimits(),
        )
        self.now = 0
        self.network: list[Packet] = []
        self.held: list[Packet] = []
        self.cut: set[tuple[NodeId, NodeId]] = set()
        """The directions, (sender, receiver), in which nothing gets through."""
        self.loses: Callable[[Packet], bool] = lambda _: False
        """Which packets are lost."""
        self.holds: Callable[[Packet], bool] = lambda _: False
        """Which packets wait in `held` until `release`."""
        self.down: set[NodeId] = set()
        ids = [NodeId(number) for number in range(1, size + 1)]
        members = tuple(Member(node, f"peer:{node}", f"client:{node}") for node in ids)
        self.servers = {node: Server(self, node, Disk(node, members)) for node in ids}

    # ------------------------------------------------------------------ who is who

    def __getitem__(self, node: int) -> Server:
        return self.servers[NodeId(node)]

    @property
    def up(self) -> list[Server]:
        """The servers that run."""
        return [server for node, server in self.servers.items() if node not in self.down]

    @property
    def leader(self) -> Server:
        """The leader of the greatest term."""
        leaders = [server for server in self.up if server.node.raft.is_leader]
        return max(leaders, key=lambda server: server.node.raft.current_term)

    @property
    def followers(self) -> list[Server]:
        """All others that run, in the order of their ids."""
        leader = self.leader
        return [server for server in self.up if server is not leader]

    def add(self, node: int) -> Server:
        """A server with an empty disk comes up, which is no member."""
        new = NodeId(node)
        self.servers[new] = Server(self, new, Disk(new, ()))
        return self.servers[new]

    # ------------------------------------------------------------------ what moves

    def collect(self) -> bool:
        """Each server has one turn; whether anything came of it."""
        moved = False
        for server in self.up:
            deadline = server.node.deadline(self.now)
            server.has_input |= deadline is not None and deadline <= self.now
            moved |= server.has_input
            self.network += server.turn()
            if not server.disk.is_stalled:
                moved |= server.complete_write()
            if not server.disk.snapshots_are_stalled:
                packets = server.work_on_snapshots()
                moved |= packets is not None
                self.network += packets or []
        return moved

    def hand_over(self, packet: Packet) -> None:
        """One packet arrives, if its receiver runs."""
        if packet.to not in self.down:
            self[packet.to].receive(packet)

    def settle(self) -> None:
        """Lets everything happen that needs no time."""
        for _ in range(MANY_TURNS):
            moved = self.collect()
            packets, self.network = self.network, []
            for packet in packets:
                if (packet.sender, packet.to) in self.cut or self.loses(packet):
                    continue
                if self.holds(packet):
                    self.held.append(packet)
                else:
                    self.hand_over(packet)
            if not (moved or packets):
                return
        raise AssertionError("the cluster does not come to rest")

    def take_held(self) -> list[Packet]:
        """Takes what was held back from its way."""
        held, self.held = self.held, []
        return held

    def release(self) -> None:
        """What was held back arrives now, and nothing is held back any more."""
        self.holds = lambda _: False
        self.network = self.take_held() + self.network
        self.settle()

    def run(self, microseconds: int) -> None:
        """Time passes, and every server looks at its timers when they are due."""
        end = self.now + microseconds
        self.settle()
        while True:
            deadlines = {server: server.node.deadline(self.now) for server in self.up}
            due = min((time for time in deadlines.values() if time is not None), default=None)
            if due is None or due > end:
                break
            self.now = due
            for server, deadline in deadlines.items():
                if deadline == due:
                    server.wake()
            self.settle()
        self.now = end

    def run_until_led(self) -> Server:
        """Time passes until all that run know one leader among them, who can serve."""
        for _ in range(200):
            known = {server.node.raft.leader for server in self.up}
            (leader, *others) = known
            if not others and leader is not None and leader not in self.down:
                return self[leader]
            self.run(SECOND // 20)
        raise AssertionError("no leader")

    # ------------------------------------------------------------------ faults

    def isolate(self, *nodes: NodeId) -> None:
        """Cuts these servers off from the others, not from each other."""
        for one in nodes:
            for other in self.servers.keys() - set(nodes):
                self.cut |= {(one, other), (other, one)}

    def heal(self) -> None:
        """All links and disks work again."""
        self.cut.clear()
        self.loses = lambda _: False
        for server in self.up:
            server.disk.is_stalled = server.disk.snapshots_are_stalled = False
        self.release()

    def crash(self, server: Server) -> None:
        """A server dies; the others notice that its links broke."""
        self.down.add(server.me)
        for client in server.clients.values():
            client.is_closed = True
        server.clients.clear()
        server.disk.files.kill()
        for other in self.up:
            other.link_changed(server.me, up=False)

    def restart(self, server: Server) -> None:
        """It comes back with what its disk holds."""
        self.down.remove(server.me)
        server.start()
        for other in self.up:
            if other is not server:
                other.link_changed(server.me, up=True)


class Sent:
    """One command of a connection, on the key that all of them use.

    Args:
        token: what it appends, such as `<7>`, never the same twice; empty for a read.
        at: when it was sent.
    """

    def __init__(self, token: bytes, at: int) -> None:
        self.token = token
        self.at = at
        self.is_answered = False
        self.reply: Any = None

    def answer(self, reply: object) -> None:
        """Its reply has come."""
        self.is_answered = True
        self.reply = reply

    @property
    def code(self) -> str | None:
        """The code of the error that it was answered with, if that is so."""
        if not isinstance(self.reply, hiredis.ReplyError):
            return None
        return str(self.reply).partition(" ")[0]


def check_promises(value: bytes | None, connections: list[list[Sent]]) -> None:
    """What the protocol promises to plain connections, by the value in the end.

    Args:
        value: of the key that all have appended to.
        connections: what each connection has sent, in order.
    """
    present = re.findall(rb"<\d+>", value or b"")
    place = {token: position for position, token in enumerate(present)}
    assert len(place) == len(present), "each write takes effect at most once"
    length = 0
    length_after = {token: (length := length + len(token)) for token in present}
    for commands in connections:
        written = [place[sent.token] for sent in commands if sent.token in place]
        assert written == sorted(written), "in the order sent"
        acknowledged: list[bytes] = []
        for position, sent in enumerate(commands):
            if not sent.is_answered:
                continue
            if not sent.token and sent.code is None:
                seen = set(re.findall(rb"<\d+>", sent.reply or b""))
                assert seen.issuperset(acknowledged), "a read sees the writes before it"
                assert not seen & {after.token for after in commands[position:]}, "none behind it"
                assert (value or b"").startswith(sent.reply or b""), "what was read was true then"
            elif not sent.token:
                assert sent.code == "UNAVAILABLE"
            elif sent.code is None:
                assert sent.reply == length_after[sent.token], "acknowledged, so executed, here"
                acknowledged.append(sent.token)
            elif sent.code == "NOTEXECUTED":
                assert sent.token not in place
            else:
                assert sent.code == "UNKNOWN"


@pytest.fixture(scope="session")
def new_cluster() -> type[Cluster]:
    """Several nodes that have just been started."""
    return Cluster


@pytest.fixture
def cluster() -> Cluster:
    """Three nodes that have a leader and their own sessions."""
    cluster = Cluster()
    cluster.run_until_led()
    cluster.settle()
    return cluster


@pytest.fixture(scope="session")
def new_sent() -> type[Sent]:
    """One command of a connection."""
    return Sent


@pytest.fixture(scope="session")
def check() -> Callable[[bytes | None, list[list[Sent]]], None]:
    """See `check_promises`."""
    return check_promises
