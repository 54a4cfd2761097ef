"""Lives of whole clusters under random faults: every promise is kept in each of them."""

from __future__ import annotations

from collections import Counter

import pytest

from quorate.sim.life import Life
from quorate.sim.world import World

SECONDS = 5
SEEDS_PER_TEST = 10
CHURN_SEEDS_PER_TEST = 20
"""Fewer would not prove that in each twenty a disk is lost: half of the worlds lose none."""


@pytest.mark.parametrize(
    "first_seed",
    [
        *range(1, 101, SEEDS_PER_TEST),
        *(pytest.param(seed, marks=pytest.mark.soak) for seed in range(101, 1001, SEEDS_PER_TEST)),
    ],
)
def test_every_acknowledged_append_is_there_exactly_once(first_seed: int) -> None:
    counts = live(first_seed, SEEDS_PER_TEST)
    # What was drawn is not so kind, nor so cruel, that nothing is proved.
    assert counts["acknowledged"] >= 100 * SEEDS_PER_TEST
    assert counts["reads"] >= 30 * SEEDS_PER_TEST
    assert counts["leaders"] >= 2 * SEEDS_PER_TEST
    assert counts["faults"] >= 5 * SEEDS_PER_TEST
    assert counts["unknown"] >= SEEDS_PER_TEST
    assert counts["snapshots"] >= 10 * SEEDS_PER_TEST
    assert counts["restored"] >= SEEDS_PER_TEST


@pytest.mark.parametrize(
    "first_seed",
    [
        *range(1, 41, CHURN_SEEDS_PER_TEST),
        *(
            pytest.param(seed, marks=pytest.mark.soak)
            for seed in range(41, 541, CHURN_SEEDS_PER_TEST)
        ),
    ],
)
def test_that_is_so_while_members_come_and_go(first_seed: int) -> None:
    counts = live(first_seed, CHURN_SEEDS_PER_TEST, churn=True)
    # With the faults of above, and in between nobody may have a majority for long.
    assert counts["acknowledged"] >= 75 * CHURN_SEEDS_PER_TEST
    assert counts["reads"] >= 30 * CHURN_SEEDS_PER_TEST
    assert counts["changes"] >= 4 * CHURN_SEEDS_PER_TEST
    assert counts["refused"] >= CHURN_SEEDS_PER_TEST
    assert counts["disks lost"] >= 1
    assert counts["restored"] >= CHURN_SEEDS_PER_TEST


def live(first_seed: int, seeds: int, *, churn: bool = False) -> Counter[str]:
    """Lives so many lives; returns what happened in them, and how often."""
    counts: Counter[str] = Counter()
    for seed in range(first_seed, first_seed + seeds):
        life = Life(seed=seed, seconds=SECONDS, churn=churn)
        print(f"live it again with: {life.command}")
        world = World(life)
        report = world.run()
        counts.update(acknowledged=report.acknowledged, reads=report.reads)
        counts.update(unknown=report.unknown, leaders=report.leaders)
        counts.update(faults=sum(world.faults.values()))
        counts.update(snapshots=report.happened.get("snapshots taken", 0))
        counts.update(restored=report.happened.get("states restored", 0))
        counts.update(changes=report.changes, refused=report.happened.get("servers refused", 0))
        counts.update({"disks lost": report.happened.get("disks lost", 0)})
    return counts
