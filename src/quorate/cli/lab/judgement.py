"""Whether what the clients of one run saw was linearizable; if not, where it broke, with a page."""

import tempfile
from collections.abc import Iterable
from typing import Self

import msgspec

from quorate.checker import Operation, check
from quorate.checker.explanation import explain, quote
from quorate.checker.page import render
from quorate.checker.verdict import KeyVerdict
from quorate.lab.kv_history import words_for
from quorate.lab.packed_history import unpack
from quorate.lab.runner import Outcome


class Judgement(msgspec.Struct, frozen=True, kw_only=True):
    """On all histories of one run.

    Attributes:
        operations: how many were looked at.
        failure: in the course's words; None if all histories are linearizable.
        details: where the first that is not broke, line by line.
    """

    operations: int
    failure: str | None
    details: str

    @classmethod
    def on(cls, histories: Iterable[list[Operation]]) -> Self:
        """Judges; writes a page on the first history that is not linearizable."""
        operations = 0
        for history in histories:
            operations += len(history)
            verdict = check(history)
            if verdict.worst is not None:
                failure, details = words_for(verdict.outcome), _explained(verdict.worst)
                break
        else:
            failure, details = None, ""
        return cls(operations=operations, failure=failure, details=details)

    def applied_to(self, outcome: Outcome) -> Outcome:
        """What became of the run, all told."""
        if self.failure is None:
            return msgspec.structs.replace(outcome, judged=self.operations)
        return msgspec.structs.replace(outcome, failure=self.failure, details=self.details)


def judge_packed(histories: Iterable[bytes]) -> Judgement:
    """Judges histories that came from another process."""
    return Judgement.on(map(unpack, histories))


def _explained(verdict: KeyVerdict) -> str:
    explanation = explain(verdict)
    page = _write_page(verdict)
    return "\n".join(
        (
            f"key {quote(verdict.key)}: {explanation.headline}",
            *explanation.details,
            f"info: wrote history visualization to {page}",
        )
    )


def _write_page(verdict: KeyVerdict) -> str:
    with tempfile.NamedTemporaryFile(
        "w", encoding="utf-8", prefix="quorate-lab-", suffix=".html", delete=False
    ) as page:
        page.write(render(verdict))
    return page.name
