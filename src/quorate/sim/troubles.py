"""Each kind of trouble that a world can have: what it does, to whom, and when it ends.

When there is trouble, and of which kind, is the business of `faults`.
"""

import random
from collections.abc import Callable, Sequence
from functools import partial

from quorate.raft.configuration import NodeId
from quorate.sim.ambushes import LeaderAmbush, SnapshotAmbush, Strike
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
        seed: decides whom it hits, and for how long: for each kind by itself, so that one more or
            less changes nothing of the others.
        announce: is told what happens.

    Each kind returns whether it did anything.

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
        seed: int,
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
        self._seed = seed
        self._rngs: dict[str, random.Random] = {}
        self._rng = random.Random(seed)
        self._announce = announce
        self._is_over = False

    def make(self, kind: "Kind") -> bool:
        """Makes trouble of a kind; returns whether there was any."""
        name = name_of(kind)
        if name not in self._rngs:
            self._rngs[name] = random.Random(f"{name} of {self._seed}")
        self._rng = self._rngs[name]
        return kind(self)

    def end(self) -> None:
        """Nothing new happens any more, of what has begun neither."""
        self._is_over = True
        self.ambushes.clear()

    def _outage(self) -> int:
        return 1 + self._rng.randrange(self._longest_outage_us)

    def _a_server(self) -> SimulatedServer:
        # Leaders are hit more often: what follows is more interesting.
        leaders = self._leaders()
        return self._rng.choice(leaders if leaders and self._rng.random() < 0.4 else self._servers)

    def _leaders(self) -> list[SimulatedServer]:
        return [s for s in self._servers if s.node is not None and s.node.raft.is_leader]

    def _tell(self, what: str, *servers: SimulatedServer, lasts_us: int | None = None) -> None:
        until = None if lasts_us is None else self._scheduler.now + lasts_us
        self._announce(what, [server.id for server in servers], until)

    # ------------------------------------------------------------------ processes and machines

    def kill(self) -> bool:
        """A process dies, and the power stays."""
        return self._kill(self._a_server(), power=False)

    def _kill(self, server: SimulatedServer, *, power: bool) -> bool:
        if not server.is_up:
            return False
        self._tell("without power" if power else "killed", server)
        server.kill(power=power)
        return True

    def kill_everywhere(self) -> bool:
        """All die at once."""
        killed = [self._kill(server, power=False) for server in self._servers]
        return any(killed)

    def lose_power(self) -> bool:
        """A machine loses power."""
        return self._kill(self._a_server(), power=True)

    def lose_power_everywhere(self) -> bool:
        """All do, at once."""
        killed = [self._kill(server, power=True) for server in self._servers]
        return any(killed)

    def lose_power_within_a_step(self) -> bool:
        """At one of the next operations of the disk."""
        server = self._a_server()
        self._tell("power goes soon", server)
        server.disk.stop_after(self._rng.randrange(6))
        return server.is_up

    def lose_power_between_write_and_sync(self) -> bool:
        """What the server writes next, or next at some length, may be on its disk in part."""
        server = self._a_server()
        self._tell("power goes at a sync", server)
        server.disk.stop_at_sync(sectors=self._rng.randrange(4))
        return server.is_up

    def pause(self) -> bool:
        """A process stands still, and goes on as if nothing had been."""
        duration = self._outage()
        server = self._a_server()
        self._tell("paused", server, lasts_us=duration)
        server.pause(duration)
        return server.is_up

    def suspend(self) -> bool:
        """A machine stands still, and goes on for a while before it hears of the others again.

        It stands still for so long that another server can be elected meanwhile.
        """
        server = self._a_server()
        duration = 2 * self._election_timeout_us + self._outage()
        self._tell("suspended", server, lasts_us=duration)
        server.suspend(duration)
        self._isolate([server], at_least_us=duration)
        return server.is_up

    def jump_clock(self) -> bool:
        """A clock jumps ahead."""
        server = self._a_server()
        self._tell("clock jumps", server)
        server.jump_ahead(self._outage())
        return server.is_up

    # ------------------------------------------------------------------ the network

    def split(self) -> bool:
        """Some servers cannot talk to the others."""
        return self._isolate([server for server in self._servers if self._rng.random() < 0.5])

    def isolate_leader(self) -> bool:
        """Nobody hears of whoever leads, nor he of anybody."""
        return self._isolate(self._leaders())

    def cut_one_way(self) -> bool:
        """A server does not hear of another one, which hears of it."""
        sender, to = self._a_server(), self._rng.choice(self._servers)
        if sender is to:
            return False
        self._tell("unheard", sender, to, lasts_us=self._cut([(sender.id, to.id)]))
        return True

    def flap(self) -> bool:
        """Two servers can talk and cannot, again and again."""
        one, other = self._a_server(), self._rng.choice(self._servers)
        if one is other:
            return False
        period = 1 + self._rng.randrange(self._election_timeout_us)
        times = 2 + self._rng.randrange(10)
        self._tell("link flaps", one, other, lasts_us=2 * period * times)
        self._flap(links_between({one.id}, {other.id}), period, times)
        return True

    def _flap(self, links: list[Link], period: int, times: int) -> None:
        if self._is_over:
            return
        self._network.cut(links)
        self._scheduler.after(period, partial(self._network.mend, links))
        if times > 1:
            self._scheduler.after(2 * period, partial(self._flap, links, period, times - 1))

    def slow_link(self) -> bool:
        """All that a server sends to another one takes much longer, for a while."""
        sender, to = self._a_server(), self._rng.choice(self._servers)
        if sender is to:
            return False
        duration = self._outage()
        links = [(sender.id, to.id)]
        self._tell("slow link", sender, to, lasts_us=duration)
        self._network.slow_down(links, 1 + self._rng.randrange(self._election_timeout_us))
        self._scheduler.after(duration, partial(self._network.speed_up, links))
        return True

    def overtake_former_life(self) -> bool:
        """What a server says in one life comes after what it says in the next one."""
        server = self._a_server()
        if not server.is_up:
            return False
        links = [(server.id, other.id) for other in self._servers if other is not server]
        delay = 4 * self._election_timeout_us
        self._tell("lives overtake each other", server, lasts_us=delay)
        self._network.slow_down(links, delay)
        server.kill(power=False)
        server.start()
        self._scheduler.after(self._election_timeout_us, partial(self._overtake, server, links))
        return True

    def _overtake(self, server: SimulatedServer, links: list[Link]) -> None:
        self._network.speed_up(links)
        if server.is_up and not self._is_over:
            server.kill(power=False)
            server.start()

    def break_link(self) -> bool:
        """A connection between two servers ends, and cannot be made for a while."""
        one, other = self._a_server(), self._rng.choice(self._servers)
        if one is other:
            return False
        duration = self._outage()
        links = links_between({one.id}, {other.id})
        self._tell("link broken", one, other, lasts_us=duration)
        self._network.cut(links)
        one.link_breaks(other.id)
        other.link_breaks(one.id)
        self._scheduler.after(duration, partial(self._mend_link, one, other, links))
        return True

    def _mend_link(self, one: SimulatedServer, other: SimulatedServer, links: list[Link]) -> None:
        self._network.mend(links)
        one.link_is_mended(other.id)
        other.link_is_mended(one.id)

    def freeze_leader(self) -> bool:
        """A leader is cut off, hangs, and comes back to all that was sent to it meanwhile."""
        leaders = self._leaders()
        for server in leaders:
            alone = 1 + self._rng.randrange(self._election_timeout_us)
            hanging = 4 * self._election_timeout_us + self._outage()
            links = links_between({server.id}, {other.id for other in self._servers} - {server.id})
            self._tell("cut off and frozen", server, lasts_us=alone + hanging)
            self._network.cut(links)
            self._scheduler.after(alone, partial(self._freeze, server, hanging))
            self._scheduler.after(alone, partial(self._network.mend, links))
        return bool(leaders)

    def _freeze(self, server: SimulatedServer, duration_us: int) -> None:
        if not self._is_over:
            server.pause(duration_us)

    def _isolate(self, side: Sequence[SimulatedServer], at_least_us: int = 0) -> bool:
        names = {server.id for server in side}
        others = {server.id for server in self._servers} - names
        duration = self._cut(links_between(names, others), at_least_us)
        if not names or not others:
            return False
        self._tell("cut off", *side, lasts_us=duration)
        return True

    def _cut(self, links: list[Link], at_least_us: int = 0) -> int:
        duration = at_least_us + self._outage()
        self._network.cut(links)
        self._scheduler.after(duration, partial(self._network.mend, links))
        return duration

    def disconnect_clients(self) -> bool:
        """Half of the clients lose their connections."""
        self._tell("clients disconnected")
        for client in self._clients:
            if self._rng.random() < 0.5:
                client.break_connection()
        return True

    # ------------------------------------------------------------------ disks

    def stall_disk(self) -> bool:
        """Syncs don't end for a while."""
        duration = self._outage()
        server = self._a_server()
        self._tell("disk stalls", server, lasts_us=duration)
        server.stall_disk(duration)
        return server.is_up

    def fail_sync(self) -> bool:
        """The next sync fails."""
        return self._fail_sync(self._a_server(), is_full=False)

    def _fail_sync(self, server: SimulatedServer, *, is_full: bool) -> bool:
        self._tell("disk full at a sync" if is_full else "sync fails", server)
        server.disk.fail_next_sync(is_full=is_full)
        return server.is_up

    def fill_disk_at_sync(self) -> bool:
        """The next sync says that the disk is full, as network file systems do."""
        return self._fail_sync(self._a_server(), is_full=True)

    def fill_disk(self) -> bool:
        """There is no space for a while."""
        return self._fill(self._a_server())

    def _fill(self, server: SimulatedServer) -> bool:
        duration = self._outage()
        self._tell("disk full", server, lasts_us=duration)
        server.disk.limit_capacity(0)
        self._scheduler.after(duration, lambda: server.disk.limit_capacity(None))
        return server.is_up

    def damage_snapshot(self) -> bool:
        """A byte of a snapshot changes. One server at a time: the others have what it has lost."""
        return self._damage_snapshot(self._a_server(), restarts=self._rng.random() < 0.5)

    def _damage_snapshot(self, server: SimulatedServer, *, restarts: bool) -> bool:
        if not self._can_spare(server) or not server.damage_snapshot(restarts=restarts):
            return False
        self._tell("snapshot damaged", server)
        return True

    def damage_log(self) -> bool:
        """A byte of a log changes. Likewise: the server has to be let in anew."""
        server = self._a_server()
        if not self._can_spare(server) or not server.damage_log():
            return False
        self._tell("log damaged", server)
        server.happened["disks lost"] += 1
        return True

    def lose_disk(self) -> bool:
        """A server comes back with an empty disk, under its old id. Likewise."""
        server = self._a_server()
        if not self._can_spare(server):
            return False
        self._tell("disk lost", server)
        server.happened["disks lost"] += 1
        server.lose_disk()
        return True

    # ------------------------------------------------------------------ at the very moment

    def ambush_leaders(self) -> bool:
        """Something befalls the next few leaders, just as they begin to lead, or to commit."""
        self._tell("leaders ambushed")
        victims = 1 + self._rng.randrange(6)
        self.ambushes.append(
            LeaderAmbush(
                self._servers,
                victims=victims,
                strike=partial(self._as_drawn_by, self._rng, self._befall),
                rng=self._rng,
            )
        )
        return True

    def _as_drawn_by(self, rng: random.Random, strike: Strike, server: SimulatedServer) -> None:
        """Whoever lies in wait has the chances of his kind, whatever came since."""
        self._rng = rng
        strike(server)

    def _befall(self, server: SimulatedServer) -> None:
        match self._rng.choice(("dies", "loses power", "is alone", "is alone")):
            case "dies":
                self._kill(server, power=False)
            case "loses power":
                self._kill(server, power=True)
            case _:
                self._isolate([server])

    def ambush_snapshots(self) -> bool:
        """Something befalls the next few servers that are busy with a snapshot."""
        self._tell("snapshots ambushed")
        self.ambushes.append(
            SnapshotAmbush(
                self._scheduler,
                self._servers,
                victims=1 + self._rng.randrange(6),
                strike=partial(self._as_drawn_by, self._rng, self._befall_snapshot),
                rng=self._rng,
            )
        )
        return True

    def _befall_snapshot(self, server: SimulatedServer) -> None:
        match self._rng.choice(("loses power", "loses power", "dies", "fails", "is full", "rots")):
            case "loses power":
                self._tell("power goes soon", server)
                server.disk.stop_after(self._rng.randrange(10))
            case "dies":
                self._kill(server, power=False)
            case "fails":
                self._fail_sync(server, is_full=False)
            case "rots":
                self._damage_snapshot(server, restarts=False)
            case _:
                self._fill(server)


Kind = Callable[[Troubles], bool]


def name_of(kind: Kind) -> str:
    """What a kind of trouble is called."""
    return kind.__name__.replace("_", " ")
