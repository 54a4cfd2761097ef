"""Worlds in which everything may go wrong, and what must hold in them all the same.

A world is a cluster and a climate: how often what happens. What happens next is drawn at random,
and the invariants are checked after each step. In the end the world heals.
"""

from __future__ import annotations

import hashlib
import random
from typing import TYPE_CHECKING

import msgspec

from quorate.raft.configuration import configuration_of
from quorate.raft.entry import ENTRY_HEADER_BYTES, Entry, EntryKind
from quorate.raft.messages import (
    AppendEntries,
    AppendEntriesAnswer,
    Forward,
    InstallSnapshotAnswer,
    PreVote,
    ReadIndex,
    RequestVote,
    RequestVoteAnswer,
    SnapshotNeeded,
)
from quorate.raft.ready import DurableState, Events, Ready
from quorate.raft.settings import Settings
from quorate.raft.snapshot import SnapshotMetadata

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.raft.conftest import Cluster, Packet, Server

ELECTION_TIMEOUT_US = 100_000
REPAIR_BOUND_US = 30 * ELECTION_TIMEOUT_US
"""After the world healed: some split votes, then an election, then the logs are repaired."""

PRODUCTION = Settings(
    election_timeout_us=ELECTION_TIMEOUT_US,
    heartbeat_interval_us=20_000,
    append_timeout_us=50_000,
    forward_timeout_us=150_000,
    max_appends_in_flight=3,
    max_append_bytes=2 * ENTRY_HEADER_BYTES + 12,
    max_write_bytes=2 * ENTRY_HEADER_BYTES + 12,
    max_committed_bytes=2 * ENTRY_HEADER_BYTES + 12,
    max_chunk_bytes=30,
    trailing_bytes=2 * ENTRY_HEADER_BYTES + 12,
)
SETTINGS = {
    "plain": msgspec.structs.replace(
        PRODUCTION, pre_vote=False, check_quorum=False, no_op=False, trailing_bytes=0
    ),
    "no_op_off": msgspec.structs.replace(PRODUCTION, no_op=False),
    "production": PRODUCTION,
}


# ---------------------------------------------------------------------- how a world begins


def _history(base: int, terms: tuple[int, ...]) -> tuple[Entry, ...]:
    """Entries after the index `base`, of these terms."""
    return tuple(
        Entry(base + position, term, 5000 + position, EntryKind.DATA, b"%d/%d" % (position, term))
        for position, term in enumerate(terms, start=1)
    )


def first_disks(rng: random.Random, size: int, start: str) -> dict[int, DurableState]:
    """What the disks hold at the beginning.

    Everything up to the snapshot's index is committed. After it, a leader of term 2 and then one
    of term 3 left entries behind that are on any of the servers and committed nowhere.
    """
    configuration = configuration_of(range(1, size + 1))
    disks: dict[int, DurableState] = {}
    for node in range(1, size + 1):
        compacted = start == "compacted" or (start == "mixed" and rng.random() < 0.5)
        base = 10 if start != "empty" else 0
        entries: tuple[Entry, ...] = ()
        if start != "empty":
            branch = rng.choice([(2, 2, 2, 2, 2), (2, 2, 3, 3)])
            entries = _history(base, branch[: rng.randrange(len(branch) + 1)])
        if not compacted and base:
            committed = _history(0, (1,) * base)
            committed = tuple(msgspec.structs.replace(entry, time_ms=100) for entry in committed)
            entries = committed + entries
            base = 0
        disks[node] = DurableState(
            term=0 if start == "empty" else 4,
            voted_for=None,
            snapshot=SnapshotMetadata(base, 1 if base else 0, 100 if base else 0, configuration),
            entries=entries,
            snapshot_size=1 if base else 0,
        )
    return disks


