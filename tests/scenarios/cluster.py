"""A cluster in virtual time, and clients at it that do what a script says, and nothing else.

Servers that die stay dead until the script starts them; after each thing that happens the
invariants of the simulator are checked, as in its random lives.
"""

from __future__ import annotations

import random
from collections import deque
from typing import TYPE_CHECKING

import msgspec

from quorate.kv.queries import Get
from quorate.node.limits import NodeLimits
from quorate.node.settings import NodeSettings
from quorate.raft.configuration import Member, NodeId
from quorate.raft.settings import Settings
from quorate.replica.sessions import SessionLimits
from quorate.replica.snapshot_taker import SnapshotSettings
from quorate.sim.clock import Clock
from quorate.sim.invariants import Invariants
from quorate.sim.network import PERFECT, Link, Network, NetworkFaults, links_between
from quorate.sim.scheduler import Scheduler
from quorate.sim.server import ServerSettings, SimulatedServer
from quorate.sim.snapshot_work import StateSeen
from quorate.sim.stream import Stream
from quorate.sim.trace import Trace
from quorate.wire.resp_client import ReceivedReply, ReplyLimits, ReplyParser, encode_command

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

MS = 1_000
SECOND = 1_000_000
RAFT = Settings()
TIMEOUT = RAFT.election_timeout_us
LIMITS = NodeLimits()


def settings(
    *,
    raft: Settings = RAFT,
    sessions: SessionLimits = SessionLimits(),  # noqa: B008  # it is frozen
    snapshots: SnapshotSettings = SnapshotSettings(),  # noqa: B008  # likewise
    segment_size: int = 65_536,
) -> ServerSettings:
    """Production's own, but for what the script is about, on a disk that is never slow."""
    node = NodeSettings(raft=raft, sessions=sessions, snapshots=snapshots, limits=LIMITS)
    return ServerSettings(node=node, sync_us=200, slow_sync=0.0, segment_size=segment_size)


class Call(msgspec.Struct, eq=False):
    """A command of a client. Times are virtual microseconds.

    Attributes:
        arguments: of the command.
        begun: when it was sent.
        ended: when its reply came; None until then, and for ever if the connection is lost.
        reply: what that was.
    """

    arguments: tuple[bytes | str | int, ...]
    begun: int
    ended: int | None = None
    reply: ReceivedReply = None

    @property
    def is_answered(self) -> bool:
        return self.ended is not None


class Client:
    """One connection to one server, for as long as it lasts."""

    def __init__(self, scheduler: Scheduler, dial: Callable[[Client], Stream]) -> None:
        self._scheduler = scheduler
        self._parser = ReplyParser(ReplyLimits())
        self._calls: deque[Call] = deque()
        self._stream = dial(self)

    def send(self, *arguments: bytes | str | int) -> Call:
        """Sends a command at once, whatever is still unanswered."""
        call = Call(arguments, self._scheduler.now)
        self._calls.append(call)
        self._stream.send_to_server(encode_command(*arguments))
        return call

    def connected(self) -> None:
        """See `StreamClient`: what was sent before is on its way already."""

    def connection_lost(self) -> None:
        """See `StreamClient`: what is unanswered stays so."""
        self._calls.clear()

    def data_received(self, data: bytes) -> None:
        """See `StreamClient`."""
        for reply in self._parser.receive(data):
            call = self._calls.popleft()
            call.ended, call.reply = self._scheduler.now, reply


