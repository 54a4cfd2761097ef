"""The troubles of a world: at random times, one of all kinds, drawn from one generator."""

import random
from collections import Counter
from collections.abc import Callable, Sequence

from quorate.sim.clients import Client
from quorate.sim.network import PERFECT, Network
from quorate.sim.scheduler import Scheduler
from quorate.sim.server import SimulatedServer

_LONGEST_CALM_US = 800_000
_LONGEST_OUTAGE_US = 1_500_000


class Faults:
    """Makes trouble, and mends it all in the end.

    Args:
        scheduler: virtual time.
        network: to be cut.
        servers: to be killed, paused and given bad disks.
        clients: to be disconnected.
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
        rng: random.Random,
    ) -> None:
        self.counts: Counter[str] = Counter()
        self._scheduler = scheduler
        self._network = network
        self._servers = servers
        self._clients = clients
        self._rng = rng
        self._until = 0
        self._kinds: list[Callable[[], None]] = [
            self._kill,
            self._lose_power,
            self._lose_power_within_a_step,
            self._lose_power_everywhere,
            self._pause,
            self._split,
            self._isolate_leader,
            self._cut_one_way,
            self._disconnect_clients,
            self._fail_sync,
            self._fill_disk,
        ]

    def start(self, *, until: int) -> None:
        """Begins to make trouble, until a time."""
        self._until = until
        self._next()

    def heal(self) -> None:
        """Mends everything: from now on the world is as good as it can be."""
        self._network.heal()
        self._network.faults = PERFECT
        for server in self._servers:
            server.disk.limit_capacity(None)
        self.revive_all()

    def revive_all(self) -> None:
        """Starts every server that is down, as a supervisor would."""
        for server in self._servers:
            self._revive(server)

    def _next(self) -> None:
        self._scheduler.after(self._rng.randrange(_LONGEST_CALM_US), self._strike)

    def _strike(self) -> None:
        if self._scheduler.now < self._until:
            kind = self._rng.choice(self._kinds)
            self.counts[kind.__name__.removeprefix("_")] += 1
            kind()
            self._next()

    def _outage(self) -> int:
        return 1 + self._rng.randrange(_LONGEST_OUTAGE_US)

    def _a_server(self) -> SimulatedServer:
        return self._rng.choice(self._servers)

    def _revive(self, server: SimulatedServer) -> None:
        # Starting may fail again while the fault lasts, for instance on a full disk.
        if not server.is_up:
            server.start()

    def _revive_later(self, server: SimulatedServer) -> None:
        self._scheduler.after(self._outage(), lambda: self._revive(server))

    # ------------------------------------------------------------------ kinds of trouble

    def _kill(self) -> None:
        server = self._a_server()
        server.kill(power=False)
        self._revive_later(server)

    def _lose_power(self) -> None:
        server = self._a_server()
        server.kill(power=True)
        self._revive_later(server)

    def _lose_power_within_a_step(self) -> None:
        server = self._a_server()
        if server.is_up:
            server.disk.stop_after(self._rng.randrange(6))
        self._revive_later(server)

    def _lose_power_everywhere(self) -> None:
        for server in self._servers:
            server.kill(power=True)
            self._revive_later(server)

    def _pause(self) -> None:
        self._a_server().pause(self._outage())

    def _split(self) -> None:
        side = {server.id for server in self._servers if self._rng.random() < 0.5}
        self._network.split(side, {server.id for server in self._servers} - side)
        self._scheduler.after(self._outage(), self._network.heal)

    def _isolate_leader(self) -> None:
        leaders = {s.id for s in self._servers if s.node is not None and s.node.raft.is_leader}
        self._network.split(leaders, {server.id for server in self._servers} - leaders)
        self._scheduler.after(self._outage(), self._network.heal)

    def _cut_one_way(self) -> None:
        sender, to = self._a_server(), self._a_server()
        if sender is not to:
            self._network.cut(sender.id, to.id)
            self._scheduler.after(self._outage(), self._network.heal)

    def _disconnect_clients(self) -> None:
        for client in self._clients:
            if self._rng.random() < 0.5:
                client.break_connection()

    def _fail_sync(self) -> None:
        server = self._a_server()
        if server.is_up:
            server.disk.fail_next_sync()
        self._revive_later(server)

    def _fill_disk(self) -> None:
        server = self._a_server()
        server.disk.limit_capacity(0)

        def make_room() -> None:
            server.disk.limit_capacity(None)
            self._revive(server)

        self._scheduler.after(self._outage(), make_room)
