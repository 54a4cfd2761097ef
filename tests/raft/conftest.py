"""A little cluster for the tests of the core: real cores, disks and a network by hand.

Nothing moves by itself. Time passes when a test says so; a message waits in a list until it is
delivered, dropped or repeated; a write is on the disk when it is told to complete, and a crash
loses one that was not (or keeps it, as a real disk may). Only the public interface of the core
is used.
"""

from __future__ import annotations

import random
from typing import TYPE_CHECKING, TypeVar

import msgspec
import pytest

from quorate.raft.configuration import NodeId, configuration_of
from quorate.raft.core import Raft
from quorate.raft.entry import Entry, EntryKind
from quorate.raft.messages import (
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
    ForwardOutcome,
    LogWrite,
    Ready,
    ReadyRead,
)
from quorate.raft.settings import Settings
from quorate.raft.snapshot import SnapshotMetadata

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
    time_ms: int = 0,
) -> DurableState:
    """A disk's contents.

    Args:
        members: the cluster has the servers 1 to this number.
        term: the current term; at least the last one of the log.
        voted_for: the vote in it.
        log: the terms of the entries after the snapshot.
        snapshot: its index and term.
        time_ms: the cluster time of the snapshot and of all entries.
    """
    index, snapshot_term = snapshot
    configuration = configuration_of(range(1, members + 1))
    metadata = SnapshotMetadata(index, snapshot_term, time_ms, configuration)
    entries = tuple(
        Entry(
            index=index + position,
            term=entry_term,
            time_ms=time_ms,
            kind=EntryKind.DATA,
            data=f"{index + position} of term {entry_term}".encode(),
        )
        for position, entry_term in enumerate(log, start=1)
    )
    return DurableState(
        term=max(term, snapshot_term, *log, 0),
        voted_for=None if voted_for is None else NodeId(voted_for),
        snapshot=metadata,
        entries=entries,
    )


class Disk:
    """What is durable at one server, and the one write that is not yet.

    The fault model: a write is durable as a whole or not at all, and writes become durable in
    order. A crash before `complete` may keep the write or lose it; a crash after it loses nothing.
    """

    def __init__(self, state: DurableState) -> None:
        self.state = state
        self.pending: LogWrite | None = None

    def issue(self, write: LogWrite) -> None:
        """Begins a write."""
        assert self.pending is None, "at most one write is on its way"
        self.pending = write

    def complete(self) -> int:
        """Makes the write durable; returns its number."""
        assert self.pending is not None
        write, self.pending = self.pending, None
        kept = self.state.entries
        if write.entries:
            kept = kept[: write.entries[0].index - self.state.snapshot.index - 1]
        self.state = DurableState(
            term=write.term,
            voted_for=write.voted_for,
            snapshot=self.state.snapshot,
            entries=kept + write.entries,
        )
        return write.number

    def crash(self, *, keep_write: bool) -> None:
        """The power fails."""
        if self.pending is not None and keep_write:
            self.complete()
        self.pending = None

    def holds(self, index: int, term: int) -> bool:
        """Whether the entry of this index and term is durable, or within the snapshot."""
        position = index - self.state.snapshot.index - 1
        if position < 0:
            return True
        entries = self.state.entries
        return position < len(entries) and entries[position].term == term


class Server:
    """One core with its disk and its clock; what comes out of it gathers in lists.

    Args:
        me: its id.
        durable: what its disk holds; by default nothing, for a cluster of three.
        settings: by default plain Figure 2.
        seed: of its election timeouts.
        now: what its clock shows, in microseconds.
        first_request_id: see `Raft`.
        slow_disk: a write waits for `complete_write`; else it completes at once.
    """

    def __init__(
        self,
        me: int = 1,
        *,
        durable: DurableState | None = None,
        settings: Settings = PLAIN,
        seed: int = 0,
        now: int = 0,
        first_request_id: int = 1,
        slow_disk: bool = False,
    ) -> None:
        state = durable or durable_state()
        self.me = NodeId(me)
        self.now = now
        self.slow_disk = slow_disk
        self.disk = Disk(state)
        self.raft = Raft(
            self.me,
            durable=state,
            settings=settings,
            rng=random.Random(seed),
            now=now,
            first_request_id=first_request_id,
        )
        self.sent: list[Envelope] = []
        self.committed: list[Entry] = []
        self.reads: list[ReadyRead] = []
        self.forwarded: list[ForwardedProposal] = []
        self.forward_outcomes: list[ForwardOutcome] = []

    # ------------------------------------------------------------------ its driver

    def step(self) -> tuple[Events, Ready]:
        """One turn of a driver, with its outcome noted; a write stays on its way."""
        events = self.raft.take_events(self.now)
        self.committed += events.committed
        self.reads += events.reads
        self.forwarded += events.forwarded
        self.forward_outcomes += events.forward_outcomes
        ready = self.raft.take_ready(self.now)
        self.sent += ready.messages
        if ready.write is not None:
            self.disk.issue(ready.write)
        return events, ready

    def settle(self) -> None:
        """Does what the core wants done until it wants nothing more."""
        while self.step() != NOTHING_TO_DO:
            if self.disk.pending and not self.slow_disk:
                self.raft.persisted(self.disk.complete(), self.now)

    def complete_write(self) -> None:
        """The write on its way becomes durable."""
        self.raft.persisted(self.disk.complete(), self.now)
        self.settle()

    def complete_writes(self) -> None:
        """All writes become durable, those that follow too."""
        while self.disk.pending:
            self.complete_write()

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
        """The terms of the entries in its log, after the snapshot."""
        first = self.disk.state.snapshot.index + 1
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
                node, (disks or {}).get(node) or durable_state(members=size), slow_disk=slow_disks
            )
            for node in range(1, size + 1)
        }

    def _boot(self, node: int, durable: DurableState, *, slow_disk: bool) -> Server:
        self._boots += 1
        return Server(
            node,
            durable=durable,
            settings=self.settings,
            seed=self._seed * 1000 + self._boots,
            now=self.now + node * 1_000_000_007,
            first_request_id=self._boots * IDS_OF_ONE_LIFE,
            slow_disk=slow_disk,
        )

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
        self.servers[node] = self._boot(node, old.disk.state, slow_disk=old.slow_disk)

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
