"""One life of a whole cluster, drawn from one seed.

First phase, safety: faults of all kinds while clients work. Second phase, liveness: the world
heals, for a majority at first if the members stay the same, then for all, and every call must end
soon. Then what is there is compared with what the clients were told.
"""

import random
import re
from collections import Counter
from collections.abc import Callable, Iterable
from functools import partial

from quorate.clerk.settings import ClerkSettings
from quorate.kv.queries import Get
from quorate.node.node import Node
from quorate.raft.configuration import Member, NodeId
from quorate.replica.snapshot_taker import NEVER
from quorate.sim.clients import ClerkClient, Client, ClientSettings, PlainClient, reader_settings
from quorate.sim.clock import Clock
from quorate.sim.draws import (
    CLOCK_RATES,
    draw_client_settings,
    draw_network_faults,
    draw_sending_factor,
    draw_server_settings,
)
from quorate.sim.errors import LivenessError
from quorate.sim.faults import Faults
from quorate.sim.history import History
from quorate.sim.invariants import Invariants
from quorate.sim.large_values import PAUSE_US, LargeValuesClient
from quorate.sim.life import Life
from quorate.sim.memory import check_memory
from quorate.sim.network import Network
from quorate.sim.operator import Operator
from quorate.sim.recorder import Recorder
from quorate.sim.report import Report
from quorate.sim.scheduler import Scheduler
from quorate.sim.server import SimulatedServer
from quorate.sim.snapshot_work import StateSeen
from quorate.sim.stream import Stream, StreamClient
from quorate.sim.tolerance import Tolerance
from quorate.sim.trace import Trace
from quorate.sim.troubles import nobody_listens

SECOND_US = 1_000_000
_LEAST_RAFT_STATE = 256
"""Term and vote, and an entry without data, have less than these bytes."""
_SIZES = (1, 2, 3, 3, 3, 3, 3, 3, 3, 4, 5, 5, 5, 6, 7)
"""How many servers a cluster begins with."""
MOST_SERVERS = 7
"""Of a cluster whose members change: so many there are, members or not."""
LARGE_KEYS = 8
"""So many keys at most have large values."""
_OPERATOR = "operator"
_LOSES_DISKS = 0.5
"""The share of these worlds in which servers lose their disks."""
_PEACE_US = 2 * SECOND_US
"""For so long nothing is to happen when everything is as it should be."""
HEALING_US = 30 * SECOND_US
"""After the world has healed, every call must end within this time."""


