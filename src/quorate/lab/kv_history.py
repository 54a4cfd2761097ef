"""What the clients of a key/value test have done, and whether it was linearizable."""

from collections.abc import Sequence

from quorate.checker import Kind, Operation, Outcome, check

_FAILURES = {
    Outcome.ILLEGAL: "history is not linearizable",
    Outcome.UNKNOWN: "linearizability check did not come to an end",
}


class History:
    """The operations of one test, each recorded when its client heard, or gave it up.

    Attributes:
        operations: so far; times are microseconds.
        finished: how many of them have returned.
        uncertain_keys: keys with an operation that may or may not have been executed.
    """

    def __init__(self) -> None:
        self.operations: list[Operation] = []
        self.finished = 0
        self.uncertain_keys: set[str] = set()

    def returned(
        self,
        kind: Kind,
        key: str,
        argument: str | None,
        result: str | None,
        *,
        client: int,
        called: int,
        now: int,
    ) -> None:
        """One operation of one client has been executed between its call and now."""
        self.finished += 1
        self.operations.append(
            Operation(
                client=str(client),
                kind=kind,
                key=key.encode(),
                argument=None if argument is None else argument.encode(),
                result=None if result is None else result.encode(),
                called=called,
                returned=now,
            )
        )

    def given_up(self, kind: Kind, key: str, argument: str, *, client: int, called: int) -> None:
        """A write may have been executed since its call, or may still be, once, or never."""
        self.uncertain_keys.add(key)
        self.operations.append(
            Operation(
                client=str(client),
                kind=kind,
                key=key.encode(),
                argument=argument.encode(),
                called=called,
            )
        )


def failure_of(history: Sequence[Operation]) -> str | None:
    """What the course says of a history that is not linearizable; None if it is."""
    return words_for(check(history).outcome)


def words_for(outcome: Outcome) -> str | None:
    """The same for the outcome of a check. The course lets one without a verdict pass."""
    return _FAILURES.get(outcome)
