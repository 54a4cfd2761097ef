"""What the clients of a key/value test have done."""

from quorate.checker import Kind, Operation


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
