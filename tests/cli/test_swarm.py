"""`quorate swarm`: what it prints of lives that pass, and of one that fails."""

from __future__ import annotations

import re
import shlex
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from click.testing import CliRunner, Result
from tests.faults import raft_plants

from quorate.cli.swarm.command import swarm

if TYPE_CHECKING:
    from collections.abc import Callable

    Swarm = Callable[..., Result]


@pytest.fixture
def run_swarm() -> Swarm:
    return lambda *arguments: CliRunner().invoke(swarm, [str(each) for each in arguments])


@pytest.fixture
def vote_is_lost(monkeypatch: pytest.MonkeyPatch) -> None:
    raft_plants.the_vote_is_not_persisted(monkeypatch)


def test_lives_on_all_cores_are_summed_up(run_swarm: Swarm) -> None:
    ended = run_swarm("--seeds", 3, "--first-seed", 5, "--seconds", 2)
    assert ended.exit_code == 0, ended.output
    assert re.search(r"operations acknowledged +[\d,]+ +[\d,]+ +[\d,]+\n", ended.output)
    assert re.search(r"\ntrouble +times +in lives\nkill ", ended.output)
    assert re.search(r"\na leader steps down +\d+ +\d\n", ended.output)
    assert "\n3 lives, in " in ended.output
    assert ended.output.endswith("\nPASS\n")


def test_a_page_is_written_on_a_life(run_swarm: Swarm, tmp_path: Path) -> None:
    page = tmp_path / "life.html"
    ended = run_swarm("--first-seed", 5, "--seconds", 1, "--record", page)
    assert ended.exit_code == 0, ended.output
    assert f"a page on seed 5: {page}" in ended.output
    assert "seed 5" in page.read_text("utf-8")


def test_a_page_that_cannot_be_written_is_an_error(run_swarm: Swarm, tmp_path: Path) -> None:
    ended = run_swarm("--first-seed", 5, "--seconds", 1, "--record", tmp_path / "no" / "life.html")
    assert "cannot write the page" in str(ended.exception)


@pytest.mark.usefixtures("vote_is_lost")
def test_a_life_that_fails_is_made_smaller_and_its_command_lives_it_again(
    run_swarm: Swarm,
) -> None:
    ended = run_swarm("--first-seed", 7, "--seconds", 20, "--tempo", 2)
    assert ended.exit_code == 1, ended.output
    assert "seed 7 FAILED after " in ended.output
    assert "InvariantError at durable_record.py:" in ended.output
    assert "\nFAIL: 1 of 1\n" in ended.output
    (_, command) = re.findall(r"live it again with: quorate swarm (.*)", ended.output)
    again = run_swarm(*shlex.split(command))
    assert again.exit_code == 1, again.output
    smallest, same = (re.findall(r"InvariantError at .*", some.output) for some in (ended, again))
    assert smallest[-1] == same[0]


def test_a_kind_of_trouble_that_does_not_exist_cannot_be_left_out(run_swarm: Swarm) -> None:
    ended = run_swarm("--seconds", 1, "--without", "coffee")
    assert ended.exit_code == 2
    assert "coffee" in ended.output
