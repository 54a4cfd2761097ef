"""Worlds in which servers come and go besides, through the log, and leadership is handed over.

Servers have the ids 1 to 7. One that has been removed may come back under its id: with the data
that it had, or with an empty disk. That is another *life* of the id, and it has a `data_id` of its
own. As in production, where connections are bound to data directories, what is sent to one life
never reaches another; what one life has sent may still arrive when there is another.
"""

from __future__ import annotations

import random
from typing import TYPE_CHECKING

import msgspec
from tests.raft.conftest import Cluster, Disk, Packet, Server, durable_state
from tests.raft.worlds import SETTINGS, Invariants, State, World, first_disks

from quorate.raft.configuration import Configuration, Member, NodeId
from quorate.raft.entry import Entry
from quorate.raft.messages import (
    AppendEntries,
    Forward,
    InstallSnapshot,
    PreVote,
    ReadIndex,
    RequestVote,
    TimeoutNow,
)
from quorate.raft.settings import Settings

if TYPE_CHECKING:
    from collections.abc import Mapping

    from quorate.raft.messages import PeerMessage
    from quorate.raft.ready import DurableState, Envelope, Events, Ready

STEPS = 4000
CHANGES = ["add", "add", "add", "add", "remove", "remove", "promote", "transfer"]

KINDS = {kind: SETTINGS[kind] for kind in ("no_op_off", "production")}
"""Plain Figure 2 is not among them: "removed servers [...] can disrupt the cluster" there (§4.2.3),
and it need not make progress."""

Request = PreVote | RequestVote | TimeoutNow | AppendEntries | InstallSnapshot | ReadIndex | Forward


# ---------------------------------------------------------------------- the network


class BoundPacket(Packet, frozen=True, kw_only=True):
    """A message on its way to one life of a server."""

    data_id: str


class ChangingCluster(Cluster):
    """A cluster whose servers come and go, and connections that are bound to their data."""

    def __init__(
        self, size: int, *, settings: Settings, seed: int, disks: Mapping[int, DurableState]
    ) -> None:
        self.data_ids = dict.fromkeys(range(1, size + 1), "")
        """Of each server: which of its lives this is."""
        self._asked_by: dict[int, str] = {}
        """By the id of a request: which life of its sender has sent it."""
        super().__init__(size, settings=settings, seed=seed, disks=disks, slow_disks=True)

    def replace(self, node: int) -> Server:
        """A server with an empty disk begins, in place of the one of that id if there is one."""
        self.down.discard(node)
        self.data_ids[node] = f"{node}.{self._boots}"
        disk = Disk(durable_state(members=0))
        self.servers[node] = self._boot(node, disk, slow_disk=True)
        return self.servers[node]

    def data_ids_of(self, node: int) -> frozenset[str]:
        return frozenset({self.data_ids[node]})

    def has(self, member: Member) -> bool:
        """Whether this member's data is still there, though its server may be down."""
        return self.data_ids.get(member.id) == member.data_id

    def collect(self) -> None:
        for server in self.up:
            self.network += [
                BoundPacket(
                    server.me,
                    envelope.to,
                    envelope.message,
                    data_id=self._addressee(server, envelope),
                )
                for envelope in server.sent
            ]
            server.sent = []

    def hand_over(self, packet: Packet) -> None:
        if self.arrives(packet):
            super().hand_over(packet)

    def arrives(self, packet: Packet) -> bool:
        """Whether the life that a packet is for is still there."""
        assert isinstance(packet, BoundPacket)
        return packet.data_id == self.data_ids.get(packet.to)

    def _addressee(self, sender: Server, envelope: Envelope) -> str:
        """Which life of a server a message is for: an answer is for the one that asked."""
        message: PeerMessage = envelope.message
        if not isinstance(message, Request):
            return self._asked_by[message.id]
        self._asked_by[message.id] = self.data_ids[sender.me]
        member = sender.raft.configuration.member(envelope.to)
        return self.data_ids[envelope.to] if member is None else member.data_id


