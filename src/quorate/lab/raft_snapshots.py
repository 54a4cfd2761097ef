"""The Raft lab, part 2D: snapshots."""

from functools import partial

from quorate.lab.edition import Edition
from quorate.lab.errors import CheckFailedError
from quorate.lab.raft_agreement import random_command
from quorate.lab.raft_harness import SNAPSHOT_INTERVAL, RaftHarness
from quorate.lab.world import World
from quorate.raft.settings import Settings

SERVERS = 3
ROUNDS = 30
ALL_CRASH_ROUNDS = 5
MAX_LOG_SIZE = 2_000
"""Bytes of Raft state that any server may have saved after each round."""


async def _install(
    world: World,
    settings: Settings,
    *,
    title: str,
    disconnects: bool = False,
    unreliable: bool = False,
    crashes: bool = False,
) -> None:
    cluster = RaftHarness(world, SERVERS, settings, reliable=not unreliable)
    cluster.begin(title)
    await cluster.one(random_command(world), SERVERS, retry=True)
    leader = await cluster.check_one_leader()
    is_undisturbed = not disconnects and not crashes
    for number in range(ROUNDS):
        victim, sender = (leader + 1) % SERVERS, leader
        if number % 3 == 1:
            victim, sender = sender, victim
        if disconnects:
            cluster.disconnect(victim)
            await cluster.one(random_command(world), SERVERS - 1, retry=True)
        if crashes:
            cluster.crash(victim)
            await cluster.one(random_command(world), SERVERS - 1, retry=True)
        for _ in range(_commands(world)):
            cluster.start_command(sender, random_command(world))
        needed = SERVERS if is_undisturbed and world.edition >= Edition.Y2022 else SERVERS - 1
        await cluster.one(random_command(world), needed, retry=True)
        if cluster.largest_state_size >= MAX_LOG_SIZE:
            raise CheckFailedError("Log size too large")
        if crashes:
            cluster.start(victim)
        if not is_undisturbed:
            cluster.connect(victim)
            await cluster.one(random_command(world), SERVERS, retry=True)
            leader = await cluster.check_one_leader()
    cluster.end()


def _commands(world: World) -> int:
    """How many a round adds: about as many as make a snapshot."""
    if world.edition < Edition.Y2022:
        return SNAPSHOT_INTERVAL + 1
    return SNAPSHOT_INTERVAL // 2 + world.rng.randrange(SNAPSHOT_INTERVAL)


basic = partial(_install, title="Test (2D): snapshots basic")
"""`TestSnapshotBasic2D`."""
install = partial(_install, title="Test (2D): install snapshots (disconnect)", disconnects=True)
"""`TestSnapshotInstall2D`."""
install_unreliable = partial(
    _install,
    title="Test (2D): install snapshots (disconnect+unreliable)",
    disconnects=True,
    unreliable=True,
)
"""`TestSnapshotInstallUnreliable2D`."""
install_crash = partial(_install, title="Test (2D): install snapshots (crash)", crashes=True)
"""`TestSnapshotInstallCrash2D`."""
install_unreliable_crash = partial(
    _install,
    title="Test (2D): install snapshots (unreliable+crash)",
    unreliable=True,
    crashes=True,
)
"""`TestSnapshotInstallUnCrash2D`."""


async def all_crash(world: World, settings: Settings) -> None:
    """`TestSnapshotAllCrash2D`."""
    cluster = RaftHarness(world, SERVERS, settings)
    cluster.begin("Test (2D): crash and restart all servers")
    await cluster.one(random_command(world), SERVERS, retry=True)
    for _ in range(ALL_CRASH_ROUNDS):
        for _ in range(SNAPSHOT_INTERVAL // 2 + world.rng.randrange(SNAPSHOT_INTERVAL)):
            await cluster.one(random_command(world), SERVERS, retry=True)
        before = await cluster.one(random_command(world), SERVERS, retry=True)
        for server in range(SERVERS):
            cluster.crash(server)
        for server in range(SERVERS):
            cluster.start(server)
            cluster.connect(server)
        after = await cluster.one(random_command(world), SERVERS, retry=True)
        if after <= before:
            raise CheckFailedError(f"index decreased from {before} to {after}")
    cluster.end()
