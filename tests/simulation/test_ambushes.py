"""Those that lie in wait strike at the moments that they wait for."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING

from tests.simulation.test_snapshot_cycle import NODES, Cluster

from quorate.sim.ambushes import LeaderAmbush, SnapshotAmbush

if TYPE_CHECKING:
    from quorate.sim.server import SimulatedServer

SECOND = 1_000_000


class Ambushed:
    """A cluster under load, and one that lies in wait; what it strikes is noted down."""

    def __init__(self, seed: int) -> None:
        self.cluster = Cluster(seed)
        self.cluster.start()
        self.cluster.add_clients(self.cluster.servers[NODES[0]])
        self.struck: list[tuple[SimulatedServer, int]] = []
        self.servers = list(self.cluster.servers.values())

    def note(self, server: SimulatedServer) -> None:
        assert server.node is not None
        self.struck.append((server, server.happened["parts of snapshots written"]))

    def live(self, ambush: LeaderAmbush | SnapshotAmbush, duration_us: int) -> None:
        def look() -> None:
            if self.cluster.invariants.check():
                ambush.look()

        scheduler = self.cluster.scheduler
        scheduler.run_until(scheduler.now + duration_us, look)


def test_the_next_few_leaders_are_struck_once_each() -> None:
    ambushed = Ambushed(seed=1)
    terms: list[int] = []

    def strike(server: SimulatedServer) -> None:
        assert server.node is not None
        assert server.node.raft.is_leader
        terms.append(server.node.raft.current_term)
        server.kill(power=False)
        ambushed.cluster.scheduler.after(SECOND, server.start)

    ambush = LeaderAmbush(ambushed.servers, victims=3, strike=strike, rng=random.Random(2))
    leader = ambushed.cluster.leader
    assert leader is not None
    leader.kill(power=False)
    ambushed.cluster.scheduler.after(SECOND, leader.start)
    ambushed.live(ambush, 20 * SECOND)
    assert ambush.is_over
    assert len(terms) == 3
    assert sorted(set(terms)) == terms


def test_who_works_on_a_snapshot_is_struck_before_and_after_a_part_is_written() -> None:
    written: list[int] = []
    for seed in range(6):
        ambushed = Ambushed(seed)
        ambush = SnapshotAmbush(
            ambushed.cluster.scheduler,
            ambushed.servers,
            victims=20,
            strike=ambushed.note,
            rng=random.Random(seed),
        )
        ambushed.live(ambush, 2 * SECOND)
        assert ambushed.struck
        for server, _ in ambushed.struck:
            assert server in ambushed.servers
        written += [parts for _, parts in ambushed.struck]
    assert len(set(written)) > 10, "at different points of the work"
