"""Runs tests of the lab with a bug planted, and looks for the seed on which they notice it."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest

from quorate.lab.edition import Edition
from quorate.lab.runner import ClockKind, run_scenario
from quorate.lab.suite import find

if TYPE_CHECKING:
    from collections.abc import Callable

    Plant = Callable[[pytest.MonkeyPatch], None]

SEEDS = range(1, 51)


def failure(test: str, variant: str, seed: int) -> str | None:
    """How the test fails with this seed; None if it passes."""
    outcome = run_scenario(
        find(test, variant), seed=seed, clock=ClockKind.VIRTUAL, edition=Edition.Y2022
    )
    return outcome.failure


def failure_with(plant: Plant, test: str, variant: str, seed: int) -> str | None:
    """The same with the bug in it."""
    with pytest.MonkeyPatch.context() as patches:
        plant(patches)
        return failure(test, variant, seed)


def assert_found(plant: Plant, test: str, variant: str, *, seed: int, words: str) -> None:
    """With the bug the test fails in these words, and without it passes on the same seed.

    Args:
        plant: plants the bug.
        test: of the lab.
        variant: of the test.
        seed: the one that found it when this was written. The others follow if it no longer does,
            because something changed what happens in it.
        words: a pattern.
    """
    for candidate in (seed, *SEEDS):
        found = failure_with(plant, test, variant, candidate)
        if found is not None and re.search(words, found):
            assert failure(test, variant, candidate) is None
            return
    pytest.fail(f"{test} fails with {words!r} on no seed")


def measure(plant: Plant, test: str, variant: str) -> None:
    """Prints on how many seeds the test fails; there has to be one."""
    failures = {seed: failure_with(plant, test, variant, seed) for seed in SEEDS}
    found = [seed for seed, words in failures.items() if words is not None]
    print(f"\n{plant.__name__}, {test}, {variant}: {len(found)} of {len(SEEDS)}")
    assert found
