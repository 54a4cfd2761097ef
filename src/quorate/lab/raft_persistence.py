"""The Raft lab, part 2C: persistence, Figure 8, unreliable networks, churn."""

from quorate.lab.errors import CheckFailedError
from quorate.lab.raft_agreement import random_command
from quorate.lab.raft_harness import RaftHarness
from quorate.lab.world import World
from quorate.raft.settings import Settings

ITERATIONS = 1_000
"""Of the two tests after Figure 8 of the paper."""


async def persist_1(world: World, settings: Settings) -> None:
    """`TestPersist12C`."""
    servers = 3
    cluster = RaftHarness(world, servers, settings)
    cluster.begin("Test (2C): basic persistence")
    await cluster.one(11, servers, retry=True)
    for server in range(servers):
        cluster.start(server)
    for server in range(servers):
        cluster.disconnect(server)
        cluster.connect(server)
    await cluster.one(12, servers, retry=True)
    leader = await cluster.check_one_leader()
    cluster.disconnect(leader)
    cluster.start(leader)
    cluster.connect(leader)
    await cluster.one(13, servers, retry=True)
    leader = await cluster.check_one_leader()
    cluster.disconnect(leader)
    await cluster.one(14, servers - 1, retry=True)
    cluster.start(leader)
    cluster.connect(leader)
    # The restarted one must have caught up before another one is taken away.
    await cluster.wait(4, servers)
    follower = (await cluster.check_one_leader() + 1) % servers
    cluster.disconnect(follower)
    await cluster.one(15, servers - 1, retry=True)
    cluster.start(follower)
    cluster.connect(follower)
    await cluster.one(16, servers, retry=True)
    cluster.end()


async def persist_2(world: World, settings: Settings) -> None:
    """`TestPersist22C`."""
    servers = 5
    cluster = RaftHarness(world, servers, settings)
    cluster.begin("Test (2C): more persistence")
    command = 10
    for _ in range(5):
        await cluster.one(command + 1, servers, retry=True)
        first = await cluster.check_one_leader()
        after = [(first + distance) % servers for distance in range(servers)]
        cluster.disconnect(after[1])
        cluster.disconnect(after[2])
        await cluster.one(command + 2, servers - 2, retry=True)
        for distance in (0, 3, 4):
            cluster.disconnect(after[distance])
        for distance in (1, 2):
            cluster.start(after[distance])
        for distance in (1, 2):
            cluster.connect(after[distance])
        await world.sleep(1_000)
        cluster.start(after[3])
        cluster.connect(after[3])
        await cluster.one(command + 3, servers - 2, retry=True)
        cluster.connect(after[4])
        cluster.connect(after[0])
        command += 3
    await cluster.one(1000, servers, retry=True)
    cluster.end()


async def persist_3(world: World, settings: Settings) -> None:
    """`TestPersist32C`."""
    servers = 3
    cluster = RaftHarness(world, servers, settings)
    cluster.begin("Test (2C): partitioned leader and one follower crash, leader restarts")
    await cluster.one(101, servers, retry=True)
    leader = await cluster.check_one_leader()
    second, third = (leader + 1) % servers, (leader + 2) % servers
    cluster.disconnect(third)
    await cluster.one(102, 2, retry=True)
    cluster.crash(leader)
    cluster.crash(second)
    cluster.connect(third)
    cluster.start(leader)
    cluster.connect(leader)
    await cluster.one(103, 2, retry=True)
    cluster.start(second)
    cluster.connect(second)
    await cluster.one(104, servers, retry=True)
    cluster.end()


async def figure_8(world: World, settings: Settings) -> None:
    """`TestFigure82C`."""
    servers = 5
    cluster = RaftHarness(world, servers, settings)
    cluster.begin("Test (2C): Figure 8")
    await cluster.one(random_command(world), 1, retry=True)
    up = servers
    for _ in range(ITERATIONS):
        leader = None
        for server in range(servers):
            if cluster.rafts[server] is not None:
                result = cluster.start_command(server, random_command(world))
                if result.is_leader:
                    leader = server
        await _pause(world)
        if leader is not None:
            cluster.crash(leader)
            up -= 1
        if up < 3:
            server = world.rng.randrange(servers)
            if cluster.rafts[server] is None:
                cluster.start(server)
                cluster.connect(server)
                up += 1
    for server in range(servers):
        if cluster.rafts[server] is None:
            cluster.start(server)
            cluster.connect(server)
    await cluster.one(random_command(world), servers, retry=True)
    cluster.end()


