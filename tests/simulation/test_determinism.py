"""One seed is one life, to the last message."""

from __future__ import annotations

import os
import subprocess
import sys

LIVE = """
import sys
import msgspec
from quorate.sim.life import Life
from quorate.sim.runner import live

outcome = live(Life(seed=int(sys.argv[1]), seconds=3, churn=bool(sys.argv[2:])))
print(msgspec.json.encode((outcome.report, outcome.turns)).decode())
"""


def life(seed: int, hash_seed: str, *options: str) -> str:
    command = [sys.executable, "-c", LIVE, str(seed), *options]
    environment = {**os.environ, "PYTHONHASHSEED": hash_seed}
    return subprocess.run(
        command, env=environment, capture_output=True, check=True, text=True
    ).stdout


def test_a_seed_gives_the_same_trace_under_another_hash_seed() -> None:
    assert life(7, "1") == life(7, "2")
    assert life(7, "1") != life(8, "1")


def test_nor_do_members_that_come_and_go_change_that() -> None:
    assert life(7, "1", "--churn") == life(7, "2", "--churn")
    assert life(7, "1", "--churn") != life(7, "1")
