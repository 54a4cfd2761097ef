"""Planted bugs, and the search for them.

A *plant* replaces a function of the product by one with a bug in it, for one life of a simulated
world. The simulation has to find it within `SEEDS` lives; and on the seed that finds it, the code
as it is has to pass: so it was the bug that was found.

The plants that the lab looks for too are in modules of their own.
"""

from __future__ import annotations

import re
import traceback
from typing import TYPE_CHECKING

import pytest

from quorate.sim.world import SECOND_US, World

if TYPE_CHECKING:
    from collections.abc import Callable

    Plant = Callable[[pytest.MonkeyPatch], None]

SEEDS = range(1, 101)
LIFE_US = 8 * SECOND_US


def live(seed: int, plant: Plant) -> str | None:
    """Lives a life with a bug in it; returns what was noticed, if anything."""
    with pytest.MonkeyPatch.context() as patches:
        plant(patches)
        try:
            World(seed, duration_us=LIFE_US).run()
        except (AssertionError, ValueError) as error:
            (where,) = traceback.extract_tb(error.__traceback__)[-1:]
            return f"{type(error).__name__}: {str(error) or where.line}"
    return None


def find(plant: Plant, symptom: str, *, seed: int) -> None:
    """Looks for a bug, first where it was found before.

    Args:
        plant: plants it.
        symptom: a pattern that what is noticed has to match.
        seed: the world that found it when this was written. The others follow if it no longer
            does, because something changed what happens in it.
    """
    noticed: dict[int, str] = {}
    for candidate in (seed, *SEEDS):
        what = live(candidate, plant)
        if what is None:
            continue
        noticed[candidate] = what
        if re.search(symptom, what):
            World(candidate, duration_us=LIFE_US).run()
            return
    others = "".join(f"\n  seed {number}: {what}" for number, what in noticed.items())
    pytest.fail(f"no life ends with {symptom!r}{others or ', nor with anything else'}")


def measure(plant: Plant, symptom: str) -> None:
    """Lives all lives and prints how many of them found the bug; at least one has to."""
    noticed = {seed: what for seed in SEEDS if (what := live(seed, plant)) is not None}
    found = [seed for seed, what in noticed.items() if re.search(symptom, what)]
    print(
        f"\n{plant.__name__}: {len(found)} of {len(SEEDS)}, first seed {min(found, default=None)}"
    )
    kinds: dict[str, int] = {}
    for what in noticed.values():
        kind = re.sub(r"b'[^']*'|b\"[^\"]*\"|\d+", "N", what)[:110]
        kinds[kind] = kinds.get(kind, 0) + 1
    for kind, count in sorted(kinds.items(), key=lambda item: -item[1]):
        print(f"  {count:3} {kind}")
    assert found


@pytest.fixture(name="find")
def _find() -> Callable[..., None]:
    return find


@pytest.fixture(name="measure")
def _measure() -> Callable[..., None]:
    return measure
