"""`quorate torture` from its beginning to its end, with real processes."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = [pytest.mark.processes, pytest.mark.load]


def run(directory: Path, *, seconds: int, nodes: int, seed: int) -> str:
    """What it says; it has to pass."""
    page = directory / "torture.html"
    ended = subprocess.run(
        [
            *(sys.executable, "-m", "quorate.cli", "torture", "--directory", directory / "cluster"),
            *(f"--seconds={seconds}", f"--nodes={nodes}", f"--seed={seed}", "--report", page),
        ],
        capture_output=True,
        text=True,
        timeout=seconds + 300,
        check=False,
    )
    print(ended.stdout)
    assert ended.stderr == ""
    assert ended.returncode == 0
    assert ended.stdout.splitlines()[-2].startswith("PASSED")
    assert page.stat().st_size < 500_000
    return ended.stdout


def acknowledged(said: str) -> int:
    found = re.search(r"([\d,]+)  calls acknowledged", said)
    assert found is not None
    return int(found[1].replace(",", ""))


def test_a_short_torture(tmp_path: Path) -> None:
    said = run(tmp_path, seconds=15, nodes=3, seed=1)
    assert re.search(r"\d s  kill -9 of node", said)
    assert re.search(r"\d s  node \d .*(cut off|reach)", said)
    assert acknowledged(said) > 500


@pytest.mark.soak
@pytest.mark.timeout(1200)
@pytest.mark.parametrize("nodes", [3, 5])
def test_ten_minutes_with_every_fault(tmp_path: Path, nodes: int) -> None:
    said = run(tmp_path, seconds=600, nodes=nodes, seed=nodes)
    assert acknowledged(said) > 100_000
    for kind in ("kill -9 of all", "lost data", "failing sync", "full disk", "isolated leader"):
        assert re.search(rf"^{kind} +\d", said, re.MULTILINE), kind
