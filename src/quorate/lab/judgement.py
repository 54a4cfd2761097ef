"""Whether what the clients of one run saw was linearizable; if not, where it broke."""

from collections.abc import Callable, Iterable
from typing import Self

import msgspec

from quorate import checker
from quorate.checker import KeyVerdict, Operation, check
from quorate.checker.explanation import explain, quote
from quorate.lab.runner import Outcome

_FAILURES = {
    checker.Outcome.ILLEGAL: "history is not linearizable",
    # The course lets one without a verdict pass.
    checker.Outcome.UNKNOWN: "linearizability check did not come to an end",
}


def explained(verdict: KeyVerdict) -> str:
    """Where a history broke, line by line."""
    explanation = explain(verdict)
    headline = f"key {quote(verdict.key)}: {explanation.headline}"
    return "\n".join((headline, *explanation.details))


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
    def on(
        cls,
        histories: Iterable[list[Operation]],
        describe: Callable[[KeyVerdict], str] = explained,
    ) -> Self:
        """Judges them, one after another, up to the first that is not linearizable.

        Args:
            histories: of one run.
            describe: gives the details of that one.
        """
        operations = 0
        for history in histories:
            operations += len(history)
            verdict = check(history)
            if verdict.worst is not None:
                failure = _FAILURES[verdict.outcome]
                return cls(operations=operations, failure=failure, details=describe(verdict.worst))
        return cls(operations=operations, failure=None, details="")

    def applied_to(self, outcome: Outcome) -> Outcome:
        """What became of the run, all told."""
        if self.failure is None:
            return msgspec.structs.replace(outcome, judged=self.operations)
        return msgspec.structs.replace(outcome, failure=self.failure, details=self.details)
