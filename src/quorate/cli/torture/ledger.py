"""What the clients have done and were told, written down so that it can be judged.

Each call of a client is one or several *sendings* of the same command: a Clerk sees to it that they
count once, but a plain Redis client that sends a command again, because its connection broke, has
sent two commands, of which each may be executed once. So each sending is an operation of its own in
the history: one that was answered has returned; one without an answer is pending, for it may take
effect at any time, or never; one that was answered *not executed* is no part of the history at all.

A key is used for a few hundred calls and then makes room for the next, so that the history of each
stays short enough to be judged. Clients in several threads share a ledger.
"""

import enum
import random
import threading
from collections.abc import Sequence
from itertools import takewhile

import msgspec

from quorate.checker import Kind, Operation
from quorate.lab.packed_history import pack, unpack

CALLS_PER_KEY = 300
SLOTS = 8
"""So many keys are in use at a time."""
REGISTERS = 2
"""So many of these are put and deleted too; to the others clients only append."""

_REGISTER_WEIGHTS = {Kind.GET: 4, Kind.PUT: 3, Kind.APPEND: 2, Kind.DELETE: 1}
_LIST_WEIGHTS = {Kind.GET: 3, Kind.APPEND: 7}


class Fate(enum.StrEnum):
    """What a client was told of a call."""

    ACKNOWLEDGED = "acknowledged"
    NOT_EXECUTED = "not executed"
    UNKNOWN = "unknown"
    DISPROVED = "unknown at first"
    """And then a read by the same Clerk did not show it, so it will never be executed."""


class KeyHistory(msgspec.Struct, eq=False):
    """All that happened to one key.

    Attributes:
        key: which.
        is_register: it may be put and deleted.
        refused: what clients wanted to append or put, and were told that it was not executed.
    """

    key: bytes
    is_register: bool
    refused: list[bytes] = []
    _begun: int = 0
    _ended: int = 0
    _operations: list[Operation] = []
    _packed: list[bytes] = []

    @property
    def is_used_up(self) -> bool:
        """Another key is to take its place."""
        return self._begun >= CALLS_PER_KEY

    @property
    def operations(self) -> list[Operation]:
        """The history so far."""
        return [*(o for packed in self._packed for o in unpack(packed)), *self._operations]

    def begin(self) -> None:
        """A call begins."""
        self._begun += 1

    def end(self, operations: Sequence[Operation]) -> None:
        """A call has ended, and this is what it was."""
        self._ended += 1
        self._operations += operations
        if self.is_used_up and self._ended == self._begun:
            self._packed.append(pack(self._operations))
            self._operations = []


class Call(msgspec.Struct, eq=False):
    """One call of a client, from its beginning to its end. Times are microseconds.

    Attributes:
        client: who.
        kind: what.
        history: of the key.
        argument: of a put or an append.
        begun: when it began.
        sendings: when it was sent, for each time.
    """

    client: str
    kind: Kind
    history: KeyHistory
    argument: bytes | None
    begun: int
    sendings: list[int] = []

    @property
    def key(self) -> bytes:
        """On which key."""
        return self.history.key

    def operations(self, fate: Fate, result: bytes | int | None, now: int) -> list[Operation]:
        """What it is in the history."""
        if self.kind is Kind.GET:
            return [self._operation(self.begun, now, result)] if fate is Fate.ACKNOWLEDGED else []
        *unanswered, last = self.sendings
        operations = [self._operation(sent, None, None) for sent in unanswered]
        match fate:
            case Fate.ACKNOWLEDGED:
                operations.append(self._operation(last, now, result))
            case Fate.UNKNOWN:
                operations.append(self._operation(last, None, None))
            case Fate.NOT_EXECUTED | Fate.DISPROVED:
                pass
        return operations

    def _operation(
        self, called: int, returned: int | None, result: bytes | int | None
    ) -> Operation:
        return Operation(
            client=self.client,
            kind=self.kind,
            key=self.key,
            argument=self.argument,
            result=result,
            called=called,
            returned=returned,
        )


