"""A server's whole life with snapshots, ended at every single operation of its disk in turn.

The life: a server takes snapshots, of several parts each, and shortens its log; it is cut off until
the others have dropped what it lacks, and gets a snapshot from the leader in several pieces; it is
killed and starts again. All that while clients write. Power goes at the first operation of its
disk, at the second, and so on to the last; each time what was not synced is lost, torn or kept, by
chance. It starts again at once, and in the end nothing that was acknowledged is missing anywhere.
"""

from __future__ import annotations

import random
from collections import Counter
from typing import TYPE_CHECKING, NamedTuple

import pytest

from quorate.clerk.settings import ClerkSettings
from quorate.kv.queries import Exists, Get
from quorate.node.settings import NodeSettings
from quorate.raft.configuration import Member, NodeId
from quorate.raft.settings import Settings
from quorate.replica.snapshot_taker import SnapshotSettings
from quorate.sim.clients import Client, ClientSettings, PlainClient
from quorate.sim.clock import Clock
from quorate.sim.history import History
from quorate.sim.invariants import Invariants
from quorate.sim.large_values import LargeValuesClient
from quorate.sim.network import PERFECT, Network, links_between
from quorate.sim.scheduler import Scheduler
from quorate.sim.server import ServerSettings, SimulatedServer
from quorate.sim.snapshot_work import StateSeen
from quorate.sim.stream import Stream, StreamClient
from quorate.sim.trace import Trace

if TYPE_CHECKING:
    from collections.abc import Callable

MS = 1_000
LARGE_VALUES = 4
"""So many make a state of several sections, and a snapshot of several pieces."""
NODES = (NodeId(1), NodeId(2), NodeId(3))
VICTIM = NODES[2]
SETTINGS = ServerSettings(
    node=NodeSettings(
        raft=Settings(max_chunk_bytes=50_000),
        snapshots=SnapshotSettings(max_raft_state=100_000, part_bytes=1, retry_us=50 * MS),
    ),
    sync_us=200,
    slow_sync=0.0,
    segment_size=65_536,
)
WRITER = ClientSettings(
    reads=0.2, pause_us=250 * MS, deadlines=0.0, pipeline=5, clerk=ClerkSettings()
)
BUSY_WRITER = ClientSettings(
    reads=0.0, pause_us=10 * MS, deadlines=0.0, pipeline=1_000, clerk=ClerkSettings()
)


def address(node: NodeId) -> str:
    return f"server:{node}"


class Outcome(NamedTuple):
    """Whether the power went at all, and what happened to the server as long as it counted."""

    has_stopped: bool
    happened: Counter[str]


