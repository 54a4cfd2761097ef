"""Planted bugs, and the search for a seed on which somebody notices them.

A *plant* replaces a function of the product by one with a bug in it, for one run. What is run the
caller says: a life of a simulated world, or a test of the lab. It has to notice the bug on one of
its seeds; and on that seed the code as it is has to pass: so it was the bug that was found.
"""

from __future__ import annotations

import re
import traceback
from functools import cache
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    Plant = Callable[[pytest.MonkeyPatch], None]
    Run = Callable[[int], None]
    """Runs something with this seed, and raises what it notices."""


def noticed(plant: Plant, run: Run, seed: int) -> str | None:
    """Runs it with the bug; what is noticed, if anything."""
    with pytest.MonkeyPatch.context() as patches:
        plant(patches)
        try:
            run(seed)
        except (AssertionError, ValueError, LookupError) as error:
            (where,) = traceback.extract_tb(error.__traceback__)[-1:]
            return f"{type(error).__name__}: {str(error) or where.line}"
    return None


def find(plant: Plant, run: Run, symptom: str, *, seed: int, seeds: Iterable[int]) -> None:
    """Looks for a bug, first where it was found before.

    Args:
        plant: plants it.
        run: notices it.
        symptom: a pattern that what is noticed has to match.
        seed: the one that found it when this was written.
        seeds: the others, which follow if it no longer does, because something changed what happens
            on it.
    """
    others: list[str] = []
    for candidate in (seed, *seeds):
        what = noticed(plant, run, candidate)
        if what is None:
            continue
        if re.search(symptom, what):
            _pass(run, candidate)
            return
        others.append(f"\n  seed {candidate}: {what}")
    pytest.fail(f"no seed ends with {symptom!r}{''.join(others) or ', nor with anything else'}")


@cache
def _pass(run: Run, seed: int) -> None:
    """Runs it as it is. A run is a function of its seed, so once is enough for all plants."""
    run(seed)


def measure(plant: Plant, run: Run, symptom: str, *, seeds: Iterable[int]) -> None:
    """Runs all seeds and prints how many of them found the bug; at least one has to."""
    outcomes = {seed: noticed(plant, run, seed) for seed in seeds}
    failures = {seed: what for seed, what in outcomes.items() if what is not None}
    found = [seed for seed, what in failures.items() if re.search(symptom, what)]
    first = min(found, default=None)
    print(f"\n{plant.__name__}: {len(found)} of {len(outcomes)}, first seed {first}")
    kinds: dict[str, int] = {}
    for what in failures.values():
        kind = re.sub(r"b'[^']*'|b\"[^\"]*\"|\d+", "N", what)[:110]
        kinds[kind] = kinds.get(kind, 0) + 1
    for kind, count in sorted(kinds.items(), key=lambda item: -item[1]):
        print(f"  {count:3} {kind}")
    assert found
