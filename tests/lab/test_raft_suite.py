"""The Raft lab passes, each test with one seed; `quorate lab --count` tries many."""

import json
import os
import subprocess
import sys

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


# --------------------------------------------------------------------- one seed, one run

SOME = ("TestBackup2B", "TestFigure82C", "TestUnreliableChurn2C")


def traces() -> list[int]:
    return [run(find(name, "production"), seed=7).trace for name in SOME]


def test_a_run_is_a_function_of_its_seed() -> None:
    assert traces() == traces()
    scenario = find(SOME[0], "production")
    assert run(scenario, seed=7).trace != run(scenario, seed=8).trace


def test_a_run_does_not_depend_on_the_hash_seed() -> None:
    program = (
        "import json\n"
        "from quorate.lab.edition import Edition\n"
        "from quorate.lab.runner import ClockKind, play_scenario\n"
        "from quorate.lab.suite import find\n"
        f"print(json.dumps([play_scenario(find(name, 'production'), seed=7, "
        f"clock=ClockKind.VIRTUAL, edition=Edition.Y2018).outcome.trace for name in {SOME}]))\n"
    )
    found = [
        json.loads(
            subprocess.run(
                [sys.executable, "-c", program],
                env=os.environ | {"PYTHONHASHSEED": seed},
                capture_output=True,
                check=True,
            ).stdout
        )
        for seed in ("1", "2")
    ]
    assert found == [traces(), traces()]