class Cluster:
    """Three servers with a state of several sections, and clients that write to all of them."""

    def __init__(
        self,
        seed: int,
        settings: ServerSettings = SETTINGS,
        nodes: tuple[NodeId, ...] = NODES,
    ) -> None:
        self.scheduler = Scheduler()
        self.rng = random.Random(seed)
        self.network = Network(self.scheduler, self.rng, PERFECT, Trace(self.scheduler))
        self.history = History()
        self.servers: dict[NodeId, SimulatedServer] = {}
        members = tuple(Member(node, client_address=address(node)) for node in nodes)
        for member in members:
            self.servers[member.id] = SimulatedServer(
                member,
                members,
                scheduler=self.scheduler,
                network=self.network,
                clock=Clock(self.scheduler, start=0, rate_permille=1000),
                rng=random.Random(self.rng.getrandbits(64)),
                settings=settings,
                peer=self.servers.__getitem__,
            )
        self.invariants = Invariants(list(self.servers.values()))
        self.clients: list[Client] = []

    def dial(self, address: str, client: StreamClient) -> Stream:
        server = self.servers[NodeId(int(address.rpartition(":")[2]))]
        stream = Stream(self.scheduler, self.network, server, client)
        stream.open()
        return stream

    def start(self) -> None:
        """Lets them elect a leader."""
        for server in self.servers.values():
            server.start()
        self.run_until(lambda: self.leader is not None)

    @property
    def leader(self) -> SimulatedServer | None:
        leaders = (s for s in self.servers.values() if s.node and s.node.raft.is_leader)
        return next(leaders, None)

    def add_clients(self, victim: SimulatedServer) -> None:
        """Two that write anywhere, and one whose large values the others get."""
        writers = [
            self._writer(b"writer-%d" % number, [address(node) for node in NODES], WRITER)
            for number in range(2)
        ]
        large_values = LargeValuesClient(
            servers=[address(node) for node in NODES if node != victim.id],
            dial=self.dial,
            scheduler=self.scheduler,
            rng=self.rng,
            min_bytes=40_000,
            max_bytes=70_000,
            keys=LARGE_VALUES,
        )
        self.clients = [*writers, large_values]
        for client in self.clients:
            client.start()

    def add_busy_client(self, victim: SimulatedServer) -> Client:
        """One that gives the victim many small entries."""
        client = self._writer(b"busy", [address(victim.id)], BUSY_WRITER)
        self.clients.append(client)
        client.start()
        return client

    def _writer(self, name: bytes, servers: list[str], settings: ClientSettings) -> PlainClient:
        return PlainClient(
            name,
            servers=servers,
            dial=self.dial,
            scheduler=self.scheduler,
            history=self.history,
            rng=self.rng,
            settings=settings,
        )

    def run(self, duration_us: int) -> None:
        """Time passes; whoever has lost power comes back at once."""
        until = self.scheduler.now + duration_us
        while self.scheduler.now < until:
            self.scheduler.run_until(
                min(until, self.scheduler.now + 20 * MS), self.invariants.check
            )
            for server in self.servers.values():
                if not server.is_up:
                    server.start()

    def run_until(self, condition: Callable[[], bool], *, within_ms: int = 3_000) -> None:
        """Time passes until something is so; not for ever, for the victim may have lost it."""
        until = self.scheduler.now + within_ms * MS
        while not condition() and self.scheduler.now < until:
            self.run(20 * MS)

    def is_left_behind(self, victim: SimulatedServer, *, has_own_entries: bool = False) -> bool:
        """Whether the others have dropped what it lacks."""
        nodes = [s.node for s in self.servers.values() if s.node and s is not victim]
        begins = min(node.raft.log_start.index for node in nodes)
        if victim.node is None:
            return False
        raft = victim.node.raft
        return begins > (raft.commit_index if has_own_entries else raft.last_index)

    def may_begin(self, victim: SimulatedServer) -> bool:
        """Whether its next snapshot has several of all parts, and is not under way yet."""
        if victim.node is None:
            return False
        keys = tuple(b"large-%d" % number for number in range(LARGE_VALUES))
        is_large = victim.node.state.query(Exists(keys)) == LARGE_VALUES
        return is_large and victim.node.status().snapshot_taking is None

    def has_caught_up(self, victim: SimulatedServer, index: int) -> bool:
        return victim.node is not None and victim.node.state.last_applied >= index

    @property
    def last_index(self) -> int:
        return max(s.node.raft.last_index for s in self.servers.values() if s.node)

    def settle(self) -> None:
        """Every call ends, and all servers come to the same state."""
        for client in self.clients:
            client.stop()
        for _ in range(100):
            self.run(50 * MS)
            applied = {s.node.state.last_applied for s in self.servers.values() if s.node}
            if (
                all(client.is_idle for client in self.clients)
                and all(server.has_applied_all for server in self.servers.values())
                and len(applied) == 1
            ):
                break
        else:
            raise AssertionError("the calls do not end, or the logs are not everywhere the same")
        for server in self.servers.values():
            assert server.node is not None
            state = server.node.state
            self.invariants.check_state(server.id, StateSeen(state.last_applied, state.digest()))
        self.history.check({key: self._value(key) for key in self.history.keys})

    def _value(self, key: bytes) -> bytes:
        node = self.servers[NODES[0]].node
        assert node is not None
        value = node.state.query(Get(key))
        assert value is None or isinstance(value, bytes)
        return value or b""


def live(operations: int, *, remains: int, in_start: bool = False) -> Outcome:
    """Lives that life.

    Args:
        operations: of the victim's disk that succeed; at the next one its power goes.
        remains: decides what is left then of what was not synced.
        in_start: they are counted from when it starts again; else from its first snapshot.
    """
    cluster = Cluster(seed=remains)
    cluster.start()
    victim = cluster.servers[VICTIM]
    cluster.add_clients(victim)
    cluster.run_until(lambda: cluster.may_begin(victim), within_ms=30_000)
    assert cluster.may_begin(victim)
    before = Counter(victim.happened)
    if not in_start:
        victim.disk.stop_after(operations)

    cluster.run_until(lambda: victim.happened["snapshots taken"] > before["snapshots taken"])
    links = links_between({victim.id}, set(NODES) - {victim.id})
    cluster.network.cut(links)
    cluster.run_until(lambda: cluster.is_left_behind(victim))
    cluster.network.mend(links)
    last_index = cluster.last_index
    cluster.run_until(lambda: cluster.has_caught_up(victim, last_index))
    has_stopped = victim.happened["started"] > before["started"]

    victim.kill(power=False)
    if in_start:
        victim.disk.stop_after(operations)
        victim.start()
        has_stopped = not victim.is_up
    cluster.run(200 * MS)
    cluster.settle()
    return Outcome(has_stopped, Counter(victim.happened) - before)


