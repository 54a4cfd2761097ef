"""The only loop: feeds a node from sockets, disk and clock, and does what it asks for.

Everything that arrives in one turn of the event loop is fed to the node first; then the driver
drains it once: messages out, one write to the log, replies out. So what arrives together costs
one round, one write and one sync. What clients are just sending is gathered before
(`gathering`).
"""

import asyncio
import contextlib
from collections.abc import Callable
from typing import Protocol

from quorate.node.node import Node, NodeReady
from quorate.raft.configuration import Membership, NodeId
from quorate.raft.messages import PeerMessage
from quorate.raft.ready import ChunkToSend, Envelope, LogWrite, ReceivedChunk
from quorate.runtime.clients import Clients
from quorate.runtime.clock import monotonic_us
from quorate.runtime.gathering import Gathering
from quorate.runtime.leadership_log import LeadershipLog
from quorate.storage.snapshots import SnapshotPart, StoredSnapshot

HAND_OVER_AFTER_S = 0.25
"""A leader that ends hands over by then, even if some clients still wait for their answers."""
FAREWELL_S = 0.25
"""So long a server that ends waits for its clients to close their connections after they have seen
the end of the replies. Those that are idle may not look."""


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
        self._clients = Clients(node, on_data=self._client_sent, on_event=self._schedule_turn)
        self._gathering = Gathering()
        self._has_to_turn = False
        self._is_to_look = False
        self._timer: asyncio.TimerHandle | None = None
        self._timer_us = 0
        self._stopped = False
        self._awaited: tuple[Callable[[], bool], asyncio.Future[None]] | None = None

    @property
    def clients(self) -> Clients:
        """The clients of this server."""
        return self._clients

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
        clients = self._clients
        self._node.leave()
        clients.leave()
        # In this order, so that what waits for this leader need not begin anew with the next.
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(HAND_OVER_AFTER_S):
                await self._until(self._has_answered)
        await self._hand_over()
        clients.finish_all()
        await self._until(lambda: self._has_answered() and clients.have_read_all)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(FAREWELL_S):
                await self._until(lambda: clients.are_gone)
        await self._hand_over()  # it may have been elected meanwhile

    def _has_answered(self) -> bool:
        return self._node.is_idle and self._clients.have_all_answers

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

    # ------------------------------------------------------------------ peers and disk

    def received(self, sender: NodeId, messages: list[PeerMessage]) -> None:
        """Another server has sent messages."""
        now, is_due = monotonic_us(), False
        for message in messages:
            is_due |= self._node.receive(sender, message, now)
        if is_due:
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

    def _client_sent(self) -> None:
        self._gathering.came()
        self._look_again()

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
        if gathers and not (
            self._has_to_turn or self._clients.have_untaken or self._node.has_answers
        ):
            self._look_again()
        else:
            self._has_to_turn = False
            self._turn(submits=not gathers)

    def _turn(self, *, submits: bool) -> None:
        self._clients.begin_turn()
        while (urgent := self._node.take_urgent(monotonic_us())) is not None:
            self._send_messages(urgent.messages)
            self._serve_snapshots(urgent)
            self._write(urgent.write)
        replies = 0
        while True:
            ready = self._node.take_ready(monotonic_us(), submits=submits)
            self._send_messages(ready.messages)
            replies += len(ready.replies)
            self._clients.send(ready.replies)
            self._clients.end(ready.closing, ready.broken)
            self._clients.give_up(ready.given_up)
            self._serve_snapshots(ready)
            if not self._write(ready.write):
                break
        self._gathering.answered(replies)
        if self._gathering.is_to_go_on:
            self._look_again()
        self._note_membership()
        self._leadership.note()
        self._clients.end_turn()
        self._set_timer()
        if self._awaited is not None and self._awaited[0]():
            future, self._awaited = self._awaited[1], None
            if not future.done():
                future.set_result(None)

    def _note_membership(self) -> None:
        raft, known = self._node.raft, self._membership
        if known.is_committed and raft.configuration is known.configuration:
            return
        self._membership = raft.membership
        if self._membership != known:
            self._peers.members_changed(self._membership)

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
