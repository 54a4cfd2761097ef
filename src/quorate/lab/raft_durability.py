"""The Raft lab, part 2C: what must be durable, and when. These tests are ours, not the course's.

The course's persister saves in no time and its tests crash servers at random moments, so bugs in
what is saved, and in what is promised before it is saved, pass them. Here each such promise is
brought about on purpose, with disks so slow that a crash meets them while they write.
"""

from collections.abc import Sequence

import msgspec

from quorate.lab.errors import CheckFailedError
from quorate.lab.raft_harness import RaftHarness
from quorate.lab.results import SECOND_US
from quorate.lab.world import World
from quorate.raft.settings import Settings

VOTE_ROUNDS = 5
"""In each, the one server that must not vote again is asked to with a chance of about one half."""
CANDIDATE_ROUNDS = 3
"""In each, the voter is asked by two candidates, but for one round in a hundred or so."""
CANDIDACY_MS = 280
"""One write to a candidate's disk. A candidate waits for votes 300 ms at least."""
COMMIT_LIMIT_MS = 4_000
"""How long a test waits for a command whose write is slow."""
SLOW_US = SECOND_US
"""One write to a slow disk."""
BUSY_US = SECOND_US // 10
"""One write to a disk that has many to make. A leader goes on that long without a majority."""
BACKLOG = 60
"""So many such writes outlast an election."""

OVERTAKING_ROUNDS = 10
COMMANDS = 20
"""In each of those rounds, a millisecond apart, so that many requests are under way at once."""


async def persist_term(world: World, settings: Settings) -> None:
    """`TestPersistTerm2C`: a server never goes back to an older term (Raft Figure 2)."""
    servers = 3
    cluster = RaftHarness(world, servers, settings)
    cluster.begin("Test (2C): terms survive, votes or not (ours)")
    await cluster.one(101, servers, retry=True)
    leader = await cluster.check_one_leader()
    follower = (leader + 1) % servers
    # It misses the election, so it has no vote to save with the new term.
    cluster.crash(follower)
    cluster.start(leader)
    cluster.connect(leader)
    await cluster.check_one_leader()
    cluster.start(follower)
    cluster.connect(follower)
    # Long enough for a heartbeat, too short for an election.
    await world.sleep(250)
    before = cluster.check_terms()
    cluster.start(follower)
    after = cluster.living(follower).get_state().term
    if after < before:
        raise CheckFailedError(f"term of server {follower} went back from {before} to {after}")
    cluster.connect(follower)
    await cluster.one(102, servers, retry=True)
    cluster.end()


async def persist_vote(world: World, settings: Settings) -> None:
    """`TestPersistVote2C`: a voter that has crashed does not vote again in that term (§5.2)."""
    servers = 3
    cluster = RaftHarness(world, servers, settings)
    cluster.begin("Test (2C): a voter crashes and is asked again (ours)")
    await cluster.one(101, servers, retry=True)
    leaders: dict[int, int] = {}
    for _ in range(VOTE_ROUNDS):
        old = await cluster.check_one_leader()
        # The rival sleeps through the election, in the term before.
        rival = (old + 1) % servers
        cluster.crash(rival)
        cluster.start(old)
        cluster.connect(old)
        leader = await cluster.check_one_leader()
        _note_leaders(cluster, leaders)
        voter = next(each for each in range(servers) if each not in (leader, rival))
        cluster.disconnect(leader)
        for server in (voter, rival):
            cluster.start(server)
            cluster.connect(server)
        for _ in range(100):
            await world.sleep(10)
            _note_leaders(cluster, leaders)
        cluster.connect(leader)
        await cluster.one(102, servers, retry=True)
    cluster.end()


