"""What a state machine has to offer so that Quorate can replicate it.

The key/value table is one such machine. Whoever embeds Quorate with another gets from the
sessions above it that each command takes effect exactly once.
"""

from collections.abc import Iterator
from typing import Protocol, TypeVar

SECTION_BYTES = 64 * 1024
"""About how much of a snapshot a section holds; what is smaller altogether is a single one."""

QueryT_contra = TypeVar("QueryT_contra", contravariant=True)
ResultT_co = TypeVar("ResultT_co", covariant=True)


class StateMachine(Protocol[QueryT_contra, ResultT_co]):
    """A deterministic machine: state and replies are a function of the commands applied.

    Every server applies the same commands in the same order, and its state has to come out the
    same to the last byte. So a machine must not depend on anything but its state and the command:
    no clock, no randomness, no environment, no configuration that servers could have differently,
    no order that depends on addresses or hash seeds (iterating over a set). A limit that can
    change a result is part of the state.

    A machine is called from one thread. It owns its state; nothing that it returns may change
    later.
    """

    def apply(self, command: bytes) -> bytes:
        """Executes an encoded command and returns its encoded reply.

        Total: it never raises, whatever the bytes, because the command is in the log already and
        would stop every server, at every start. A command that fails, or cannot be decoded, is
        answered with a reply that says so, the same on every server. The reply is stored until
        the client has seen it, so keep it small.
        """
        ...

    def query(self, query: QueryT_contra, /) -> ResultT_co:
        """Answers a read without changing the state. Queries and results are never encoded."""
        ...

    def snapshot(self) -> Iterator[bytes]:
        """The whole state as of this call, in sections of about `SECTION_BYTES`.

        One may be larger for the sake of a single item. The machine goes on applying commands
        while the sections are fetched; what they hold stays as of the call. No call takes long,
        this one included: a large state is encoded as it is fetched. A machine that has to tidy
        up behind it may yield empty sections: nothing to keep, but it wants to be called again.

        At most one such iterator is in use at a time. It is over when it has no more sections or
        when it is dropped.
        """
        ...

    def restore(self, section: bytes) -> None:
        """Takes in one section; called on a new machine, for each but the empty ones, in order.

        It comes before anything else, and the machine is whole only when all have come: one that
        got a part of them is thrown away.

        Raises:
            ValueError: the bytes are no section of a snapshot. The state is then undefined.
        """
        ...

    def dismantle(self) -> Iterator[None]:
        """Lets the state go, a little with each step, for freeing millions of items takes time.

        Called when another machine has taken this one's place; nothing else is called any more.
        Letting go of an iterator that is not over frees the rest at once.
        """
        ...

    def digest(self) -> bytes:
        """A checksum of the whole state, for tests and whoever suspects that servers differ.

        The same on every server that applied the same commands, whereas their snapshots may hold
        the same in another order. It may take its time.
        """
        ...
