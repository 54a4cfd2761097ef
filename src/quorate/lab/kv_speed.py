"""`ops complete fast enough`, which both parts of the key/value lab have since 2021."""

from quorate.lab.errors import CheckFailedError
from quorate.lab.kv_checks import check_appends, element
from quorate.lab.kv_test import KvTest
from quorate.lab.world import World

HEARTBEAT_US = 100_000
"""The longest that the course allows between a leader's heartbeats."""
SPEED_OPERATIONS = 1_000
MOST_US_PER_OPERATION = HEARTBEAT_US / 3
"""Three operations per heartbeat: who replicates only with heartbeats is too slow."""


async def speed(world: World, *, part: str, max_raft_state: int) -> None:
    """A thousand appends of one client, in good time. The course leaves the operations at 0.

    Args:
        world: where it takes place.
        part: `3A` or `3B`.
        max_raft_state: of each server, in bytes; -1 for no snapshots.
    """
    test = KvTest(world, 3, max_raft_state=max_raft_state)
    test.begin(f"Test: ops complete fast enough ({part})")
    clerk = test.new_clerk()
    await clerk.get("x")  # waits for a leader
    began_at = world.tasks.now
    for number in range(SPEED_OPERATIONS):
        await clerk.append("x", element(0, number))
    per_operation = (world.tasks.now - began_at) / SPEED_OPERATIONS
    check_appends(0, await clerk.get("x"), SPEED_OPERATIONS)
    if per_operation > MOST_US_PER_OPERATION:
        raise CheckFailedError(
            f"Operations completed too slowly {per_operation / 1000:f}ms/op > "
            f"{MOST_US_PER_OPERATION / 1000:f}ms/op"
        )
    test.end()