# ---------------------------------------------------------------------- what must always hold


class ChurnInvariants(Invariants):
    """The safety properties, judged by the configurations that are in force."""

    def __init__(self, cluster: ChangingCluster, *, committed_before: int) -> None:
        first = cluster[1].raft.configuration
        self.configurations = [(committed_before, first)]
        """Those that are committed: from which index on, and which."""
        self._changing_cluster = cluster
        self._in_force: dict[int, Configuration] = {}
        self._configuration_of: dict[tuple[int, int], Configuration] = {}
        """By index and term of its entry."""
        super().__init__(cluster, committed_before=committed_before)

    def replaced(self, server: Server) -> None:
        """A server began with an empty disk: nothing binds it that one before it has promised."""
        me = server.me
        self._vote_of = {key: vote for key, vote in self._vote_of.items() if key[0] != me}
        self._greatest_promised_term.pop(me, None)
        self._leader_of = {
            term: -leader if leader == me else leader for term, leader in self._leader_of.items()
        }
        self.restarted(server)

    def restarted(self, server: Server) -> None:
        super().restarted(server)
        self._in_force[server.me] = server.raft.configuration

    def check(self, server: Server, events: Events, ready: Ready) -> None:
        self._check_commitment(server)
        super().check(server, events, ready)
        self._check_configuration(server)
        if server.raft.is_leader and server.raft.configuration != self._in_force[server.me]:
            self._check_no_other_can_win(server)
        self._in_force[server.me] = server.raft.configuration

    @property
    def members(self) -> Configuration:
        """The newest configuration that is committed."""
        return self.configurations[-1][1]

    def configuration_at(self, index: int) -> Configuration:
        """The configuration as of a committed index."""
        return next(known for at, known in reversed(self.configurations) if at <= index)

    def _check_commitment(self, server: Server) -> None:
        """What a leader commits is on the disks of a majority of the latest voters in its log.

        Those are the voters as of the turn before: within one turn it commits first, and changes
        the configuration then.
        """
        raft, seen = server.raft, self._seen[server.me]
        if seen.led_term is None or raft.current_term != seen.led_term:
            return
        if raft.commit_index <= max(seen.commit_index, raft.snapshot.index):
            return
        term = raft.term_at(raft.commit_index)
        assert term is not None
        configuration = self._in_force[server.me]
        holders = [
            member.id
            for member in configuration.voters
            if self._changing_cluster.has(member)
            and self._cluster[member.id].disk.holds(raft.commit_index, term)
        ]
        assert configuration.is_majority(holders), "what is committed is on a majority's disks"

    def _check_no_other_can_win(self, leader: Server) -> None:
        """While a leader may commit a change, no majority without one of those can elect another.

        This is how a change that must not be made shows, also if nobody happens to stand: 1. A
        server whose log has not got the change gets all the votes that it may get. 2. The leader
        commits the change with others. 3. The new leader does not have what is committed.
        """
        membership, term = leader.raft.membership, leader.raft.current_term
        may_accept = {
            voter.me
            for voter in self._up(membership.configuration)
            if voter.raft.current_term <= term
        }
        for other in self._cluster.up:
            raft = other.raft
            has_it = membership.index <= raft.snapshot.index or term == raft.term_at(
                membership.index
            )
            if has_it or raft.snapshot_is_lost or other not in self._up(raft.configuration):
                continue
            may_elect = {
                voter.me
                for voter in self._up(raft.configuration)
                if (voter.raft.last_term, voter.raft.last_index)
                <= (raft.last_term, raft.last_index)
            }
            missing = max(0, raft.configuration.majority - len(may_elect - may_accept))
            if missing <= len(may_elect & may_accept):
                assert len(may_accept) - missing < membership.configuration.majority, (
                    f"{other.me} may be elected without anybody who may have the change"
                )

    def _up(self, configuration: Configuration) -> list[Server]:
        """The voters that are not crashed."""
        return [
            self._cluster[member.id]
            for member in configuration.voters
            if self._changing_cluster.has(member) and self._cluster[member.id] in self._cluster.up
        ]

    def _check_holders(self, entry: Entry) -> None:
        # Whose disks they have to be on was known when the leader committed it.
        if entry.configuration is not None:
            difference = set(entry.configuration.voter_ids) ^ set(self.members.voter_ids)
            assert len(difference) <= 1, "configurations in a row differ by one voter (§4.1)"
            self.configurations.append((entry.index, entry.configuration))

    def _register(self, previous_term: int, entries: tuple[Entry, ...]) -> None:
        super()._register(previous_term, entries)
        for entry in entries:
            if entry.configuration is not None:
                self._configuration_of[entry.index, entry.term] = entry.configuration

    def _check_configuration(self, server: Server) -> None:
        """ "a server always uses the latest configuration in its log" (Raft §6)."""
        raft = server.raft
        if raft.snapshot_is_lost:  # such a server neither leads nor stands
            return
        if raft.snapshot.index:  # else nobody may have told it who the members are
            as_of_snapshot = self.configuration_at(raft.snapshot.index)
            assert raft.snapshot.configuration == as_of_snapshot, "as of the snapshot"
        terms = self._seen[server.me].terms
        if raft.durable_index < raft.last_index:
            return  # not all of it is known here yet
        in_log = [
            key
            for key in self._configuration_of
            if raft.snapshot.index < key[0] and terms.get(key[0]) == key[1]
        ]
        latest = self._configuration_of[max(in_log)] if in_log else raft.snapshot.configuration
        assert raft.configuration == latest, "the latest configuration in the log is in force"