async def two_candidates(world: World, settings: Settings) -> None:
    """`TestTwoCandidates2C`: a voter that crashes between two candidates votes once (§5.2).

    Who has crashed refuses the PreVote of a later candidate, since it remembers the term. So both
    must have been told that they would win before either is voted for. A candidate asks for votes
    when its own is saved, which a slow disk delays:

    1. Two servers, cut off from each other, stand for election in the same term. The disk of the
       first one is slow; the other's is quick from then on.
    2. The other one gets the vote of the third server, and leads.
    3. The voter crashes. It hears nothing more of that leader, and then the first one asks it.
    """
    servers = 3
    cluster = RaftHarness(world, servers, settings)
    cluster.begin("Test (2C): two candidates ask a voter that crashes (ours)")
    leaders: dict[int, int] = {}
    for number in range(CANDIDATE_ROUNDS):
        await cluster.one(100 + number, servers, retry=True)
        leader = await cluster.check_one_leader()
        voter, rival = _after(leader, servers)
        candidates = (leader, rival)
        term = cluster.highest_term()
        # The voter only answers: what it asks itself reaches nobody.
        cluster.partition()
        for server in range(servers):
            cluster.start(server)
        for server in candidates:
            cluster.living(server).write_us = CANDIDACY_MS * 1_000
            cluster.connect_one_way(server, voter)
        first = await _next_candidate(world, cluster, candidates, term)
        second = next(server for server in candidates if server != first)
        cluster.living(second).write_us = world.costs.write_us
        for _ in range(CANDIDACY_MS - 20):
            await world.sleep(1)
            if cluster.living(second).get_state().is_leader:
                break
        _note_leaders(cluster, leaders)
        cluster.partition()
        cluster.start(voter)
        cluster.connect_one_way(first, voter)
        for _ in range(CANDIDACY_MS):
            await world.sleep(1)
            _note_leaders(cluster, leaders)
        for server in range(servers):
            cluster.living(server).write_us = world.costs.write_us
            cluster.connect(server)
    await cluster.one(200, servers, retry=True)
    cluster.end()


async def _next_candidate(
    world: World, cluster: RaftHarness, servers: Sequence[int], term: int
) -> int:
    """Waits until one of these servers enters a term after this one; gives it."""
    while True:
        for server in servers:
            if cluster.living(server).get_state().term > term:
                return server
        await world.sleep(1)


def _note_leaders(cluster: RaftHarness, leaders: dict[int, int]) -> None:
    """Remembers who leads which term, also of those cut off, and that no term has two."""
    for server, raft in enumerate(cluster.rafts):
        state = None if raft is None else raft.get_state()
        if state is not None and state.is_leader:
            first = leaders.setdefault(state.term, server)
            if first != server:
                raise CheckFailedError(
                    f"term {state.term} was led by server {first} and then by server {server}"
                )


async def figure_8_steps(world: World, settings: Settings) -> None:
    """`TestFigure8Steps2C`: Figure 8 of the paper, (a) to (d), on purpose (§5.4.2)."""
    servers = 5
    cluster = RaftHarness(world, servers, settings)
    cluster.begin("Test (2C): Figure 8, step by step (ours)")
    await cluster.one(101, servers, retry=True)
    # (a) A leader has an entry on one follower only.
    first = await cluster.check_one_leader()
    second, *others = _after(first, servers)
    cluster.partition([first, second])
    cluster.start_command(first, 102)
    await world.sleep(50)
    # (b) Both crash; another one leads, accepts another entry there, and crashes too.
    cluster.crash(first)
    cluster.crash(second)
    cluster.partition(others)
    fifth = await cluster.check_one_leader()
    cluster.partition([fifth])
    cluster.start_command(fifth, 103)
    await world.sleep(50)
    cluster.crash(fifth)
    # (c) The first two are back and bring their entry to a majority, in a term with no other.
    third, fourth = (server for server in others if server != fifth)
    cluster.start(first)
    cluster.start(second)
    cluster.partition([first, second, third])
    await cluster.check_one_leader()
    await world.sleep(500)
    # (d) They crash. Who had led in between has the newest entry, and replaces theirs.
    for server in (first, second, third):
        cluster.crash(server)
    cluster.start(third)
    cluster.start(fifth)
    cluster.partition([third, fourth, fifth])
    await cluster.one(104, 3, retry=True)
    await _end_with_all(cluster)


async def slow_followers(world: World, settings: Settings) -> None:
    """`TestSlowFollowers2C`: a follower answers when it has saved the entry (Figure 2)."""
    servers = 3
    cluster = RaftHarness(world, servers, settings)
    cluster.begin("Test (2C): followers crash while they save (ours)")
    await cluster.one(101, servers, retry=True)
    leader = await cluster.check_one_leader()
    followers = _after(leader, servers)
    for follower in followers:
        cluster.living(follower).write_us = SLOW_US
    await _commit(world, cluster, leader, 102)
    cluster.crash(leader)
    await _go_on_with(cluster, followers)
    await _end_with_all(cluster)


