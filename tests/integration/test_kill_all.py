"""All nodes are killed at once under load, and come back with everything that was acknowledged."""

from __future__ import annotations

import random
import threading
import time
from typing import TYPE_CHECKING, Self

import pytest

from quorate.clerk.errors import OutcomeUnknownError
from quorate.runtime.clerk import Clerk

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.integration.conftest import Cluster, Ledger, StartCluster

pytestmark = pytest.mark.processes

CLERKS = 8
KEYS = 4


class AppendLoad:
    """Clerks that append to a few common keys, each in a thread of its own."""

    def __init__(self, servers: list[str], ledger: Ledger, prefix: str) -> None:
        self.keys = [f"{prefix}-{number}" for number in range(KEYS)]
        self.done = 0
        self._servers = servers
        self._ledger = ledger
        self._stopping = threading.Event()
        self._threads = [threading.Thread(target=self._run, args=(n,)) for n in range(CLERKS)]

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stopping.set()
        for thread in self._threads:
            thread.join()

    def _run(self, client: int) -> None:
        number = 0
        with Clerk(self._servers) as clerk:
            while not self._stopping.is_set():
                key = self.keys[number % KEYS]
                try:
                    clerk.append(key, self._ledger.element(client, number), timeout=60)
                    self._ledger.acknowledge(client, number)
                except OutcomeUnknownError:
                    self._ledger.leave_open(client, number)
                number += 1
                self.done += 1  # only told how things go: a lost count does no harm


def kill_all_once(cluster: Cluster, ledger: Ledger, *, round_: int, rng: random.Random) -> str:
    """One round; returns what happened in it."""
    with AppendLoad(cluster.servers, ledger, f"round-{round_}") as load:

        def await_appends(more: int) -> None:
            goal = load.done + more
            cluster.eventually(lambda: load.done >= goal, f"{more} more appends")

        await_appends(rng.randint(300, 1500))
        killed_at = time.perf_counter()
        cluster.kill(*cluster.nodes)
        cluster.local.start()
        await_appends(CLERKS)
        pause = time.perf_counter() - killed_at
        await_appends(300)
    for node in cluster.nodes:
        with cluster.connect(node) as client:
            reply = client.call("MGET", *load.keys)
        assert isinstance(reply, list)
        values = [value for value in reply if isinstance(value, bytes)]
        ledger.check_exactly_once(values)
        for value in values:
            ledger.check_order(value)
    acknowledged, unknown = len(ledger.acknowledged), len(ledger.unknown)
    return f"{acknowledged} acknowledged, {unknown} unknown, a pause of {pause:.1f} s"


def test_killing_all_nodes_loses_and_doubles_nothing(
    start_cluster: StartCluster, new_ledger: Callable[[], Ledger]
) -> None:
    print(kill_all_once(start_cluster(), new_ledger(), round_=0, rng=random.Random(1)))


@pytest.mark.soak
@pytest.mark.timeout(900)
def test_killing_all_nodes_twenty_times_loses_and_doubles_nothing(
    start_cluster: StartCluster, new_ledger: Callable[[], Ledger]
) -> None:
    cluster = start_cluster()
    rng = random.Random(2)
    for round_ in range(20):
        print(kill_all_once(cluster, new_ledger(), round_=round_, rng=rng), flush=True)
