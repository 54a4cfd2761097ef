"""The course's Raft over the production core and store: `Make`, `Start`, `GetState`, `Kill`.

A thin driver: what comes in is fed to the core at once, one turn later the core is drained, its
messages become calls (`peer_calls`) and its writes reach the persister when they are complete.
"""

import random
from collections.abc import Coroutine, Sequence
from functools import partial
from typing import Any

import msgspec

from quorate.lab.costs import Costs
from quorate.lab.network import ClientEnd
from quorate.lab.peer_calls import PeerCalls, node_id
from quorate.lab.persister import Persister
from quorate.raft.configuration import Member, NodeId
from quorate.raft.core import Raft
from quorate.raft.messages import PeerMessage
from quorate.raft.ready import LogWrite
from quorate.raft.settings import Settings
from quorate.raft.snapshot import SnapshotMetadata
from quorate.sim.channel import Channel
from quorate.sim.tasks import Tasks
from quorate.storage.snapshot_chunks import read_chunk, write_chunk
from quorate.storage.snapshots import SnapshotPart
from quorate.storage.store import Store

SEGMENT_SIZE = 64 * 1024
"""Of the log, in bytes: small, since each crash copies the files."""
WHOLE_SNAPSHOT = 1 << 30
"""Bytes of a snapshot in one message: the course sends each in one call."""
_REQUEST_IDS_PER_BOOT = 1 << 40

Command = int | str
"""What the tests replicate."""

_encode_command = msgspec.msgpack.Encoder().encode
_decode_command = msgspec.msgpack.Decoder(Command).decode


class StartResult(msgspec.Struct, frozen=True):
    """The answer of `start`; index and term say nothing unless `is_leader`."""

    index: int
    term: int
    is_leader: bool


class State(msgspec.Struct, frozen=True):
    """What a server believes of itself."""

    term: int
    is_leader: bool


class ApplyCommand(msgspec.Struct, frozen=True):
    """A committed command, for the service above."""

    command: Command
    command_index: int


class ApplySnapshot(msgspec.Struct, frozen=True):
    """A snapshot of another server's service, to go on from."""

    snapshot: bytes
    snapshot_term: int
    snapshot_index: int


ApplyMessage = ApplyCommand | ApplySnapshot


def open_store(persister: Persister, *, me: int, servers: int) -> Store:
    """Opens what a persister holds; a new one becomes that of a member of a new cluster.

    Args:
        persister: what the server's former lives have saved.
        me: its number, from 0.
        servers: how many there are.
    """
    if not persister.names():
        Store.initialize(
            persister,
            cluster_id="lab",
            node=node_id(me),
            data_id=f"lab-{me}",
            members=tuple(Member(node_id(server)) for server in range(servers)),
            segment_size=SEGMENT_SIZE,
        )
    return Store.open(persister, segment_size=SEGMENT_SIZE)


