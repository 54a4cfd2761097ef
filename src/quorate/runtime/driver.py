"""The only loop: feeds a node from sockets, disk and clock, and does what it asks for.

Everything that arrives in one turn of the event loop is fed to the node first; then the driver
drains it once: messages out, one write to the log, replies out. So what arrives together costs
one round, one write and one sync.

Clients may send or ask for more than that: what would take too long waits for the next turn, so
that no flood of requests or of replies keeps a node from its peers for as long as an election
timeout.
"""

import asyncio
import contextlib
import logging
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Protocol, cast

from quorate.node.node import Node, NodeReady
from quorate.raft.configuration import Membership, NodeId
from quorate.raft.messages import PeerMessage
from quorate.raft.ready import ChunkToSend, Envelope, LogWrite, ReceivedChunk
from quorate.runtime.gathering import Gathering
from quorate.runtime.leadership_log import LeadershipLog
from quorate.storage.snapshots import SnapshotPart, StoredSnapshot

CLIENT_TIME_US = 20_000
"""How long one turn takes in what clients have sent; what is left waits for the next turn."""
SLICE_BYTES = 4 * 1024
"""What a client has sent is taken in by so many bytes, and the clock looked at after each.

What is left when the time is over goes by slices too, one of each client in turn.
"""
REPLY_TIME_US = 20_000
"""How long one turn sends long replies to clients; those that are left wait for the next turn."""
LONG_REPLY_BYTES = 4 * 1024
"""Longer replies are long."""
READ_BYTES = 256 * 1024
"""So much is read from a client at a time, before any limit is looked at."""
MAX_UNTAKEN_BYTES = 16 * 1024 * 1024
"""When so much was read from all clients and not taken in, no more than a slice is read at a time.

So whoever comes is served all the same, and what thousands send at once stays in the system.
"""
UNSENT_PERIOD_US = 100_000
"""How often it is looked at most how far clients have come that are behind with reading."""
HAND_OVER_AFTER_S = 0.25
"""A leader that ends hands over by then, even if some clients still wait for their answers."""
FAREWELL_S = 0.25
"""So long a server that ends waits for its clients to close their connections after they have seen
the end of the replies. Those that are idle may not look."""
COMPLAINT_PERIOD_US = 10_000_000
"""Clients that were given up are complained of at most so often, in one line for all of them."""

_log = logging.getLogger(__name__)


class ClientConnection(Protocol):
    """A client's connection, as the driver sees it."""

    def send(self, data: bytes) -> None:
        """Sends replies."""

    @property
    def unsent_bytes(self) -> int:
        """How much is kept of what was sent and the client's socket has not taken."""

    def close_when_sent(self) -> None:
        """Ends the connection after what was sent."""

    def finish_when_sent(self) -> None:
        """The same, but whatever the client still sends does not keep him from his replies."""

    def abort(self) -> None:
        """Ends the connection at once."""

    def pause_reading(self) -> None:
        """Stops reading from the client."""

    def resume_reading(self) -> None:
        """Goes on reading from the client."""


@dataclass(slots=True)
class _Waiting:
    """A client for whom there was no time in the turn that had a long reply for him.

    Attributes:
        replies: that one, and those behind it.
        end: what ends his connection afterwards, if it is to end.
    """

    replies: list[bytes] = field(default_factory=list)
    end: Callable[[], None] | None = None


class Peers(Protocol):
    """The links to the other servers, as the driver sees them."""

    def send(self, to: NodeId, messages: list[PeerMessage]) -> None:
        """Sends messages, or drops them if there is no link."""

    def members_changed(self, membership: Membership) -> None:
        """The members are these now, or it has become known that they are."""


class Log(Protocol):
    """The durable log, as the driver sees it."""

    @property
    def raft_state_bytes(self) -> int:
        """How much Raft state it holds."""

    def write(self, write: LogWrite) -> bool:
        """Writes; returns whether it is durable already. If not, `Driver.written` follows."""


class SnapshotKeeper(Protocol):
    """Who works on the snapshots on the disk; what becomes of each call the driver is told."""

    def write(self, part: SnapshotPart) -> None:
        """Writes a part of a snapshot: `Driver.part_written` or `part_failed` follows."""

    def read(self, chunk: ChunkToSend) -> None:
        """Reads a piece of a snapshot: `Driver.chunk_read` or `snapshot_damaged` follows."""

    def receive(self, chunk: ReceivedChunk) -> None:
        """Writes a piece of the leader's snapshot: `Driver.chunk_written` follows."""

    def restore(self) -> None:
        """Reads the newest snapshot: `Driver.sections_read` follows, again and again."""


