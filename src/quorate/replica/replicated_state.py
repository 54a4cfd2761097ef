"""Everything that applying the log produces: machine, sessions, cluster time, last applied entry.

A `ReplicatedState` is a function of the entries applied to it and the same on every server that
applied as many. It knows no term's leader, no waiting client, and not what a command means.
"""

from typing import Generic, TypeVar

import msgspec

from quorate.codec.batch import Operation, OperationResult, Submission, decode_batch
from quorate.codec.errors import DecodeError
from quorate.raft.entry import Entry, EntryKind
from quorate.replica.sessions import SessionTable
from quorate.replica.state_machine import StateMachine

QueryT = TypeVar("QueryT")
ResultT = TypeVar("ResultT")


class _Contents(msgspec.Struct, frozen=True, array_like=True):
    """The replicated state as a snapshot holds it."""

    last_applied: int
    last_applied_term: int
    time_ms: int
    machine: bytes
    sessions: bytes


_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(_Contents)


class ReplicatedState(Generic[QueryT, ResultT]):
    """A state machine and the sessions above it, fed with committed entries.

    Args:
        machine: executes the commands; from now on only through this object.
        sessions: from now on changed only through this object.
    """

    def __init__(self, machine: StateMachine[QueryT, ResultT], sessions: SessionTable) -> None:
        self._machine = machine
        self._sessions = sessions
        self._last_applied = 0
        self._last_applied_term = 0
        self._time_ms = 0

    @property
    def last_applied(self) -> int:
        """The index of the last entry applied; 0 at first (Figure 2)."""
        return self._last_applied

    @property
    def last_applied_term(self) -> int:
        """The term of that entry; 0 at first."""
        return self._last_applied_term

    @property
    def time_ms(self) -> int:
        """Cluster time in milliseconds: that of the last entry applied; 0 at first."""
        return self._time_ms

    def apply(self, entry: Entry) -> tuple[OperationResult, ...]:
        """Applies the next committed entry.

        Expiry comes first, whatever the entry holds. So whether an operation finds its session
        depends on the log alone.

        The data of a committed entry is a batch with at most one `OpenSession`: the leader
        composes it, and decodes what it takes from other servers before it proposes it. Anything
        else is a bug of ours and is asserted: it would meet every server alike, and no result
        would be the right one.

        Args:
            entry: a committed entry with index `last_applied + 1`.

        Returns:
            The result of each operation in the entry, in order; none for a no-op.
        """
        assert entry.index == self._last_applied + 1, "entries are applied one after the other"
        assert entry.time_ms >= self._time_ms, "cluster time never goes back"
        self._last_applied = entry.index
        self._last_applied_term = entry.term
        self._time_ms = entry.time_ms
        self._sessions.expire(entry.time_ms)
        if entry.kind != EntryKind.DATA:
            return ()
        try:
            operations = decode_batch(entry.data)
        except DecodeError as error:
            raise AssertionError(f"entry {entry.index} is committed but no batch") from error
        return tuple([self._perform(operation) for operation in operations])

    def query(self, query: QueryT) -> ResultT:
        """Answers a read from the state as of `last_applied`."""
        return self._machine.query(query)

    def snapshot(self) -> bytes:
        """The whole state, limits included, as of `last_applied`."""
        return _encoder.encode(
            _Contents(
                last_applied=self._last_applied,
                last_applied_term=self._last_applied_term,
                time_ms=self._time_ms,
                machine=self._machine.snapshot(),
                sessions=self._sessions.snapshot(),
            )
        )

    def restore(self, state: bytes) -> None:
        """Replaces the whole state by one that `snapshot` gave, here or on another server.

        Raises:
            ValueError: the bytes are no such state (a `DecodeError`, or what the machine
                raises). The state here is then undefined: discard the object.
        """
        try:
            contents = _decoder.decode(state)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            raise DecodeError(f"not a replicated state: {error}") from error
        self._machine.restore(contents.machine)
        self._sessions.restore(contents.sessions)
        self._last_applied = contents.last_applied
        self._last_applied_term = contents.last_applied_term
        self._time_ms = contents.time_ms

    def _perform(self, operation: Operation) -> OperationResult:
        if isinstance(operation, Submission):
            return self._sessions.submit(
                operation, time_ms=self._time_ms, apply=self._machine.apply
            )
        return self._sessions.open_session(
            operation, index=self._last_applied, time_ms=self._time_ms
        )
