"""The ways in which a simulated life can fail."""


class InvariantError(AssertionError):
    """A rule of Raft, or of durability, was violated; the text says which and where."""


class HistoryError(AssertionError):
    """The clients have seen what must not be; the text says what and where."""


class LivenessError(AssertionError):
    """The healed cluster made no progress."""
