"""All nodes are killed at once under load, and come back with everything that was acknowledged."""

from __future__ import annotations

import random
import time
from typing import TYPE_CHECKING

import pytest
from tests.integration.append_load import CLERKS, AppendLoad

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.integration.conftest import Cluster, Ledger, StartCluster

pytestmark = [pytest.mark.processes, pytest.mark.load]


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
