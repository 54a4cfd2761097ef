"""What clients have done and seen: the records that a history is made of.

A history is a collection of operations in any order. Times are numbers of any one clock and unit;
only their order counts. An operation took effect, if at all, at one instant between `called` and
`returned`, both included: two operations that share an instant count as concurrent.
"""

import enum

import msgspec


class Kind(enum.StrEnum):
    """What an operation does to its key."""

    GET = "get"
    PUT = "put"
    APPEND = "append"
    DELETE = "delete"


class Operation(msgspec.Struct, frozen=True, kw_only=True):
    """One call of one client, and what became of it.

    A pending operation has no `returned`: its client never heard of it, so it took effect at some
    time after its call or never will. That is how an operation whose outcome is unknown is written
    down. One that is known not to have been executed does not belong into a history.

    Attributes:
        client: who; may have several operations at the same time.
        kind: what.
        key: on which key.
        argument: of a put or an append; None for the others.
        result: what the client was told. For a get the value, None if there was no such key; an
            empty value is what a missing key reads as, too. For an append the new length in bytes,
            for a delete how many keys were removed (0 or 1); None there if the client was not told.
            None for a put, and for everything that is pending.
        called: when the call began.
        returned: when it returned; None while it is pending.

    Raises:
        ValueError: the attributes do not fit together; the text says how.
    """

    client: str
    kind: Kind
    key: bytes
    argument: bytes | None = None
    result: bytes | int | None = None
    called: float
    returned: float | None = None

    def __post_init__(self) -> None:
        if (self.argument is None) is (self.kind in (Kind.PUT, Kind.APPEND)):
            needs = "needs an argument" if self.argument is None else "takes no argument"
            raise ValueError(f"a {self.kind} {needs}")
        if self.returned is None:
            if self.result is not None:
                raise ValueError("a pending operation, one that has not returned, has no result")
            return
        if not self.called <= self.returned:
            raise ValueError(f"it returned at {self.returned}, before its call at {self.called}")
        match self.kind, self.result:
            case (Kind.GET, bytes()) | (_, None):
                return
            case (Kind.GET, _):
                raise ValueError("the result of a get is a value, or nothing for a missing key")
            case (Kind.PUT, _):
                raise ValueError("a put has no result")
            case (Kind.APPEND, int(length)) if length >= 0:
                return
            case (Kind.APPEND, _):
                raise ValueError("the result of an append is a length, or nothing")
            case (_, result):
                if result not in (0, 1):
                    raise ValueError("the result of a delete is 0 or 1, or nothing")
