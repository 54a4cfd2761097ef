"""What a state machine has to offer so that Quorate can replicate it.

The key/value table is one such machine. Whoever embeds Quorate with another gets from the
sessions above it that each command takes effect exactly once.
"""

from typing import Protocol, TypeVar

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

    def snapshot(self) -> bytes:
        """The whole state; the same bytes on every server that applied the same commands."""
        ...

    def restore(self, state: bytes) -> None:
        """Replaces the whole state by one that `snapshot` returned, here or on another server.

        Raises:
            ValueError: the bytes are no such state.
        """
        ...
