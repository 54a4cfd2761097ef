"""A follower that was left behind, while writes go on, on a link that makes its snapshot take long.

Its story: 1. The leader's log reaches its bound several times while one snapshot is on its way. 2.
Each time it took another snapshot and dropped the log before that. 3. When the follower had the
first, the log behind it was gone, so it was sent the next, and so on without an end.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec
from tests.simulation.test_snapshot_cycle import NODES, VICTIM, Cluster, address

from quorate.node.settings import NodeSettings
from quorate.raft.leader import STANDSTILL_TIMEOUTS
from quorate.raft.settings import Settings
from quorate.replica.snapshot_taker import SnapshotSettings
from quorate.sim.large_values import LargeValuesClient
from quorate.sim.network import links_between
from quorate.sim.server import ServerSettings

if TYPE_CHECKING:
    from collections.abc import Callable

    from quorate.sim.server import SimulatedServer

MS = 1_000
SECOND = 1_000_000
BOUND = 30_000
FACTOR = 8
TAKING = BOUND
"""No more is written while a snapshot is taken."""
LINKS = links_between({VICTIM}, set(NODES) - {VICTIM})
SNAPSHOTS = SnapshotSettings(max_raft_state=BOUND, pause_us=0, sending_factor=FACTOR)
SETTINGS = ServerSettings(
    node=NodeSettings(
        raft=Settings(max_chunk_bytes=10_000, append_timeout_us=100_000), snapshots=SNAPSHOTS
    ),
    sync_us=200,
    slow_sync=0.0,
    segment_size=65_536,
)


def settings(**snapshots: int) -> ServerSettings:
    changed = msgspec.structs.replace(SNAPSHOTS, **snapshots)
    node = msgspec.structs.replace(SETTINGS.node, snapshots=changed)
    return msgspec.structs.replace(SETTINGS, node=node)


class Load(Cluster):
    """Three servers with a state of about 400 KB, and 250 KB of writes a second.

    Attributes:
        largest: the most Raft state that the leader had on its disk since this was set to 0.
    """

    def __init__(self, settings: ServerSettings) -> None:
        super().__init__(seed=3, settings=settings)
        self.largest = 0
        self._last_index = 0
        self.start()
        # The victim is no leader, and need not be one: it is the slow one that is to be brought up.
        while self.leader is None or self.leader.id == VICTIM:
            assert self.leader is not None
            self.leader.kill(power=False)
            self.run(SECOND)
        client = LargeValuesClient(
            servers=[address(self.leader.id)],
            dial=self.dial,
            scheduler=self.scheduler,
            rng=self.rng,
            max_bytes=4_000,
            keys=200,
            pause_us=10 * MS,
        )
        self.clients.append(client)
        client.start()
        self.run(4 * SECOND)

    @property
    def victim(self) -> SimulatedServer:
        return self.servers[VICTIM]

    @property
    def snapshots_taken(self) -> int:
        """How many the leader has taken."""
        assert self.leader is not None
        return self.leader.happened["snapshots taken"]

    def leave_behind(self) -> None:
        self.network.cut(LINKS)
        self.run_until(lambda: self.is_left_behind(self.victim))

    def bring_up(self, *, delay_us: int) -> None:
        """The link is there again, and slow."""
        self.network.slow_down(LINKS, delay_us)
        self.network.mend(LINKS)
        self.largest = 0
        self._last_index = self.last_index

    def go_on(self, duration_us: int, until: Callable[[], bool] = lambda: False) -> bool:
        """Time passes, with a look at the leader after each thing that happens."""
        end = self.scheduler.now + duration_us
        while self.scheduler.now < end and not until():
            self.scheduler.run_until(self.scheduler.now + 20 * MS, self._look)
        return until()

    def _look(self) -> None:
        self.invariants.check()
        assert self.leader is not None
        assert self.leader.node is not None
        size = self.leader.node.status().raft_state_bytes
        self.largest = max(self.largest, size)

    def is_brought_up(self) -> bool:
        """Whether the victim lives on the leader's log again, and lacks what came just now only."""
        assert self.leader is not None
        assert self.leader.node is not None
        raft = self.leader.node.raft
        index = max(self._last_index, raft.commit_index - 20)
        return not raft.sending and self.has_caught_up(self.victim, index)


def test_a_follower_is_brought_up_though_snapshots_are_due_faster_than_one_is_sent() -> None:
    load = Load(SETTINGS)
    load.leave_behind()
    load.bring_up(delay_us=5 * MS)
    assert load.go_on(2 * SECOND, load.is_brought_up)
    received = load.victim.happened["snapshots received"]
    load.largest = 0
    load.go_on(3 * SECOND)
    assert load.is_brought_up(), "and it stays so"
    assert load.victim.happened["snapshots received"] == received <= 2
    assert load.largest <= BOUND + TAKING
    load.settle()


def test_the_log_stays_within_its_bound_meanwhile() -> None:
    load = Load(SETTINGS)
    load.leave_behind()
    load.bring_up(delay_us=5 * MS)
    load.go_on(2 * SECOND)
    assert 3 * BOUND < load.largest <= FACTOR * BOUND + TAKING


def test_a_leader_that_does_not_wait_never_brings_it_up() -> None:
    load = Load(settings(sending_factor=1))
    load.leave_behind()
    load.bring_up(delay_us=5 * MS)
    assert not load.go_on(10 * SECOND, load.is_brought_up)
    assert load.largest <= BOUND + TAKING
    load.settle()


def test_a_follower_that_is_too_slow_for_any_bound_does_not_keep_the_leader_from_compacting() -> (
    None
):
    load = Load(SETTINGS)
    load.leave_behind()
    taken = load.snapshots_taken
    load.bring_up(delay_us=30 * MS)
    assert not load.go_on(5 * SECOND, load.is_brought_up)
    assert FACTOR * BOUND < load.largest <= FACTOR * BOUND + TAKING
    assert load.snapshots_taken >= taken + 3
    load.settle()


def test_for_one_that_is_cut_off_in_the_middle_of_it_the_leader_does_not_wait_long() -> None:
    load = Load(SETTINGS)
    load.leave_behind()
    load.bring_up(delay_us=5 * MS)
    load.go_on(200 * MS)
    load.network.cut(LINKS)
    load.go_on(STANDSTILL_TIMEOUTS * SETTINGS.node.raft.append_timeout_us)
    load.go_on(5 * MS)  # the snapshot that is due then has to be taken first
    taken = load.snapshots_taken
    load.largest = 0
    load.go_on(SECOND)
    assert load.largest <= BOUND + TAKING
    assert load.snapshots_taken >= taken + 5
    load.network.heal()
    load.settle()