class State(msgspec.Struct, frozen=True):
    """A state machine: the digest of all entries that were applied."""

    index: int
    digest: str

    @classmethod
    def first(cls, base: int) -> State:
        """The state as of where a world begins: index 0, or all that was committed before."""
        return cls(0, "") if base == 0 else cls(base, "what was committed before")

    def after(self, entry: Entry) -> State:
        """The state once this entry is applied."""
        assert entry.index == self.index + 1
        text = f"{self.digest} {entry.term} {entry.time_ms} {entry.data!r}"
        return State(entry.index, hashlib.sha1(text.encode()).hexdigest()[:16])


def contents(state: State, mark: int) -> bytes:
    """A snapshot of a state. As in life, no two have the same bytes, though they may be as long.

    Args:
        state: the state.
        mark: the number of this snapshot among all that are ever taken.
    """
    piece = msgspec.json.encode((f"{mark:06}", state.index, state.digest))
    return b"\n".join([piece] * (1 + state.index % 4))


def state_in(data: bytes) -> State:
    """The state that a snapshot holds."""
    pieces = data.split(b"\n")
    assert set(pieces) == {pieces[0]}, "pieces of different snapshots were put together"
    _, index, digest = msgspec.json.decode(pieces[0], type=tuple[str, int, str])
    assert len(pieces) == 1 + index % 4
    return State(index, digest)


class Taking(msgspec.Struct):
    """A snapshot on its way to a server's disk.

    Attributes:
        snapshot: what it covers.
        data: its contents.
        is_stored: it is on the disk; the core does not know yet.
    """

    snapshot: SnapshotMetadata
    data: bytes
    is_stored: bool = False


class Climate(msgspec.Struct, frozen=True):
    """How often what happens: weights of the steps, and chances."""

    deliver: float
    tick: float
    disk: float
    client: float
    weather: float
    hint: float
    loss: float
    repetition: float
    disorder: float
    kept_write: float
    snapshot: float
    damage: float
    """That no snapshot can be read after a crash."""
    at_once: bool
    """A snapshot is taken after each applied entry (`max_raft_state` = 1)."""

    @classmethod
    def drawn(cls, rng: random.Random) -> Climate:
        """Some climate."""
        return cls(
            deliver=60,
            tick=rng.choice([2, 4, 8]),
            disk=rng.choice([10, 30, 100]),
            client=rng.choice([2, 8]),
            weather=rng.choice([0.3, 0.6, 1.2]),
            hint=rng.choice([0.0, 0.2]),
            loss=rng.choice([0.0, 0.02, 0.1]),
            repetition=rng.choice([0.0, 0.02, 0.1]),
            disorder=rng.choice([0.0, 0.1, 0.5]),
            kept_write=rng.random(),
            snapshot=rng.choice([0, 2, 8, 20]),
            damage=rng.choice([0.0, 0.5]),
            at_once=rng.random() < 0.15,
        )


# ---------------------------------------------------------------------- what must always hold


class Seen(msgspec.Struct):
    """What was last seen of one life of a server."""

    term: int = 0
    commit_index: int = 0
    handed_out: int = 0
    restoring: bool = False
    snapshot_index: int = 0
    led_term: int | None = None
    terms: dict[int, int] = {}


