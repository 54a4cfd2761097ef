"""The parts of lives in which members come and go: handshakes, the operator, what may be lost."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING

import pytest

from quorate.node.settings import NodeSettings
from quorate.raft.configuration import Configuration, Member, NodeId
from quorate.sim.clock import Clock
from quorate.sim.configurations import CommittedConfigurations
from quorate.sim.errors import InvariantError
from quorate.sim.invariants import Invariants
from quorate.sim.network import PERFECT, Network
from quorate.sim.operator import Operator
from quorate.sim.scheduler import Scheduler
from quorate.sim.server import ServerSettings, SimulatedServer
from quorate.sim.stream import Stream, StreamClient
from quorate.sim.tolerance import Tolerance
from quorate.sim.trace import Trace

if TYPE_CHECKING:
    from collections.abc import Callable

SECOND = 1_000_000
SETTINGS = ServerSettings(node=NodeSettings(), sync_us=200, slow_sync=0.0, segment_size=65_536)


class Cluster:
    """Three servers that say who they are, and an operator who has nothing to do at first."""

    def __init__(self) -> None:
        self.scheduler = Scheduler()
        rng = random.Random(1)
        network = Network(self.scheduler, rng, PERFECT, Trace(self.scheduler))
        members = tuple(
            Member(NodeId(number), client_address=f"server:{number}") for number in (1, 2, 3)
        )
        servers: dict[NodeId, SimulatedServer] = {}
        for member in members:
            servers[member.id] = SimulatedServer(
                member,
                members,
                scheduler=self.scheduler,
                network=network,
                clock=Clock(self.scheduler, start=0, rate_permille=1000),
                rng=random.Random(member.id),
                settings=SETTINGS,
                peer=servers.__getitem__,
                handshakes=True,
            )
        self.servers = list(servers.values())
        self.invariants = Invariants(self.servers)

        def dial(address: str, client: StreamClient) -> Stream:
            server = servers[NodeId(int(address.rpartition(":")[2]))]
            stream = Stream(self.scheduler, network, server, client)
            stream.open()
            return stream

        self.operator = Operator(
            servers,
            self.servers,
            dial=dial,
            scheduler=self.scheduler,
            rng=rng,
            leisure_us=0,
            announce=lambda _what, _nodes, _until: None,
        )
        for server in self.servers:
            server.start()
        self.run_until(lambda: self.invariants.configurations.changes > 0)

    def run_until(self, condition: Callable[[], bool], *, within_us: int = 10 * SECOND) -> None:
        end = self.scheduler.now + within_us
        while not condition():
            assert self.scheduler.now < end
            self.scheduler.run_until(self.scheduler.now + SECOND // 100, self.invariants.check)

    def run(self, duration_us: int) -> None:
        end = self.scheduler.now + duration_us
        self.run_until(lambda: self.scheduler.now >= end, within_us=duration_us + SECOND)

    @property
    def follower(self) -> SimulatedServer:
        return next(s for s in self.servers if s.node is not None and not s.node.raft.is_leader)

    def lose_disk(self) -> SimulatedServer:
        lost = self.follower
        lost.lose_disk()
        lost.start()
        return lost


def test_the_members_get_to_know_each_others_data() -> None:
    cluster = Cluster()
    cluster.run(SECOND)
    known = cluster.invariants.configurations.latest.voters
    assert [member.data_id for member in known] == [server.data_id for server in cluster.servers]


def test_a_server_that_has_lost_its_disk_is_not_let_in() -> None:
    cluster = Cluster()
    cluster.run(SECOND)
    lost = cluster.lose_disk()
    cluster.run(3 * SECOND)
    assert lost.node is not None
    assert (lost.node.raft.current_term, lost.node.raft.last_index) == (0, 0)
    others = [server for server in cluster.servers if server is not lost]
    assert all(server.happened["servers refused"] for server in others)
    assert sum(server.node.raft.is_leader for server in others if server.node is not None) == 1


def test_an_operator_who_has_stopped_removes_it_and_wants_nothing_else() -> None:
    cluster = Cluster()
    cluster.run(SECOND)
    lost = cluster.lose_disk()
    cluster.operator.start()
    cluster.operator.stop()
    cluster.run_until(lambda: cluster.operator.is_idle)
    assert lost.id not in cluster.invariants.configurations.latest.voter_ids
    assert cluster.operator.counts == {"remove": 1}


def test_one_disk_of_three_may_be_lost_and_no_second_one() -> None:
    cluster = Cluster()
    cluster.run(SECOND)
    committed = cluster.invariants.configurations
    tolerance = Tolerance(cluster.servers, committed, cluster.operator)
    assert all(tolerance.can_spare(server) for server in cluster.servers)
    lost = cluster.lose_disk()
    others = [server for server in cluster.servers if server is not lost]
    assert not any(tolerance.can_spare(server) for server in others)
    cluster.operator.start()
    cluster.operator.stop()
    cluster.run_until(lambda: cluster.operator.is_idle)
    assert not any(tolerance.can_spare(server) for server in others), "two need each other"
    assert tolerance.can_spare(lost)


def test_configurations_that_follow_each_other_differ_by_one_voter() -> None:
    three, two, one = (
        Configuration(tuple(Member(NodeId(n), data_id=f"data-{n}") for n in ids))
        for ids in ((1, 2, 3), (1, 2), (1,))
    )
    committed = CommittedConfigurations(three)
    committed.committed(5, two)
    assert (committed.at(4), committed.at(5)) == (three, two)
    with pytest.raises(InvariantError, match="more than one voter"):
        CommittedConfigurations(three).committed(6, one)
    with pytest.raises(InvariantError, match="without being removed"):
        committed.committed(6, two.with_member(Member(NodeId(2), data_id="new")))
