"""Each kind of trouble that a world can have: what it does, to whom, and when it ends.

When there is trouble, and of which kind, is the business of `faults`.
"""

import random
from collections.abc import Callable, Sequence
from functools import partial

from quorate.raft.configuration import NodeId
from quorate.sim.ambushes import LeaderAmbush, SnapshotAmbush
from quorate.sim.clients import Client
from quorate.sim.network import Link, Network, links_between
from quorate.sim.scheduler import Scheduler
from quorate.sim.server import SimulatedServer

Announce = Callable[[str, Sequence[NodeId], int | None], None]
"""Is told what happens, to which servers, and until when if it lasts."""


def nobody_listens(_what: str, _nodes: Sequence[NodeId], _until: int | None) -> None:
    """Nobody wants to know."""


class Troubles:
    """Makes trouble of each kind.

    Args:
        scheduler: virtual time.
        network: to be cut.
        servers: to be killed, paused and given bad disks and clocks.
        clients: to be disconnected.
        can_spare: whether the cluster can do without what is on the disk of a server.
        election_timeout_us: of the servers.
        longest_outage_us: the longest time for which something is out of order.
        rng: decides whom it hits, and for how long.
        announce: is told what happens.

    Attributes:
        ambushes: those who lie in wait, to `look` after each event.
    """

    def __init__(
        self,
        scheduler: Scheduler,
        network: Network,
        servers: Sequence[SimulatedServer],
        clients: Sequence[Client],
        *,
        can_spare: Callable[[SimulatedServer], bool],
        election_timeout_us: int,
        longest_outage_us: int,
        rng: random.Random,
        announce: Announce,
    ) -> None:
        self.ambushes: list[LeaderAmbush | SnapshotAmbush] = []
        self._scheduler = scheduler
        self._network = network
        self._servers = servers
        self._clients = clients
        self._can_spare = can_spare
        self._election_timeout_us = election_timeout_us
        self._longest_outage_us = longest_outage_us
        self._rng = rng
        self._announce = announce

    def _outage(self) -> int:
        return 1 + self._rng.randrange(self._longest_outage_us)

    def _a_server(self) -> SimulatedServer:
        # Leaders are hit more often: what follows is more interesting.
        leaders = self._leaders()
        return self._rng.choice(leaders if leaders and self._rng.random() < 0.4 else self._servers)

    def _hit(self, what: str) -> SimulatedServer:
        server = self._a_server()
        self._tell(what, server)
        return server

    def _leaders(self) -> list[SimulatedServer]:
        return [s for s in self._servers if s.node is not None and s.node.raft.is_leader]

    def _tell(self, what: str, *servers: SimulatedServer, lasts_us: int | None = None) -> None:
        until = None if lasts_us is None else self._scheduler.now + lasts_us
        self._announce(what, [server.id for server in servers], until)

    # ------------------------------------------------------------------ processes and machines

    def kill(self) -> None:
        """A process dies, and the power stays."""
        self._hit("killed").kill(power=False)

    def kill_everywhere(self) -> None:
        """All die at once."""
        self._tell("killed", *self._servers)
        for server in self._servers:
            server.kill(power=False)

    def lose_power(self) -> None:
        """A machine loses power."""
        self._hit("without power").kill(power=True)

    def lose_power_everywhere(self) -> None:
        """All do, at once."""
        self._tell("without power", *self._servers)
        for server in self._servers:
            server.kill(power=True)

    def lose_power_within_a_step(self) -> None:
        """At one of the next operations of the disk."""
        self._hit("power goes soon").disk.stop_after(self._rng.randrange(6))

    def lose_power_between_write_and_sync(self) -> None:
        """What the server writes next, or next at some length, may be on its disk in part."""
        server = self._hit("power goes at a sync")
        server.disk.stop_at_sync(sectors=self._rng.randrange(4))

    def pause(self) -> None:
        """A process stands still, and goes on as if nothing had been."""
        duration = self._outage()
        server = self._a_server()
        self._tell("paused", server, lasts_us=duration)
        server.pause(duration)

    def suspend(self) -> None:
        """A machine stands still, and goes on for a while before it hears of the others again.

        It stands still for so long that another server can be elected meanwhile.
        """
        server = self._a_server()
        duration = 2 * self._election_timeout_us + self._outage()
        self._tell("suspended", server, lasts_us=duration)
        server.suspend(duration)
        self._isolate([server], at_least_us=duration)

    def jump_clock(self) -> None:
        """A clock jumps ahead."""
        self._hit("clock jumps").jump_ahead(self._outage())

    # ------------------------------------------------------------------ the network

    def split(self) -> None:
        """Some servers cannot talk to the others."""
        self._isolate([server for server in self._servers if self._rng.random() < 0.5])

    def isolate_leader(self) -> None:
        """Nobody hears of whoever leads, nor he of anybody."""
        self._isolate(self._leaders())

    def cut_one_way(self) -> None:
        """A server does not hear of another one, which hears of it."""
        sender, to = self._a_server(), self._rng.choice(self._servers)
        if sender is not to:
            self._cut([(sender.id, to.id)])

    def flap(self) -> None:
        """Two servers can talk and cannot, again and again."""
        one, other = self._a_server(), self._rng.choice(self._servers)
        if one is not other:
            period = 1 + self._rng.randrange(self._election_timeout_us)
            times = 2 + self._rng.randrange(10)
            self._tell("link flaps", one, other, lasts_us=2 * period * times)
            self._flap(links_between({one.id}, {other.id}), period, times)

    def _flap(self, links: list[Link], period: int, times: int) -> None:
        self._network.cut(links)
        self._scheduler.after(period, partial(self._network.mend, links))
        if times > 1:
            self._scheduler.after(2 * period, partial(self._flap, links, period, times - 1))

    def slow_link(self) -> None:
        """All that a server sends to another one takes much longer, for a while."""
        sender, to = self._a_server(), self._rng.choice(self._servers)
        if sender is not to:
            duration = self._outage()
            links = [(sender.id, to.id)]
            self._tell("slow link", sender, to, lasts_us=duration)
            self._network.slow_down(links, 1 + self._rng.randrange(self._election_timeout_us))
            self._scheduler.after(duration, partial(self._network.speed_up, links))

    def break_link(self) -> None:
        """A connection between two servers ends, and cannot be made for a while."""
        one, other = self._a_server(), self._rng.choice(self._servers)
        if one is not other:
            duration = self._outage()
            links = links_between({one.id}, {other.id})
            self._tell("link broken", one, other, lasts_us=duration)
            self._network.cut(links)
            one.link_breaks(other.id)
            other.link_breaks(one.id)
            self._scheduler.after(duration, partial(self._mend_link, one, other, links))

    def _mend_link(self, one: SimulatedServer, other: SimulatedServer, links: list[Link]) -> None:
        self._network.mend(links)
        one.link_is_mended(other.id)
        other.link_is_mended(one.id)

    def freeze_leader(self) -> None:
        """A leader is cut off, hangs, and comes back to all that was sent to it meanwhile."""
        for server in self._leaders():
            alone = 1 + self._rng.randrange(self._election_timeout_us)
            hanging = 4 * self._election_timeout_us + self._outage()
            links = links_between({server.id}, {other.id for other in self._servers} - {server.id})
            self._tell("cut off and frozen", server, lasts_us=alone + hanging)
            self._network.cut(links)
            self._scheduler.after(alone, partial(server.pause, hanging))
            self._scheduler.after(alone, partial(self._network.mend, links))

    def _isolate(self, side: Sequence[SimulatedServer], at_least_us: int = 0) -> None:
        names = {server.id for server in side}
        others = {server.id for server in self._servers} - names
        duration = self._cut(links_between(names, others), at_least_us)
        if names and others:
            self._tell("cut off", *side, lasts_us=duration)

    def _cut(self, links: list[Link], at_least_us: int = 0) -> int:
        duration = at_least_us + self._outage()
        self._network.cut(links)
        self._scheduler.after(duration, partial(self._network.mend, links))
        return duration

    def disconnect_clients(self) -> None:
        """Half of the clients lose their connections."""
        self._tell("clients disconnected")
        for client in self._clients:
            if self._rng.random() < 0.5:
                client.break_connection()

    # ------------------------------------------------------------------ disks

    def stall_disk(self) -> None:
        """Syncs don't end for a while."""
        duration = self._outage()
        server = self._a_server()
        self._tell("disk stalls", server, lasts_us=duration)
        server.stall_disk(duration)

    def fail_sync(self) -> None:
        """The next sync fails."""
        self._hit("sync fails").disk.fail_next_sync()

    def fill_disk_at_sync(self) -> None:
        """The next sync says that the disk is full, as network file systems do."""
        self._hit("disk full at a sync").disk.fail_next_sync(is_full=True)

    def fill_disk(self) -> None:
        """There is no space for a while."""
        self._fill(self._a_server())

    def _fill(self, server: SimulatedServer) -> None:
        duration = self._outage()
        self._tell("disk full", server, lasts_us=duration)
        server.disk.limit_capacity(0)
        self._scheduler.after(duration, lambda: server.disk.limit_capacity(None))

    def damage_snapshot(self) -> None:
        """A byte of a snapshot changes. One server at a time: the others have what it has lost."""
        server = self._a_server()
        restarts = self._rng.random() < 0.5
        if self._can_spare(server) and server.damage_snapshot(restarts=restarts):
            self._tell("snapshot damaged", server)

    def damage_log(self) -> None:
        """A byte of a log changes. Likewise: the server has to be let in anew."""
        server = self._a_server()
        if self._can_spare(server) and server.damage_log():
            self._tell("log damaged", server)
            server.happened["disks lost"] += 1

    def lose_disk(self) -> None:
        """A server comes back with an empty disk, under its old id. Likewise."""
        server = self._a_server()
        if self._can_spare(server):
            self._tell("disk lost", server)
            server.happened["disks lost"] += 1
            server.lose_disk()

    # ------------------------------------------------------------------ at the very moment

    def ambush_leaders(self) -> None:
        """Something befalls the next few leaders, just as they begin to lead, or to commit."""
        self._tell("leaders ambushed")
        victims = 1 + self._rng.randrange(6)
        self.ambushes.append(
            LeaderAmbush(self._servers, victims=victims, strike=self._befall, rng=self._rng)
        )

    def _befall(self, server: SimulatedServer) -> None:
        match self._rng.choice(("dies", "loses power", "is alone", "is alone")):
            case "dies":
                self._tell("killed", server)
                server.kill(power=False)
            case "loses power":
                self._tell("without power", server)
                server.kill(power=True)
            case _:
                self._isolate([server])

    def ambush_snapshots(self) -> None:
        """Something befalls the next few servers that are busy with a snapshot."""
        self._tell("snapshots ambushed")
        self.ambushes.append(
            SnapshotAmbush(
                self._scheduler,
                self._servers,
                victims=1 + self._rng.randrange(6),
                strike=self._befall_snapshot,
                rng=self._rng,
            )
        )

    def _befall_snapshot(self, server: SimulatedServer) -> None:
        match self._rng.choice(("loses power", "loses power", "dies", "fails", "is full")):
            case "loses power":
                self._tell("power goes soon", server)
                server.disk.stop_after(self._rng.randrange(10))
            case "dies":
                self._tell("killed", server)
                server.kill(power=False)
            case "fails":
                self._tell("sync fails", server)
                server.disk.fail_next_sync()
            case _:
                self._fill(server)
