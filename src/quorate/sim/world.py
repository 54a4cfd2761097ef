"""One life of a whole cluster, drawn from one seed.

First phase, safety: faults of all kinds while clients work. Second phase, liveness: the world
heals, every server runs, and every call must end soon. Then what is there is compared with what
the clients were told.
"""

import random

import msgspec

from quorate.kv.queries import Get
from quorate.node.limits import NodeLimits
from quorate.raft.configuration import Member, NodeId
from quorate.raft.settings import Settings
from quorate.sim.clients import KEYS, ClerkClient, Client, PlainClient
from quorate.sim.faults import Faults
from quorate.sim.history import History, HistoryError
from quorate.sim.invariants import Invariants
from quorate.sim.network import Network, NetworkFaults
from quorate.sim.scheduler import Scheduler
from quorate.sim.server import ServerSettings, SimulatedServer
from quorate.sim.stream import Stream, StreamClient

SECOND_US = 1_000_000
HEALING_US = 30 * SECOND_US
"""After the world has healed, every call must end within this time."""


class LivenessError(AssertionError):
    """The healed cluster made no progress."""


class Report(msgspec.Struct, frozen=True):
    """What happened in one life.

    Attributes:
        seed: of the life.
        servers: how many there were.
        virtual_us: how long it lasted.
        acknowledged: appends that took effect exactly once.
        unknown: appends whose client does not know.
        not_executed: appends that were not executed.
        reads: reads that were answered.
        leaders: terms with a leader.
        committed: entries committed.
        messages: messages sent between servers.
        faults: how often each kind of fault happened.
        trace: a number that two lives only share if everything in them was the same.
    """

    seed: int
    servers: int
    virtual_us: int
    acknowledged: int
    unknown: int
    not_executed: int
    reads: int
    leaders: int
    committed: int
    messages: int
    faults: dict[str, int]
    trace: int


