"""The Raft lab, part 2A: elections."""

from quorate.lab.errors import CheckFailedError
from quorate.lab.raft_harness import RaftHarness
from quorate.lab.world import World
from quorate.raft.settings import Settings


async def initial_election(world: World, settings: Settings) -> None:
    """`TestInitialElection2A`."""
    cluster = RaftHarness(world, 3, settings)
    cluster.begin("Test (2A): initial election")
    await cluster.check_one_leader()
    # Followers may not have heard of the election yet.
    await world.sleep(50)
    if cluster.check_terms() < 1:
        raise CheckFailedError(f"term is {cluster.check_terms()}, but should be at least 1")
    await world.sleep(2_000)
    # The course only warns if the term has changed by now.
    cluster.check_terms()
    await cluster.check_one_leader()
    cluster.end()


async def reelection(world: World, settings: Settings) -> None:
    """`TestReElection2A`."""
    servers = 3
    cluster = RaftHarness(world, servers, settings)
    cluster.begin("Test (2A): election after network failure")
    first = await cluster.check_one_leader()
    cluster.disconnect(first)
    await cluster.check_one_leader()
    # The old leader must not disturb the new one.
    cluster.connect(first)
    second = await cluster.check_one_leader()
    # Without a majority nobody may be elected.
    cluster.disconnect(second)
    cluster.disconnect((second + 1) % servers)
    await world.sleep(2_000)
    cluster.check_no_leader()
    cluster.connect((second + 1) % servers)
    await cluster.check_one_leader()
    cluster.connect(second)
    await cluster.check_one_leader()
    cluster.end()


async def many_elections(world: World, settings: Settings) -> None:
    """`TestManyElections2A`."""
    servers = 7
    cluster = RaftHarness(world, servers, settings)
    cluster.begin("Test (2A): multiple elections")
    await cluster.check_one_leader()
    for _ in range(9):
        chosen = [world.rng.randrange(servers) for _ in range(3)]
        for server in chosen:
            cluster.disconnect(server)
        # At least four are left: the old leader or a new one leads them.
        await cluster.check_one_leader()
        for server in chosen:
            cluster.connect(server)
    await cluster.check_one_leader()
    cluster.end()
