"""The key/value lab: what clients are promised, put to the test on purpose. These tests are ours.

Some bugs need what the course's tests bring about by chance, if at all, or do not look at:

* Two leaders at a time. One that is cut off steps down before there is another, nearly always. But
  replies that are held back keep it in office: it hears, late, from servers that follow another
  one by now. That is allowed, as long as it confirms no read with them, and as long as nobody who
  waits for its entries gets the results of those that replace them.
* A log that begins with an append.
* How much the servers remember.
"""

from quorate.lab.errors import CheckFailedError
from quorate.lab.kv_checks import check_appends, element
from quorate.lab.kv_test import KvTest
from quorate.lab.world import World
from quorate.replica.sessions import SessionLimits

ROUNDS = 3
"""In each, the old leader is in office long enough, but for one round in twenty or so."""
LATE_MS = 1_000
"""For so long replies are held back, each for 200 to 2,199 ms."""
HEARTBEAT_MS = 100
"""After so long a leader has called all servers that it reaches."""
ENTRIES = 5
"""So many of the old leader's are replaced."""

WRITES = 300
"""The replies to so many take ten times the room that they may."""
SESSIONS = SessionLimits(client_sessions=20, protected_ms=0, ttl_ms=3_000)
MOST_STATE = 200
"""The largest state of a table of one key, written through one session or one of each server."""
MOST_SESSION = 30
"""Bytes of one more session."""


async def stale_read(world: World) -> None:
    """`TestStaleRead3A`: a leader that does not know of its successor serves no read (§6.4)."""
    test = KvTest(world, 5)
    cluster = test.cluster
    client = test.new_client()
    test.begin("Test: late replies to a leader that is cut off, reads (ours) (3A)")
    for number in range(ROUNDS):
        await client.put("x", f"old {number}")
        majority, leader = await _cut_off_the_leader(test)
        clerk, ends = test.new_clerk_and_ends([leader])
        await test.new_client(majority).put("x", f"new {number}")
        read = world.tasks.spawn(test.expect(test.recorded(clerk), "x", f"new {number}"))
        await world.sleep(500)
        cluster.connect_all()
        cluster.enable(ends, cluster.all)
        await read
    test.end()


async def overwritten_entries(world: World) -> None:
    """`TestOverwritten3A`: who waits for an entry gets no result of the one in its place (§8).

    One request of the new leader replaces the old one's entries and says that the new ones are
    committed. The old leader learns all of it at once: that it leads no more, that the entries for
    which its clients wait are gone, and what became of others at their indices.
    """
    test = KvTest(world, 5)
    clients = [test.new_client() for _ in range(ENTRIES)]
    test.begin("Test: late replies to a leader that is cut off, writes (ours) (3A)")
    for _ in range(ROUNDS):
        for number, client in enumerate(clients):
            await client.put(str(number), "")
        majority, leader = await _cut_off_the_leader(test)
        appends = []
        for number, client in enumerate(clients):
            appends.append(world.tasks.spawn(client.append(str(number), element(number, 0))))
            await world.sleep(5)
        of_majority = test.new_client(majority)
        for number in range(2 * ENTRIES):
            await of_majority.put("x", str(number))
        # Nobody but the new leader tells the old one that it leads no more.
        for server in majority:
            test.cluster.connect_one_way(server, leader)
        await world.sleep(HEARTBEAT_MS)
        test.cluster.connect_all()
        for append in appends:
            await append
        for number, client in enumerate(clients):
            check_appends(number, await client.get(str(number)), 1)
    test.end()


async def replayed_log(world: World) -> None:
    """`TestReplay3A`: what a server executes again when it starts, it executes from the beginning.

    The course's clients put an empty value before they append, so a log that is replayed upon what
    it had led to already leads there once more. These never put anything.
    """
    test = KvTest(world, 3)
    cluster = test.cluster
    client = test.new_client()
    test.begin("Test: restarts, appends to what was never put (ours) (3A)")
    for number in range(ROUNDS):
        await client.append("x", element(0, number))
        for server in cluster.all:
            cluster.shut_down(server)
        for server in cluster.all:
            cluster.start(server)
        cluster.connect_all()
        check_appends(0, await client.get("x"), number + 1)
    test.end()


async def sessions(world: World, *, plain: bool) -> None:
    """`TestSessions3A`: what sessions remember is freed, and so are they, when nobody needs it.

    Args:
        world: where it takes place.
        plain: with plain clients all writes go through sessions of the servers, which stay.
    """
    test = KvTest(world, 3, plain=plain, session_limits=SESSIONS)
    client = test.new_client()
    test.begin("Test: sessions take bounded room (ours) (3A)")
    for number in range(WRITES):
        await client.put("x", str(number))
    await _check_state(test, MOST_STATE)
    for number in range(3 * SESSIONS.client_sessions):
        await test.new_client().put("x", str(number))
        await world.sleep(10)
    await _check_state(test, MOST_STATE + SESSIONS.client_sessions * MOST_SESSION)
    await world.sleep(2 * SESSIONS.ttl_ms)
    await client.put("x", "")
    await _check_state(test, MOST_STATE)
    test.end()


async def _check_state(test: KvTest, most: int) -> None:
    """What the servers remember of their clients' writes is in proportion.

    Raises:
        CheckFailedError: it is not.
    """
    await test.world.sleep(HEARTBEAT_MS)  # then all servers have applied everything
    size = test.cluster.replicated_state_size()
    if size > most:
        raise CheckFailedError(f"the state of a server is too large ({size} > {most})")


async def _cut_off_the_leader(test: KvTest) -> tuple[list[int], int]:
    """Leaves the leader with a minority, and with the late replies of all; gives the others."""
    network = test.world.network
    network.long_reordering = True
    await test.world.sleep(LATE_MS)
    network.long_reordering = False
    majority, minority = test.cluster.make_partition()
    test.cluster.partition(majority, minority)
    return majority, minority[-1]
