"""`quorate demo` from its beginning to its end, as it looks in a pipe."""

import re
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

pytestmark = [pytest.mark.processes, pytest.mark.load]

Quorate = Callable[..., subprocess.CompletedProcess[bytes]]


def test_the_demo_tells_its_story_and_passes(quorate: Quorate) -> None:
    ended = quorate("demo")
    story = ended.stdout.decode()
    assert ended.stderr == b""
    assert ended.returncode == 0, story
    for event in (
        r"three servers start as processes \d+, \d+, \d+",
        r"kill -9 of process \d+: node \d, the leader, is dead",
        r"node \d was elected for term \d+",
        r"service paused for \d+\.\d\d s",
        r"node \d has caught up",
        r"kill -9 of all three at once",
        r"appends are acknowledged again, \d+\.\d\d s after the kill",
        r"\n +0  lost",
        r"\n +0  doubled",
        r"PASSED",
    ):
        assert re.search(event, story), event
    acknowledged = re.search(r"([\d,]+)  appends acknowledged", story)
    assert acknowledged is not None
    assert int(acknowledged[1].replace(",", "")) >= 5_000
    last_time = re.findall(r"^ *([\d.]+) s  ", story, re.MULTILINE)[-1]
    assert float(last_time) < 30
    directory = re.search(r"with data in (\S+)", story)
    assert directory is not None
    assert not Path(directory[1]).exists()
