"""The Raft lab, part 2B: the log."""

import string

from quorate.lab.edition import Edition
from quorate.lab.errors import CheckFailedError
from quorate.lab.raft_harness import TERM_CHANGED, RaftHarness
from quorate.lab.world import World
from quorate.raft.settings import Settings

ATTEMPTS = 5
"""How often a test that needs a quiet term begins again when a term ends under it."""
LARGE_COMMAND = 5_000
"""Characters of each command of the test that counts bytes."""


def random_command(world: World) -> int:
    """A large number that nobody else has drawn."""
    return world.rng.getrandbits(62)


async def basic_agree(world: World, settings: Settings) -> None:
    """`TestBasicAgree2B`."""
    servers = 5 if world.edition < Edition.Y2020 else 3
    cluster = RaftHarness(world, servers, settings)
    cluster.begin("Test (2B): basic agreement")
    for expected in (1, 2, 3):
        if cluster.committed(expected)[0] > 0:
            raise CheckFailedError("some have committed before Start()")
        index = await cluster.one(100 * expected, servers)
        if index != expected:
            raise CheckFailedError(f"got index {index} but expected {expected}")
    cluster.end()


async def rpc_bytes(world: World, settings: Settings) -> None:
    """`TestRPCBytes2B`."""
    servers = 3
    cluster = RaftHarness(world, servers, settings)
    cluster.begin("Test (2B): RPC byte count")
    await cluster.one(99, servers)
    before = cluster.total_bytes
    sent = 0
    for expected in range(2, 12):
        command = "".join(world.rng.choices(string.ascii_letters, k=LARGE_COMMAND))
        index = await cluster.one(command, servers)
        if index != expected:
            raise CheckFailedError(f"got index {index} but expected {expected}")
        sent += len(command)
    got, allowed = cluster.total_bytes - before, servers * sent + 50_000
    if got > allowed:
        raise CheckFailedError(f"too many RPC bytes; got {got}, expected {allowed}")
    cluster.end()


async def fail_agree(world: World, settings: Settings) -> None:
    """`TestFailAgree2B`."""
    servers = 3
    cluster = RaftHarness(world, servers, settings)
    cluster.begin(
        "Test (2B): agreement despite follower disconnection"
        if world.edition < Edition.Y2022
        else "Test (2B): agreement after follower reconnects"
    )
    await cluster.one(101, servers)
    follower = (await cluster.check_one_leader() + 1) % servers
    cluster.disconnect(follower)
    await cluster.one(102, servers - 1)
    await cluster.one(103, servers - 1)
    await world.sleep(1_000)
    await cluster.one(104, servers - 1)
    await cluster.one(105, servers - 1)
    cluster.connect(follower)
    await cluster.one(106, servers, retry=True)
    await world.sleep(1_000)
    await cluster.one(107, servers, retry=True)
    cluster.end()


async def fail_no_agree(world: World, settings: Settings) -> None:
    """`TestFailNoAgree2B`."""
    servers = 5
    cluster = RaftHarness(world, servers, settings)
    cluster.begin("Test (2B): no agreement if too many followers disconnect")
    await cluster.one(10, servers)
    leader = await cluster.check_one_leader()
    followers = [(leader + distance) % servers for distance in (1, 2, 3)]
    for follower in followers:
        cluster.disconnect(follower)
    _start_at(cluster, leader, 20, expected=(2,))
    await world.sleep(2_000)
    _check_uncommitted(cluster, 2)
    for follower in followers:
        cluster.connect(follower)
    # The disconnected majority may have elected a leader that never heard of 20.
    leader = await cluster.check_one_leader()
    _start_at(cluster, leader, 30, expected=(2, 3))
    await cluster.one(1000, servers, retry=True)
    cluster.end()


async def progressive_failure(world: World, settings: Settings) -> None:
    """`TestFollowerFailure2B`, of 2023."""
    servers = 3
    cluster = RaftHarness(world, servers, settings)
    cluster.begin("Test (2B): test progressive failure of followers")
    await cluster.one(101, servers)
    leader = await cluster.check_one_leader()
    cluster.disconnect((leader + 1) % servers)
    await cluster.one(102, servers - 1)
    await world.sleep(1_000)
    await cluster.one(103, servers - 1)
    leader = await cluster.check_one_leader()
    for distance in (1, 2):
        cluster.disconnect((leader + distance) % servers)
    _start_at(cluster, leader, 104, expected=(4,))
    await world.sleep(2_000)
    _check_uncommitted(cluster, 4)
    cluster.end()


async def leader_failure(world: World, settings: Settings) -> None:
    """`TestLeaderFailure2B`, of 2023."""
    servers = 3
    cluster = RaftHarness(world, servers, settings)
    cluster.begin("Test (2B): test failure of leaders")
    await cluster.one(101, servers)
    cluster.disconnect(await cluster.check_one_leader())
    await cluster.one(102, servers - 1)
    await world.sleep(1_000)
    await cluster.one(103, servers - 1)
    cluster.disconnect(await cluster.check_one_leader())
    for server in range(servers):
        cluster.start_command(server, 104)
    await world.sleep(2_000)
    _check_uncommitted(cluster, 4)
    cluster.end()


async def concurrent_starts(world: World, settings: Settings) -> None:
    """`TestConcurrentStarts2B`."""
    cluster = RaftHarness(world, 3, settings)
    cluster.begin("Test (2B): concurrent Start()s")
    for attempt in range(ATTEMPTS):
        if attempt > 0:
            await world.sleep(3_000)
        if await _try_concurrent_starts(world, cluster):
            cluster.end()
            return
    raise CheckFailedError("term changed too often")


