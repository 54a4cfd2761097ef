"""`quorate check` as a command."""

import json
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

Quorate = Callable[..., subprocess.CompletedProcess[bytes]]


def line(operation: str, value: str | None, call: int, end: int | None, **more: Any) -> str:
    """A line on key k: `value` is the result of a get, the argument of anything else."""
    role = "result" if operation == "get" else "argument"
    record = {"client": 1, "operation": operation, "key": "k", "call": call, "return": end}
    return json.dumps(record | ({} if end is None and role == "result" else {role: value}) | more)


GOOD = [line("put", "a", 0, 1), line("append", "b", 2, None), line("get", "ab", 3, 4)]
BAD = [*GOOD, line("get", "a", 5, 6)]


@pytest.fixture
def history(tmp_path: Path) -> Callable[[list[str]], Path]:
    def write(lines: list[str]) -> Path:
        path = tmp_path / "history.jsonl"
        path.write_text("\n".join(lines))
        return path

    return write


def test_a_good_history(quorate: Quorate, history: Callable[[list[str]], Path]) -> None:
    path = history(GOOD)
    ended = quorate("check", path)
    assert (ended.returncode, ended.stderr) == (0, b"")
    assert ended.stdout == b"ok: linearizable; 3 operations (1 pending) of 1 client on 1 key\n"
    assert list(path.parent.iterdir()) == [path]


def test_a_bad_history_says_where_it_broke(
    quorate: Quorate, history: Callable[[list[str]], Path]
) -> None:
    path = history(BAD)
    ended = quorate("check", path)
    assert (ended.returncode, ended.stderr) == (1, b"")
    page = path.with_name("history.jsonl.html")
    assert ended.stdout.decode().splitlines() == [
        "illegal: not linearizable, at 1 key; 4 operations (1 pending) of 1 client on 1 key",
        "",
        'key "k": Nothing explains client 1\'s get → "a" (called 5, returned 6).',
        '  The longest linearization has 3 of 4 operations; after it the value is "ab".',
        '  The value was "a" until client 1\'s append "b" (called 2, never returned) took effect.',
        "  the last of it:",
        '    client 1\'s put "a" (called 0, returned 1)',
        '    client 1\'s append "b" (called 2, never returned)',
        '    client 1\'s get → "ab" (called 3, returned 4)',
        "  without a place in it:",
        '    client 1\'s get → "a" (called 5, returned 6)',
        "",
        f"page: {page}",
    ]
    assert page.read_text().startswith("<!doctype html>")


@pytest.mark.parametrize(("lines", "status"), [(GOOD, 0), (BAD, 1)], ids=["good", "bad"])
def test_the_page_goes_where_it_is_wanted(
    quorate: Quorate, tmp_path: Path, lines: list[str], status: int
) -> None:
    page = tmp_path / "page.html"
    ended = quorate("check", "-", "--html", page, stdin="\n".join(lines).encode())
    assert ended.returncode == status
    assert page.exists()


def test_what_takes_too_long_is_unknown(
    quorate: Quorate, history: Callable[[list[str]], Path]
) -> None:
    ended = quorate("check", history(GOOD), "--timeout", 0)
    assert ended.returncode == 2
    assert ended.stdout.startswith(b"unknown: not decided in time, at 1 key; 3 operations")


def test_a_bad_line_is_named(quorate: Quorate, history: Callable[[list[str]], Path]) -> None:
    path = history([*GOOD, line("get", "x", 5, 4)])
    ended = quorate("check", path)
    assert (ended.returncode, ended.stdout) == (2, b"")
    assert ended.stderr.decode() == (
        f"quorate: error: {path}, line 4: it returned at 4, before its call at 5; docs/checker.md "
        "describes the format\n"
    )


def test_a_file_that_is_not_there(quorate: Quorate, tmp_path: Path) -> None:
    ended = quorate("check", tmp_path / "none")
    assert ended.returncode == 2
    assert b"No such file or directory" in ended.stderr


def test_a_page_that_cannot_be_written(quorate: Quorate, tmp_path: Path) -> None:
    for lines, status in ((GOOD, 2), (BAD, 1)):
        ended = quorate(
            "check", "-", "--html", tmp_path / "no" / "page", stdin="\n".join(lines).encode()
        )
        assert ended.returncode == status
        assert ended.stdout.startswith((b"ok", b"illegal"))
        assert b"choose another file with --html" in ended.stderr


def test_an_empty_history_is_linearizable(quorate: Quorate) -> None:
    assert quorate("check", "-").returncode == 0