def live_as_deposed_leader(operations: int, *, remains: int) -> Outcome:
    """A leader is cut off with many entries of its own; the snapshot that it gets is of their past.

    So its log goes on behind the snapshot's end, and all of it has to go. Arguments as for `live`;
    the operations are counted from when it is back.
    """
    cluster = Cluster(seed=remains)
    cluster.start()
    victim = cluster.leader
    assert victim is not None
    cluster.add_clients(victim)
    cluster.run(500 * MS)
    assert victim is cluster.leader
    cluster.add_busy_client(victim)
    links = links_between({victim.id}, set(NODES) - {victim.id})
    cluster.network.cut(links)
    cluster.run_until(lambda: cluster.is_left_behind(victim, has_own_entries=True))
    before = Counter(victim.happened)
    before["entries of its own"] = victim.record.overwritten
    for client in cluster.clients:
        client.stop()
    victim.disk.stop_after(operations)
    cluster.network.mend(links)
    last_index = cluster.last_index
    cluster.run_until(lambda: cluster.has_caught_up(victim, last_index))
    has_stopped = victim.happened["started"] > before["started"]
    cluster.settle()
    happened = Counter(victim.happened)
    happened["entries of its own"] = victim.record.overwritten
    return Outcome(has_stopped, happened - before)


def live_each(*, remains: int, in_start: bool) -> int:
    """Lives all those lives; returns how many operations there were."""
    for operations in range(1_000):
        print(f"live({operations}, remains={remains}, in_start={in_start})")
        outcome = live(operations, remains=remains, in_start=in_start)
        if not outcome.has_stopped:
            # Then everything has happened that there is to be interrupted.
            assert outcome.happened["snapshots taken"] >= 1
            assert outcome.happened["parts of snapshots written"] >= 3
            assert outcome.happened["snapshots received"] >= 1
            assert outcome.happened["pieces of snapshots received"] >= 3
            assert outcome.happened["states restored"] >= 2
            return operations
    raise AssertionError("it never ends")


def live_each_as_deposed_leader(*, remains: int) -> int:
    """Likewise."""
    for operations in range(1_000):
        print(f"live_as_deposed_leader({operations}, remains={remains})")
        outcome = live_as_deposed_leader(operations, remains=remains)
        if not outcome.has_stopped:
            assert outcome.happened["snapshots received"] >= 1
            assert outcome.happened["entries of its own"] >= 1
            return operations
    raise AssertionError("it never ends")


@pytest.mark.parametrize("remains", range(1, 3))
def test_power_goes_at_each_operation_of_the_disk(remains: int) -> None:
    assert live_each(remains=remains, in_start=False) >= 30


@pytest.mark.parametrize("remains", range(1, 4))
def test_power_goes_at_each_operation_of_a_start(remains: int) -> None:
    assert live_each(remains=remains, in_start=True) >= 8


@pytest.mark.parametrize("remains", range(1, 4))
def test_power_goes_at_each_operation_while_a_snapshot_replaces_a_leaders_own_entries(
    remains: int,
) -> None:
    assert live_each_as_deposed_leader(remains=remains) >= 10


def test_a_life_is_not_over_when_all_servers_have_applied_as_little() -> None:
    # In a life of 8 s (seed 5144 of its day) the single server was killed shortly before the end.
    # It had started again, had been restored to its snapshot and was yet to be elected. "All
    # servers have applied as much" was true, so its table was looked at, and an append was said to
    # be lost that was in its log, behind the snapshot.
    cluster = Cluster(seed=1, nodes=(VICTIM,))
    cluster.start()
    server = cluster.servers[VICTIM]
    writer = cluster.add_busy_client(server)
    cluster.run_until(lambda: server.happened["snapshots taken"] >= 1)
    writer.stop()
    cluster.run_until(lambda: server.has_applied_all)
    server.kill(power=False)
    assert not server.has_applied_all
    server.start()
    assert server.node is not None
    assert server.node.state.last_applied < server.node.raft.last_index
    assert not server.has_applied_all
    cluster.run_until(lambda: server.has_applied_all)
    assert server.has_applied_all


@pytest.mark.soak
@pytest.mark.parametrize("remains", range(3, 53))
def test_whatever_is_left(remains: int) -> None:
    live_each(remains=remains, in_start=False)
    live_each(remains=remains, in_start=True)
    live_each_as_deposed_leader(remains=remains)
