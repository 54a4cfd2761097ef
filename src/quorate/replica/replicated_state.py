"""Everything that applying the log produces: machine, sessions, cluster time, last applied entry.

A `ReplicatedState` is a function of the entries applied to it and the same on every server that
applied as many. It knows no term's leader, no waiting client, and not what a command means.
"""

import hashlib
from collections.abc import Iterator
from itertools import chain
from typing import Generic, TypeVar

import msgspec

from quorate.codec.batch import Operation, OperationResult, Submission, decode_batch
from quorate.codec.errors import DecodeError
from quorate.raft.entry import Entry, EntryKind
from quorate.replica.sessions import SessionTable
from quorate.replica.state_machine import SECTION_BYTES, StateMachine

QueryT = TypeVar("QueryT")
ResultT = TypeVar("ResultT")


class _Head(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """What all sections of a snapshot begin with."""

    last_applied: int
    last_applied_term: int
    time_ms: int


class _Section(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """A part of the replicated state, as a snapshot holds it.

    Attributes:
        head: the same in all sections of a snapshot.
        number: counted from 1.
        is_last: nothing comes after it.
        sessions: sections of the session table.
        machine: sections of the state machine.
    """

    head: _Head
    number: int
    is_last: bool
    sessions: list[bytes]
    machine: list[bytes]


_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(_Section)


def _assemble(head: _Head, sessions: Iterator[bytes], machine: Iterator[bytes]) -> Iterator[bytes]:
    """Puts the sections of the two parts together into those of the whole, up to `SECTION_BYTES`.

    Each is held back until another one has to follow it, so that the last one says that it is.
    """
    number, size = 1, 0
    of_sessions: list[bytes] = []
    of_machine: list[bytes] = []
    tagged = chain(
        ((of_sessions, section) for section in sessions),
        ((of_machine, section) for section in machine),
    )
    for part, section in tagged:
        if not section:
            yield section
            continue
        if size > 0 and size + len(section) > SECTION_BYTES:
            yield _encoder.encode(_Section(head, number, False, of_sessions, of_machine))
            of_sessions.clear()
            of_machine.clear()
            number, size = number + 1, 0
        part.append(section)
        size += len(section)
    yield _encoder.encode(_Section(head, number, True, of_sessions, of_machine))


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
        self._sections = 0
        self._is_restored = False

    @property
    def is_restored(self) -> bool:
        """Whether `restore` has got a whole snapshot; False for a state that never got any."""
        return self._is_restored

    @property
    def last_applied(self) -> int:
        """The index of the last entry applied; 0 at first (Figure 2)."""
        return self._last_applied

    @property
    def sessions(self) -> int:
        """How many sessions there are."""
        return len(self._sessions)

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

    def snapshot(self) -> Iterator[bytes]:
        """The whole state, limits included, as of now, in sections of about `SECTION_BYTES`.

        Entries may be applied while the sections are fetched; these stay as of the call. An empty
        one holds nothing and is not kept: the machine had to tidy up. The next call fetches more.

        At most one such iterator is in use at a time; whoever does not want the rest drops it.
        """
        head = _Head(self._last_applied, self._last_applied_term, self._time_ms)
        return _assemble(head, self._sessions.snapshot(), self._machine.snapshot())

    def restore(self, section: bytes) -> None:
        """Takes in one section of a snapshot; on a new state, for each of them, in order.

        `is_restored` says when all have come. Nothing is applied before that, and a state that
        got a part of them only is thrown away.

        Raises:
            ValueError: the bytes are no such section, or not the one that is due (a
                `DecodeError`, or what the machine raises). The state is then undefined.
        """
        try:
            contents = _decoder.decode(section)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            raise DecodeError(f"not a section of a replicated state: {error}") from error
        head = _Head(self._last_applied, self._last_applied_term, self._time_ms)
        is_next = contents.number == self._sections + 1 and not self._is_restored
        if not is_next or (self._sections > 0 and contents.head != head):
            raise DecodeError(f"section {contents.number} of a replicated state is out of place")
        self._last_applied = contents.head.last_applied
        self._last_applied_term = contents.head.last_applied_term
        self._time_ms = contents.head.time_ms
        for part in contents.sessions:
            self._sessions.restore(part)
        for part in contents.machine:
            self._machine.restore(part)
        self._sections = contents.number
        self._is_restored = contents.is_last

    def dismantle(self) -> Iterator[None]:
        """Lets everything go, a little with each step; this object is of no use any more."""
        return chain(self._machine.dismantle(), self._sessions.dismantle())

    def digest(self) -> bytes:
        """A checksum of the whole state: equal on servers that applied the same entries.

        It may take its time, and is for tests and for whoever suspects that servers differ.
        """
        head = _Head(self._last_applied, self._last_applied_term, self._time_ms)
        parts = (head, self._sessions.digest(), self._machine.digest())
        return hashlib.sha256(_encoder.encode(parts)).digest()

    def _perform(self, operation: Operation) -> OperationResult:
        if isinstance(operation, Submission):
            return self._sessions.submit(
                operation, time_ms=self._time_ms, apply=self._machine.apply
            )
        return self._sessions.open_session(
            operation, index=self._last_applied, time_ms=self._time_ms
        )
