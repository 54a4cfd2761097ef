"""A little cluster for the tests of the core: real cores, disks and a network by hand.

Nothing moves by itself. Time passes when a test says so; a message waits in a list until it is
delivered, dropped or repeated; a write is on the disk when it is told to complete, and a crash
loses one that was not (or keeps it, as a real disk may). Only the public interface of the core
is used.
"""

from __future__ import annotations

import copy
import random
from typing import TYPE_CHECKING, TypeVar

import msgspec
import pytest

from quorate.raft.configuration import (
    ChangeRefusal,
    Configuration,
    NodeId,
    configuration_of,
)
from quorate.raft.core import Raft
from quorate.raft.entry import Entry, EntryKind
from quorate.raft.messages import (
    AppendEntries,
    InstallSnapshot,
    PeerMessage,
    PreVote,
    PreVoteAnswer,
    RequestVote,
    RequestVoteAnswer,
)
from quorate.raft.ready import (
    DurableState,
    Envelope,
    Events,
    ForwardedProposal,
    ForwardLost,
    ForwardOutcome,
    LogWrite,
    Ready,
    ReadyRead,
    ReceivedChunk,
)
from quorate.raft.settings import Settings
from quorate.raft.snapshot import LogStart, SnapshotMetadata

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

MessageT = TypeVar("MessageT")

PLAIN = Settings(pre_vote=False, check_quorum=False, no_op=False)
"""Figure 2 and nothing else."""

NOTHING_TO_DO = (Events(), Ready(messages=[], write=None))

IDS_OF_ONE_LIFE = 1_000_000
"""More requests than a server sends in one life in these tests."""


def durable_state(
    *,
    members: int = 3,
    term: int = 0,
    voted_for: int | None = None,
    log: Sequence[int] = (),
    snapshot: tuple[int, int] = (0, 0),
    start: tuple[int, int] | None = None,
    time_ms: int = 0,
    snapshot_is_lost: bool = False,
) -> DurableState:
    """A disk's contents.

    Args:
        members: the cluster has the servers 1 to this number.
        term: the current term; at least the last one of the log.
        voted_for: the vote in it.
        log: the terms of the entries after `start`.
        snapshot: its index and term.
        start: index and term of what the log begins after; the snapshot's by default.
        time_ms: the cluster time of the snapshot and of all entries.
        snapshot_is_lost: it cannot be read any more.
    """
    index, snapshot_term = snapshot
    start_index, start_term = start or snapshot
    configuration = configuration_of(range(1, members + 1))
    metadata = SnapshotMetadata(index, snapshot_term, time_ms, configuration)
    entries = tuple(
        Entry(
            index=start_index + position,
            term=entry_term,
            time_ms=time_ms,
            kind=EntryKind.DATA,
            data=f"{start_index + position} of term {entry_term}".encode(),
        )
        for position, entry_term in enumerate(log, start=1)
    )
    return DurableState(
        term=max(term, snapshot_term, *log, 0),
        voted_for=None if voted_for is None else NodeId(voted_for),
        snapshot=metadata,
        entries=entries,
        log_start=LogStart(start_index, start_term),
        snapshot_size=len(contents(index)) if index and not snapshot_is_lost else 0,
        snapshot_is_lost=snapshot_is_lost,
    )


def contents(index: int) -> bytes:
    """What a snapshot holds unless a test says otherwise: 20 bytes."""
    return b"the state as of %04d" % index


class StoredSnapshot(msgspec.Struct, frozen=True):
    """A snapshot on a disk."""

    metadata: SnapshotMetadata
    data: bytes