class Invariants:
    """The safety properties (Raft Figure 3, and what the core promises beside them)."""

    def __init__(self, cluster: Cluster, *, committed_before: int) -> None:
        self._cluster = cluster
        self._majority = len(cluster.servers) // 2 + 1
        self._entries: dict[tuple[int, int], tuple[Entry, int]] = {}
        self._leader_of: dict[int, int] = {}
        self._vote_of: dict[tuple[int, int], int] = {}
        self._request_ids: set[tuple[int, int]] = set()
        self._greatest_promised_term: dict[int, int] = {}
        self._seen: dict[int, Seen] = {}
        self.committed: dict[int, tuple[Entry | None, int]] = dict.fromkeys(
            range(1, committed_before + 1), (None, 0)
        )
        """By index: the entry (None: before this world began), and the leader's term then."""
        self.read_floor: dict[tuple[int, int], int] = {}
        """By server and ticket of a read: what was committed when it was asked."""
        self.reads_served = 0
        self._known_committed = committed_before
        self.states: dict[int, State] = {}
        """By index: the state of the first server that came there."""
        self.snapshots_sent: dict[tuple[int, int], tuple[SnapshotMetadata, int]] = {}
        """By leader and request: what the piece is of, and that snapshot's size."""
        for server in cluster.servers.values():
            self.restarted(server)
            self._register(server.disk.state.snapshot.term, server.disk.state.entries)

    @property
    def committed_anywhere(self) -> int:
        """The greatest index that any server ever knew to be committed."""
        return len(self.committed)

    def restarted(self, server: Server) -> None:
        """A server began a life with what its disk holds."""
        raft = server.raft
        promised = self._greatest_promised_term.get(server.me, 0)
        assert raft.current_term >= promised, "a promised term survives a crash"
        self._seen[server.me] = Seen(
            term=raft.current_term,
            commit_index=raft.commit_index,
            handed_out=raft.commit_index,
            restoring=raft.snapshot.index > 0,
            snapshot_index=raft.snapshot.index,
            terms=self._terms(server),
        )
        lost = [key for key in self.read_floor if key[0] == server.me]
        for key in lost:
            del self.read_floor[key]

    def asked(self, server: Server, ticket: int) -> None:
        """A read was asked for."""
        self.read_floor[server.me, ticket] = self.committed_anywhere

    def check(self, server: Server, events: Events, ready: Ready) -> None:
        """Checks one server after one step, with what came out of it."""
        self._check_write(server, ready)
        self._check_terms_and_log(server)
        self._check_snapshots(server, events, ready)
        self._check_durable(server)
        self._check_committed(server, events)
        self._check_leader(server)
        self._check_messages(server, ready)
        # A leader that restores a snapshot commits what nobody has been given yet.
        self._known_committed = max(self._known_committed, server.raft.commit_index)
        for read in events.reads:
            floor = self.read_floor.pop((server.me, read.ticket))
            assert read.index >= floor, "a read sees all that was committed when it was asked"
            assert read.index <= self._known_committed, "a read waits for nothing uncommitted"
            self.reads_served += 1
        seen = self._seen[server.me]
        seen.term = server.raft.current_term
        seen.commit_index = server.raft.commit_index
        seen.snapshot_index = server.raft.snapshot.index
        seen.led_term = server.raft.current_term if server.raft.is_leader else None
        seen.terms = self._terms(server)

    def check_handed_out(self, server: Server) -> None:
        """All that the server knows to be committed was given out, unless it restores."""
        seen = self._seen[server.me]
        assert seen.restoring or seen.handed_out == server.raft.commit_index

    def check_state(self, state: State) -> None:
        """All servers come through the same states, by entries or by snapshots."""
        assert self.states.setdefault(state.index, state) == state, "state machine safety"

    def restored(self, server: Server) -> None:
        """The layer above has taken a snapshot over."""
        self._seen[server.me].restoring = False

    def check_timers(self, server: Server) -> None:
        """No timer that `wake` has just looked at is still due: it would spin the driver."""
        due = server.raft.deadline()
        assert due is None or due > server.now

    def _terms(self, server: Server) -> dict[int, int]:
        terms = {}
        for index in range(server.raft.log_start.index, server.raft.last_index + 1):
            term = server.raft.term_at(index)
            assert term is not None
            terms[index] = term
        return terms

    def _register(self, previous_term: int, entries: tuple[Entry, ...]) -> None:
        # Log Matching by induction: an index and a term have one entry and one predecessor.
        for entry in entries:
            known, known_previous = self._entries.setdefault(
                (entry.index, entry.term), (entry, previous_term)
            )
            assert known == entry
            assert known_previous == previous_term
            if (entry.index - 1, previous_term) in self._entries:
                before, _ = self._entries[entry.index - 1, previous_term]
                assert entry.time_ms >= before.time_ms, "cluster time never goes back"
            previous_term = entry.term

    def _check_write(self, server: Server, ready: Ready) -> None:
        write = ready.write
        if write is None:
            return
        assert write.term == server.raft.current_term
        if write.entries:
            previous = server.raft.term_at(write.entries[0].index - 1)
            assert previous is not None
            self._register(previous, write.entries)
        disk = server.disk
        base = disk.log_start.index
        for index in range(base + 1, base + len(disk.entries) + 1):
            if index in self.committed and write.entries and index >= write.entries[0].index:
                entry, _ = self.committed[index]
                held = disk.entries[index - base - 1]
                if entry is not None and held.term == entry.term:
                    position = index - write.entries[0].index
                    assert write.entries[position] == entry, "what is acknowledged stays"

    def _check_durable(self, server: Server) -> None:
        """What is called durable survives a crash, be the write on its way kept or lost."""
        raft, disk = server.raft, server.disk
        for state in (disk.state, disk.state_if_kept):
            durable = state.start.index + len(state.entries)
            assert max(durable, state.snapshot.index) >= raft.durable_index
            for entry in state.entries:
                if max(state.snapshot.index, raft.log_start.index) < entry.index:
                    if entry.index > raft.durable_index:
                        break
                    assert raft.term_at(entry.index) == entry.term

    def _check_snapshots(self, server: Server, events: Events, ready: Ready) -> None:
        raft, seen = server.raft, self._seen[server.me]
        assert raft.log_start.index <= raft.snapshot.index <= raft.commit_index
        assert raft.snapshot.index >= seen.snapshot_index, "a snapshot is never older"
        assert len(server.received) <= 1, "what waits to be written is bounded"
        if events.snapshot is not None:
            index = events.snapshot.index
            assert not events.committed, "the state is replaced first"
            assert index > seen.handed_out or seen.restoring, "a server never goes backwards"
            assert index >= seen.handed_out
            assert index <= self.committed_anywhere
            entry, _ = self.committed[index]
            assert entry is None or entry.term == events.snapshot.term
            seen.handed_out = index
            seen.restoring = True
        for chunk in ready.chunks:
            request = chunk.request
            assert raft.is_leader
            assert request.snapshot.index <= raft.commit_index
            assert 0 < chunk.length <= request.size - request.offset
            self._take_id(server, request.id)
            self._check_promised_term(server, request.term)
            self.snapshots_sent[server.me, request.id] = (request.snapshot, request.size)

    def _take_id(self, server: Server, request_id: int) -> None:
        assert (server.me, request_id) not in self._request_ids, "a request's id is its own"
        self._request_ids.add((server.me, request_id))

    def _check_terms_and_log(self, server: Server) -> None:
        raft, seen = server.raft, self._seen[server.me]
        assert raft.current_term >= seen.term, "terms never go back"
        assert raft.commit_index >= seen.commit_index, "the commit index never goes back"
        assert raft.commit_index <= raft.last_index
        terms = self._terms(server)
        if seen.led_term is not None and raft.is_leader and raft.current_term == seen.led_term:
            kept = {index: term for index, term in seen.terms.items() if index in terms}
            assert kept.items() <= terms.items(), "a leader only appends"
            assert all(index <= raft.snapshot.index for index in seen.terms.keys() - kept.keys())
        for index in range(raft.log_start.index + 1, raft.commit_index + 1):
            if index in self.committed and self.committed[index][0] is not None:
                entry = self.committed[index][0]
                assert entry is not None
                assert terms[index] == entry.term

    def _check_committed(self, server: Server, events: Events) -> None:
        seen = self._seen[server.me]
        assert not (events.committed and seen.restoring)
        for entry in events.committed:
            assert entry.index == seen.handed_out + 1, "each committed entry once, and in order"
            assert entry.index <= server.raft.commit_index
            seen.handed_out = entry.index
            known, _ = self.committed.get(entry.index, (None, 0))
            assert known in (None, entry), "state machine safety"
            if known is None:
                term = server.raft.current_term if entry.index > self.committed_anywhere else 0
                self.committed[entry.index] = (entry, term)
                self._check_holders(entry)

    def _check_holders(self, entry: Entry) -> None:
        """An entry has just become committed, as far as anybody knows."""
        holders = [
            server
            for server in self._cluster.servers.values()
            if server.disk.holds(entry.index, entry.term)
        ]
        assert len(holders) >= self._majority, "what is committed is on a majority's disks"

    def _check_leader(self, server: Server) -> None:
        raft = server.raft
        if not raft.is_leader:
            return
        term = raft.current_term
        assert self._leader_of.setdefault(term, server.me) == server.me, "election safety"
        assert server.disk.state.term == term, "its own vote was durable"
        assert server.disk.state.voted_for == server.me
        seen = self._seen[server.me]
        if seen.led_term == term:
            if raft.commit_index > max(seen.commit_index, raft.snapshot.index):
                assert raft.term_at(raft.commit_index) == term, "the commit rule of §5.4.2"
            return
        for index, (entry, committed_in) in self.committed.items():
            if entry is not None and committed_in < term and index > raft.commit_index:
                assert raft.term_at(index) == entry.term, "leader completeness"

    def _check_messages(self, server: Server, ready: Ready) -> None:
        me, disk = server.me, server.disk
        for envelope in ready.messages:
            message = envelope.message
            assert envelope.to != me
            if isinstance(message, PreVote | RequestVote | AppendEntries | ReadIndex | Forward):
                self._take_id(server, message.id)
            match message:
                case RequestVote(term=term):
                    self._check_vote(server, term, candidate=me)
                case RequestVoteAnswer(term=term, vote_granted=True):
                    self._check_vote(server, term, candidate=envelope.to)
                case AppendEntries(term=term, prev_log_index=previous, entries=entries):
                    assert server.raft.is_leader
                    self._check_promised_term(server, term)
                    self._register(message.prev_log_term, entries)
                    assert server.raft.term_at(previous) == message.prev_log_term
                case AppendEntriesAnswer(term=term, success=True, match_index=match_index):
                    self._check_promised_term(server, term)
                    held = server.raft.term_at(match_index)
                    assert held is None or disk.holds(match_index, held), "an answer is durable"
                case AppendEntriesAnswer(term=term) | SnapshotNeeded(term=term):
                    self._check_promised_term(server, term)
                case InstallSnapshotAnswer(term=term):
                    self._check_promised_term(server, term)
                    snapshot, size = self.snapshots_sent[envelope.to, message.id]
                    if message.next_offset == size:
                        assert disk.holds(snapshot.index, snapshot.term), "an answer is durable"

    def _check_promised_term(self, server: Server, term: int) -> None:
        assert server.disk.state.term >= term, "a promise is durable"
        promised = self._greatest_promised_term.get(server.me, 0)
        self._greatest_promised_term[server.me] = max(promised, term)

    def _check_vote(self, server: Server, term: int, *, candidate: int) -> None:
        self._check_promised_term(server, term)
        given = self._vote_of.setdefault((server.me, term), candidate)
        assert given == candidate, "one vote in each term"
        if server.disk.state.term == term:
            assert server.disk.state.voted_for == candidate


