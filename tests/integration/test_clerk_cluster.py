"""Both Clerks against a cluster of real processes, in good days and bad ones."""

from __future__ import annotations

import asyncio
import threading
from typing import TYPE_CHECKING

import pytest

from quorate.clerk.errors import CommandError, NotExecutedError, UnavailableError
from quorate.runtime.async_clerk import AsyncClerk
from quorate.runtime.clerk import Clerk

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.integration.conftest import Cluster, Ledger

pytestmark = pytest.mark.processes


# --------------------------------------------------------------------- good days


def test_the_clerk_does_all_operations_whichever_server_it_knows(shared_cluster: Cluster) -> None:
    for server in shared_cluster.servers:
        with Clerk(server) as clerk:
            assert clerk.get("k") == b""
            assert clerk.get_or_none("k") is None
            assert clerk.append("k", "a") == 1
            assert clerk.append("k", b"\x00\xff") == 3
            assert clerk.get("k") == b"a\x00\xff"
            clerk.put("k", "")
            assert clerk.get_or_none("k") == b""
            assert clerk.delete("k") is True
            assert clerk.delete("k") is False


def test_the_async_clerk_does_all_operations_whichever_server_it_knows(
    shared_cluster: Cluster,
) -> None:
    async def test(server: str) -> None:
        async with AsyncClerk(server) as clerk:
            assert await clerk.get_or_none("k") is None
            assert await clerk.append("k", "a") == 1
            await clerk.put("k", "b")
            assert await clerk.get("k") == b"b"
            assert await clerk.delete("k") is True
            assert await clerk.get("k") == b""

    for server in shared_cluster.servers:
        asyncio.run(test(server))


def test_many_concurrent_calls_of_one_async_clerk(shared_cluster: Cluster) -> None:
    async def test() -> None:
        async with AsyncClerk(shared_cluster.servers) as clerk:
            lengths = await asyncio.gather(*(clerk.append("many", "x") for _ in range(5_000)))
            assert sorted(lengths) == list(range(1, 5_001))
            values = await asyncio.gather(*(clerk.get("many") for _ in range(500)))
            assert set(values) == {b"x" * 5_000}

    asyncio.run(test())


def test_several_threads_share_a_clerk_and_several_clerks_a_key(shared_cluster: Cluster) -> None:
    lengths: list[int] = []

    def append(clerk: Clerk) -> None:
        lengths.extend(clerk.append("shared", "x") for _ in range(50))

    with Clerk(shared_cluster.servers) as one, Clerk(shared_cluster.servers[0]) as other:
        threads = [threading.Thread(target=append, args=(c,)) for c in (one, one, other, other)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert sorted(lengths) == list(range(1, 201))


def test_errors_are_typed(shared_cluster: Cluster) -> None:
    with Clerk(shared_cluster.servers) as clerk:
        with pytest.raises(CommandError, match="string exceeds maximum allowed size"):
            clerk.put("k", b"x" * (1024 * 1024 + 1))
        with pytest.raises(CommandError, match="key exceeds maximum allowed size"):
            clerk.get(b"k" * (64 * 1024 + 1))
        clerk.put("full", b"x" * 1024 * 1024)
        with pytest.raises(CommandError):
            clerk.append("full", "x")
        assert clerk.append("k", "goes on") == 7
        assert clerk.delete("k")


def test_a_timeout_of_nothing_executes_nothing(shared_cluster: Cluster) -> None:
    with Clerk(shared_cluster.servers) as clerk:
        with pytest.raises(NotExecutedError):
            clerk.append("late", "x", timeout=0)
        with pytest.raises(UnavailableError):
            clerk.get("late", timeout=0)
        assert clerk.get_or_none("late") is None


# --------------------------------------------------------------------- bad days


async def append_through(
    cluster: Cluster,
    ledger: Ledger,
    key: str,
    disaster: Callable[[], None],
    *,
    clients: int = 40,
) -> list[bytes]:
    """One AsyncClerk's callers append while the disaster happens; returns what is there then."""
    stopping = asyncio.Event()

    async def call(clerk: AsyncClerk, client: int) -> None:
        number = 0
        while not stopping.is_set():
            await clerk.append(f"{key}-{client % 4}", ledger.element(client, number))
            ledger.acknowledge(client, number)
            number += 1

    async def await_appends(more: int) -> None:
        goal = len(ledger.acknowledged) + more
        await asyncio.to_thread(
            cluster.eventually, lambda: len(ledger.acknowledged) >= goal, f"{more} more appends"
        )

    async with AsyncClerk(cluster.servers) as clerk, asyncio.timeout(60):
        async with asyncio.TaskGroup() as tasks:
            for client in range(clients):
                tasks.create_task(call(clerk, client))
            await await_appends(500)
            await asyncio.to_thread(disaster)
            await await_appends(500)
            stopping.set()
        return [await clerk.get(f"{key}-{n}") for n in range(4)]


def test_the_death_of_the_leader_costs_the_async_clerk_time_and_nothing_else(
    healed_cluster: Cluster, new_ledger: Callable[[], Ledger], key: str
) -> None:
    cluster, ledger = healed_cluster, new_ledger()

    def disaster() -> None:
        leader = cluster.leader()
        cluster.kill(leader)
        cluster.restart(leader)

    values = asyncio.run(append_through(cluster, ledger, key, disaster))
    ledger.check_exactly_once(values)
    for value in values:
        ledger.check_order(value)


def test_the_restart_of_everything_costs_the_async_clerk_time_and_nothing_else(
    healed_cluster: Cluster, new_ledger: Callable[[], Ledger], key: str
) -> None:
    cluster, ledger = healed_cluster, new_ledger()

    def disaster() -> None:
        cluster.kill(*cluster.nodes)
        cluster.restart(*cluster.nodes)

    values = asyncio.run(append_through(cluster, ledger, key, disaster))
    ledger.check_exactly_once(values)
    for value in values:
        ledger.check_order(value)


def test_a_clerk_outlives_its_cluster(healed_cluster: Cluster, key: str) -> None:
    cluster = healed_cluster
    with Clerk(cluster.servers) as clerk:
        assert clerk.append(key, "a") == 1
        cluster.kill(*cluster.nodes)
        with pytest.raises(UnavailableError, match="deadline"):
            clerk.get(key, timeout=0.3)
        with pytest.raises(NotExecutedError):
            clerk.append(key, "b", timeout=0.3)
        cluster.restart(*cluster.nodes)
        # What was not executed never will be.
        assert clerk.append(key, "c") == 2
        assert clerk.get(key) == b"ac"