class Cluster:
    """Servers that know each other, all of them started; one of them leads.

    Args:
        count: of servers.
        settings: of all of them.
        network: how bad it is.
        seed: of all that is left to chance.
        starts: False leaves that to the script.

    Attributes:
        servers: by id.
    """

    def __init__(
        self,
        count: int = 3,
        *,
        settings: ServerSettings = settings(),  # noqa: B008  # it is frozen
        network: NetworkFaults = PERFECT,
        seed: int = 1,
        starts: bool = True,
    ) -> None:
        self.scheduler = Scheduler()
        self.rng = random.Random(seed)
        self.network = Network(self.scheduler, self.rng, network, Trace(self.scheduler))
        self.servers: dict[NodeId, SimulatedServer] = {}
        members = tuple(
            Member(NodeId(number), client_address=f"server:{number}")
            for number in range(1, count + 1)
        )
        for member in members:
            self.servers[member.id] = SimulatedServer(
                member,
                members,
                scheduler=self.scheduler,
                network=self.network,
                clock=Clock(self.scheduler, start=SECOND, rate_permille=1000),
                rng=random.Random(self.rng.getrandbits(64)),
                settings=settings,
                peer=self.servers.__getitem__,
            )
        self.invariants = Invariants(list(self.servers.values()))
        if starts:
            for server in self.servers.values():
                server.start()
            self.await_leader()

    # ------------------------------------------------------------------ time

    @property
    def now(self) -> int:
        return self.scheduler.now

    def run(self, duration_us: int) -> None:
        """Time passes."""
        self.scheduler.run_until(self.now + duration_us, self.invariants.check)

    def until(
        self, condition: Callable[[], bool], what: str, *, within_us: int = 5 * SECOND
    ) -> None:
        """Time passes until something is so, which must not take longer."""
        end = self.now + within_us
        while not condition():
            assert self.now < end, f"not within {within_us / SECOND:g} s: {what}"
            self.run(MS)

    # ------------------------------------------------------------------ servers

    @property
    def up(self) -> list[SimulatedServer]:
        return [server for server in self.servers.values() if server.is_up]

    @property
    def leaders(self) -> list[SimulatedServer]:
        """Those that take themselves for it, the newest first."""
        leading = [s for s in self.up if s.node is not None and s.node.raft.is_leader]
        return sorted(leading, key=term_of, reverse=True)

    @property
    def leader(self) -> SimulatedServer:
        """The newest one."""
        return self.leaders[0]

    @property
    def followers(self) -> list[SimulatedServer]:
        """All that run and are not the newest leader."""
        return [server for server in self.up if server is not self.leader]

    def await_leader(self, *among: SimulatedServer, within_us: int = 5 * SECOND) -> SimulatedServer:
        """Until one of these leads, or anyone, and has committed something in its term."""

        def found() -> bool:
            node = self.leader.node if self.leaders else None
            if node is None or (among and self.leader not in among):
                return False
            return node.raft.has_committed_in_term

        self.until(found, "somebody leads", within_us=within_us)
        return self.leader

    def links(self, *one_side: SimulatedServer) -> list[Link]:
        """Those between these servers and all others, in both directions."""
        side = {server.id for server in one_side}
        return links_between(side, set(self.servers) - side)

    def agree(self, *but: SimulatedServer, within_us: int = 5 * SECOND) -> None:
        """Until all that run, but some, have applied the same log; then their states are equal."""
        servers = [server for server in self.up if server not in but]

        def agreed() -> bool:
            applied = {s.node.state.last_applied for s in servers if s.node is not None}
            return len(applied) == 1 and all(server.has_applied_all for server in servers)

        self.until(agreed, "all have applied the same log", within_us=within_us)
        for server in servers:
            assert server.node is not None
            state = server.node.state
            self.invariants.check_state(server.id, StateSeen(state.last_applied, state.digest()))

    # ------------------------------------------------------------------ clients

    def client(self, server: SimulatedServer) -> Client:
        """A new connection to a server."""

        def dial(client: Client) -> Stream:
            stream = Stream(self.scheduler, self.network, server, client)
            stream.open()
            return stream

        return Client(self.scheduler, dial)

    def answered(self, calls: Iterable[Call]) -> None:
        """Until all of these are answered."""
        self.until(lambda: all(call.is_answered for call in calls), "all calls are answered")

    def ask(
        self, server: SimulatedServer, *arguments: bytes | str | int, within_us: int = 5 * SECOND
    ) -> ReceivedReply:
        """What a server answers to one command on a connection of its own."""
        call = self.client(server).send(*arguments)
        self.until(lambda: call.is_answered, f"{arguments} is answered", within_us=within_us)
        return call.reply


def term_of(server: SimulatedServer) -> int:
    """The current term of a server that runs."""
    assert server.node is not None
    return server.node.raft.current_term


def table_of(server: SimulatedServer, key: bytes) -> bytes | None:
    """What is in a server's own table, which may be behind."""
    assert server.node is not None
    value = server.node.state.query(Get(key))
    assert value is None or isinstance(value, bytes)
    return value
