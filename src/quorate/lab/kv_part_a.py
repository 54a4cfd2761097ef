"""The tests of lab 3A that are no generic ones: one key, and one partition."""

from quorate.lab.errors import CheckFailedError
from quorate.lab.kv_checks import check_appends, element
from quorate.lab.kv_test import KvTest
from quorate.lab.world import World


async def unreliable_one_key(world: World) -> None:
    """Several clients append to one key at once, over an unreliable network."""
    clients, appends = 5, 10
    test = KvTest(world, 3, unreliable=True)
    own_client = test.new_client()
    test.begin("Test: concurrent append to same key, unreliable (3A)")
    await own_client.put("k", "")

    async def append_all(number: int) -> None:
        client = test.new_client()
        for count in range(appends):
            await client.append("k", element(number, count))

    workers = [world.tasks.spawn(append_all(number)) for number in range(clients)]
    for worker in workers:
        await worker
    value = await own_client.get("k")
    for number in range(clients):
        check_appends(number, value, appends)
    test.end()


async def one_partition(world: World) -> None:
    """A majority goes on, a minority does not, and its clients' calls complete once it may."""
    test = KvTest(world, 5)
    cluster = test.cluster
    client = test.new_client()
    await client.put("1", "13")

    test.begin("Test: progress in majority (3A)")
    majority, minority = cluster.make_partition()
    cluster.partition(majority, minority)
    of_majority = test.new_client(majority)
    put_clerk, put_ends = test.new_clerk_and_ends(minority)
    get_clerk, get_ends = test.new_clerk_and_ends(minority)
    await of_majority.put("1", "14")
    await test.expect(of_majority, "1", "14")
    test.end()

    test.begin("Test: no progress in minority (3A)")
    put = world.tasks.spawn(test.recorded(put_clerk).put("1", "15"))
    get = world.tasks.spawn(test.recorded(get_clerk).get("1"))
    await world.sleep(1_000)
    if put.is_done:
        raise CheckFailedError("Put in minority completed")
    if get.is_done:
        raise CheckFailedError("Get in minority completed")
    await test.expect(of_majority, "1", "14")
    await of_majority.put("1", "16")
    await test.expect(of_majority, "1", "16")
    test.end()

    test.begin("Test: completion after heal (3A)")
    cluster.connect_all()
    cluster.enable(put_ends, cluster.all)
    cluster.enable(get_ends, cluster.all)
    await world.sleep(1_000)
    for _ in range(30):
        if put.is_done and get.is_done:
            break
        await world.sleep(100)
    if not put.is_done:
        raise CheckFailedError("Put did not complete")
    if not get.is_done:
        raise CheckFailedError("Get did not complete")
    await test.expect(client, "1", "15")
    test.end()