# ---------------------------------------------------------------------- what happens


class Churn(msgspec.Struct, frozen=True):
    """How often members change, and how."""

    change: float
    """The weight of such a step."""
    promotion: float
    """That a new member is to vote."""
    ids: int
    """There are servers of the ids 1 to this. The fewer, the more often one comes back."""
    empty_disk: float
    """That a server comes back with an empty disk, if there is one of its id."""

    @classmethod
    def drawn(cls, rng: random.Random) -> Churn:
        """Some churn."""
        return cls(
            change=rng.choice([4, 12, 25]),
            promotion=rng.choice([0.5, 0.9, 1.0]),
            ids=rng.choice([3, 4, 5, 7]),
            empty_disk=rng.choice([0.2, 0.8]),
        )


class ChangingWorld(World):
    """A cluster to which anything may happen, and whose members change."""

    def __init__(self, rng: random.Random, cluster: ChangingCluster, base: int) -> None:
        self.churn = Churn.drawn(rng)
        self.changing_cluster = cluster
        self._ids = range(1, max(self.churn.ids, len(cluster.servers) + 1) + 1)
        super().__init__(rng, cluster, committed_before=base)
        self.invariants: ChurnInvariants = ChurnInvariants(cluster, committed_before=base)

    def hand_over(self, packet: Packet) -> None:
        if self.changing_cluster.arrives(packet):
            super().hand_over(packet)

    def step(self) -> None:
        """Something happens."""
        if self.rng.random() < self.churn.change / 100:
            self._change()
        else:
            super().step()

    # ------------------------------------------------------------------ the operator

    def _change(self) -> None:
        """An operator wants something of a server that leads, or thinks so."""
        leaders = [server for server in self.running if server.raft.is_leader]
        if not leaders:
            return
        leader = self.rng.choice(leaders)
        match self.rng.choice(CHANGES):
            case "add":
                self._add(leader)
            case "remove":
                self._remove(leader)
            case "promote":
                self._promote(leader)
            case "transfer":
                voters = leader.raft.configuration.voter_ids
                leader.raft.transfer_leadership(self.rng.choice(voters), leader.now)
                self.turn(leader)

    def _add(self, leader: Server) -> None:
        configuration = leader.raft.configuration
        strangers = [
            node
            for node in self._ids
            if node != leader.me and configuration.member(NodeId(node)) is None
        ]
        if not strangers:
            return
        node = self.rng.choice(strangers)
        data_id = self.changing_cluster.data_ids.get(node)
        if data_id is None or (self._is_gone(node) and self._begins_anew(data_id)):
            self._replace(node)
        member = Member(NodeId(node), data_id=self.changing_cluster.data_ids[node])
        if member.data_id and member.data_id in configuration.removed:
            return
        promote = self.rng.random() < self.churn.promotion
        self._propose(leader, configuration.with_learner(member, promote=promote))

    def _begins_anew(self, data_id: str) -> bool:
        """Whether a server gets an empty disk. Only those of the beginning may keep their data."""
        return (
            data_id in self.invariants.members.removed or self.rng.random() < self.churn.empty_disk
        )

    def _remove(self, leader: Server) -> None:
        configuration = leader.raft.configuration
        if len(configuration.voters) > 1:
            member = self.rng.choice(configuration.members)
            self._propose(leader, configuration.without(member.id))

    def _promote(self, leader: Server) -> None:
        configuration = leader.raft.configuration
        if configuration.learners:
            learner = self.rng.choice(configuration.learners)
            self._propose(leader, configuration.with_promoting(learner.id))

    def _propose(self, leader: Server, configuration: Configuration) -> None:
        leader.raft.change_configuration(configuration, leader.now)
        self.turn(leader)

    def _is_gone(self, node: int) -> bool:
        """Whether it is removed, and that is committed: its data is of no use to anybody."""
        return self.invariants.members.member(NodeId(node)) is None

    def _replace(self, node: int) -> None:
        """A server begins with an empty disk."""
        self.paused.discard(node)
        self.taking.pop(node, None)
        self.restoring.pop(node, None)
        self.forwards[node] = set()
        self.states[node] = State.first(0)
        self.invariants.replaced(self.changing_cluster.replace(node))

    def _may_lose_snapshots(self) -> bool:
        # With fewer voters, one whose snapshot is lost might be needed to send one.
        in_logs = [server.raft.configuration for server in self.cluster.servers.values()]
        voters = [len(known.voters) for known in [self.invariants.members, *in_logs]]
        return all(count == 0 or count > 2 for count in voters) and super()._may_lose_snapshots()

    # ------------------------------------------------------------------ and then

    def _members(self) -> list[Server]:
        """The servers that are members by the newest committed configuration."""
        return [
            self.cluster[member.id]
            for member in self.invariants.members.members
            if self.changing_cluster.has(member)
        ]

    def _is_owed(self) -> bool:
        # Whoever is no member any more waits in vain.
        members = self._members()
        promoting = self.invariants.members.promoting
        return (
            any(server.me in promoting for server in members)
            or any(self.forwards[server.me] for server in members)
            or any(
                node == server.me for node, _ in self.invariants.read_floor for server in members
            )
        )

    def _is_everywhere(self, entry: Entry) -> bool:
        committed, _ = self.invariants.committed.get(entry.index, (None, 0))
        return committed == entry and all(
            self.states[server.me].index >= entry.index for server in self._members()
        )


def live(kind: str, size: int, start: str, seed: int) -> ChangingWorld:
    """Lives a whole world; returns it as it is in the end."""
    rng = random.Random(f"churn {kind} {size} {start} {seed}")
    disks = first_disks(rng, size, start)
    cluster = ChangingCluster(size, settings=KINDS[kind], seed=seed, disks=disks)
    world = ChangingWorld(rng, cluster, 0 if start == "empty" else 10)
    for _ in range(STEPS):
        world.step()
    world.heal()
    world.progress()
    return world
