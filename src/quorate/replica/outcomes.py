"""What a replica tells those who gave it an operation or a read."""

from typing import Any

import msgspec

from quorate.codec.batch import OperationResult


class Completed(msgspec.Struct, frozen=True, gc=False):
    """The operation went through the log; this is its result, whether it executed or not.

    `is_hearsay`: another server says so. Its answer is well formed and fits the operation, but
    whether it is true is not known here, as it is of what this server has applied itself.
    """

    ticket: int
    result: OperationResult
    is_hearsay: bool = False


class NotProposed(msgspec.Struct, frozen=True, gc=False):
    """The operation reached no leader's log and never will by this submission."""

    ticket: int


class Interrupted(msgspec.Struct, frozen=True, gc=False):
    """The leader changed or fell silent: this submission may still be executed, or never."""

    ticket: int


Outcome = Completed | NotProposed | Interrupted


class ReadReady(msgspec.Struct, frozen=True, gc=False):
    """A linearizable read may be served: from now on, this server's state is recent enough.

    It need not be served at once. The later, the more recent is what it sees, which is linearizable
    too, as long as nobody was told that it has ended.
    """

    ticket: int
    query: Any