async def unreliable_agree(world: World, settings: Settings) -> None:
    """`TestUnreliableAgree2C`."""
    servers = 5
    cluster = RaftHarness(world, servers, settings, reliable=False)
    cluster.begin("Test (2C): unreliable agreement")
    background = []
    for round_number in range(1, 50):
        for number in range(4):
            command = 100 * round_number + number
            background.append(world.tasks.spawn(cluster.one(command, 1, retry=True)))
        await cluster.one(round_number, 1, retry=True)
    world.network.reliable = True
    for task in background:
        await task
    await cluster.one(100, servers, retry=True)
    cluster.end()


async def figure_8_unreliable(world: World, settings: Settings) -> None:
    """`TestFigure8Unreliable2C`."""
    servers = 5
    cluster = RaftHarness(world, servers, settings, reliable=False)
    cluster.begin("Test (2C): Figure 8 (unreliable)")
    await cluster.one(random_command(world) % 10_000, 1, retry=True)
    up = servers
    for iteration in range(ITERATIONS):
        if iteration == 200:
            world.network.long_reordering = True
        leader = None
        for server in range(servers):
            result = cluster.start_command(server, random_command(world) % 10_000)
            if result.is_leader and cluster.connected[server]:
                leader = server
        await _pause(world)
        if leader is not None and world.rng.random() < 0.5:
            cluster.disconnect(leader)
            up -= 1
        if up < 3:
            server = world.rng.randrange(servers)
            if not cluster.connected[server]:
                cluster.connect(server)
                up += 1
    for server in range(servers):
        if not cluster.connected[server]:
            cluster.connect(server)
    await cluster.one(random_command(world) % 10_000, servers, retry=True)
    cluster.end()


async def _pause(world: World) -> None:
    """Between two iterations: short, and now and then long enough for an election."""
    await world.sleep(world.rng.randrange(500 if world.rng.random() < 0.1 else 13))


async def reliable_churn(world: World, settings: Settings) -> None:
    """`TestReliableChurn2C`."""
    await _churn(world, settings, reliable=True, title="Test (2C): churn")


async def unreliable_churn(world: World, settings: Settings) -> None:
    """`TestUnreliableChurn2C`."""
    await _churn(world, settings, reliable=False, title="Test (2C): unreliable churn")


class _ChurnClient:
    """Has random values replicated until it is stopped, and remembers those committed."""

    def __init__(self, world: World, cluster: RaftHarness, number: int) -> None:
        self._world = world
        self._cluster = cluster
        self._number = number
        self.is_stopped = False

    async def run(self) -> list[int]:
        """The values that were committed where a leader had put them."""
        committed = []
        while not self.is_stopped:
            command = random_command(self._world)
            index = self._start(command)
            if index is None:
                await self._world.sleep(79 + 17 * self._number)
            elif await self._is_committed(index, command):
                committed.append(command)
        return committed

    def _start(self, command: int) -> int | None:
        """Offers it to all; the last one that accepts it counts."""
        index = None
        for raft in self._cluster.rafts:
            if raft is not None:
                result = raft.start(command)
                if result.is_leader:
                    index = result.index
        return index

    async def _is_committed(self, index: int, command: int) -> bool:
        for pause_ms in (10, 20, 50, 100, 200):
            count, delivered = self._cluster.committed(index)
            if count > 0:
                return delivered == command
            await self._world.sleep(pause_ms)
        return False


async def _churn(world: World, settings: Settings, *, reliable: bool, title: str) -> None:
    servers = 5
    cluster = RaftHarness(world, servers, settings, reliable=reliable)
    cluster.begin(title)
    clients = [_ChurnClient(world, cluster, number) for number in range(3)]
    runs = [world.tasks.spawn(client.run()) for client in clients]
    await _disturb(world, cluster)
    await world.sleep(1_000)
    world.network.reliable = True
    for server in range(servers):
        if cluster.rafts[server] is None:
            cluster.start(server)
        cluster.connect(server)
    for client in clients:
        client.is_stopped = True
    recorded = [value for run in runs for value in await run]
    await world.sleep(1_000)
    last = await cluster.one(random_command(world), servers, retry=True)
    delivered = {await cluster.wait(index, servers) for index in range(1, last + 1)}
    if not delivered.issuperset(recorded):
        raise CheckFailedError("didn't find a value")
    cluster.end()


async def _disturb(world: World, cluster: RaftHarness) -> None:
    rng = world.rng
    for _ in range(20):
        if rng.random() < 0.2:
            cluster.disconnect(rng.randrange(cluster.servers))
        if rng.random() < 0.5:
            server = rng.randrange(cluster.servers)
            if cluster.rafts[server] is None:
                cluster.start(server)
            cluster.connect(server)
        if rng.random() < 0.2:
            server = rng.randrange(cluster.servers)
            if cluster.rafts[server] is not None:
                cluster.crash(server)
        await world.sleep(700)
