"""The course's key/value harness: servers that are partitioned, shut down and started again.

Servers and clerks call each other through ends of the lab's network. Partitions are made of the
servers' ends alone: clerks keep theirs, so a clerk may be stuck with a leader that has no majority.
"""

from collections.abc import Iterable, Sequence
from itertools import count

import msgspec

from quorate.lab.kv_server import ELSEWHERE, KvServer, start_kv_server
from quorate.lab.network import ClientEnd, LabServer, Service
from quorate.lab.persister import Persister
from quorate.lab.world import World
from quorate.raft.settings import Settings
from quorate.replica.sessions import SessionLimits


class _Place(msgspec.Struct, eq=False):
    """Where one server runs: what outlives it, and its present life.

    Attributes:
        persister: what it has saved.
        ends: the names of its ends to each server.
        server: its present life, if it runs.
    """

    persister: Persister | None = None
    ends: tuple[str, ...] = ()
    server: KvServer | None = None


class KvCluster:
    """Several servers, the network between them, and the ends of their clients.

    Args:
        world: where the test takes place.
        servers: how many.
        unreliable: whether the network is, from the moment when all servers are connected.
        max_raft_state: of each server; -1 for no snapshots.
        settings: of Raft.
        session_limits: of the servers' session tables; those of production by default.
    """

    def __init__(
        self,
        world: World,
        servers: int,
        *,
        unreliable: bool,
        max_raft_state: int,
        settings: Settings = ELSEWHERE,
        session_limits: SessionLimits | None = None,
    ) -> None:
        self.size = servers
        self._world = world
        self._network = world.network
        self._max_raft_state = max_raft_state
        self._settings = settings
        self._session_limits = session_limits
        self._end_numbers = count(1)
        self._places = [_Place() for _ in self.all]
        for server in self.all:
            self.start(server)
        self.connect_all()
        self._network.reliable = not unreliable

    @property
    def all(self) -> range:
        """The numbers of all servers."""
        return range(self.size)

    # ------------------------------------------------------------------ life and death

    def start(self, server: int) -> None:
        """Starts a server on what it has saved. It is cut off from all others at first."""
        place = self._places[server]
        place.persister = Persister() if place.persister is None else place.persister.copy()
        place.ends, ends = self.new_ends()
        place.server = start_kv_server(
            ends,
            server,
            place.persister,
            self._max_raft_state,
            tasks=self._world.tasks,
            rng=self._world.new_rng(),
            costs=self._world.costs,
            settings=self._settings,
            session_limits=self._session_limits,
        )
        services: dict[str, Service] = {"KVServer": place.server, "Raft": place.server.peers}
        self._network.add_server(server, LabServer(services))

    def shut_down(self, server: int) -> None:
        """Ends a server; what it saves from now on is lost."""
        place = self._places[server]
        assert place.persister is not None
        assert place.server is not None
        self.disconnect(server, self.all)
        self._network.delete_server(server)
        place.persister = place.persister.copy()
        place.server.kill()
        place.server = None

    # ------------------------------------------------------------------ who reaches whom

    def connect(self, server: int, others: Iterable[int]) -> None:
        """These reach each other."""
        self._enable(server, others, enabled=True)

    def disconnect(self, server: int, others: Iterable[int]) -> None:
        """These don't."""
        self._enable(server, others, enabled=False)

    def connect_all(self) -> None:
        """All servers reach each other."""
        for server in self.all:
            self.connect(server, self.all)

    def partition(self, side: Sequence[int], other: Sequence[int]) -> None:
        """Servers of one side reach each other and none of the other side."""
        for here, there in ((side, other), (other, side)):
            for server in here:
                self.disconnect(server, there)
                self.connect(server, here)

    def connect_one_way(self, caller: int, called: int) -> None:
        """One server's calls reach another, and are answered; not the other way round."""
        self._network.enable(self._places[caller].ends[called], True)

    def make_partition(self) -> tuple[list[int], list[int]]:
        """A majority, and a minority with the leader in it, or server 0 if nobody leads."""
        leader = self.leader() or 0
        others = [server for server in self.all if server != leader]
        majority = self.size - self.size // 2
        return others[:majority], [*others[majority:], leader]

    def leader(self) -> int | None:
        """The first server that believes that it leads."""
        for server, place in enumerate(self._places):
            if place.server is not None and place.server.get_state().is_leader:
                return server
        return None

    def _enable(self, server: int, others: Iterable[int], *, enabled: bool) -> None:
        for other in others:
            for caller, called in ((server, other), (other, server)):
                ends = self._places[caller].ends
                if ends:
                    self._network.enable(ends[called], enabled)

    # ------------------------------------------------------------------ clients

    def new_ends(self) -> tuple[tuple[str, ...], list[ClientEnd]]:
        """New ends to each server, in the order of the servers; all are disabled."""
        names = tuple(f"end {next(self._end_numbers)}" for _ in self.all)
        ends: list[ClientEnd] = []
        for server, name in enumerate(names):
            ends.append(self._network.make_end(name))
            self._network.connect(name, server)
        return names, ends

    def enable(self, names: tuple[str, ...], servers: Iterable[int]) -> None:
        """Calls through these ends, one to each server, reach these servers."""
        for server in servers:
            self._network.enable(names[server], True)

    # ------------------------------------------------------------------ what can be measured

    def received(self, server: int, message: str) -> int:
        """How many requests of this kind a server has had of other servers in its present life."""
        present = self._places[server].server
        assert present is not None
        return present.peers.received[message]

    def raft_state_size(self) -> int:
        """The largest Raft state that a server has saved."""
        return max(persister.raft_state_size for persister in self._persisters)

    def snapshot_size(self) -> int:
        """The largest snapshot that a server has saved."""
        return max(persister.snapshot_size for persister in self._persisters)

    def replicated_state_size(self) -> int:
        """The largest state of a living server, table and sessions, as a snapshot would hold it."""
        servers = [place.server for place in self._places if place.server is not None]
        return max(sum(map(len, server.node.state.snapshot())) for server in servers)

    @property
    def _persisters(self) -> list[Persister]:
        return [place.persister for place in self._places if place.persister is not None]