async def slow_leader(world: World, settings: Settings) -> None:
    """`TestSlowLeader2C`: a leader counts itself when it has saved the entry (§10.2.1)."""
    servers = 3
    cluster = RaftHarness(world, servers, settings)
    cluster.begin("Test (2C): leader crashes while it saves (ours)")
    await cluster.one(101, servers, retry=True)
    leader = await cluster.check_one_leader()
    second, third = _after(leader, servers)
    cluster.disconnect(third)
    cluster.living(leader).write_us = SLOW_US
    await _commit(world, cluster, leader, 102)
    cluster.crash(second)
    await _go_on_with(cluster, [leader, third])
    await _end_with_all(cluster)


async def slow_truncation(world: World, settings: Settings) -> None:
    """`TestSlowTruncation2C`: what was being saved when it was truncated vouches for nothing.

    1. A follower, `busy`, has many entries of the old leader to save, one with each write.
    2. It hears of the new leader, whose term is saved with the next of them.
    3. While one more is under way, an entry of the new leader replaces them all.
    4. That write completes. If it now vouches for the new entry, `busy` answers too early, and
       crashes before the new entry is on its disk.
    """
    servers = 5
    one_by_one = msgspec.structs.replace(settings, max_write_bytes=1)
    cluster = RaftHarness(world, servers, one_by_one)
    cluster.begin("Test (2C): truncation while a write is under way (ours)")
    await cluster.one(101, servers, retry=True)
    old = await cluster.check_one_leader()
    busy, *others = _after(old, servers)
    cluster.partition([old, busy], others)
    cluster.living(busy).write_us = BUSY_US
    for number in range(BACKLOG):
        cluster.start_command(old, 200 + number)
    await world.sleep(50)
    cluster.connected[old] = cluster.connected[busy] = False
    new = await cluster.check_one_leader()
    helper, spare = (server for server in others if server != new)
    cluster.partition([new, helper, busy, spare])
    # Enough for a heartbeat, and for two writes.
    await world.sleep(350)
    cluster.partition([new, helper, busy])
    await _commit(world, cluster, new, 104)
    for server in (new, helper):
        cluster.crash(server)
    await _go_on_with(cluster, [old, busy, spare])
    await _end_with_all(cluster)


async def overtaken_appends(world: World, settings: Settings) -> None:
    """`TestOvertakenAppends2C`: an older request removes nothing that a newer one brought (§5.3).

    The follower has acknowledged what came, so it must have it when the leader is gone.
    """
    servers = 3
    cluster = RaftHarness(world, servers, settings)
    cluster.begin("Test (2C): requests overtake each other, leader crashes (ours)")
    for number in range(OVERTAKING_ROUNDS):
        await cluster.one(100 * number, servers, retry=True)
        leader = await cluster.check_one_leader()
        follower, other = _after(leader, servers)
        cluster.partition([leader, follower])
        world.network.reliable = False
        for command in range(1, COMMANDS):
            cluster.start_command(leader, 100 * number + command)
            await world.sleep(1)
        await world.sleep(world.rng.randrange(50))
        world.network.reliable = True
        cluster.crash(leader)
        await _go_on_with(cluster, [follower, other])
        cluster.start(leader)
        cluster.partition(range(servers))
    await _end_with_all(cluster)


def _after(first: int, servers: int) -> list[int]:
    """All servers but one, in order from it."""
    return [(first + distance) % servers for distance in range(1, servers)]


async def _commit(world: World, cluster: RaftHarness, leader: int, command: int) -> None:
    """Has the leader accept a command, and returns as soon as any server has delivered it."""
    index = cluster.start_command(leader, command).index
    for _ in range(COMMIT_LIMIT_MS):
        if cluster.committed(index)[0] > 0:
            return
        await world.sleep(1)
    raise CheckFailedError(f"start({command}) failed to reach agreement")


async def _go_on_with(cluster: RaftHarness, survivors: Sequence[int]) -> None:
    """These crash and start on what they have saved, and agree on one more command."""
    for server in survivors:
        cluster.start(server)
    cluster.partition(survivors)
    await cluster.one(1000, len(survivors), retry=True)


async def _end_with_all(cluster: RaftHarness) -> None:
    """All servers are back, and agree: the test has passed."""
    for server, raft in enumerate(cluster.rafts):
        if raft is None:
            cluster.start(server)
    for server in range(cluster.servers):
        cluster.connect(server)
    await cluster.one(1001, cluster.servers, retry=True)
    cluster.end()