class Disk:
    """What is durable at one server, and the one write that is not yet.

    The fault model: a write is durable as a whole or not at all, and writes become durable in
    order. A crash before `complete` may keep the write or lose it; a crash after it loses nothing.
    A snapshot is there as a whole or not at all; the newest one and the one before can be read.
    Nothing is left of one that came in pieces and was not complete before the crash.
    """

    def __init__(self, state: DurableState) -> None:
        self.term = state.term
        self.voted_for = state.voted_for
        self.log_start = state.start
        self.entries = state.entries
        self.pending: LogWrite | None = None
        self._lost = state.snapshot if state.snapshot_is_lost else None
        self._first = state.snapshot
        self._snapshots: list[StoredSnapshot] = []
        self._partial = b""
        if state.snapshot_size:
            self.store(StoredSnapshot(state.snapshot, contents(state.snapshot.index)))

    # ------------------------------------------------------------------ what a start finds

    @property
    def newest(self) -> StoredSnapshot | None:
        """The newest snapshot."""
        return self._snapshots[-1] if self._snapshots else None

    @property
    def state(self) -> DurableState:
        """What the next life begins with.

        "If existing log entry has same index and term as snapshot's last included entry, retain
        log entries following it" (Raft Figure 13, InstallSnapshot, 6), else none.
        """
        newest = self.newest
        metadata = self._lost or (self._first if newest is None else newest.metadata)
        start, entries = self.log_start, self.entries
        if self._term_at(metadata.index) != metadata.term:
            start, entries = LogStart(metadata.index, metadata.term), ()
        return DurableState(
            term=self.term,
            voted_for=self.voted_for,
            snapshot=metadata,
            entries=entries,
            log_start=start,
            snapshot_size=0 if newest is None else len(newest.data),
            snapshot_is_lost=self._lost is not None,
        )

    @property
    def state_if_kept(self) -> DurableState:
        """The same, if a crash now keeps the write that is on its way."""
        after = copy.copy(self)
        if after.pending is not None:
            after.complete()
        return after.state

    def recover(self) -> DurableState:
        """A life begins: the log on the disk is from now on what was found."""
        state = self.state
        self.log_start, self.entries = state.start, state.entries
        return state

    def _term_at(self, index: int) -> int | None:
        position = index - self.log_start.index - 1
        if position == -1:
            return self.log_start.term
        return self.entries[position].term if 0 <= position < len(self.entries) else None

    # ------------------------------------------------------------------ snapshots

    def store(self, snapshot: StoredSnapshot) -> None:
        """A whole snapshot is durable now. One that is not newer than the newest is none."""
        newest = self.newest
        assert snapshot.metadata.index > 0
        if newest is None or newest.metadata.index < snapshot.metadata.index:
            self._snapshots = [*self._snapshots[-1:], snapshot]
            self._lost = None

    def store_new(self, metadata: SnapshotMetadata, data: bytes) -> None:
        """A snapshot of this server's own state is durable now."""
        self.store(StoredSnapshot(metadata, data))

    def replace_contents(self, data: bytes) -> None:
        """The newest snapshot holds this, and always did."""
        newest = self._snapshots.pop()
        self._snapshots.append(StoredSnapshot(newest.metadata, data))

    def contents_of(self, metadata: SnapshotMetadata) -> bytes | None:
        """What a snapshot holds; None if it is gone."""
        return next((one.data for one in self._snapshots if one.metadata == metadata), None)

    def lose_snapshots(self) -> None:
        """No snapshot can be read any more; the log can. If it needs none, none is missed."""
        metadata = SnapshotMetadata(
            self.log_start.index, self.log_start.term, 0, self._first.configuration
        )
        self._first = metadata
        self._lost = metadata if metadata.index else None
        self._snapshots = []

    def read(self, request: InstallSnapshot, length: int) -> bytes | None:
        """A piece of a snapshot; None if that is gone."""
        data = self.contents_of(request.snapshot)
        assert data is None or len(data) == request.size
        return None if data is None else data[request.offset : request.offset + length]

    def receive(self, request: InstallSnapshot) -> int:
        """Writes a piece of a leader's snapshot; returns where the next one begins."""
        newest = self.newest
        if newest is not None and newest.metadata.index >= request.snapshot.index:
            return request.size
        if request.offset == 0:
            self._partial = b""
        assert len(self._partial) == request.offset, "the next piece"
        self._partial += request.data
        if len(self._partial) == request.size:
            self.store(StoredSnapshot(request.snapshot, self._partial))
        return len(self._partial)

    # ------------------------------------------------------------------ the log

    def issue(self, write: LogWrite) -> None:
        """Begins a write."""
        assert self.pending is None, "at most one write is on its way"
        self.pending = write

    def complete(self) -> int:
        """Makes the write durable; returns its number."""
        assert self.pending is not None
        write, self.pending = self.pending, None
        if write.start is not None:
            self._begin_after(write.start)
        if write.entries:
            first = write.entries[0].index
            kept = first - self.log_start.index - 1
            assert 0 <= kept <= len(self.entries), "the log on the disk has no gaps"
            self.entries = self.entries[:kept] + write.entries
        self.term = write.term
        self.voted_for = write.voted_for
        return write.number

    def _begin_after(self, start: LogStart) -> None:
        holds = self._term_at(start.index) == start.term
        self.entries = self.entries[start.index - self.log_start.index :] if holds else ()
        self.log_start = start

    def crash(self, *, keep_write: bool) -> None:
        """The power fails."""
        if self.pending is not None and keep_write:
            self.complete()
        self.pending = None
        self._partial = b""

    def holds(self, index: int, term: int) -> bool:
        """Whether the entry of this index and term is durable, or within the snapshot."""
        state = self.state
        position = index - state.start.index - 1
        if index <= state.snapshot.index:
            return True
        return position < len(state.entries) and state.entries[position].term == term


