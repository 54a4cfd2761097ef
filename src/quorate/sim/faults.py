"""The troubles of a world: at random times, one of all kinds, drawn from one generator.

Each world has a mood: which kinds of trouble there are in it, how often they come and how long
they last. Worlds in which everything happens all the time are worlds in which little gets done,
and many bugs need one kind of trouble again and again ("swarm testing", Groce et al. 2012).
"""

import random
from collections import Counter
from collections.abc import Callable, Sequence
from functools import partial

from quorate.raft.configuration import NodeId
from quorate.sim.clients import Client
from quorate.sim.network import PERFECT, Link, Network, links_between
from quorate.sim.scheduler import Scheduler
from quorate.sim.server import SimulatedServer

_AMBUSH_US = 200
_OPERATIONS_OF_A_START = 16
"""A start changes the disk about so many times."""


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
        rng: decides what happens when.

    Attributes:
        counts: how often each kind of fault happened.
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
        rng: random.Random,
    ) -> None:
        self.counts: Counter[str] = Counter()
        self._scheduler = scheduler
        self._network = network
        self._servers = servers
        self._clients = clients
        self._can_spare = can_spare
        self._rng = rng
        self._until = 0
        self._coming_back: set[NodeId] = set()
        kinds: list[Callable[[], None]] = [
            self._kill,
            self._kill_everywhere,
            self._lose_power,
            self._lose_power_within_a_step,
            self._lose_power_between_write_and_sync,
            self._lose_power_everywhere,
            self._pause,
            self._suspend,
            self._split,
            self._isolate_leader,
            self._freeze_leader,
            self._ambush_leaders,
            self._cut_one_way,
            self._break_link,
            self._jump_clock,
            self._stall_disk,
            self._disconnect_clients,
            self._fail_sync,
            self._fill_disk,
        ]
        share = rng.choice((0.2, 0.5, 1.0))
        self._kinds = [kind for kind in kinds if rng.random() < share] or kinds
        if rng.random() < 0.5:
            self._kinds += (self._ambush_snapshots, self._damage_snapshot)
        if loses_disks:
            self._kinds.append(self._lose_disk)
        self._election_timeout_us = election_timeout_us
        self._longest_calm_us = election_timeout_us * rng.choice((3, 6, 12))
        self._longest_outage_us = self._longest_calm_us * rng.choice((1, 2, 3)) // 2
        self._stops_in_starts = rng.choice((0.0, 0.2))

    def start(self, *, until: int) -> None:
        """Begins to make trouble, until a time."""
        self._until = until
        self._next()

    def heal(self) -> None:
        """Mends everything: from now on the world is as good as it can be."""
        self._network.heal()
        self._network.faults = PERFECT
        self._stops_in_starts = 0.0
        for server in self._servers:
            server.disk.limit_capacity(None)
            server.correct_clock()
        self.revive_all()

    def revive_all(self) -> None:
        """Starts every server that is down, as a supervisor would."""
        for server in self._servers:
            if not server.is_up:
                server.start()

    def _next(self) -> None:
        self._scheduler.after(self._rng.randrange(self._longest_calm_us), self._strike)

    def _strike(self) -> None:
        if self._scheduler.now < self._until:
            kind = self._rng.choice(self._kinds)
            self.counts[kind.__name__.removeprefix("_")] += 1
            kind()
            self._look_after_the_dead()
            self._next()

    def _outage(self) -> int:
        return 1 + self._rng.randrange(self._longest_outage_us)

    def _a_server(self) -> SimulatedServer:
        # Leaders are hit more often: what follows is more interesting.
        leaders = self._leaders()
        return self._rng.choice(leaders if leaders and self._rng.random() < 0.4 else self._servers)

    def _leaders(self) -> list[SimulatedServer]:
        return [s for s in self._servers if s.node is not None and s.node.raft.is_leader]

    def _look_after_the_dead(self) -> None:
        # Some died earlier and by themselves: in the middle of a step, or of a full disk.
        for server in self._servers:
            if not server.is_up and server.id not in self._coming_back:
                self._coming_back.add(server.id)
                self._scheduler.after(self._outage(), partial(self._revive, server))

    def _revive(self, server: SimulatedServer) -> None:
        self._coming_back.remove(server.id)
        if server.is_up:
            return
        if self._rng.random() < self._stops_in_starts:
            server.disk.stop_after(self._rng.randrange(_OPERATIONS_OF_A_START))
        server.start()

    # ------------------------------------------------------------------ kinds of trouble

    def _kill(self) -> None:
        self._a_server().kill(power=False)

    def _kill_everywhere(self) -> None:
        for server in self._servers:
            server.kill(power=False)

    def _lose_power(self) -> None:
        self._a_server().kill(power=True)

    def _lose_power_within_a_step(self) -> None:
        self._a_server().disk.stop_after(self._rng.randrange(6))

    def _lose_power_between_write_and_sync(self) -> None:
        """What the server writes next, or next at some length, may be on its disk in part."""
        self._a_server().disk.stop_at_sync(sectors=self._rng.randrange(4))

    def _lose_power_everywhere(self) -> None:
        for server in self._servers:
            server.kill(power=True)

    def _pause(self) -> None:
        self._a_server().pause(self._outage())

    def _suspend(self) -> None:
        """A machine stands still, and goes on for a while before it hears of the others again.

        It stands still for so long that another server can be elected meanwhile.
        """
        server = self._a_server()
        duration = 2 * self._election_timeout_us + self._outage()
        server.suspend(duration)
        self._isolate({server.id}, at_least_us=duration)

    def _split(self) -> None:
        side = {server.id for server in self._servers if self._rng.random() < 0.5}
        self._isolate(side)

    def _isolate_leader(self) -> None:
        self._isolate({server.id for server in self._leaders()})

    def _isolate(self, side: set[NodeId], at_least_us: int = 0) -> None:
        others = {server.id for server in self._servers} - side
        self._cut(links_between(side, others), at_least_us)

    def _cut(self, links: list[Link], at_least_us: int = 0) -> None:
        self._network.cut(links)
        self._scheduler.after(at_least_us + self._outage(), partial(self._network.mend, links))

    def _freeze_leader(self) -> None:
        """A leader is cut off, hangs, and comes back to all that was sent to it meanwhile."""
        for server in self._leaders():
            alone = 1 + self._rng.randrange(self._election_timeout_us)
            hanging = 4 * self._election_timeout_us + self._outage()
            links = links_between({server.id}, {other.id for other in self._servers} - {server.id})
            self._network.cut(links)
            self._scheduler.after(alone, partial(server.pause, hanging))
            self._scheduler.after(alone, partial(self._network.mend, links))

    def _ambush_leaders(self) -> None:
        """Something befalls the next few leaders, just as they begin to lead, or to commit.

        So several logs end in different terms: the situation of Figure 8 of the Raft paper.
        """
        self._lie_in_wait(self._newest_term(), victims=1 + self._rng.randrange(6))

    def _lie_in_wait(self, term: int, victims: int) -> None:
        if self._scheduler.now >= self._until or not victims:
            return
        new = [s for s in self._leaders() if s.node and s.node.raft.current_term > term]
        if new:
            term, victims = self._newest_term(), victims - 1
            if self._rng.random() < 0.5:
                self._befall(new[0])
            else:
                assert new[0].node is not None
                self._wait_for_commit(new[0], new[0].node.raft.commit_index)
        self._scheduler.after(_AMBUSH_US, partial(self._lie_in_wait, term, victims))

    def _wait_for_commit(self, server: SimulatedServer, commit_index: int) -> None:
        if server not in self._leaders():
            return
        assert server.node is not None
        if server.node.raft.commit_index > commit_index:
            self._befall(server)
        else:
            again = partial(self._wait_for_commit, server, commit_index)
            self._scheduler.after(_AMBUSH_US, again)

    def _ambush_snapshots(self) -> None:
        """Something befalls the next few servers that are busy with a snapshot."""
        self._lie_in_wait_for_snapshots(victims=1 + self._rng.randrange(6))

    def _lie_in_wait_for_snapshots(self, victims: int) -> None:
        if self._scheduler.now >= self._until or not victims:
            return
        busy = [server for server in self._servers if server.works_on_snapshots]
        if busy:
            victims -= 1
            self._befall_snapshot(self._rng.choice(busy))
        wait = self._rng.randrange(1, 20 * _AMBUSH_US)
        self._scheduler.after(wait, partial(self._lie_in_wait_for_snapshots, victims))

    def _befall_snapshot(self, server: SimulatedServer) -> None:
        match self._rng.choice(("loses power", "loses power", "dies", "fails", "is full")):
            case "loses power":
                server.disk.stop_after(self._rng.randrange(10))
            case "dies":
                server.kill(power=False)
            case "fails":
                server.disk.fail_next_sync()
            case _:
                self._fill(server)
        self._look_after_the_dead()

    def _newest_term(self) -> int:
        return max((s.node.raft.current_term for s in self._servers if s.node), default=0)

    def _befall(self, server: SimulatedServer) -> None:
        match self._rng.choice(("dies", "loses power", "is alone", "is alone")):
            case "dies":
                server.kill(power=False)
                self._look_after_the_dead()
            case "loses power":
                server.kill(power=True)
                self._look_after_the_dead()
            case _:
                self._isolate({server.id})

    def _cut_one_way(self) -> None:
        sender, to = self._a_server(), self._rng.choice(self._servers)
        if sender is not to:
            self._cut([(sender.id, to.id)])

    def _break_link(self) -> None:
        one, other = self._a_server(), self._rng.choice(self._servers)
        if one is not other:
            links = links_between({one.id}, {other.id})
            self._network.cut(links)
            one.link_breaks(other.id)
            other.link_breaks(one.id)
            self._scheduler.after(self._outage(), partial(self._mend_link, one, other, links))

    def _mend_link(self, one: SimulatedServer, other: SimulatedServer, links: list[Link]) -> None:
        self._network.mend(links)
        one.link_is_mended(other.id)
        other.link_is_mended(one.id)

    def _jump_clock(self) -> None:
        self._a_server().jump_ahead(self._outage())

    def _stall_disk(self) -> None:
        self._a_server().stall_disk(self._outage())

    def _disconnect_clients(self) -> None:
        for client in self._clients:
            if self._rng.random() < 0.5:
                client.break_connection()

    def _fail_sync(self) -> None:
        self._a_server().disk.fail_next_sync()

    def _damage_snapshot(self) -> None:
        """One server at a time: the others together have what it has lost."""
        server = self._a_server()
        if self._can_spare(server):
            server.damage_snapshot()

    def _lose_disk(self) -> None:
        """Likewise. It comes back with an empty one, under its old id."""
        server = self._a_server()
        if self._can_spare(server):
            server.happened["disks lost"] += 1
            server.lose_disk()

    def _fill_disk(self) -> None:
        self._fill(self._a_server())

    def _fill(self, server: SimulatedServer) -> None:
        server.disk.limit_capacity(0)
        self._scheduler.after(self._outage(), lambda: server.disk.limit_capacity(None))