async def _try_concurrent_starts(world: World, cluster: RaftHarness) -> bool:
    """Whether one term was enough."""
    leader = await cluster.check_one_leader()
    first = cluster.start_command(leader, 1)
    if not first.is_leader:
        return False
    accepted: list[int] = []

    async def start(command: int) -> None:
        result = cluster.start_command(leader, command)
        if result.is_leader and result.term == first.term:
            accepted.append(result.index)

    for task in [world.tasks.spawn(start(100 + number)) for number in range(5)]:
        await task
    if cluster.highest_term() != first.term:
        return False
    commands = []
    for index in accepted:
        command = await cluster.wait(index, cluster.servers, first.term)
        if command is TERM_CHANGED:
            return False
        commands.append(command)
    for number in range(5):
        if 100 + number not in commands:
            raise CheckFailedError(f"cmd {100 + number} missing in {commands}")
    return True


async def rejoin(world: World, settings: Settings) -> None:
    """`TestRejoin2B`."""
    servers = 3
    cluster = RaftHarness(world, servers, settings)
    cluster.begin("Test (2B): rejoin of partitioned leader")
    await cluster.one(101, servers, retry=True)
    first = await cluster.check_one_leader()
    cluster.disconnect(first)
    for command in (102, 103, 104):
        cluster.start_command(first, command)
    await cluster.one(103, 2, retry=True)
    second = await cluster.check_one_leader()
    cluster.disconnect(second)
    cluster.connect(first)
    await cluster.one(104, 2, retry=True)
    cluster.connect(second)
    await cluster.one(105, servers, retry=True)
    cluster.end()


async def backup(world: World, settings: Settings) -> None:
    """`TestBackup2B`."""
    servers = 5
    cluster = RaftHarness(world, servers, settings)
    cluster.begin("Test (2B): leader backs up quickly over incorrect follower logs")

    async def commit_fifty() -> None:
        for _ in range(50):
            await cluster.one(random_command(world), 3, retry=True)

    async def start_fifty(server: int) -> None:
        for _ in range(50):
            cluster.start_command(server, random_command(world))
        await world.sleep(500)

    await cluster.one(random_command(world), servers, retry=True)
    # A leader with one follower collects entries that will not commit.
    first = await cluster.check_one_leader()
    pair = [first, (first + 1) % servers]
    others = [(first + distance) % servers for distance in (2, 3, 4)]
    for server in others:
        cluster.disconnect(server)
    await start_fifty(first)
    # The other three commit many; then one of their leaders collects such entries too.
    for server in pair:
        cluster.disconnect(server)
    for server in others:
        cluster.connect(server)
    await commit_fifty()
    second = await cluster.check_one_leader()
    other = (first + 2) % servers
    if second == other:
        other = (second + 1) % servers
    cluster.disconnect(other)
    await start_fifty(second)
    # The first pair comes back with the one that was left out.
    for server in range(servers):
        cluster.disconnect(server)
    for server in (*pair, other):
        cluster.connect(server)
    await commit_fifty()
    for server in range(servers):
        cluster.connect(server)
    await cluster.one(random_command(world), servers, retry=True)
    cluster.end()


async def count(world: World, settings: Settings) -> None:
    """`TestCount2B`."""
    cluster = RaftHarness(world, 3, settings)
    cluster.begin("Test (2B): RPC counts aren't too high")
    await cluster.check_one_leader()
    calls = cluster.calls_to_all()
    if not 1 <= calls <= 30:
        raise CheckFailedError(f"too many or few RPCs ({calls}) to elect initial leader")
    for attempt in range(ATTEMPTS):
        if attempt > 0:
            await world.sleep(3_000)
        if await _try_count(world, cluster):
            break
    else:
        raise CheckFailedError("term changed too often")
    before = cluster.calls_to_all()
    await world.sleep(1_000)
    calls = cluster.calls_to_all() - before
    if calls > 3 * 20:
        raise CheckFailedError(f"too many RPCs ({calls}) for 1 second of idleness")
    cluster.end()


async def _try_count(world: World, cluster: RaftHarness) -> bool:
    """Whether one term was enough."""
    entries = 10
    leader = await cluster.check_one_leader()
    before = cluster.calls_to_all()
    first = cluster.start_command(leader, 1)
    if not first.is_leader:
        return False
    commands = [world.rng.getrandbits(31) for _ in range(entries + 1)]
    for distance, command in enumerate(commands, 1):
        result = cluster.start_command(leader, command)
        if result.term != first.term or not result.is_leader:
            return False
        if result.index != first.index + distance:
            raise CheckFailedError("Start() failed")
    for distance in range(1, entries + 1):
        command_or_not = await cluster.wait(first.index + distance, cluster.servers, first.term)
        if command_or_not is TERM_CHANGED:
            return False
        if command_or_not != commands[distance - 1]:
            raise CheckFailedError(
                f"wrong value {command_or_not} committed for index {first.index + distance}; "
                f"expected {commands}"
            )
    if cluster.highest_term() != first.term:
        return False
    calls = cluster.calls_to_all() - before
    if calls > (entries + 1 + 3) * 3:
        raise CheckFailedError(f"too many RPCs ({calls}) for {entries} entries")
    return True


def _start_at(cluster: RaftHarness, leader: int, command: int, expected: tuple[int, ...]) -> None:
    result = cluster.start_command(leader, command)
    if not result.is_leader:
        raise CheckFailedError("leader rejected Start()")
    if result.index not in expected:
        wanted = " or ".join(str(index) for index in expected)
        raise CheckFailedError(f"unexpected index {result.index}, expected {wanted}")


def _check_uncommitted(cluster: RaftHarness, index: int) -> None:
    servers = cluster.committed(index)[0]
    if servers > 0:
        raise CheckFailedError(f"{servers} committed but no majority")
