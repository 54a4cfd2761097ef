"""When there is trouble in a world, and of which kind.

Each world has a mood: which kinds of trouble there are in it, how often they come and how long
they last. Worlds in which everything happens all the time are worlds in which little gets done,
and many bugs need one kind of trouble again and again ("swarm testing", Groce et al. 2012).

When and which is drawn apart from whom it hits and for how long: a world that is lived again
without a kind of trouble has all others at the same times, and as they were.
"""

import random
from collections import Counter
from collections.abc import Callable, Sequence
from functools import partial

from quorate.raft.configuration import NodeId
from quorate.sim.clients import Client
from quorate.sim.life import Life
from quorate.sim.network import PERFECT, Network, links_between
from quorate.sim.scheduler import Scheduler
from quorate.sim.server import SimulatedServer
from quorate.sim.troubles import Announce, Kind, Troubles, name_of

_STALL_US = 3_000_000
"""So long the disks of slow servers do nothing, when a majority has to do without them."""
_SLOW_US = 20_000
"""So much longer the way to and from them takes then. One of them may lead, and then goes on to: if
it may send one entry at a time only, and hears of it no sooner, that is all that gets done."""
_OPERATIONS_OF_A_START = 16
"""A start changes the disk about so many times."""

_USUAL = (
    Troubles.kill,
    Troubles.kill_everywhere,
    Troubles.lose_power,
    Troubles.lose_power_within_a_step,
    Troubles.lose_power_between_write_and_sync,
    Troubles.lose_power_everywhere,
    Troubles.pause,
    Troubles.suspend,
    Troubles.split,
    Troubles.isolate_leader,
    Troubles.freeze_leader,
    Troubles.ambush_leaders,
    Troubles.cut_one_way,
    Troubles.flap,
    Troubles.slow_link,
    Troubles.break_link,
    Troubles.jump_clock,
    Troubles.stall_disk,
    Troubles.disconnect_clients,
    Troubles.fail_sync,
    Troubles.fill_disk,
    Troubles.fill_disk_at_sync,
)
_OF_SNAPSHOTS = (Troubles.ambush_snapshots, Troubles.damage_snapshot)
_OF_LOST_DISKS = (Troubles.lose_disk, Troubles.damage_log)

_SELDOM = Troubles.overtake_former_life
"""Comes once in a few worlds, where what is said outlives who has said it: without handshakes."""
_SELDOM_SHARE = 0.03

KINDS = tuple(name_of(kind) for kind in (*_USUAL, *_OF_SNAPSHOTS, *_OF_LOST_DISKS, _SELDOM))
"""The names of all kinds of trouble."""


