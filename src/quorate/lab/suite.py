"""All tests of the lab, and how some of them are chosen by name."""

from collections.abc import Iterable

from quorate.lab.kv_suite import KV_SCENARIOS, KV_VARIANTS
from quorate.lab.raft_suite import RAFT_SCENARIOS, RAFT_VARIANTS
from quorate.lab.scenario import Scenario

SCENARIOS: tuple[Scenario, ...] = RAFT_SCENARIOS + KV_SCENARIOS
"""All of them, in the order in which they run."""

VARIANTS: dict[str, str] = RAFT_VARIANTS | KV_VARIANTS
"""What each variant of a test runs on."""


ON_REQUEST = frozenset({"snapshots"})
"""Variants that run only if they are asked for: they take as long as all others together."""


def find(name: str, variant: str) -> Scenario:
    """The scenario with exactly this name and variant."""
    (found,) = [each for each in SCENARIOS if (each.name, each.variant) == (name, variant)]
    return found


def choose(patterns: Iterable[str], variant: str | None = None) -> list[Scenario]:
    """The scenarios that any of the patterns fits, in order; all if there is no pattern.

    Args:
        patterns: each the beginning of a part (`2`, `3A`) or of a name, with or without `Test`.
        variant: if given, only scenarios of this variant; else of all but those `ON_REQUEST`.

    Raises:
        ValueError: a pattern fits nothing.
    """
    candidates = [
        each
        for each in SCENARIOS
        if each.variant == variant or (variant is None and each.variant not in ON_REQUEST)
    ]
    chosen: set[str] = set()
    wanted = list(patterns)
    for pattern in wanted:
        fitting = [each.name for each in candidates if _fits(pattern, each)]
        if not fitting:
            raise ValueError(f"no test of the lab fits {pattern!r}")
        chosen.update(fitting)
    return [each for each in candidates if not wanted or each.name in chosen]


def _fits(pattern: str, scenario: Scenario) -> bool:
    name = scenario.name
    return scenario.part.startswith(pattern) or name.startswith((pattern, f"Test{pattern}"))
