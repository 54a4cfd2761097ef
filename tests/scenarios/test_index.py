"""The list of the scenarios, in `conftest.py`, tells the truth."""

from __future__ import annotations

import re
from pathlib import Path

from tests.scenarios import conftest

FOLDER = Path(__file__).parent
NAMED = re.findall(r"([\w/]+\.py)::(test_\w+)", conftest.__doc__ or "")
SCENARIOS = 14


def test_each_of_them_has_a_test() -> None:
    listed = re.split(r"^ ?(\d+)\. ", conftest.__doc__ or "", flags=re.MULTILINE)[1:]
    numbers, tests = listed[::2], listed[1::2]
    assert numbers == [str(number) for number in range(1, SCENARIOS + 1)]
    assert all("::test_" in text for text in tests)


def test_the_tests_that_it_names_exist() -> None:
    for path, name in NAMED:
        assert f"def {name}(" in (FOLDER.parent / path).read_text(), f"{path}::{name}"


def test_it_names_all_tests_of_this_folder() -> None:
    for path in FOLDER.glob("test_*.py"):
        if path != Path(__file__):
            for name in re.findall(r"^def (test_\w+)\(", path.read_text(), re.MULTILINE):
                assert (f"scenarios/{path.name}", name) in NAMED, name
