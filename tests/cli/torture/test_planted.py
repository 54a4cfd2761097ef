"""A torture of servers with a planted bug does not pass: it can tell."""

from __future__ import annotations

import asyncio
import re
import sys
from pathlib import Path

import pytest

from quorate.cli.torture.findings import Plan
from quorate.cli.torture.report import report
from quorate.cli.torture.torture import Torture

pytestmark = [pytest.mark.processes, pytest.mark.load, pytest.mark.soak]


@pytest.mark.timeout(300)
@pytest.mark.parametrize(
    ("plant", "found"),
    [
        ("replica_plants:a_read_is_served_before_its_index_is_applied", "not linearizable"),
        ("replica_plants:duplicates_are_not_detected", "doubled|not linearizable"),
        (
            "replica_plants:a_submitted_write_that_is_given_up_is_called_not_executed",
            "though not to be executed",
        ),
        ("storage_plants:the_log_is_not_synced", "lost|not linearizable"),
        ("storage_plants:failed_syncs_are_ignored", "goes on, though its disk has failed it"),
    ],
)
def test_a_planted_bug_is_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, plant: str, found: str
) -> None:
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parents[3]))
    program = (sys.executable, "-m", "tests.cli.torture.planted_node", plant)
    plan = Plan(seconds=60, nodes=3, seed=3, directory=tmp_path, program=program)
    findings = asyncio.run(Torture(plan, lambda at_s, text: print(f"{at_s:6.1f} s  {text}")).run())
    text = report(findings)
    print(text)
    assert not findings.has_passed
    assert re.search(rf"^ +[1-9]\d*  .*({found})|^node \d .*({found})", text, re.MULTILINE)