class World:
    """A cluster, its clients and its troubles.

    Args:
        life: what it is drawn from.
        recorder: writes down what happens, if somebody is to.
    """

    def __init__(self, life: Life, recorder: Recorder | None = None) -> None:
        self._life = life
        self._recorder = recorder
        self._announce = nobody_listens if recorder is None else recorder.mark
        self._duration_us = life.seconds * SECOND_US
        self._rng = rng = random.Random(life.seed)
        self._scheduler = Scheduler()
        self._trace = Trace(self._scheduler)
        self._network = Network(
            self._scheduler, self._fork(), draw_network_faults(rng), self._trace, recorder
        )
        self._history = History()
        sending_factor = draw_sending_factor(life.seed)
        self._server_settings = draw_server_settings(
            rng, sending_factor=sending_factor, patience=life.patience
        )
        self._churn_rng = random.Random(f"churn of {life.seed}") if life.churn else None
        self._servers = self._build_servers()
        self._running = [server for server in self._servers.values() if server.founders]
        self._invariants = Invariants(self._running)
        self._clients = self._build_clients()
        self._operator = self._build_operator()
        self._faults = Faults(
            self._scheduler,
            self._network,
            self._running,
            list(self._clients.values()),
            can_spare=self._can_spare,
            loses_disks=self._churn_rng is not None and self._churn_rng.random() < _LOSES_DISKS,
            election_timeout_us=self._server_settings.node.raft.election_timeout_us,
            life=life,
            rng=self._fork(),
            announce=self._announce,
        )
        if recorder is not None:
            recorder.begin(self._scheduler, self._servers.values(), self._history)

    @property
    def now(self) -> int:
        """The present time, in virtual microseconds."""
        return self._scheduler.now

    @property
    def faults(self) -> dict[str, int]:
        """How often each kind of trouble has come by now."""
        return dict(sorted(self._faults.counts.items()))

    @property
    def parts(self) -> tuple[str, ...]:
        """The names of the clients that this life can do without."""
        return tuple(name for name in self._clients if name != _OPERATOR)

    @property
    def nodes(self) -> dict[NodeId, Node]:
        """Those that run."""
        return {server.id: server.node for server in self._running if server.node is not None}

    def run(self) -> Report:
        """Lives this life.

        Raises:
            AssertionError: the service broke a promise, or an assertion of its own; the text
                says which.
        """
        try:
            return self._live()
        except Exception as error:
            if self._recorder is not None:
                self._recorder.failed(error)
            raise

    def _live(self) -> Report:
        for server in self._running:
            server.start()
        for name, client in self._clients.items():
            if name not in self._life.without:
                client.start()
        self._ask_for_snapshots(every_us=self._rng.choice((0, 0, 500_000, 3 * SECOND_US)))
        self._faults.start(until=self._duration_us)
        self._scheduler.run_until(self._duration_us, self._look)
        self._heal()
        self._check_peace()
        self._check()
        return self._report()

    # ------------------------------------------------------------------ building

    def _fork(self) -> random.Random:
        """Chances of its own for a part, so that parts don't disturb each other."""
        return random.Random(self._rng.getrandbits(64))

    def _build_servers(self) -> dict[NodeId, SimulatedServer]:
        count = self._rng.choice(_SIZES)
        members = tuple(
            Member(id=NodeId(number), client_address=_address(number))
            for number in range(1, count + 1)
        )
        joining: tuple[Member, ...] = ()
        if self._churn_rng is not None:
            joining = tuple(
                Member(id=NodeId(number), client_address=_address(number))
                for number in range(count + 1, MOST_SERVERS + 1)
            )
        settings = self._server_settings
        rates = self._rng.choice(CLOCK_RATES)
        servers: dict[NodeId, SimulatedServer] = {}
        for member in members + joining:
            servers[member.id] = SimulatedServer(
                member,
                members if member in members else (),
                scheduler=self._scheduler,
                network=self._network,
                clock=Clock(
                    self._scheduler,
                    start=self._rng.randrange(1_000 * SECOND_US),
                    rate_permille=self._rng.choice(rates),
                ),
                rng=self._fork(),
                settings=settings,
                peer=servers.__getitem__,
                handshakes=self._churn_rng is not None,
            )
        return servers

    def _build_operator(self) -> Operator | None:
        if self._churn_rng is None:
            return None
        operator = Operator(
            self._servers,
            self._running,
            dial=self._dial,
            scheduler=self._scheduler,
            rng=random.Random(self._churn_rng.getrandbits(64)),
            leisure_us=self._life.leisure_us,
            announce=self._announce,
        )
        self._clients[_OPERATOR] = operator
        return operator

    def _can_spare(self, server: SimulatedServer) -> bool:
        """Whether the cluster can do without what is on the disk of a server."""
        if self._operator is None:
            servers = self._running
            others_suffice = len(servers) - 1 > len(servers) // 2
            return others_suffice and not any(other.lacks_its_snapshot for other in servers)
        committed = self._invariants.configurations
        return Tolerance(self._running, committed, self._operator).can_spare(server)

    def _build_clients(self) -> dict[str, Client]:
        """Some Clerks, some plain clients that go anywhere, and one at each server that reads.

        So there is always somebody to whom a server that has been left behind can lie.
        """
        addresses = [_address(node) for node in self._servers]
        # Long names make long elements: writes span sectors, and can be torn.
        suffix = self._rng.choice((b"", b"-" + b"x" * 100))
        clients: dict[str, Client] = {
            f"clerk-{number}": ClerkClient(
                b"clerk-%d%b" % (number, suffix),
                servers=addresses,
                dial=self._dial,
                scheduler=self._scheduler,
                history=self._history,
                rng=self._fork(),
                settings=draw_client_settings(self._rng, leisure_us=self._life.leisure_us),
                calls=calls,
            )
            for number, calls in enumerate((1, 1, 4))
        }
        for number in range(2):
            settings = draw_client_settings(self._rng, leisure_us=self._life.leisure_us)
            name = b"plain-%d%b" % (number, suffix)
            clients[f"plain-{number}"] = self._plain_client(name, addresses, settings)
        reader = reader_settings(leisure_us=self._life.leisure_us)
        for number, address in enumerate(addresses):
            name = b"reader-%d" % number
            clients[f"reader-{number}"] = self._plain_client(name, [address], reader)
        large = self._rng.choice((0, 3_000, 40_000, 40_000))
        large_values = LargeValuesClient(
            servers=addresses,
            dial=self._dial,
            scheduler=self._scheduler,
            rng=self._fork(),
            max_bytes=large,
            keys=self._rng.choice((2, LARGE_KEYS, LARGE_KEYS)),
            pause_us=PAUSE_US * self._life.tempo,
        )
        return {**clients, "large-values": large_values} if large else clients

    def _plain_client(
        self, name: bytes, servers: list[str], settings: ClientSettings
    ) -> PlainClient:
        return PlainClient(
            name,
            servers=servers,
            dial=self._dial,
            scheduler=self._scheduler,
            history=self._history,
            rng=self._fork(),
            settings=settings,
        )

    def _dial(self, address: str, client: StreamClient) -> Stream:
        server = self._servers[NodeId(int(address.rpartition(":")[2]))]
        stream = Stream(self._scheduler, self._network, server, client)
        stream.open()
        return stream

    # ------------------------------------------------------------------ living

    def _ask_for_snapshots(self, *, every_us: int) -> None:
        """An operator wants some server to take a snapshot, now and then; never if 0."""
        if every_us == 0:
            return

        def ask(number: int) -> None:
            if self._scheduler.now < self._duration_us:
                servers[number % len(servers)].ask_for_snapshot()
                wait(number)

        def wait(number: int) -> None:
            self._scheduler.after(rng.randrange(1, 2 * every_us), partial(ask, number + 1))

        rng, servers = self._fork(), self._running
        wait(rng.randrange(len(servers)))

    def _look(self) -> None:
        """Looks at what has just happened."""
        if self._recorder is not None:
            self._recorder.look()
        if self._invariants.check():
            self._faults.look()

    def _heal(self) -> None:
        """Mends the world, for a majority first, and waits until everything is as it should be."""
        self._faults.heal()
        for client in self._clients.values():
            client.stop()
        self._do_without_some()
        self._wait_until_nothing_lacks(self._lacking)

    def _do_without_some(self) -> None:
        """A minority is dead, cut off or slow: the others go on, and take in something new.

        Where members come and go the operator may be in the middle of anything, so all are needed.
        """
        if self._operator is not None:
            return
        lacking = sum(server.lacks_its_snapshot for server in self._running)
        most = (len(self._running) - 1) // 2 - lacking
        rng = random.Random(f"minority of {self._life.seed}")
        whole = [server for server in self._running if not server.lacks_its_snapshot]
        some = rng.sample(whole, rng.randint(0, most)) if most > 0 else []
        self._faults.do_without(some, how=rng.choice(("dead", "cut off", "slow")))
        prober = self._newcomer(rng)
        prober.start()
        prober.stop()
        needed = [server for server in self._running if server not in some]
        self._wait_until_nothing_lacks(
            lambda: _down(needed) or _unanswered([*self._clients.values(), prober])
        )
        self._faults.heal()

    def _newcomer(self, rng: random.Random) -> ClerkClient:
        """A Clerk that nobody knows yet."""
        settings = ClientSettings(
            reads=0.0, pause_us=1_000, deadlines=0.0, pipeline=1, clerk=ClerkSettings()
        )
        return ClerkClient(
            b"newcomer",
            servers=[_address(node) for node in self._servers],
            dial=self._dial,
            scheduler=self._scheduler,
            history=self._history,
            rng=rng,
            settings=settings,
            calls=1,
        )

    def _wait_until_nothing_lacks(self, lacking: Callable[[], str]) -> None:
        deadline = self._scheduler.now + HEALING_US
        while waiting_for := lacking():
            if self._scheduler.now >= deadline:
                raise LivenessError(
                    f"{HEALING_US // SECOND_US} s after the world healed: {waiting_for}"
                )
            self._scheduler.run_until(self._scheduler.now + SECOND_US // 10, self._look)
            self._faults.revive_all()

    def _check_peace(self) -> None:
        """Checks that servers which were removed, and don't know, do not disturb the others."""
        if self._operator is None:
            return
        leaders = self._invariants.leaders
        self._scheduler.run_until(self._scheduler.now + _PEACE_US, self._look)
        elected = self._invariants.leaders - leaders
        if elected > 1:  # some disk may have been too slow once
            raise LivenessError(f"{elected} leaders were elected after the world had healed")

    def _lacking(self) -> str:
        """What still is not as it should be; empty if everything is."""
        members = self._members()
        lacking = _unanswered(self._clients.values()) or _down(members)
        if lacking:
            return lacking
        applied: set[int] = set()
        bound = self._server_settings.node.snapshots.max_raft_state
        for server in members:
            assert server.node is not None
            if not server.has_applied_all:  # after a start it may have as little as all others
                return f"node {server.id} has not applied its whole log"
            if server.node.raft.durable_index < server.node.raft.last_index:
                return f"node {server.id} has not synced its whole log"
            applied.add(server.node.state.last_applied)
            size = server.node.status().raft_state_bytes
            if bound != NEVER and size > 2 * bound + _LEAST_RAFT_STATE:
                return f"the log of node {server.id} has {size} bytes"
        return "the logs are not everywhere the same" if len(applied) > 1 else ""

    def _members(self) -> list[SimulatedServer]:
        """Those of whom the cluster consists now."""
        members = self._invariants.configurations.latest.members
        return [self._servers[member.id] for member in members]

    def _check(self) -> None:
        for server in self._members():
            assert server.node is not None
            state = server.node.state
            self._invariants.check_state(server.id, StateSeen(state.last_applied, state.digest()))
            check_memory(server.id, server.node, keys=len(self._history.keys) + LARGE_KEYS)
        self._history.check({key: self._value(key) for key in self._history.keys})

    def _value(self, key: bytes) -> bytes:
        node = self._members()[0].node
        assert node is not None
        value = node.state.query(Get(key))
        assert value is None or isinstance(value, bytes)
        return value or b""

    def _report(self) -> Report:
        history = self._history
        happened = sum((server.happened for server in self._servers.values()), Counter[str]())
        if self._operator is not None:
            happened.update(
                {f"operator: {what}": count for what, count in self._operator.counts.items()}
            )
        happened["synced entries overwritten"] = sum(
            server.record.overwritten for server in self._servers.values()
        )
        return Report(
            seed=self._life.seed,
            servers=len(self._running),
            members=len(self._members()),
            changes=self._invariants.configurations.changes,
            virtual_us=self._scheduler.now,
            acknowledged=history.count("acknowledged"),
            unknown=history.count("unknown"),
            not_executed=history.count("not executed"),
            reads=history.reads,
            leaders=self._invariants.leaders,
            committed=self._invariants.committed,
            messages=self._network.sent,
            happened=dict(sorted(happened.items())),
            trace=self._trace.checksum,
        )


def _down(servers: Iterable[SimulatedServer]) -> str:
    """Which of them is down, and why; empty if none is."""
    down = (server for server in servers if server.node is None)
    return next((f"node {server.id} is down: {server.failure}" for server in down), "")


def _unanswered(clients: Iterable[Client]) -> str:
    return "" if all(client.is_idle for client in clients) else "calls are not answered"


def is_part(name: str) -> bool:
    """Whether some world may have a client of this name."""
    return re.fullmatch(r"clerk-\d|plain-\d|reader-\d|large-values", name) is not None


def _address(number: int) -> str:
    return f"server:{number}"