class RaftServer:
    """One life of one Raft server (the course's `Make`); also its service `Raft`.

    Args:
        tasks: tell the time.
        ends: to each server, itself included.
        me: its number, from 0.
        persister: what its former lives have saved, and where it saves.
        settings: of Raft; without a no-op, since the tests count indices from the first command.
        rng: for its chances.
        costs: what a write costs in virtual time.

    Attributes:
        apply_channel: committed commands, in order, and snapshots instead of them.
        persister: likewise.
        write_us: what the next write costs; a test may make the disk slow.
    """

    def __init__(
        self,
        tasks: Tasks,
        ends: Sequence[ClientEnd],
        me: int,
        persister: Persister,
        *,
        settings: Settings,
        rng: random.Random,
        costs: Costs,
    ) -> None:
        assert not settings.no_op, "the tests count log indices from the first command"
        self.apply_channel: Channel[ApplyMessage] = Channel()
        self.persister = persister
        self._tasks = tasks
        self.write_us = costs.write_us
        self._store = open_store(persister, me=me, servers=len(ends))
        self._calls = PeerCalls(tasks, ends, me, self._receive, self._lost)
        self._raft = Raft(
            node_id(me),
            durable=self._store.take_durable_state(),
            settings=msgspec.structs.replace(settings, max_chunk_bytes=WHOLE_SNAPSHOT),
            rng=rng,
            now=tasks.now,
            first_request_id=self._store.identity.boot * _REQUEST_IDS_PER_BOOT + 1,
        )
        self._is_dead = False
        self._turn_is_due = False
        self._timer: int | None = None
        self._schedule_turn()

    # ------------------------------------------------------------------ the course's face

    def start(self, command: Command) -> StartResult:
        """Has the command replicated, if this is the leader; never waits."""
        term = self._raft.current_term
        if self._is_dead:
            return StartResult(-1, term, is_leader=False)
        entry = self._raft.propose(_encode_command(command), self._tasks.now)
        if entry is None:
            return StartResult(-1, term, is_leader=False)
        self._schedule_turn()
        return StartResult(entry.index, entry.term, is_leader=True)

    def get_state(self) -> State:
        """What this server believes."""
        return State(self._raft.current_term, self._raft.is_leader)

    def snapshot(self, index: int, snapshot: bytes) -> None:
        """The service above has everything up to an index in this snapshot.

        If a newer one has come from a leader meanwhile, this one is for nothing.
        """
        if self._is_dead or index <= self._raft.snapshot.index:
            return
        metadata = self._raft.snapshot_metadata(index)
        part = SnapshotPart(metadata, (snapshot,), is_first=True, is_last=True)
        stored = self._store.snapshots.write(part)
        assert stored is not None
        self._raft.compact(stored.metadata, stored.size, self._tasks.now)
        self._schedule_turn()

    def kill(self) -> None:
        """Ends this life. What it has saved stays saved; what was being written never was."""
        self._is_dead = True
        self._calls.end()

    def handle(self, method: str, arguments: bytes) -> Coroutine[Any, Any, bytes]:
        """Another server calls `Raft.<Message>`."""
        return self._calls.handle(method, arguments)

    # ------------------------------------------------------------------ the driver

    def _receive(self, sender: NodeId, message: PeerMessage) -> None:
        self._raft.receive(sender, message, self._tasks.now)
        self._schedule_turn()

    def _lost(self, peer: NodeId) -> None:
        """A call has failed: like a link that broke and was made anew, what was on it is lost."""
        self._raft.link_changed(peer, up=True, now=self._tasks.now)
        self._schedule_turn()

    def _schedule_turn(self) -> None:
        if not self._turn_is_due:
            self._turn_is_due = True
            self._tasks.scheduler.after(0, self._turn)

    def _turn(self) -> None:
        self._turn_is_due = False
        if self._is_dead:
            return
        now = self._tasks.now
        events = self._raft.take_events(now)
        if events.snapshot is not None:
            self._apply_snapshot(events.snapshot)
        for entry in events.committed:
            self.apply_channel.put(ApplyCommand(_decode_command(entry.data), entry.index))
        ready = self._raft.take_ready(now)
        for envelope in ready.messages:
            self._calls.send(envelope)
        for to_send in ready.chunks:
            if (piece := read_chunk(self._store.snapshots, to_send)) is not None:
                self._calls.send(piece)
        for received in ready.received:
            self._raft.chunk_written(received, write_chunk(self._store.snapshots, received), now)
            self._schedule_turn()
        if ready.write is not None:
            written = partial(self._written, ready.write)
            self._tasks.scheduler.after(self.write_us, written)
        self._set_timer()

    def _apply_snapshot(self, snapshot: SnapshotMetadata) -> None:
        """The service has to go on from a snapshot, its own of a former life too."""
        contents = b"".join(self._store.snapshots.sections())
        self.apply_channel.put(ApplySnapshot(contents, snapshot.term, snapshot.index))
        self._raft.snapshot_restored(snapshot.index, self._tasks.now)
        self._schedule_turn()

    def _written(self, write: LogWrite) -> None:
        if self._is_dead:
            return
        self._store.append(write)
        self._store.sync()
        if self._store.needs_cleaning:
            self._store.remove_dead_segments()
        self._raft.persisted(write.number, self._tasks.now)
        self._schedule_turn()

    def _set_timer(self) -> None:
        due = self._raft.deadline()
        if due is not None and (self._timer is None or due < self._timer):
            self._timer = due
            self._tasks.scheduler.at(due, partial(self._wake, due))

    def _wake(self, due: int) -> None:
        if self._timer == due and not self._is_dead:
            self._timer = None
            self._raft.wake(self._tasks.now)
            self._schedule_turn()
