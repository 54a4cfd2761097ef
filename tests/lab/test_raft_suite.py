"""The Raft lab passes, each test with one seed; `quorate lab --count` tries many."""

import pytest

from quorate.lab.edition import Edition
from quorate.lab.raft_suite import RAFT_SCENARIOS
from quorate.lab.runner import ClockKind, Outcome, play_scenario
from quorate.lab.scenario import Scenario
from quorate.lab.suite import find


def run(
    scenario: Scenario,
    *,
    seed: int = 1,
    edition: Edition = Edition.Y2018,
    clock: ClockKind = ClockKind.VIRTUAL,
) -> Outcome:
    return play_scenario(scenario, seed=seed, clock=clock, edition=edition).outcome


@pytest.mark.parametrize(
    "scenario", RAFT_SCENARIOS, ids=lambda scenario: f"{scenario.name}-{scenario.variant}"
)
def test_it_passes(scenario: Scenario) -> None:
    outcome = run(scenario)
    assert outcome.failure is None, outcome
    assert len(outcome.lines) == 2
    assert outcome.lines[0].startswith(f"Test ({scenario.part}): ")
    assert outcome.lines[1].startswith("  ... Passed --")


@pytest.mark.parametrize("edition", list(Edition))
def test_each_edition_has_its_cluster_sizes_and_columns(edition: Edition) -> None:
    outcome = run(find("TestBasicAgree2B", "production"), edition=edition)
    assert outcome.failure is None, outcome
    (result,) = outcome.results
    assert result.servers == (5 if edition is Edition.Y2018 else 3)
    columns = outcome.lines[1].split("--")[1].split()
    assert len(columns) == (4 if edition is Edition.Y2018 else 5)


def test_on_the_real_clock_the_same_test_takes_its_real_time() -> None:
    outcome = run(find("TestBasicAgree2B", "production"), clock=ClockKind.REAL)
    assert outcome.failure is None, outcome
    assert outcome.duration_us > 300_000, "an election alone takes that"
