"""Points in time by which something has to be done, in microseconds; None if nothing has."""


def earliest(one: int | None, other: int | None) -> int | None:
    """The earlier of two, of which there may be one or none."""
    if one is None:
        return other
    return one if other is None or one <= other else other
