"""Those that lie in wait for servers, and strike at the very moment.

Some bugs need trouble just when a server begins to lead, or to commit, or is busy with a snapshot:
moments that are too short to be met by chance.
"""

import random
from collections.abc import Callable, Sequence

from quorate.sim.scheduler import Scheduler
from quorate.sim.server import SimulatedServer

Strike = Callable[[SimulatedServer], None]

_LONGEST_PATIENCE = 16
"""So many events may pass while a server is busy before it is struck: so its work has begun."""
_REST_US = 4_000
"""The longest rest of who lies in wait for snapshots, between two victims."""


class LeaderAmbush:
    """Something befalls the next few leaders, just as they begin to lead, or to commit.

    So several logs end in different terms: the situation of Figure 8 of the Raft paper.

    Args:
        servers: all of them.
        victims: how many.
        strike: what befalls one.
        rng: decides which of the two moments it is to be.

    Attributes:
        is_over: nobody is waited for any more.
    """

    def __init__(
        self,
        servers: Sequence[SimulatedServer],
        *,
        victims: int,
        strike: Strike,
        rng: random.Random,
    ) -> None:
        self._servers = servers
        self._victims = victims
        self._strike = strike
        self._rng = rng
        self._term = max((s.node.raft.current_term for s in servers if s.node), default=0)
        self._followed: tuple[SimulatedServer, int, int] | None = None

    @property
    def is_over(self) -> bool:
        """Whether nobody is waited for any more."""
        return not self._victims and self._followed is None

    def look(self) -> None:
        """Something has happened at some server."""
        if self._followed is not None:
            self._look_at_followed(*self._followed)
        if not self._victims:
            return
        for server in self._servers:
            node = server.node
            if node is not None and node.raft.is_leader and node.raft.current_term > self._term:
                self._term = node.raft.current_term
                self._victims -= 1
                if self._rng.random() < 0.5:
                    self._strike(server)
                else:
                    self._followed = server, self._term, node.raft.commit_index
                return

    def _look_at_followed(self, server: SimulatedServer, term: int, commit_index: int) -> None:
        raft = None if server.node is None else server.node.raft
        if raft is None or not raft.is_leader or raft.current_term != term:
            self._followed = None
        elif raft.commit_index > commit_index:
            self._followed = None
            self._strike(server)


class SnapshotAmbush:
    """Something befalls the next few servers that are busy with a snapshot.

    Args:
        scheduler: virtual time.
        servers: all of them.
        victims: how many.
        strike: what befalls one.
        rng: decides who, and when the next one is looked for.

    Attributes:
        is_over: nobody is waited for any more.
    """

    def __init__(
        self,
        scheduler: Scheduler,
        servers: Sequence[SimulatedServer],
        *,
        victims: int,
        strike: Strike,
        rng: random.Random,
    ) -> None:
        self._scheduler = scheduler
        self._servers = servers
        self._victims = victims
        self._strike = strike
        self._rng = rng
        self._rests_until = 0
        self._patience = rng.randrange(_LONGEST_PATIENCE)

    @property
    def is_over(self) -> bool:
        """Whether nobody is waited for any more."""
        return not self._victims

    def look(self) -> None:
        """Something has happened at some server."""
        if self._scheduler.now < self._rests_until or not self._victims:
            return
        busy = [server for server in self._servers if server.works_on_snapshots]
        if not busy:
            return
        if self._patience:
            self._patience -= 1
            return
        self._victims -= 1
        self._rests_until = self._scheduler.now + self._rng.randrange(1, _REST_US)
        self._patience = self._rng.randrange(_LONGEST_PATIENCE)
        self._strike(self._rng.choice(busy))