class Ending(msgspec.Struct, frozen=True):
    """How a call has ended, for the figures. Times are microseconds.

    Attributes:
        client: whose it was.
        at: when.
        took: how long.
        kind: what it was.
        fate: what it was told.
    """

    client: str
    at: int
    took: int
    kind: Kind
    fate: Fate


class Ledger:
    """The history of all keys.

    Args:
        rng: which slot the next call takes.

    Attributes:
        endings: of all calls.
        surprises: what clients were told that nobody should be told, as texts.
        resent: how many sendings there were besides the first of each call.
    """

    def __init__(self, rng: random.Random) -> None:
        self.endings: list[Ending] = []
        self.surprises: list[str] = []
        self.resent = 0
        self._rng = rng
        self._lock = threading.Lock()
        self._current = [self._new_key(slot, 1) for slot in range(SLOTS)]
        self._generations = [1] * SLOTS
        self._histories = list(self._current)
        self._numbers: dict[str, int] = {}

    @property
    def histories(self) -> list[KeyHistory]:
        """Of all keys that were ever used."""
        return list(self._histories)

    def begin(self, client: str, now: int) -> Call:
        """A client begins a call; the ledger says what it is to do."""
        with self._lock:
            history = self._draw_key()
            history.begin()
            kind = self._draw_kind(is_register=history.is_register)
            argument = self._element(client) if kind in (Kind.APPEND, Kind.PUT) else None
            return Call(client, kind, history, argument, now)

    def begin_second_look(self, call: Call, now: int) -> Call:
        """The client of a call reads its key."""
        with self._lock:
            call.history.begin()
            return Call(call.client, Kind.GET, call.history, None, now)

    def end(self, call: Call, fate: Fate, now: int, result: bytes | int | None = None) -> None:
        """A call has ended; the result is that of a call that was acknowledged.

        A call that was never sent was not executed, whatever its client was told.
        """
        with self._lock:
            if not call.sendings and call.kind is not Kind.GET:
                assert fate is not Fate.ACKNOWLEDGED
                fate = Fate.NOT_EXECUTED
                call.history.end([])
            else:
                call.history.end(call.operations(fate, result, now))
                self.resent += max(0, len(call.sendings) - 1)
            is_refused = fate in (Fate.NOT_EXECUTED, Fate.DISPROVED) and len(call.sendings) <= 1
            if is_refused and call.argument is not None:
                call.history.refused.append(call.argument)
            self.endings.append(Ending(call.client, now, now - call.begun, call.kind, fate))

    def writers_since(self, time: int) -> set[str]:
        """Who has had a write acknowledged that began then or later; tasks by their client."""
        with self._lock:
            return {
                ending.client.partition(".")[0]
                for ending in takewhile(lambda e: e.at >= time, reversed(self.endings))
                if ending.fate is Fate.ACKNOWLEDGED
                and ending.kind is not Kind.GET
                and ending.at - ending.took >= time
            }

    def surprise(self, text: str) -> None:
        """A client was told what nobody should be told."""
        self.surprises.append(text)

    # ------------------------------------------------------------------ what is to be done

    def _draw_key(self) -> KeyHistory:
        slot = self._rng.randrange(SLOTS)
        if self._current[slot].is_used_up:
            self._generations[slot] += 1
            self._current[slot] = self._new_key(slot, self._generations[slot])
            self._histories.append(self._current[slot])
        return self._current[slot]

    @staticmethod
    def _new_key(slot: int, generation: int) -> KeyHistory:
        is_register = slot < REGISTERS
        name = b"%b%d.%d" % (b"register" if is_register else b"list", slot, generation)
        return KeyHistory(name, is_register)

    def _draw_kind(self, *, is_register: bool) -> Kind:
        weights = _REGISTER_WEIGHTS if is_register else _LIST_WEIGHTS
        return self._rng.choices(list(weights), list(weights.values()))[0]

    def _element(self, client: str) -> bytes:
        """What nobody else ever writes."""
        number = self._numbers.get(client, 0) + 1
        self._numbers[client] = number
        return b"%b.%d;" % (client.encode(), number)