def monotonic_us() -> int:
    """The time that a node lives by: microseconds of the monotonic clock."""
    return time.monotonic_ns() // 1000


class Driver:
    """Runs one node on an event loop.

    Args:
        node: the node.
        loop: the event loop that everything here runs on.
        peers: the links to other servers.
        log: the durable log.
        snapshots: works on those on the disk.
    """

    def __init__(
        self,
        node: Node,
        loop: asyncio.AbstractEventLoop,
        *,
        peers: Peers,
        log: Log,
        snapshots: SnapshotKeeper,
    ) -> None:
        self._node = node
        self._loop = loop
        self._peers = peers
        self._log = log
        self._snapshots = snapshots
        self._leadership = LeadershipLog(node.raft)
        self._membership = node.raft.membership
        self._clients: dict[int, ClientConnection] = {}
        self._paused: dict[int, ClientConnection] = {}
        self._behind: dict[int, ClientConnection] = {}
        self._unsent_reported_us = 0
        self._given_up = 0
        self._complained_us = -COMPLAINT_PERIOD_US
        self._read_buffer = self._offered = memoryview(bytearray(READ_BYTES))
        self._untaken: dict[int, memoryview] = {}  # each of a chunk that is kept as a whole
        self._untaken_bytes = 0  # of these chunks
        self._clients_until_us = 0
        self._gathering = Gathering()
        self._has_to_turn = False
        self._is_to_look = False
        self._timer: asyncio.TimerHandle | None = None
        self._timer_us = 0
        self._stopped = False
        self._is_leaving = False
        self._unfinished: set[int] = set()  # clients whose connections are to end
        self._waiting: dict[int, _Waiting] = {}  # for whom a long reply waits
        self._awaited: tuple[Callable[[], bool], asyncio.Future[None]] | None = None

    def start(self) -> None:
        """Begins to live."""
        self._schedule_turn()

    def stop(self) -> None:
        """Does nothing more, whatever still arrives."""
        self._stopped = True
        if self._timer is not None:
            self._timer.cancel()

    async def leave(self) -> None:
        """Reads nothing more from clients, answers what was read, and hands leadership over.

        So whatever a client has sent that is not answered when its connection ends was never
        looked at. It may take as long as a command may, and longer if a client does not read; but
        each connection ends as soon as its own commands are answered.
        """
        self._is_leaving = True
        self._node.leave()
        for connection in self._clients:
            self._pause(connection)
        # In this order, so that what waits for this leader need not begin anew with the next.
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(HAND_OVER_AFTER_S):
                await self._until(self._has_answered)
        await self._hand_over()
        self._unfinished.update(self._clients)
        await self._until(lambda: self._has_answered() and not self._behind)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(FAREWELL_S):
                await self._until(lambda: not self._clients)
        await self._hand_over()  # it may have been elected meanwhile

    def _has_answered(self) -> bool:
        return self._node.is_idle and not self._untaken and not self._waiting

    async def _hand_over(self) -> None:
        """Has another server lead, as long as there is one that could."""
        raft = self._node.raft
        while raft.is_transferring or self._node.transfer_leadership(monotonic_us()):
            await self._until(lambda: not raft.is_transferring)

    async def _until(self, condition: Callable[[], bool]) -> None:
        """Waits for the turn after which this is so."""
        future = self._loop.create_future()
        self._awaited = condition, future
        self._schedule_turn()
        await future

    # ------------------------------------------------------------------ clients

    def client_connected(self, client: ClientConnection) -> int:
        """A client has connected; returns the connection's id."""
        connection = self._node.open_connection()
        self._clients[connection] = client
        if self._is_leaving:
            self._unfinished.add(connection)
        self._schedule_turn()
        return connection

    def read_buffer(self) -> memoryview:
        """Where to read to from any client; `client_data` has to follow at once."""
        return self._offered

    def client_data(self, connection: int, size: int) -> None:
        """A client has sent something: so many bytes, which are in the buffer for it."""
        if self._is_leaving:
            return  # it was connecting when the others were paused
        now = monotonic_us()
        if not self._clients_until_us:
            self._clients_until_us = now + CLIENT_TIME_US
        assert connection not in self._untaken, "nothing is read from a client that is paused"
        if size <= SLICE_BYTES and now < self._clients_until_us:
            data = bytes(self._read_buffer[:size])
            if self._node.client_data(connection, data, now):
                self._pause(connection)
        else:
            self._take_slices(connection, self._read_buffer[:size], now)
        self._gathering.came()
        self._look_again()

    def client_unsent(self, connection: int, size: int) -> None:
        """So many bytes of what was sent were not taken by a client's socket."""
        if size:
            self._behind[connection] = self._clients[connection]
        else:
            self._behind.pop(connection, None)
        self._node.client_unsent(connection, size, monotonic_us())
        self._schedule_turn()

    def client_finished(self, connection: int) -> None:
        """A client will send nothing more, but may still read replies."""
        self._node.finish_connection(connection)
        self._schedule_turn()

    def client_lost(self, connection: int) -> None:
        """A client has gone."""
        self._node.close_connection(connection, monotonic_us())
        self._clients.pop(connection, None)
        self._behind.pop(connection, None)
        self._paused.pop(connection, None)
        self._waiting.pop(connection, None)
        self._unfinished.discard(connection)
        self._drop_untaken(connection)
        self._schedule_turn()  # others may have waited for the room that he took up

    # ------------------------------------------------------------------ peers and disk

    def received(self, sender: NodeId, messages: list[PeerMessage]) -> None:
        """Another server has sent messages."""
        now = monotonic_us()
        for message in messages:
            self._node.receive(sender, message, now)
        if self._node.raft.has_ready:
            self._schedule_turn()

    def link_changed(self, peer: NodeId, *, up: bool) -> None:
        """A connection with another server, of either direction, was made or was lost."""
        if not self._stopped:
            self._node.link_changed(peer, up=up, now=monotonic_us())
            self._schedule_turn()

    def link_made(self, peer: NodeId) -> None:
        """What is sent to another server goes over a connection now."""
        self._node.link_made(peer)

    def link_failed(self, peer: NodeId, trouble: str, *, is_refused: bool) -> None:
        """There is no such connection, and this is why."""
        self._node.link_failed(peer, trouble, is_refused=is_refused)

    def peer_identified(self, peer: NodeId, data_id: str) -> None:
        """Another server has said which data directory it has, and is believed."""
        if not self._stopped:
            self._node.peer_identified(peer, data_id)
            self._schedule_turn()

    def removed(self) -> None:
        """Another server has said that this one was removed from the cluster."""
        if not self._stopped:
            self._node.removed()
            self._schedule_turn()

    def written(self, number: int) -> None:
        """A write that the log had taken is durable."""
        if not self._stopped:
            self._persisted(number)
            self._schedule_turn()

    # ------------------------------------------------------------------ snapshots

    def part_written(self, stored: StoredSnapshot | None) -> None:
        """A part of a snapshot is written; if it was the last, all of that is durable."""
        if not self._stopped:
            self._node.snapshot_written(stored, monotonic_us())
            self._schedule_turn()

    def part_failed(self) -> None:
        """There was no space for a part of a snapshot."""
        if not self._stopped:
            self._node.snapshot_failed(monotonic_us())
            self._schedule_turn()

    def chunk_read(self, envelope: Envelope | None) -> None:
        """A piece of a snapshot was read for a follower; one that is gone is like one lost."""
        if envelope is not None and not self._stopped:
            self._peers.send(envelope.to, [envelope.message])

    def snapshot_damaged(self, index: int) -> None:
        """A snapshot that was to be sent to a follower is damaged on the disk."""
        if not self._stopped:
            self._node.snapshot_damaged(index, monotonic_us())
            self._schedule_turn()

    def chunk_written(self, chunk: ReceivedChunk, next_offset: int) -> None:
        """A piece of the leader's snapshot is written."""
        if not self._stopped:
            self._node.chunk_written(chunk, next_offset, monotonic_us())
            self._schedule_turn()

    def sections_read(self, sections: list[bytes]) -> bool:
        """The next sections of the snapshot that is being restored; returns whether to go on."""
        if self._stopped:
            return False
        for section in sections:
            self._node.restore(section, monotonic_us())
        self._schedule_turn()
        return bool(sections)

    # ------------------------------------------------------------------ the turn

    def _schedule_turn(self) -> None:
        self._has_to_turn = True
        self._look_again()

    def _look_again(self) -> None:
        """Looks, when all that has come by now is taken in, whether it is time for a turn."""
        if not self._is_to_look:
            self._is_to_look = True
            self._loop.call_soon(self._look)

    def _look(self) -> None:
        self._is_to_look = False
        if self._stopped:
            return
        gathers = self._gathering.goes_on(monotonic_us())
        if gathers and not (self._has_to_turn or self._untaken or self._node.has_answers):
            self._look_again()
        else:
            self._has_to_turn = False
            self._turn(submits=not gathers)

    def _turn(self, *, submits: bool) -> None:
        self._take_untaken()
        self._finish_clients()
        self._report_unsent()
        while (urgent := self._node.take_urgent(monotonic_us())) is not None:
            self._send_messages(urgent.messages)
            self._serve_snapshots(urgent)
            self._write(urgent.write)
        answered = 0
        while True:
            ready = self._node.take_ready(monotonic_us(), submits=submits)
            self._send_messages(ready.messages)
            answered += len(ready.replies)
            self._send_replies(ready.replies)
            for connection in ready.closing:
                if connection in self._clients:
                    client = self._clients[connection]
                    end = client.finish_when_sent if self._is_leaving else client.close_when_sent
                    self._end_after_replies(connection, end)
            for connection in ready.broken:
                if connection in self._clients:
                    client = self._clients[connection]
                    self._end_after_replies(connection, client.finish_when_sent)
            self._give_up(ready.given_up)
            self._serve_snapshots(ready)
            if not self._write(ready.write):
                break
        self._clients_until_us = 0
        self._gathering.answered(answered)
        if self._gathering.is_to_go_on:
            self._look_again()
        self._note_membership()
        self._leadership.note()
        self._resume_clients()
        self._set_timer()
        if self._awaited is not None and self._awaited[0]():
            future, self._awaited = self._awaited[1], None
            if not future.done():
                future.set_result(None)

    def _finish_clients(self) -> None:
        """Ends the connections that are to end, once what was read from them is answered."""
        for connection in self._unfinished - self._untaken.keys():
            self._node.finish_connection(connection)
            self._unfinished.remove(connection)

    def _note_membership(self) -> None:
        raft, known = self._node.raft, self._membership
        if known.is_committed and raft.configuration is known.configuration:
            return
        self._membership = raft.membership
        if self._membership != known:
            self._peers.members_changed(self._membership)

    def _send_replies(self, replies: list[tuple[int, bytes]]) -> None:
        """Sends replies, and keeps none of them until the last is sent: there may be many long.

        The long ones for as long as there is time. To the node those that wait are what their
        clients' sockets have not taken.
        """
        until = monotonic_us() + REPLY_TIME_US
        for connection in list(self._waiting):
            self._send_waiting(connection)
            if monotonic_us() >= until:
                break
        replies.reverse()
        while replies:
            connection, data = replies.pop()
            if connection not in self._clients:
                continue
            waiting = self._waiting.get(connection)
            if waiting is None:
                if len(data) <= LONG_REPLY_BYTES or monotonic_us() < until:
                    self._clients[connection].send(data)
                    continue
                waiting = self._waiting[connection] = _Waiting()
            waiting.replies.append(data)
            size = sum(map(len, waiting.replies))
            self._node.client_unsent(connection, size, monotonic_us())
        if self._waiting:
            self._schedule_turn()

    def _send_waiting(self, connection: int) -> None:
        """Sends the replies that wait for a client, if there are any."""
        waiting = self._waiting.pop(connection, None)
        if waiting is not None:
            client = self._clients[connection]
            for data in waiting.replies:
                client.send(data)
            self.client_unsent(connection, client.unsent_bytes)
            if waiting.end is not None:
                waiting.end()

    def _end_after_replies(self, connection: int, end: Callable[[], None]) -> None:
        waiting = self._waiting.get(connection)
        if waiting is None:
            end()
        else:
            waiting.end = end

    def _serve_snapshots(self, ready: NodeReady) -> None:
        if ready.snapshot_part is not None:
            self._snapshots.write(ready.snapshot_part)
        for to_send in ready.chunks_to_send:
            self._snapshots.read(to_send)
        for received in ready.received_chunks:
            self._snapshots.receive(received)
        if ready.restore_from is not None:
            self._snapshots.restore()

    def _write(self, write: LogWrite | None) -> bool:
        """Writes, if there is something; returns whether it is done, and makes more to do."""
        if write is None or not self._log.write(write):
            return False
        self._persisted(write.number)
        return self._node.raft.has_ready

    def _persisted(self, number: int) -> None:
        self._node.persisted(number, monotonic_us(), raft_state_bytes=self._log.raft_state_bytes)

    def _send_messages(self, messages: list[Envelope]) -> None:
        by_peer: dict[NodeId, list[PeerMessage]] = {}
        for envelope in messages:
            by_peer.setdefault(envelope.to, []).append(envelope.message)
        for peer, batch in by_peer.items():
            self._peers.send(peer, batch)

    # ------------------------------------------------------------------ clients that send much

    def _take_untaken(self) -> None:
        """Takes in what clients have sent, a slice of each in turn, for as long as there is time.

        What is left of a client that is congested waits until it no longer is.
        """
        if not self._untaken:
            return
        until = monotonic_us() + CLIENT_TIME_US
        takeable = deque(
            connection for connection in self._untaken if not self._node.is_congested(connection)
        )
        while takeable and (now := monotonic_us()) < until:
            connection = takeable.popleft()
            data = self._untaken.pop(connection)
            rest, is_congested = self._take_slice(connection, data, now)
            if rest:
                self._untaken[connection] = rest  # behind the others
                if not is_congested:
                    takeable.append(connection)
            else:
                self._count_untaken(-_size_of_chunk(data))

    def _drop_untaken(self, connection: int) -> None:
        data = self._untaken.pop(connection, None)
        if data is not None:
            self._count_untaken(-_size_of_chunk(data))

    def _count_untaken(self, change: int) -> None:
        self._untaken_bytes += change
        room = MAX_UNTAKEN_BYTES - self._untaken_bytes
        self._offered = self._read_buffer[: max(room, SLICE_BYTES)]

    def _take_slices(self, connection: int, rest: memoryview, now: int) -> None:
        """Takes in as much as there is time for, and keeps the rest."""
        is_congested = False
        while rest and not is_congested and now < self._clients_until_us:
            rest, is_congested = self._take_slice(connection, rest, now)
            now = monotonic_us()
        if rest:
            self._untaken[connection] = memoryview(bytes(rest))
            self._count_untaken(len(rest))
        if rest or is_congested:
            self._pause(connection)

    def _take_slice(
        self, connection: int, data: memoryview, now: int
    ) -> tuple[memoryview, bool]:
        """Takes in the beginning of what a client has sent.

        Returns:
            The rest, and whether that has to wait.
        """
        is_congested = self._node.client_data(connection, bytes(data[:SLICE_BYTES]), now)
        return data[SLICE_BYTES:], is_congested

    # ------------------------------------------------------------------ clients that take little

    def _report_unsent(self) -> None:
        """Tells the node how far clients have come that are behind with reading."""
        now = monotonic_us()
        if self._behind and now >= self._unsent_reported_us + UNSENT_PERIOD_US:
            self._unsent_reported_us = now
            for connection, client in self._behind.items():
                self._node.client_unsent(connection, client.unsent_bytes, now)

    def _give_up(self, connections: list[int]) -> None:
        clients = [self._clients.pop(c) for c in connections if c in self._clients]
        for connection in connections:
            self._behind.pop(connection, None)
            self._paused.pop(connection, None)
            self._waiting.pop(connection, None)
            self._drop_untaken(connection)
        for client in clients:
            client.abort()
        self._given_up += len(clients)
        now = monotonic_us()
        if self._given_up and now >= self._complained_us + COMPLAINT_PERIOD_US:
            _log.warning(
                "closed the connections of %d clients that took up much memory and did not move: "
                "they neither read their replies nor sent the rest of their requests",
                self._given_up,
            )
            self._given_up = 0
            self._complained_us = now

    # ------------------------------------------------------------------ congestion

    def _pause(self, connection: int) -> None:
        if connection in self._clients and connection not in self._paused:
            client = self._clients[connection]
            client.pause_reading()
            self._paused[connection] = client

    def _resume_clients(self) -> None:
        if not self._paused:
            return
        for connection, client in list(self._paused.items()):
            if self._node.is_congested(connection):
                continue
            if connection in self._untaken:
                self._schedule_turn()
            elif not self._is_leaving:
                del self._paused[connection]
                client.resume_reading()

    # ------------------------------------------------------------------ the clock

    def _set_timer(self) -> None:
        now = monotonic_us()
        due = self._node.deadline(now)
        if due is None:
            return
        if self._timer is not None:
            if self._timer_us <= due:
                return  # it fires early, which does no harm, and is set anew then
            self._timer.cancel()
        self._timer_us = due
        self._timer = self._loop.call_later(max(0, due - now) / 1e6, self._wake)

    def _wake(self) -> None:
        self._timer = None
        if not self._stopped:
            self._node.wake(monotonic_us())
            self._schedule_turn()


def _size_of_chunk(part: memoryview) -> int:
    """Of the whole that it is a part of, and keeps."""
    return len(cast(bytes, part.obj))