class World:
    """A cluster, its clients and its troubles.

    Args:
        seed: decides everything.
        duration_us: how long the first phase lasts, in virtual microseconds.
    """

    def __init__(self, seed: int, *, duration_us: int = 8 * SECOND_US) -> None:
        self._seed = seed
        self._duration_us = duration_us
        self._rng = rng = random.Random(seed)
        self._scheduler = Scheduler()
        self._network = Network(self._scheduler, self._fork(), _draw_network_faults(rng))
        self._history = History()
        self._invariants = Invariants()
        self._servers = self._build_servers()
        self._clients = self._build_clients()
        self._faults = Faults(
            self._scheduler,
            self._network,
            list(self._servers.values()),
            self._clients,
            rng=self._fork(),
        )

    def run(self) -> Report:
        """Lives this life.

        Raises:
            AssertionError: the service broke a promise, or an assertion of its own; the text
                says which.
        """
        for server in self._servers.values():
            server.start()
        for client in self._clients:
            client.start()
        self._faults.start(until=self._duration_us)
        self._run_until(self._duration_us)
        self._heal()
        self._check()
        return self._report()

    # ------------------------------------------------------------------ building

    def _fork(self) -> random.Random:
        """Chances of its own for a part, so that parts don't disturb each other."""
        return random.Random(self._rng.getrandbits(64))

    def _build_servers(self) -> dict[NodeId, SimulatedServer]:
        count = self._rng.choice((1, 3, 3, 3, 5))
        members = tuple(
            Member(id=NodeId(number), client_address=_address(number))
            for number in range(1, count + 1)
        )
        settings = _draw_server_settings(self._rng)
        servers: dict[NodeId, SimulatedServer] = {}
        for member in members:
            servers[member.id] = SimulatedServer(
                member,
                members,
                scheduler=self._scheduler,
                network=self._network,
                rng=self._fork(),
                settings=settings,
                peer=servers.__getitem__,
            )
        return servers

    def _build_clients(self) -> list[Client]:
        addresses = [_address(node) for node in self._servers]
        clients: list[Client] = [
            ClerkClient(
                b"clerk-%d" % number,
                servers=addresses,
                dial=self._dial,
                scheduler=self._scheduler,
                history=self._history,
                rng=self._fork(),
                calls=calls,
            )
            for number, calls in enumerate((1, 1, 4))
        ]
        clients.extend(
            PlainClient(
                b"plain-%d" % number,
                servers=addresses,
                dial=self._dial,
                scheduler=self._scheduler,
                history=self._history,
                rng=self._fork(),
            )
            for number in range(2)
        )
        return clients

    def _dial(self, address: str, client: StreamClient) -> Stream:
        server = self._servers[NodeId(int(address.rpartition(":")[2]))]
        stream = Stream(self._scheduler, self._network, server, client)
        stream.open()
        return stream

    # ------------------------------------------------------------------ living

    def _run_until(self, time: int) -> None:
        servers = list(self._servers.values())
        self._scheduler.run_until(time, lambda: self._invariants.check(servers))

    def _heal(self) -> None:
        self._faults.heal()
        for client in self._clients:
            client.stop()
        deadline = self._scheduler.now + HEALING_US
        while not all(client.is_idle for client in self._clients):
            if self._scheduler.now >= deadline:
                raise LivenessError(
                    f"calls were unanswered {HEALING_US / SECOND_US:.0f} s after the world healed"
                )
            self._run_until(self._scheduler.now + SECOND_US // 10)
            self._faults.revive_all()
        # Long enough for every server to hear of the last commit.
        self._run_until(self._scheduler.now + 3 * SECOND_US)

    def _check(self) -> None:
        states: dict[bytes, NodeId] = {}
        for server in self._servers.values():
            assert server.node is not None, f"node {server.id} is down: {server.failure}"
            states.setdefault(server.node.state.snapshot(), server.id)
        if len(states) > 1:
            raise HistoryError(f"nodes {sorted(states.values())} have different states")
        self._history.check({b"key-%d" % number: self._value(number) for number in range(KEYS)})

    def _value(self, number: int) -> bytes:
        node = next(iter(self._servers.values())).node
        assert node is not None
        value = node.state.query(Get(b"key-%d" % number))
        assert value is None or isinstance(value, bytes)
        return value or b""

    def _report(self) -> Report:
        history = self._history
        return Report(
            seed=self._seed,
            servers=len(self._servers),
            virtual_us=self._scheduler.now,
            acknowledged=history.acknowledged,
            unknown=history.unknown,
            not_executed=history.not_executed,
            reads=history.reads,
            leaders=self._invariants.leaders,
            committed=self._invariants.committed,
            messages=self._network.sent,
            faults=dict(sorted(self._faults.counts.items())),
            trace=self._network.trace,
        )


def _address(number: int) -> str:
    return f"server:{number}"


def _draw_network_faults(rng: random.Random) -> NetworkFaults:
    return NetworkFaults(
        loss=rng.choice((0.0, 0.02, 0.1, 0.2)),
        duplication=rng.choice((0.0, 0.02, 0.1)),
        latency_us=rng.choice((500, 2_000, 10_000)),
        stray=rng.choice((0.0, 0.01, 0.05)),
    )


def _draw_server_settings(rng: random.Random) -> ServerSettings:
    return ServerSettings(
        raft=Settings(
            election_timeout_us=rng.choice((150_000, 300_000, 500_000)),
            heartbeat_interval_us=rng.choice((30_000, 60_000, 100_000)),
            append_timeout_us=rng.choice((60_000, 150_000)),
            forward_timeout_us=rng.choice((200_000, 1_000_000)),
            max_appends_in_flight=rng.choice((1, 4, 8)),
            max_append_bytes=rng.choice((64, 1024, 1024 * 1024)),
        ),
        limits=NodeLimits(command_timeout_us=rng.choice((300_000, 1_000_000, 3_000_000))),
        sync_us=rng.choice((200, 2_000, 10_000)),
        slow_sync=rng.choice((0.0, 0.002, 0.02)),
        segment_size=rng.choice((2_048, 16_384, 262_144)),
    )
