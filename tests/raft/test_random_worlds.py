"""Random schedules of everything that may go wrong, and what must hold all the same.

One seed gives one world: a cluster, a climate (how often what happens), and a history. First a
phase in which anything may happen, with the invariants checked after each step; then the world
heals, and progress must follow within a bounded time. The name of a failing test is its replay:
`pytest "tests/raft/test_random_worlds.py::NAME"`. `QUORATE_WORLDS=1000` tries that many seeds of
each kind of world.
"""

from __future__ import annotations

import os
import random
from typing import TYPE_CHECKING

import pytest
from tests.raft import churn
from tests.raft.worlds import SETTINGS, World, first_disks

if TYPE_CHECKING:
    from tests.raft.conftest import Cluster

WORLDS = int(os.environ.get("QUORATE_WORLDS", "4"))
STEPS = 5000


@pytest.mark.parametrize("seed", range(WORLDS))
@pytest.mark.parametrize("start", ["empty", "compacted", "mixed"])
@pytest.mark.parametrize("size", [1, 3, 5])
@pytest.mark.parametrize("kind", SETTINGS)
def test_whatever_happens_nothing_wrong_is_done_and_a_healed_cluster_goes_on(
    kind: str, size: int, start: str, seed: int, new_cluster: type[Cluster]
) -> None:
    rng = random.Random(f"{kind} {size} {start} {seed}")
    cluster = new_cluster(
        size,
        settings=SETTINGS[kind],
        seed=seed,
        disks=first_disks(rng, size, start),
        slow_disks=True,
    )
    world = World(rng, cluster, committed_before=0 if start == "empty" else 10)
    for _ in range(STEPS):
        world.step()
    world.heal()
    world.progress()


@pytest.mark.parametrize("seed", range(WORLDS))
@pytest.mark.parametrize("start", ["empty", "compacted", "mixed"])
@pytest.mark.parametrize("size", [1, 3, 4])
@pytest.mark.parametrize("kind", churn.KINDS)
def test_nor_while_servers_come_and_go(kind: str, size: int, start: str, seed: int) -> None:
    churn.live(kind, size, start, seed)
