"""One test of the key/value lab: its cluster, its clients and what they have done."""

from collections.abc import Iterable
from itertools import count

from quorate.lab.clerk import Clerk, make_clerk
from quorate.lab.errors import CheckFailedError
from quorate.lab.kv_clients import ClerkClient, KvClient, PlainClient
from quorate.lab.kv_cluster import KvCluster
from quorate.lab.kv_history import History
from quorate.lab.kv_server import ELSEWHERE, FORWARDING
from quorate.lab.results import Lab
from quorate.lab.world import World
from quorate.replica.sessions import SessionLimits
from quorate.replica.snapshot_taker import NEVER


class KvTest:
    """A test under way.

    Args:
        world: where it takes place.
        servers: how many.
        unreliable: whether the network is.
        max_raft_state: of each server, in bytes; `NEVER` for no snapshots.
        plain: whether the clients are plain ones, on servers that pass their commands on.
        session_limits: of the servers' session tables; those of production by default.

    Attributes:
        world: likewise.
        cluster: the servers.
        max_raft_state: likewise.
    """

    def __init__(
        self,
        world: World,
        servers: int,
        *,
        unreliable: bool = False,
        max_raft_state: int = NEVER,
        plain: bool = False,
        session_limits: SessionLimits | None = None,
    ) -> None:
        if world.takes_snapshots:
            max_raft_state = 1
        self.world = world
        self.max_raft_state = max_raft_state
        self.cluster = KvCluster(
            world,
            servers,
            unreliable=unreliable,
            max_raft_state=max_raft_state,
            settings=FORWARDING if plain else ELSEWHERE,
            session_limits=session_limits,
        )
        self._is_plain = plain
        self._history = History()
        self._client_numbers = count()
        self._finished_before = 0
        world.histories.append(self._history.operations)

    def begin(self, title: str) -> None:
        """A part of the test begins; operations are counted from here."""
        self._finished_before = self._history.finished
        self.world.begin(title)

    def end(self) -> None:
        """The part has passed."""
        operations = self._history.finished - self._finished_before
        self.world.end(Lab.KEY_VALUE, servers=self.cluster.size, operations=operations)

    # ------------------------------------------------------------------ clients

    def new_clerk(self, servers: Iterable[int] | None = None) -> Clerk:
        """A clerk that reaches these servers, or all; what it does is neither counted nor kept."""
        return self.new_clerk_and_ends(servers)[0]

    def new_clerk_and_ends(
        self, servers: Iterable[int] | None = None
    ) -> tuple[Clerk, tuple[str, ...]]:
        """The same, and the names of its ends to each server."""
        names, ends = self.cluster.new_ends()
        self.world.rng.shuffle(ends)
        clerk = make_clerk(ends, tasks=self.world.tasks, rng=self.world.new_rng())
        self.cluster.enable(names, self.cluster.all if servers is None else servers)
        return clerk, names

    def recorded(self, clerk: Clerk) -> KvClient:
        """A client that uses this clerk."""
        return ClerkClient(clerk, self.world.tasks, self._history, next(self._client_numbers))

    def new_client(self, servers: Iterable[int] | None = None) -> KvClient:
        """A client that reaches these servers, or all."""
        if not self._is_plain:
            return self.recorded(self.new_clerk(servers))
        names, ends = self.cluster.new_ends()
        self.cluster.enable(names, self.cluster.all if servers is None else servers)
        number = next(self._client_numbers)
        return PlainClient(ends, self.world.new_rng(), self.world.tasks, self._history, number)

    async def expect(self, client: KvClient, key: str, wanted: str) -> None:
        """Gets a value that must be this one.

        Raises:
            CheckFailedError: in the words of the course.
        """
        value = await client.get(key)
        if value != wanted:
            raise CheckFailedError(f"Get({key}): expected:\n{wanted}\nreceived:\n{value}")

    def is_certain(self, key: str) -> bool:
        """Whether all that was written to a key is known to have been executed; a Clerk knows."""
        return key not in self._history.uncertain_keys
