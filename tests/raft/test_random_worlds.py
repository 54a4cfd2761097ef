"""Random schedules of everything that may go wrong, and what must hold all the same.

One seed gives one world: a cluster, a climate (how often what happens), and a history. First a
phase in which anything may happen, with the invariants checked after each step; then the world
heals, and progress must follow within a bounded time. The name of a failing test is its replay:
`pytest "tests/raft/test_random_worlds.py::NAME"`. `QUORATE_WORLDS=1000` tries that many seeds of
each kind of world.
"""

from __future__ import annotations

import os
import random
from typing import TYPE_CHECKING

import msgspec
import pytest

from quorate.raft.configuration import configuration_of
from quorate.raft.entry import ENTRY_HEADER_BYTES, Entry, EntryKind
from quorate.raft.messages import (
    AppendEntries,
    AppendEntriesAnswer,
    Forward,
    PreVote,
    ReadIndex,
    RequestVote,
    RequestVoteAnswer,
)
from quorate.raft.ready import DurableState, Events, Ready
from quorate.raft.settings import Settings
from quorate.raft.snapshot import SnapshotMetadata

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.raft.conftest import Cluster, Packet, Server

WORLDS = int(os.environ.get("QUORATE_WORLDS", "4"))
STEPS = 5000
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
)
SETTINGS = {
    "plain": msgspec.structs.replace(PRODUCTION, pre_vote=False, check_quorum=False, no_op=False),
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


def _first_disks(rng: random.Random, size: int, start: str) -> dict[int, DurableState]:
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
        )
    return disks


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
        )


# ---------------------------------------------------------------------- what must always hold


class Seen(msgspec.Struct):
    """What was last seen of one life of a server."""

    term: int = 0
    commit_index: int = 0
    handed_out: int = 0
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
        self._check_committed(server, events)
        self._check_leader(server)
        self._check_messages(server, ready)
        for read in events.reads:
            floor = self.read_floor.pop((server.me, read.ticket))
            assert read.index >= floor, "a read sees all that was committed when it was asked"
            assert read.index <= max(self.committed_anywhere, server.raft.commit_index)
            self.reads_served += 1
        seen = self._seen[server.me]
        seen.term = server.raft.current_term
        seen.commit_index = server.raft.commit_index
        seen.led_term = server.raft.current_term if server.raft.is_leader else None
        seen.terms = self._terms(server)

    def check_handed_out(self, server: Server) -> None:
        """All that the server knows to be committed was given out."""
        assert self._seen[server.me].handed_out == server.raft.commit_index

    def check_timers(self, server: Server) -> None:
        """No timer that `wake` has just looked at is still due: it would spin the driver."""
        due = server.raft.deadline()
        assert due is None or due > server.now

    def _terms(self, server: Server) -> dict[int, int]:
        first = server.disk.state.snapshot.index
        terms = {}
        for index in range(first, server.raft.last_index + 1):
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
        disk = server.disk.state
        base = disk.snapshot.index
        for index in range(base + 1, base + len(disk.entries) + 1):
            if index in self.committed and write.entries and index >= write.entries[0].index:
                entry, _ = self.committed[index]
                held = disk.entries[index - base - 1]
                if entry is not None and held.term == entry.term:
                    position = index - write.entries[0].index
                    assert write.entries[position] == entry, "what is acknowledged stays"

    def _check_terms_and_log(self, server: Server) -> None:
        raft, seen = server.raft, self._seen[server.me]
        assert raft.current_term >= seen.term, "terms never go back"
        assert raft.commit_index >= seen.commit_index, "the commit index never goes back"
        assert raft.commit_index <= raft.last_index
        terms = self._terms(server)
        if seen.led_term is not None and raft.is_leader and raft.current_term == seen.led_term:
            assert seen.terms.items() <= terms.items(), "a leader only appends"
        for index in range(server.disk.state.snapshot.index + 1, raft.commit_index + 1):
            if index in self.committed and self.committed[index][0] is not None:
                entry = self.committed[index][0]
                assert entry is not None
                assert terms[index] == entry.term

    def _check_committed(self, server: Server, events: Events) -> None:
        seen = self._seen[server.me]
        for entry in events.committed:
            assert entry.index == seen.handed_out + 1, "each committed entry once, and in order"
            assert entry.index <= server.raft.commit_index
            seen.handed_out = entry.index
            known, _ = self.committed.get(entry.index, (None, 0))
            assert known in (None, entry), "state machine safety"
            if known is None:
                term = server.raft.current_term if entry.index > self.committed_anywhere else 0
                self.committed[entry.index] = (entry, term)
                holders = [
                    other
                    for other in self._cluster.servers.values()
                    if other.disk.holds(entry.index, entry.term)
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
            if raft.commit_index > seen.commit_index:
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
                assert (me, message.id) not in self._request_ids, "a request's id is its own"
                self._request_ids.add((me, message.id))
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
                case AppendEntriesAnswer(term=term):
                    self._check_promised_term(server, term)

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
        self._next_ticket = 0

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
            if not (events.committed or events.forwarded):
                break
        self.invariants.check_handed_out(server)
        self.cluster.collect()

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
        keep_write = self.rng.random() < self.climate.kept_write
        self.cluster.crash(server.me, keep_write=keep_write)
        self.paused.discard(server.me)
        self.forwards[server.me].clear()

    def restart(self, node: int) -> None:
        """A server comes back."""
        self.cluster.restart(node)
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
        writing = [server for server in self.running if server.disk.pending]
        if writing:
            self.complete_write(self.rng.choice(writing))

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
            while server.disk.pending:
                self.complete_write(server)
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
            is_owed = self.invariants.read_floor or any(self.forwards.values())
            if goal is not None and self._is_everywhere(goal) and not is_owed:
                return
            if leaders and (goal is None or not self._may_come(goal)):
                goal = leaders[0].raft.propose(b"goal", leaders[0].now)
                self.turn(leaders[0])
        pytest.fail("the healed world makes no progress")

    def _is_everywhere(self, entry: Entry) -> bool:
        return all(
            server.raft.commit_index >= entry.index
            and server.raft.term_at(entry.index) == entry.term
            for server in self.cluster.up
        )

    def _may_come(self, entry: Entry) -> bool:
        # Only its own leader commits an entry; a later one needs an entry of its own (§5.4.2).
        return any(
            server.raft.is_leader and server.raft.current_term == entry.term
            for server in self.cluster.up
        )


@pytest.mark.parametrize("seed", range(WORLDS))
@pytest.mark.parametrize("start", ["empty", "compacted", "mixed"])
@pytest.mark.parametrize("size", [1, 3, 5])
@pytest.mark.parametrize("kind", SETTINGS)
def test_whatever_happens_nothing_wrong_is_done_and_a_healed_cluster_goes_on(
    kind: str, size: int, start: str, seed: int, new_cluster: type[Cluster]
) -> None:
    rng = random.Random(f"{kind} {size} {start} {seed}")
    cluster = new_cluster(
        size,
        settings=SETTINGS[kind],
        seed=seed,
        disks=_first_disks(rng, size, start),
        slow_disks=True,
    )
    world = World(rng, cluster, committed_before=0 if start == "empty" else 10)
    for _ in range(STEPS):
        world.step()
    world.heal()
    world.progress()