def is_of_time(events: Events, ready: Ready) -> bool:
    """Whether nothing came out but what time makes due: heartbeats, and what counts as lost."""
    lost = [outcome for outcome in events.forward_outcomes if isinstance(outcome, ForwardLost)]
    return (
        msgspec.structs.replace(events, forward_outcomes=[]) == Events()
        and lost == events.forward_outcomes
        and ready.write is None
        and not ready.received
        and all(isinstance(envelope.message, AppendEntries) for envelope in ready.messages)
    )


class Server:
    """One core with its disk and its clock; what comes out of it gathers in lists.

    Args:
        me: its id.
        durable: what its disk holds; by default nothing, for a cluster of three.
        disk: instead of `durable`: the disk of an earlier life.
        settings: by default plain Figure 2.
        seed: of its election timeouts.
        now: what its clock shows, in microseconds.
        first_request_id: see `Raft`.
        slow_disk: a write waits for `complete_write`, a piece of a snapshot for `write_chunk`;
            else both are done at once.
        slow_restore: to replace the state by a snapshot takes until `restored`.
        data_ids: see `Raft`.
    """

    def __init__(
        self,
        me: int = 1,
        *,
        durable: DurableState | None = None,
        disk: Disk | None = None,
        settings: Settings = PLAIN,
        seed: int = 0,
        now: int = 0,
        first_request_id: int = 1,
        slow_disk: bool = False,
        slow_restore: bool = False,
        data_ids: frozenset[str] | None = None,
    ) -> None:
        self.me = NodeId(me)
        self.now = now
        self.slow_disk = slow_disk
        self.slow_restore = slow_restore
        self.disk = disk or Disk(durable or durable_state())
        self.raft = Raft(
            self.me,
            durable=self.disk.recover(),
            settings=settings,
            rng=random.Random(seed),
            now=now,
            first_request_id=first_request_id,
            data_ids=data_ids,
        )
        self.sent: list[Envelope] = []
        self.committed: list[Entry] = []
        self.reads: list[ReadyRead] = []
        self.forwarded: list[ForwardedProposal] = []
        self.forward_outcomes: list[ForwardOutcome] = []
        self.received: list[ReceivedChunk] = []
        """Pieces of a snapshot that are to be written."""
        self.installed: list[SnapshotMetadata] = []
        """Snapshots that the state was to be replaced by."""
        self.snapshots_wanted: list[int] = []

    # ------------------------------------------------------------------ its driver

    def step(self) -> tuple[Events, Ready]:
        """One turn of a driver, with its outcome noted; a write stays on its way."""
        has_ready = self.raft.has_ready
        events = self.raft.take_events(self.now)
        self.committed += events.committed
        self.reads += events.reads
        self.forwarded += events.forwarded
        self.forward_outcomes += events.forward_outcomes
        if events.snapshot is not None:
            self.installed.append(events.snapshot)
        if events.snapshot_wanted:
            self.snapshots_wanted.append(events.snapshot_wanted)
        ready = self.raft.take_ready(self.now)
        self.sent += ready.messages
        for chunk in ready.chunks:
            data = self.disk.read(chunk.request, chunk.length)
            if data is not None:
                request = msgspec.structs.replace(chunk.request, data=data)
                self.sent.append(Envelope(chunk.to, request))
        self.received += ready.received
        if ready.write is not None:
            self.disk.issue(ready.write)
        assert has_ready or is_of_time(events, ready), "a driver would have made no turn"
        return events, ready

    def settle(self) -> None:
        """Does what the core wants done until it wants nothing more."""
        while (out := self.step()) != NOTHING_TO_DO:
            if self.disk.pending and not self.slow_disk:
                self.raft.persisted(self.disk.complete(), self.now)
            if self.received and not self.slow_disk:
                self.write_chunk()
            if out[0].snapshot is not None and not self.slow_restore:
                self.restored()

    def complete_write(self) -> None:
        """The write on its way becomes durable."""
        self.raft.persisted(self.disk.complete(), self.now)
        self.settle()

    def complete_writes(self) -> None:
        """All writes become durable, those that follow too."""
        while self.disk.pending:
            self.complete_write()

    def write_chunk(self) -> None:
        """The next piece of a snapshot is written."""
        chunk = self.received.pop(0)
        self.raft.chunk_written(chunk, self.disk.receive(chunk.request), self.now)
        self.settle()

    def restored(self) -> None:
        """The state was replaced by the snapshot that was given out last."""
        self.raft.snapshot_restored(self.installed[-1].index, self.now)
        self.settle()

    def store_snapshot(self, index: int | None = None) -> StoredSnapshot:
        """A snapshot of the state as of an index gets onto the disk; the core is not told yet.

        Args:
            index: of what was given out; by default all of it.
        """
        index = self.committed[-1].index if index is None else index
        stored = StoredSnapshot(self.raft.snapshot_metadata(index), contents(index))
        self.disk.store(stored)
        return stored

    def compact(self, index: int | None = None) -> SnapshotMetadata:
        """Takes a snapshot and drops what it covers."""
        stored = self.store_snapshot(index)
        self.raft.compact(stored.metadata, len(stored.data), self.now)
        self.settle()
        return stored.metadata

    # ------------------------------------------------------------------ what happens to it

    def receive(self, sender: int, message: PeerMessage) -> None:
        """A message arrives."""
        self.raft.receive(NodeId(sender), message, self.now)
        self.settle()

    def propose(self, data: bytes = b"x") -> Entry | None:
        """A client's command arrives."""
        entry = self.raft.propose(data, self.now)
        self.settle()
        return entry

    def read(self, ticket: int) -> None:
        """A client's read arrives."""
        self.raft.read(ticket, self.now)
        self.settle()

    def wake(self) -> None:
        """The driver looks at the timers."""
        self.raft.wake(self.now)
        self.settle()
        due = self.raft.deadline()
        assert due is None or due > self.now, "a timer that stays due would spin the driver"

    def elapse(self, microseconds: int) -> None:
        """Time passes, and every timer is looked at when it is due."""
        end = self.now + microseconds
        while (due := self.raft.deadline()) is not None and due <= end:
            self.now = max(self.now, due)
            self.wake()
        self.now = end
        self.wake()

    def time_out(self) -> None:
        """Its next timer is due."""
        due = self.raft.deadline()
        assert due is not None
        self.now = max(self.now, due)
        self.wake()

    def win_election(self) -> None:
        """Stands for election as soon as its timeout allows, and gets every vote."""
        self.time_out()
        while self.raft.role_name == "follower":
            self.time_out()
        for envelope, question in self._take_envelopes(PreVote):
            answer = PreVoteAnswer(question.id, question.term - 1, vote_granted=True)
            self.receive(envelope.to, answer)
        self.complete_writes()
        for envelope, request in self._take_envelopes(RequestVote):
            vote = RequestVoteAnswer(request.id, request.term, vote_granted=True)
            self.receive(envelope.to, vote)
        assert self.raft.is_leader

    # ------------------------------------------------------------------ what came out of it

    @property
    def terms(self) -> list[int]:
        """The terms of the entries in its log."""
        first = self.raft.log_start.index + 1
        terms = [self.raft.term_at(index) for index in range(first, self.raft.last_index + 1)]
        return [term for term in terms if term is not None]

    def take(self, kind: type[MessageT], *, to: int | None = None) -> list[MessageT]:
        """Removes and returns what it sent of one kind (to one server)."""
        return [message for _, message in self._take_envelopes(kind, to=to)]

    def take_one(self, kind: type[MessageT], *, to: int | None = None) -> MessageT:
        """The one message of this kind that it sent."""
        (message,) = self.take(kind, to=to)
        return message

    def _take_envelopes(
        self, kind: type[MessageT], *, to: int | None = None
    ) -> list[tuple[Envelope, MessageT]]:
        taken: list[tuple[Envelope, MessageT]] = []
        left: list[Envelope] = []
        for envelope in self.sent:
            if isinstance(envelope.message, kind) and to in (None, envelope.to):
                taken.append((envelope, envelope.message))
            else:
                left.append(envelope)
        self.sent = left
        return taken


