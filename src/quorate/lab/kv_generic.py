"""The course's generic key/value test: three rounds of clients at work, in any mix of troubles."""

from collections.abc import Callable

import msgspec

from quorate.lab.edition import Edition
from quorate.lab.errors import CheckFailedError
from quorate.lab.kv_checks import check_appends, element
from quorate.lab.kv_clients import KvClient
from quorate.lab.kv_test import KvTest
from quorate.lab.world import World
from quorate.replica.snapshot_taker import NEVER
from quorate.sim.tasks import Task

ROUNDS = 3
ROUND_MS = 5_000
MOST_STATE_TIMES = 2
"""How often `max_raft_state` the Raft state may be large at rest: the strictest edition's bound."""


class Generic(msgspec.Struct, frozen=True, kw_only=True):
    """The parameters of one such test.

    Attributes:
        part: `3A` or `3B`.
        clients: how many work at a time.
        servers: how many there are.
        unreliable: whether the network is.
        crash: whether all servers are shut down after each round.
        partitions: whether the servers are cut in two again and again.
        max_raft_state: of each server, in bytes; -1 for no snapshots.
        random_keys: whether clients work on each other's keys, and only the history tells whether
            what they see is right.
        plain: whether the clients are plain Redis clients on nodes at random. A key with a write
            whose outcome its client does not know is left to the history as well.
    """

    part: str
    clients: int
    servers: int = 5
    unreliable: bool = False
    crash: bool = False
    partitions: bool = False
    max_raft_state: int = NEVER
    random_keys: bool = False
    plain: bool = False

    def title(self, edition: Edition) -> str:
        """As the course prints it."""
        troubles = [
            ("unreliable net", self.unreliable),
            ("restarts", self.crash),
            ("partitions", self.partitions),
            ("snapshots", self.max_raft_state != NEVER),
            ("random keys", self.random_keys and edition >= Edition.Y2021),
            ("one client" if self.clients == 1 else "many clients", True),
            ("linearizability checks", self.random_keys and edition < Edition.Y2021),
        ]
        return f"Test: {', '.join(name for name, has in troubles if has)} ({self.part})"

    async def run(self, world: World) -> None:
        """Runs it."""
        test = KvTest(
            world,
            self.servers,
            unreliable=self.unreliable,
            max_raft_state=self.max_raft_state,
            plain=self.plain,
        )
        test.begin(self.title(world.edition))
        own_client = test.new_client()
        for _ in range(ROUNDS):
            await self._work(test, own_client)
            check_sizes(test)
        test.end()

    async def _work(self, test: KvTest, own_client: KvClient) -> None:
        world, cluster = test.world, test.cluster
        is_over = False

        def goes_on() -> bool:
            return not is_over

        work = _work_on_all_keys if self.random_keys else _work_on_own_key
        workers = [
            world.tasks.spawn(work(test, number, self.clients, goes_on))
            for number in range(self.clients)
        ]
        partitioner: Task[None] | None = None
        if self.partitions:
            await world.sleep(1_000)
            partitioner = world.tasks.spawn(_partition_again_and_again(test, goes_on))
        await world.sleep(ROUND_MS)
        is_over = True
        if partitioner is not None:
            await partitioner
            cluster.connect_all()
            await world.sleep(1_000)
        if self.crash:
            for server in cluster.all:
                cluster.shut_down(server)
            await world.sleep(1_000)
            for server in cluster.all:
                cluster.start(server)
                await world.sleep(0)  # on the real clock it has taken time to read a long log
            cluster.connect_all()
        for number, worker in enumerate(workers):
            elements = await worker
            if self.random_keys and world.edition < Edition.Y2021:
                continue
            value = await own_client.get(str(number))
            if not self.random_keys and test.is_certain(str(number)):
                check_appends(number, value, elements)


def check_sizes(test: KvTest) -> None:
    """What servers have saved is in proportion to `max_raft_state`, and by snapshots only.

    Raises:
        CheckFailedError: in the words of the course.
    """
    bound = test.max_raft_state
    snapshot_size = test.cluster.snapshot_size()
    if bound == NEVER:
        if snapshot_size > 0:
            raise CheckFailedError(
                f"snapshot too large ({snapshot_size}), should not be used when maxraftstate = -1"
            )
        return
    size = test.cluster.raft_state_size()
    # On servers that take all the snapshots they can, the bound is less than an empty log takes.
    if size > MOST_STATE_TIMES * bound and not test.world.takes_snapshots:
        raise CheckFailedError(f"logs were not trimmed ({size} > {MOST_STATE_TIMES}*{bound})")
    if snapshot_size == 0:
        raise CheckFailedError("no server has taken a snapshot")


async def _work_on_own_key(
    test: KvTest, number: int, _clients: int, goes_on: Callable[[], bool]
) -> int:
    """A client that knows what its key must hold; returns how many elements it has appended."""
    rng = test.world.rng
    client, key = test.new_client(), str(number)
    last, elements = "", 0
    await client.put(key, "")
    while goes_on():
        if rng.random() < 0.5:
            addition = element(number, elements)
            await client.append(key, addition)
            last += addition
            elements += 1
        else:
            value = await client.get(key)
            if value != last and test.is_certain(key):
                raise CheckFailedError(
                    f"get wrong value, key {key}, wanted:\n{last}\n, got\n{value}\n"
                )
    return elements


async def _work_on_all_keys(
    test: KvTest, number: int, clients: int, goes_on: Callable[[], bool]
) -> int:
    """A client that works on a key at random; returns how many elements it has made."""
    rng = test.world.rng
    client, elements = test.new_client(), 0
    while goes_on():
        key = str(rng.randrange(clients))
        if rng.random() < 0.5:
            await client.append(key, element(number, elements))
            elements += 1
        elif rng.random() < 0.1:
            await client.put(key, element(number, elements))
            elements += 1
        else:
            await client.get(key)
    return elements


async def _partition_again_and_again(test: KvTest, goes_on: Callable[[], bool]) -> None:
    rng, cluster = test.world.rng, test.cluster
    while goes_on():
        sides: tuple[list[int], list[int]] = ([], [])
        for server in cluster.all:
            sides[rng.randrange(2)].append(server)
        cluster.partition(*sides)
        await test.world.sleep(1_000 + rng.randrange(200))
