"""Lives of whole clusters under random faults: every promise is kept in each of them."""

from __future__ import annotations

from collections import Counter

import pytest

from quorate.sim.world import SECOND_US, World

SECONDS = 5
SEEDS_PER_TEST = 10


@pytest.mark.parametrize(
    "first_seed",
    [
        *range(1, 101, SEEDS_PER_TEST),
        *(pytest.param(seed, marks=pytest.mark.soak) for seed in range(101, 1001, SEEDS_PER_TEST)),
    ],
)
def test_every_acknowledged_append_is_there_exactly_once(first_seed: int) -> None:
    counts: Counter[str] = Counter()
    for seed in range(first_seed, first_seed + SEEDS_PER_TEST):
        print(f"replay with: python -m quorate.sim --first-seed {seed} --seconds {SECONDS}")
        report = World(seed, duration_us=SECONDS * SECOND_US).run()
        counts.update(acknowledged=report.acknowledged, reads=report.reads)
        counts.update(unknown=report.unknown, leaders=report.leaders)
        counts.update(faults=sum(report.faults.values()))
        counts.update(snapshots=report.happened.get("snapshots taken", 0))
        counts.update(restored=report.happened.get("states restored", 0))
    # What was drawn is not so kind, nor so cruel, that nothing is proved.
    assert counts["acknowledged"] >= 100 * SEEDS_PER_TEST
    assert counts["reads"] >= 30 * SEEDS_PER_TEST
    assert counts["leaders"] >= 2 * SEEDS_PER_TEST
    assert counts["faults"] >= 5 * SEEDS_PER_TEST
    assert counts["unknown"] >= SEEDS_PER_TEST
    assert counts["snapshots"] >= 10 * SEEDS_PER_TEST
    assert counts["restored"] >= SEEDS_PER_TEST