# ---------------------------------------------------------------------- what happens


class World:
    """A cluster to which anything may happen."""

    def __init__(self, rng: random.Random, cluster: Cluster, *, committed_before: int) -> None:
        self.rng = rng
        self.cluster = cluster
        self.climate = Climate.drawn(rng)
        self.invariants = Invariants(cluster, committed_before=committed_before)
        self.paused: set[int] = set()
        self.forwards: dict[int, set[int]] = {node: set() for node in cluster.servers}
        """The tickets of what each server has forwarded and not yet heard of."""
        self._base = committed_before
        self._next_ticket = 0
        self._snapshots_taken = 0
        self.taking: dict[int, Taking] = {}
        self.restoring: dict[int, SnapshotMetadata] = {}
        self.states: dict[int, State] = {}
        for node, server in cluster.servers.items():
            if server.disk.newest is not None:
                server.disk.replace_contents(self._contents(State.first(committed_before)))
                cluster.crash(node)
                self.restart(node)
            else:
                self.states[node] = State.first(0)

    @property
    def running(self) -> list[Server]:
        """The servers that are neither crashed nor paused."""
        return [server for server in self.cluster.up if server.me not in self.paused]

    # ------------------------------------------------------------------ one server

    def turn(self, server: Server) -> None:
        """One turn of a server's driver, checked."""
        while True:
            events, ready = server.step()
            self.invariants.check(server, events, ready)
            for proposal in events.forwarded:
                taken = server.raft.propose(b"F" + proposal.data, server.now) is not None
                server.raft.answer_forward(proposal, b"taken" if taken else None)
            for outcome in events.forward_outcomes:
                self.forwards[server.me].remove(outcome.ticket)
            self._apply(server, events)
            if not (events.committed or events.forwarded):
                break
        self.invariants.check_handed_out(server)
        self.cluster.collect()

    def _apply(self, server: Server, events: Events) -> None:
        me = server.me
        if events.snapshot is not None:
            self.restoring[me] = events.snapshot
        for entry in events.committed:
            if entry.index == self._base and self._base:
                self.states[me] = State.first(self._base)
            else:
                self.states[me] = self.states[me].after(entry)
            if entry.index > self._base:
                self.invariants.check_state(self.states[me])
        if events.snapshot_wanted and me not in self.restoring:
            assert self.states[me].index >= events.snapshot_wanted
            self.begin_snapshot(server)
        if events.committed and self.climate.at_once:
            self.begin_snapshot(server)
            while me in self.taking:
                self.go_on_with_snapshot(server)

    # ------------------------------------------------------------------ its snapshots

    def _contents(self, state: State) -> bytes:
        self._snapshots_taken += 1
        return contents(state, self._snapshots_taken)

    def begin_snapshot(self, server: Server) -> None:
        """A server begins to take a snapshot of what it has applied, if that is worth it."""
        me = server.me
        if me in self.restoring or me in self.taking or server.raft.snapshot_is_lost:
            return
        state = self.states[me]
        if state.index <= max(server.raft.snapshot.index, self._base):
            return
        if server.raft.knows_members_at(state.index):
            metadata = server.raft.snapshot_metadata(state.index)
            self.taking[me] = Taking(metadata, self._contents(state))

    def go_on_with_snapshot(self, server: Server) -> None:
        """It is on the disk; or the core hears of it."""
        taking = self.taking[server.me]
        if not taking.is_stored:
            server.disk.store_new(taking.snapshot, taking.data)
            taking.is_stored = True
        else:
            del self.taking[server.me]
            server.raft.compact(taking.snapshot, len(taking.data), server.now)

    def restore(self, server: Server) -> None:
        """A server's state is replaced by the snapshot that it was told of."""
        snapshot = self.restoring.pop(server.me)
        self._load(server, snapshot)
        server.raft.snapshot_restored(snapshot.index, server.now)
        self.invariants.restored(server)
        self.turn(server)

    def _load(self, server: Server, snapshot: SnapshotMetadata) -> None:
        data = server.disk.contents_of(snapshot)
        assert data is not None, "the snapshot before the newest is still there"
        state = state_in(data)
        assert state.index == snapshot.index
        self.states[server.me] = state
        if state.index > self._base:
            self.invariants.check_state(state)

    def hand_over(self, packet: Packet) -> None:
        """A packet arrives, if it can."""
        cluster = self.cluster
        if packet.to in cluster.down or (packet.sender, packet.to) in cluster.cut:
            return
        server = cluster[packet.to]
        server.raft.receive(cluster[packet.sender].me, packet.message, server.now)
        self.turn(server)

    def complete_write(self, server: Server) -> None:
        """A write becomes durable."""
        server.raft.persisted(server.disk.complete(), server.now)
        self.turn(server)

    def wake(self) -> None:
        """The timers that are due take effect."""
        for server in self.running:
            due = server.raft.deadline()
            if due is not None and due <= server.now:
                server.raft.wake(server.now)
                self.turn(server)
                self.invariants.check_timers(server)

    def use(self, server: Server) -> None:
        """A client writes or reads at some server."""
        self._next_ticket += 1
        ticket = self._next_ticket
        data = b"%d" % ticket
        match self.rng.choice(["write", "write", "read"]):
            case "read":
                server.raft.read(ticket, server.now)
                self.invariants.asked(server, ticket)
            case _ if server.raft.is_leader:
                server.raft.propose(data, server.now)
            case _ if server.raft.forward(ticket, data, server.now):
                self.forwards[server.me].add(ticket)
        self.turn(server)

    def crash(self, server: Server) -> None:
        """The power of a server fails."""
        taking = self.taking.pop(server.me, None)
        if self.rng.random() < 0.5:
            # The core never hears of what has got onto the disk.
            if taking is not None:
                server.disk.store_new(taking.snapshot, taking.data)
            for chunk in server.received:
                server.disk.receive(chunk.request)
        keep_write = self.rng.random() < self.climate.kept_write
        self.cluster.crash(server.me, keep_write=keep_write)
        self.paused.discard(server.me)
        self.forwards[server.me].clear()
        self.restoring.pop(server.me, None)
        if self.rng.random() < self.climate.damage and self._may_lose_snapshots():
            server.disk.lose_snapshots()

    def _may_lose_snapshots(self) -> bool:
        # One at a time, and none that is alone: nobody could help.
        servers = self.cluster.servers.values()
        return len(servers) > 1 and not any(other.disk.state.snapshot_is_lost for other in servers)

    def restart(self, node: int) -> None:
        """A server comes back."""
        self.cluster.restart(node)
        self.states[node] = State.first(0)
        self.invariants.restarted(self.cluster[node])

    # ------------------------------------------------------------------ trouble

    def step(self) -> None:
        """Something happens."""
        rng, climate = self.rng, self.climate
        actions: list[tuple[float, Callable[[], None]]] = [
            (climate.deliver, self._deliver),
            (climate.tick, self._tick),
            (climate.disk, self._disk),
            (climate.client, self._client),
            (climate.weather, self._weather),
            (climate.hint, self._hint),
            (climate.snapshot, self._snapshot),
        ]
        (action,) = rng.choices(
            [action for _, action in actions], [weight for weight, _ in actions]
        )
        action()

    def _deliver(self) -> None:
        network = self.cluster.network
        if not network:
            return
        disorder = self.rng.random() < self.climate.disorder
        position = self.rng.randrange(len(network)) if disorder else 0
        packet = network[position]
        if packet.to in self.paused:
            return
        if self.rng.random() >= self.climate.repetition:
            del network[position]
        if self.rng.random() >= self.climate.loss:
            self.hand_over(packet)
        if len(network) > 100:
            del network[: self.rng.randrange(100)]

    def _tick(self) -> None:
        until = self.cluster.next_deadline()
        if until is None or self.rng.random() < 0.5:
            until = self.rng.randrange(10_000)
        self.cluster.advance(until)
        self.wake()

    def _disk(self) -> None:
        waiting = [
            (server, action) for server in self.running for action in self._disk_actions(server)
        ]
        if waiting:
            server, action = self.rng.choice(waiting)
            action(server)

    def _disk_actions(self, server: Server) -> list[Callable[[Server], None]]:
        actions: list[Callable[[Server], None]] = []
        if server.disk.pending:
            actions.append(self.complete_write)
        if server.received:
            actions.append(self.write_chunk)
        if server.me in self.taking:
            actions.append(self.continue_snapshot)
        if server.me in self.restoring:
            actions.append(self.restore)
        return actions

    def write_chunk(self, server: Server) -> None:
        """A piece of a leader's snapshot is written; sometimes the disk has no room for it."""
        chunk = server.received.pop(0)
        has_room = self.rng.random() < 0.95
        next_offset = server.disk.receive(chunk.request) if has_room else 0
        server.raft.chunk_written(chunk, next_offset, server.now)
        self.turn(server)

    def continue_snapshot(self, server: Server) -> None:
        """A snapshot that is being taken comes one step further."""
        self.go_on_with_snapshot(server)
        self.turn(server)

    def _snapshot(self) -> None:
        if (server := self._some_server()) is not None:
            self.begin_snapshot(server)

    def _client(self) -> None:
        if (server := self._some_server()) is not None:
            self.use(server)

    def _some_server(self) -> Server | None:
        # Leaders more often: what follows is more interesting.
        candidates = self.running
        leaders = [server for server in candidates if server.raft.is_leader]
        if leaders and self.rng.random() < 0.5:
            candidates = leaders
        return self.rng.choice(candidates) if candidates else None

    def _weather(self) -> None:
        """Something that lasts begins; mostly what was before it ends."""
        cluster, rng = self.cluster, self.rng
        if rng.random() < 0.7:
            self.heal()
        victim = self._some_server()
        if victim is None:
            return
        me = int(victim.me)
        others = [node for node in cluster.servers if node != me]
        match rng.choice(["calm", "crash", "power cut", "pause", "cut off", "links", "halves"]):
            case "crash":
                self.crash(victim)
            case "power cut" if rng.random() < 0.3:
                for server in cluster.up:
                    self.crash(server)
            case "pause":
                self.paused.add(me)
            case "cut off":
                cluster.isolate(me)
            case "links":
                cluster.cut |= {(me, other) for other in others if rng.random() < 0.5}
                cluster.cut |= {(other, me) for other in others if rng.random() < 0.5}
            case "halves":
                cluster.isolate(me, *others[: len(others) // 2])

    def _hint(self) -> None:
        if not self.running or len(self.cluster.servers) == 1:
            return
        server = self.rng.choice(self.running)
        others = [other.me for other in self.cluster.servers.values() if other != server]
        peer = self.rng.choice(others)
        server.raft.link_changed(peer, up=self.rng.random() < 0.5, now=server.now)
        self.turn(server)

    # ------------------------------------------------------------------ and then

    def heal(self) -> None:
        """Nothing goes wrong any more."""
        self.cluster.heal()
        self.paused.clear()
        for node in sorted(self.cluster.down):
            self.restart(node)

    def calm_turn(self) -> None:
        """All that was sent arrives, all that was written is durable; and then the next timer."""
        arriving, self.cluster.network = self.cluster.network, []
        for packet in arriving:
            self.hand_over(packet)
        for server in self.cluster.up:
            while actions := self._disk_actions(server):
                actions[0](server)
        wait = self.cluster.next_deadline()
        if self.cluster.network or wait is None:
            wait = 500 if wait is None else min(wait, 500)
        self.cluster.advance(wait)
        self.wake()

    def progress(self) -> None:
        """Progress follows: a new entry is on all servers, and all that was asked is answered."""
        end = self.cluster.now + REPAIR_BOUND_US
        goal: Entry | None = None
        while self.cluster.now < end:
            self.calm_turn()
            leaders = [server for server in self.cluster.up if server.raft.is_leader]
            if goal is not None and self._is_everywhere(goal) and not self._is_owed():
                return
            if leaders and (goal is None or not self._may_come(goal)):
                goal = leaders[0].raft.propose(b"goal", leaders[0].now)
                self.turn(leaders[0])
        raise AssertionError("the healed world makes no progress")

    def _is_owed(self) -> bool:
        """Whether something that was asked is not answered yet."""
        return bool(self.invariants.read_floor) or any(self.forwards.values())

    def _is_everywhere(self, entry: Entry) -> bool:
        committed, _ = self.invariants.committed.get(entry.index, (None, 0))
        return committed == entry and all(
            self.states[server.me].index >= entry.index for server in self.cluster.up
        )

    def _may_come(self, entry: Entry) -> bool:
        # Only its own leader commits an entry; a later one needs an entry of its own (§5.4.2).
        return any(
            server.raft.is_leader and server.raft.current_term == entry.term
            for server in self.cluster.up
        )