class Faults:
    """Makes trouble, and mends it all in the end.

    Args:
        scheduler: virtual time.
        network: to be cut.
        servers: to be killed, paused and given bad disks and clocks.
        clients: to be disconnected.
        can_spare: whether the cluster can do without what is on the disk of a server.
        loses_disks: servers lose all that they have, now and then, and come back with nothing.
        election_timeout_us: of the servers; troubles last about as long as elections.
        life: says how often there is trouble, and which kinds are left out.
        rng: decides all.
        announce: is told what happens.

    Attributes:
        counts: how often each kind of trouble came.
    """

    def __init__(
        self,
        scheduler: Scheduler,
        network: Network,
        servers: Sequence[SimulatedServer],
        clients: Sequence[Client],
        *,
        can_spare: Callable[[SimulatedServer], bool],
        loses_disks: bool,
        election_timeout_us: int,
        life: Life,
        rng: random.Random,
        announce: Announce,
    ) -> None:
        self.counts: Counter[str] = Counter()
        self._scheduler = scheduler
        self._network = network
        self._servers = servers
        self._life = life
        self._rng = rng
        self._until = 0
        self._coming_back: set[NodeId] = set()
        self._left_dead: set[NodeId] = set()
        share = rng.choice((0.2, 0.5, 1.0))
        self._kinds: list[Kind] = [kind for kind in _USUAL if rng.random() < share] or [*_USUAL]
        if rng.random() < 0.5:
            self._kinds += _OF_SNAPSHOTS
        if loses_disks:
            self._kinds += _OF_LOST_DISKS
        longest_calm_us = election_timeout_us * rng.choice((3, 6, 12))
        self._longest_calm_us = longest_calm_us * life.tempo // life.patience
        self._longest_outage_us = longest_calm_us * rng.choice((1, 2, 3)) // 2
        self._stops_in_starts = rng.choice((0.0, 0.2))
        self._revival_rng = random.Random(rng.getrandbits(64))
        self._troubles = Troubles(
            scheduler,
            network,
            servers,
            clients,
            can_spare=can_spare,
            election_timeout_us=election_timeout_us,
            longest_outage_us=self._longest_outage_us,
            seed=rng.getrandbits(64),
            announce=announce,
        )

    def start(self, *, until: int) -> None:
        """Begins to make trouble, until a time."""
        self._until = until
        self._next()
        rng = random.Random(f"what comes seldom in {self._life.seed}")
        if rng.random() < _SELDOM_SHARE and not self._life.churn:
            self._scheduler.at(rng.randrange(until), partial(self._make, _SELDOM))

    def look(self) -> None:
        """Something has happened at some server: what somebody waits for, or its death."""
        if self._scheduler.now >= self._until:
            return
        ambushes = self._troubles.ambushes
        if ambushes:
            for ambush in ambushes:
                ambush.look()
            self._troubles.ambushes = [ambush for ambush in ambushes if not ambush.is_over]
        self._look_after_the_dead()

    def heal(self) -> None:
        """Mends everything: from now on the world is as good as it can be."""
        self._troubles.end()
        self._network.heal()
        self._network.faults = PERFECT
        self._stops_in_starts = 0.0
        self._left_dead.clear()
        for server in self._servers:
            server.disk.limit_capacity(None)
            server.correct_clock()
        self.revive_all()

    def do_without(self, some: Sequence[SimulatedServer], *, how: str) -> None:
        """Some servers are of no use from now on, until all is healed again.

        Args:
            some: which.
            how: `dead`, `cut off`, or `slow`: for what is written, and on the way to the others.
        """
        names = {server.id for server in some}
        links = links_between(names, {server.id for server in self._servers} - names)
        match how:
            case "dead":
                self._left_dead |= names
                for server in some:
                    server.kill(power=False)
            case "cut off":
                self._network.cut(links)
            case _:
                self._network.slow_down(links, _SLOW_US)
                for server in some:
                    server.stall_disk(_STALL_US)

    def revive_all(self) -> None:
        """Starts every server that is down and need not be, as a supervisor would."""
        for server in self._servers:
            if not server.is_up and server.id not in self._left_dead:
                server.start()

    def _next(self) -> None:
        self._scheduler.after(self._rng.randrange(self._longest_calm_us), self._strike)

    def _strike(self) -> None:
        if self._scheduler.now < self._until:
            self._make(self._rng.choice(self._kinds))
            self._next()

    def _make(self, kind: Kind) -> None:
        if name_of(kind) not in self._life.without:
            self.counts[name_of(kind)] += self._troubles.make(kind)

    def _look_after_the_dead(self) -> None:
        for server in self._servers:
            if server.node is None and server.id not in self._coming_back:
                self._coming_back.add(server.id)
                outage = 1 + self._revival_rng.randrange(self._longest_outage_us)
                self._scheduler.after(outage, partial(self._revive, server))

    def _revive(self, server: SimulatedServer) -> None:
        self._coming_back.remove(server.id)
        if server.is_up or server.id in self._left_dead:
            return
        if self._revival_rng.random() < self._stops_in_starts:
            server.disk.stop_after(self._revival_rng.randrange(_OPERATIONS_OF_A_START))
        server.start()
