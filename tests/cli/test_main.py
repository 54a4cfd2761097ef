"""The command itself: without arguments, and where its output leads."""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

Quorate = Callable[..., subprocess.CompletedProcess[bytes]]

STATUS = "status --servers 127.0.0.1:1 --json"
FULL = Path("/dev/full")


def in_shell(command: str) -> subprocess.CompletedProcess[str]:
    """`quorate COMMAND`, in which a shell sees to redirections."""
    return subprocess.run(
        ["sh", "-c", f'exec "$PYTHON" -m quorate.cli {command}'],
        env=os.environ | {"PYTHON": sys.executable},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


@pytest.mark.parametrize("group", [(), ("member",)])
def test_without_a_command_it_shows_its_help(quorate: Quorate, group: tuple[str, ...]) -> None:
    ended = quorate(*group)
    assert (ended.returncode, ended.stdout) == (2, b"")
    assert ended.stderr.startswith(b"Usage: quorate")
    assert ended.stderr == quorate(*group, "--help").stdout


@pytest.mark.parametrize("command", ["--help", STATUS])
def test_a_reader_that_has_gone_is_no_reason_for_a_word(command: str) -> None:
    read, write = os.pipe()
    os.close(read)
    with os.fdopen(write, "wb") as gone:
        ended = subprocess.run(
            [sys.executable, "-m", "quorate.cli", *command.split()],
            stdout=gone,
            stderr=subprocess.PIPE,
            timeout=60,
            check=False,
        )
    assert (ended.returncode, ended.stderr) == (1, b"")


@pytest.mark.skipif(not FULL.exists(), reason="the system has no /dev/full")
def test_output_that_cannot_be_written_is_one_line() -> None:
    ended = in_shell(f"{STATUS} > {FULL}")
    assert ended.returncode == 1
    assert ended.stderr == "quorate: error: [Errno 28] No space left on device\n"


@pytest.mark.parametrize("streams", [">&-", ">&- 2>&-", "<&- >&- 2>&-"])
@pytest.mark.parametrize("command", [STATUS, "status --servers 127.0.0.1:1"])
def test_closed_streams_change_nothing(command: str, streams: str) -> None:
    ended = in_shell(f"{command} {streams}")
    assert (ended.returncode, ended.stdout, ended.stderr) == (1, "", "")


def test_a_value_from_closed_standard_input_is_not_an_empty_value() -> None:
    ended = in_shell("put --servers 127.0.0.1:1 k - <&-")
    assert ended.returncode == 2
    assert "standard input, which is closed" in ended.stderr
    assert ended.stderr.count("\n") == 1
