"""The tests of lab 3B that are no generic ones: what snapshots are sent, and how large they are.

Each test also asserts that snapshots were really taken: else its bounds on sizes would say nothing.
"""

from quorate.lab.errors import CheckFailedError
from quorate.lab.kv_generic import check_sizes
from quorate.lab.kv_test import KvTest
from quorate.lab.world import World

MAX_RAFT_STATE = 1_000
MOST_SNAPSHOT = 500
"""The largest snapshot of a table of one key, in bytes."""


async def install_snapshot(world: World) -> None:
    """A server that was away while the others trimmed their logs catches up by a snapshot."""
    test = KvTest(world, 3, max_raft_state=MAX_RAFT_STATE)
    cluster = test.cluster
    client = test.new_client()
    test.begin("Test: InstallSnapshot RPC (3B)")
    await client.put("a", "A")
    await test.expect(client, "a", "A")

    cluster.partition([0, 1], [2])
    of_majority = test.new_client([0, 1])
    for number in range(50):
        await of_majority.put(str(number), str(number))
    await world.sleep(1_000)
    await of_majority.put("b", "B")
    # The majority must have trimmed its logs although server 2 is away.
    check_sizes(test)

    # Server 2 can only catch up by a snapshot.
    cluster.partition([0, 2], [1])
    of_others = test.new_client([0, 2])
    await of_others.put("c", "C")
    await of_others.put("d", "D")
    for key, value in (("a", "A"), ("b", "B"), ("1", "1"), ("49", "49")):
        await test.expect(of_others, key, value)
    if cluster.received(2, "InstallSnapshot") == 0:
        raise CheckFailedError("server 2 has caught up without a snapshot")

    cluster.partition([0, 1, 2], [])
    await client.put("e", "E")
    for key, value in (("c", "C"), ("e", "E"), ("1", "1")):
        await test.expect(client, key, value)
    test.end()


async def snapshot_size(world: World) -> None:
    """The snapshot of a table of one key is small, however often that was written."""
    test = KvTest(world, 3, max_raft_state=MAX_RAFT_STATE)
    client = test.new_client()
    test.begin("Test: snapshot size is reasonable (3B)")
    for _ in range(200):
        for value in ("0", "1"):
            await client.put("x", value)
            await test.expect(client, "x", value)
    check_sizes(test)
    size = test.cluster.snapshot_size()
    if size > MOST_SNAPSHOT:
        raise CheckFailedError(f"snapshot too large ({size} > {MOST_SNAPSHOT})")
    test.end()