class Packet(msgspec.Struct, frozen=True):
    """A message on its way."""

    sender: int
    to: int
    message: PeerMessage


class Cluster:
    """Several servers and the messages between them.

    Every server has a clock of its own; all go at the same speed.

    Args:
        size: the servers have the ids 1 to `size`.
        settings: of all servers; by default plain Figure 2.
        seed: of the election timeouts.
        disks: what the disks of some servers hold; the others are new.
        slow_disks: see `Server`.
    """

    def __init__(
        self,
        size: int = 3,
        *,
        settings: Settings = PLAIN,
        seed: int = 0,
        disks: Mapping[int, DurableState] | None = None,
        slow_disks: bool = False,
    ) -> None:
        self.settings = settings
        self.now = 0
        self.network: list[Packet] = []
        self.down: set[int] = set()
        self.cut: set[tuple[int, int]] = set()
        """The directions, (sender, receiver), in which nothing gets through."""
        self._seed = seed
        self._boots = 0
        self.servers = {
            node: self._boot(
                node,
                Disk((disks or {}).get(node) or durable_state(members=size)),
                slow_disk=slow_disks,
            )
            for node in range(1, size + 1)
        }

    def _boot(self, node: int, disk: Disk, *, slow_disk: bool) -> Server:
        self._boots += 1
        return Server(
            node,
            disk=disk,
            settings=self.settings,
            seed=self._seed * 1000 + self._boots,
            now=self.now + node * 1_000_000_007,
            first_request_id=self._boots * IDS_OF_ONE_LIFE,
            slow_disk=slow_disk,
            data_ids=self.data_ids_of(node),
        )

    def data_ids_of(self, _node: int) -> frozenset[str] | None:
        """By which data ids a member is this server; None: whatever it is."""
        return None

    def __getitem__(self, node: int) -> Server:
        return self.servers[node]

    @property
    def up(self) -> list[Server]:
        """The servers that are not crashed."""
        return [server for node, server in self.servers.items() if node not in self.down]

    # ------------------------------------------------------------------ time

    def advance(self, microseconds: int) -> None:
        """Time passes; no timer is looked at."""
        self.now += microseconds
        for server in self.servers.values():
            server.now += microseconds

    def time_out(self, node: int) -> None:
        """Time passes until the next timer of one server is due; only that one looks at it."""
        due = self[node].raft.deadline()
        assert due is not None
        self.advance(max(0, due - self[node].now))
        self[node].wake()
        self.collect()

    def next_deadline(self) -> int | None:
        """How long until some timer is due; None if there is none."""
        due = [
            max(0, deadline - server.now)
            for server in self.up
            if (deadline := server.raft.deadline()) is not None
        ]
        return min(due, default=None)

    def wake(self) -> None:
        """All servers look at their timers."""
        for server in self.up:
            server.wake()
        self.collect()

    # ------------------------------------------------------------------ the network

    def collect(self) -> None:
        """Puts what the servers have sent on its way."""
        for server in self.up:
            self.network += [
                Packet(server.me, envelope.to, envelope.message) for envelope in server.sent
            ]
            server.sent = []

    def hand_over(self, packet: Packet) -> None:
        """Delivers one packet, unless its receiver is down or the link is cut."""
        if packet.to not in self.down and (packet.sender, packet.to) not in self.cut:
            self[packet.to].receive(packet.sender, packet.message)
        self.collect()

    def deliver(self, want: Callable[[Packet], bool] = lambda _: True) -> None:
        """Delivers everything that is wanted, what is sent in answer to it too."""
        while (packet := next(filter(want, self.network), None)) is not None:
            self.network.remove(packet)
            self.hand_over(packet)

    def drop(self, want: Callable[[Packet], bool] = lambda _: True) -> None:
        """Loses everything that is wanted (to be lost)."""
        self.network = [packet for packet in self.network if not want(packet)]

    def isolate(self, *nodes: int) -> None:
        """Cuts these servers off from the others, not from each other."""
        for one in nodes:
            for other in self.servers.keys() - set(nodes):
                self.cut |= {(one, other), (other, one)}

    def heal(self) -> None:
        """All links work again."""
        self.cut.clear()

    # ------------------------------------------------------------------ the servers

    def crash(self, node: int, *, keep_write: bool = False) -> None:
        """The power of one server fails."""
        self[node].disk.crash(keep_write=keep_write)
        self.down.add(node)

    def restart(self, node: int) -> None:
        """A crashed server comes back with what its disk holds."""
        self.down.remove(node)
        old = self[node]
        self.servers[node] = self._boot(node, old.disk, slow_disk=old.slow_disk)

    def add(self, node: int) -> None:
        """A server with an empty disk comes up, which knows of no member yet."""
        self.servers[node] = self._boot(node, Disk(durable_state(members=0)), slow_disk=False)

    def change(self, node: int, configuration: Configuration) -> Entry | ChangeRefusal:
        """An operator wants another configuration, and asks one server."""
        outcome = self[node].raft.change_configuration(configuration, self[node].now)
        self[node].settle()
        self.collect()
        return outcome

    def propose(self, node: int, data: bytes = b"x") -> Entry | None:
        """A client's command arrives at one server."""
        entry = self[node].propose(data)
        self.collect()
        return entry

    def read(self, node: int, ticket: int) -> None:
        """A client's read arrives at one server."""
        self[node].read(ticket)
        self.collect()

    def elect(self, node: int) -> None:
        """Makes one server the leader, if the others can be reached and vote for it.

        The others' timers are not looked at. A leader that is still heard keeps its voters from
        voting, so time passes first in which nobody hears it.
        """
        self.advance(self.settings.election_timeout_us)
        self.time_out(node)
        while self[node].raft.role_name == "follower":
            self.time_out(node)
        self.deliver()
        assert self[node].raft.is_leader

    def run(self, microseconds: int, *, latency: int = 1000) -> None:
        """A time without faults: each message takes `latency`, each timer is punctual."""
        end = self.now + microseconds
        while self.now < end:
            until_timer = self.next_deadline()
            wait = latency if self.network else end - self.now
            if until_timer is not None:
                wait = min(wait, until_timer)
            arriving = self.network if self.network and wait == latency else []
            self.network = [] if arriving else self.network
            self.advance(min(wait, end - self.now))
            for packet in arriving:
                self.hand_over(packet)
            self.wake()

    @property
    def leader(self) -> Server:
        """The leader of the greatest term."""
        leaders = [server for server in self.up if server.raft.is_leader]
        return max(leaders, key=lambda server: server.raft.current_term)


@pytest.fixture
def new_server() -> type[Server]:
    """One server alone."""
    return Server


@pytest.fixture
def new_cluster() -> type[Cluster]:
    """Several servers."""
    return Cluster


@pytest.fixture
def new_disk_state() -> Callable[..., DurableState]:
    """Contents of a disk."""
    return durable_state
