"""What is told of one life of a simulated cluster."""

import msgspec


class Report(msgspec.Struct, frozen=True):
    """What happened in one life.

    Attributes:
        seed: of the life.
        servers: how many there were.
        members: how many there were in the end.
        changes: how often the members changed.
        virtual_us: how long it lasted.
        acknowledged: appends that took effect exactly once.
        unknown: appends whose client does not know.
        not_executed: appends that were not executed.
        reads: reads that were answered.
        leaders: terms with a leader.
        committed: entries committed.
        messages: messages sent between servers.
        happened: what they led to, and how often.
        trace: a number that two lives only share if everything in them was the same.
    """

    seed: int
    servers: int
    members: int
    changes: int
    virtual_us: int
    acknowledged: int
    unknown: int
    not_executed: int
    reads: int
    leaders: int
    committed: int
    messages: int
    happened: dict[str, int]
    trace: int
