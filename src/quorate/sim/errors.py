"""The ways in which a simulated life can fail."""

from typing import Protocol


class InvariantError(AssertionError):
    """A rule of Raft, or of durability, was violated; the text says which and where."""


class Call(Protocol):
    """A client's call, from its beginning to its end if it has ended."""

    begun: int
    ended: int | None


class HistoryError(AssertionError):
    """The clients have seen what must not be; the text says what and where.

    Args:
        text: says it.
        calls: those that contradict each other, or what is there in the end.
    """

    def __init__(self, text: str, *calls: Call) -> None:
        super().__init__(text)
        self.calls = calls


class LivenessError(AssertionError):
    """The healed cluster made no progress."""
