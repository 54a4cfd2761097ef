"""Judges what the clients of a run saw, and draws a history that is not linearizable on a page."""

import tempfile
from collections.abc import Iterable

from quorate.checker import KeyVerdict, Operation
from quorate.checker.page import render
from quorate.lab.judgement import Judgement, explained
from quorate.lab.packed_history import unpack


def judge(histories: Iterable[list[Operation]]) -> Judgement:
    """Judges the histories of one run; the details name the page, if there is one."""
    return Judgement.on(histories, _explained_with_page)


def judge_packed(histories: Iterable[bytes]) -> Judgement:
    """Judges histories that came from another process."""
    return judge(map(unpack, histories))


def _explained_with_page(verdict: KeyVerdict) -> str:
    page = _write_page(verdict)
    return f"{explained(verdict)}\ninfo: wrote history visualization to {page}"


def _write_page(verdict: KeyVerdict) -> str:
    with tempfile.NamedTemporaryFile(
        "w", encoding="utf-8", prefix="quorate-lab-", suffix=".html", delete=False
    ) as page:
        page.write(render(verdict))
    return page.name
