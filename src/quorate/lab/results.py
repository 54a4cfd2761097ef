"""The course's result lines: `  ... Passed --  15.1  5 12882 2587`."""

import enum

import msgspec

from quorate.lab.edition import Edition

SECOND_US = 1_000_000


class Lab(enum.IntEnum):
    """Whose lines: the two labs have different widths."""

    RAFT = 2
    KEY_VALUE = 3


class Result(msgspec.Struct, frozen=True, kw_only=True):
    """What one passed part of a test has cost.

    Attributes:
        title: as the test printed it.
        duration_us: from its beginning to its end.
        servers: the size of the cluster.
        calls: remote procedure calls, deliverable or not.
        bytes: of those calls and of the replies that were delivered.
        operations: entries committed in the Raft lab, clients' operations in the key/value lab.
    """

    title: str
    duration_us: int
    servers: int
    calls: int
    bytes: int
    operations: int

    def line(self, lab: Lab, edition: Edition) -> str:
        """The result line. Fields grow when a number is wider."""
        begin = f"  ... Passed --  {self.duration_us / SECOND_US:4.1f}  {self.servers} "
        if lab is Lab.KEY_VALUE:
            return f"{begin}{self.calls:5} {self.operations:4}"
        if edition < Edition.Y2020:
            return f"{begin}{self.calls:4} {self.operations:4}"
        return f"{begin}{self.calls:4} {self.bytes:7} {self.operations:4}"
