"""Sessions: each write of a client takes effect at most once, above any state machine.

A session numbers its writes. The table remembers the reply to each write until the session's owner
says (`acked`) that it has seen it, and answers a write that comes again from there (dissertation
§6.3). The table is replicated state: it changes only as entries are applied, each decision is a
function of those entries and of cluster time, and its limits are part of it. It knows neither
Raft nor what a command means.

There are two kinds of sessions. A *client's* has several writes in flight, in any order. A
*node's* (its `owner` stands for that node) carries the writes of all plain connections of that node
and is *ordered*: writes take effect in the order of their numbers, without gaps, so that a write
that is lost on its way holds back those behind it.
"""

import hashlib
from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator

import msgspec
from google_crc32c import value as crc32c

from quorate.codec.batch import (
    OpenedSession,
    OpenSession,
    Outcome,
    Refusal,
    RefusedSession,
    Submission,
    SubmissionOutcomes,
)
from quorate.codec.errors import DecodeError
from quorate.replica.state_machine import SECTION_BYTES

FREED_PER_STEP = 100
"""So many sessions are freed at a time when the table is not needed any more."""

_SESSION_BYTES = 32
_REPLY_BYTES = 16
"""About what a session, and a reply beside its own bytes, take in a snapshot."""

_MAX_SEQ = 2**63 - 1  # greater numbers are beyond every window, so that all stored ones encode


class SessionLimits(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """The limits of the session table.

    They are replicated state: every server of a cluster has to begin with the same ones, and
    afterwards they travel in snapshots.

    Attributes:
        window: a client's session may use numbers up to `acked + window`. Beyond it:
            `BEYOND_WINDOW`.
        ordered_window: the same for a node's session, which serves thousands of connections.
        reply_bytes: while a client's session stores this many bytes of replies, new writes are
            refused with `BEYOND_WINDOW`; the last reply stored may exceed the bound.
        ordered_reply_bytes: the same for a node's session.
        client_sessions: how many sessions clients may have. At the cap, opening one ends the one
            idle longest.
        protected_ms: a session idle no longer than this does not yield; if none yields, opening
            is refused with `TOO_MANY_SESSIONS`.
        ttl_ms: a session idle longer than this expires.
    """

    window: int = 1024
    ordered_window: int = 65_536
    reply_bytes: int = 1024 * 1024
    ordered_reply_bytes: int = 16 * 1024 * 1024
    client_sessions: int = 10_000
    protected_ms: int = 60_000
    ttl_ms: int = 30 * 60_000


class _Session(msgspec.Struct, array_like=True):
    """One session: what it executed, and when it was last heard of.

    Attributes:
        id: the index of the entry that opened it.
        owner: 0 for a client's session, else the number of the node whose session it is.
        incarnation: for a node's session, which one of that node's it is.
        last_active_ms: cluster time of the last operation on it.
        acked: nothing up to this number is executed from now on.
        last_seq: of a node's session, the greatest number executed or fenced; the next write
            that is executed has the number after it.
        reply_bytes: the total length of the replies in `stored`.
        stored: checksum of the command and reply, for each number executed above `acked`.
    """

    id: int
    owner: int
    incarnation: int
    last_active_ms: int
    acked: int = 0
    last_seq: int = 0
    reply_bytes: int = 0
    stored: dict[int, tuple[int, bytes]] = msgspec.field(default_factory=dict)

    @property
    def is_ordered(self) -> bool:
        return self.owner != 0

    @property
    def snapshot_bytes(self) -> int:
        """About what it takes in a snapshot."""
        return _SESSION_BYTES + self.reply_bytes + _REPLY_BYTES * len(self.stored)

    def copy(self) -> "_Session":
        """Another one as this is now. It shares the replies, which never change."""
        return msgspec.structs.replace(self, stored=self.stored.copy())

    def pieces(self) -> Iterator["_Session"]:
        """The session with a part of its replies each, none much larger than a section."""
        stored: dict[int, tuple[int, bytes]] = {}
        size = 0
        for seq, (checksum, reply) in self.stored.items():
            stored[seq] = (checksum, reply)
            size += _REPLY_BYTES + len(reply)
            if size >= SECTION_BYTES:
                yield msgspec.structs.replace(self, stored=stored)
                stored, size = {}, 0
        if stored:
            yield msgspec.structs.replace(self, stored=stored)

    def acknowledge(self, acked: int) -> None:
        """Frees the replies up to `acked`, and fences the numbers up to it."""
        if acked <= self.acked:
            return
        if self.is_ordered and acked >= self.last_seq:  # all of them; by far the most frequent
            self.stored.clear()
            self.reply_bytes = 0
            self.acked = self.last_seq = acked
            return
        newly_acked: Iterable[int] = range(self.acked + 1, acked + 1)
        if acked - self.acked > len(self.stored):  # a fence: look only at what is there
            newly_acked = [seq for seq in self.stored if seq <= acked]
        for seq in newly_acked:
            stored = self.stored.pop(seq, None)
            if stored is not None:
                self.reply_bytes -= len(stored[1])
        self.acked = acked
        self.last_seq = max(self.last_seq, acked)

    def execute(
        self,
        commands: tuple[bytes, ...],
        first_seq: int,
        limits: SessionLimits,
        apply: Callable[[bytes], bytes],
    ) -> tuple[Outcome, ...]:
        """Executes those of the commands that may be executed now, in order."""
        acked, last_seq, reply_bytes = self.acked, self.last_seq, self.reply_bytes
        stored = self.stored
        ordered = self.is_ordered
        window = limits.ordered_window if ordered else limits.window
        last_in_window = min(acked + window, _MAX_SEQ)
        max_reply_bytes = limits.ordered_reply_bytes if ordered else limits.reply_bytes
        outcomes: list[Outcome] = []
        outcome: Outcome
        for seq, command in enumerate(commands, first_seq):
            if seq <= acked:
                outcome = Refusal.STALE
            elif seq > last_in_window:
                outcome = Refusal.BEYOND_WINDOW
            elif seq in stored:
                checksum, reply = stored[seq]
                outcome = reply if checksum == crc32c(command) else Refusal.MISMATCH
            elif ordered and seq != last_seq + 1:
                outcome = Refusal.OUT_OF_ORDER
            elif reply_bytes >= max_reply_bytes:
                outcome = Refusal.BEYOND_WINDOW
            else:
                outcome = apply(command)
                stored[seq] = (crc32c(command), outcome)
                reply_bytes += len(outcome)
                if ordered:
                    last_seq = seq
            outcomes.append(outcome)
        self.last_seq, self.reply_bytes = last_seq, reply_bytes
        return tuple(outcomes)


class _Section(msgspec.Struct, frozen=True, array_like=True):
    """A part of the session table; the session idle longest comes first.

    A session with many replies is in several sections, with a part of the replies in each.
    """

    limits: SessionLimits
    sessions: list[_Session]


_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(_Section)


class SessionTable:
    """All sessions of the cluster.

    Times are cluster time in milliseconds and never go back from call to call. Sequence numbers
    and ids are those of `quorate.codec.batch`, where the operations and refusals are explained.

    A node's session neither counts towards the cap on sessions nor yields at it: the writes in
    flight of all its connections would end as *unknown* for the sake of one more client, and a
    node that restarts among busy clients must get its session. The number of nodes bounds them
    as it is. It expires like any other.

    Args:
        limits: see there; `restore` replaces them.
    """

    def __init__(self, limits: SessionLimits) -> None:
        self._limits = limits
        # In the order of last activity, so that whatever has been idle longest stands in front.
        self._sessions: OrderedDict[int, _Session] = OrderedDict()
        self._id_of_owner: dict[int, int] = {}
        # While a snapshot is under way: the sessions as of its beginning, in the same order.
        # One that is about to change is replaced here by a copy, one that was given by None.
        self._frozen: dict[int, _Session | None] | None = None

    def __len__(self) -> int:
        return len(self._sessions)

    def expire(self, time_ms: int) -> None:
        """Ends the sessions idle for too long; due before the operations of each entry."""
        while self._sessions:
            longest_idle = next(iter(self._sessions.values()))
            if time_ms - longest_idle.last_active_ms <= self._limits.ttl_ms:
                return
            self._end(longest_idle)

    def open_session(
        self, request: OpenSession, *, index: int, time_ms: int
    ) -> OpenedSession | RefusedSession:
        """Opens a session, or finds the one that a node opened with the same incarnation.

        Once a node's session has expired, its incarnation is forgotten. A request that comes
        again after that opens a session anew: its id is a new one, so no write meant for the old
        one can get into it.

        Args:
            request: whose session it will be.
            index: the index of the request's entry: the id, if a session is opened.
            time_ms: the time of the entry.
        """
        already_opened = index in self._sessions
        if request.owner != 0:
            own = self._sessions.get(self._id_of_owner.get(request.owner, 0))
            if own is not None:
                if request.incarnation < own.incarnation:
                    return RefusedSession(Refusal.SUPERSEDED)
                if request.incarnation == own.incarnation:
                    self._touch(own, time_ms)
                    return OpenedSession(own.id)
                self._end(own)
            self._id_of_owner[request.owner] = index
        elif not self._make_room(time_ms):
            return RefusedSession(Refusal.TOO_MANY_SESSIONS)
        assert not already_opened, "an entry opens at most one session"
        self._sessions[index] = _Session(
            id=index,
            owner=request.owner,
            incarnation=request.incarnation,
            last_active_ms=time_ms,
        )
        return OpenedSession(index)

    def submit(
        self, submission: Submission, *, time_ms: int, apply: Callable[[bytes], bytes]
    ) -> SubmissionOutcomes:
        """Executes the writes of a submission, each at most once.

        The submission's `acked` holds for its own commands already. Any submission to a session
        that exists counts as activity, whatever becomes of its commands.

        Args:
            submission: the writes.
            time_ms: the time of the submission's entry.
            apply: the state machine's.
        """
        session = self._sessions.get(submission.session)
        if session is None or session.owner != submission.owner:
            refused = max(1, len(submission.commands))
            return SubmissionOutcomes((Refusal.SESSION_EXPIRED,) * refused)
        self._touch(session, time_ms)
        session.acknowledge(submission.acked)
        return SubmissionOutcomes(
            session.execute(submission.commands, submission.first_seq, self._limits, apply)
        )

    def snapshot(self) -> Iterator[bytes]:
        """The whole state as of now, limits included, in sections; at least one.

        Like that of a state machine: it stays as of now while the table changes, there is one at
        a time, and it is over when it is dropped. It is a function of the operations since the
        beginning.
        """
        assert self._frozen is None, "a snapshot is under way already"
        self._frozen = {session.id: session for session in self._sessions.values()}
        walk = self._walk(self._frozen)
        next(walk)
        return walk

    def restore(self, section: bytes) -> None:
        """Takes in one section of a snapshot; on a new table, for each of them, in order.

        Raises:
            DecodeError: the bytes are no such section; nothing was taken in.
        """
        try:
            contents = _decoder.decode(section)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            raise DecodeError(f"not a section of a session table: {error}") from error
        self._limits = contents.limits
        for session in contents.sessions:
            if session.id in self._sessions:
                self._sessions[session.id].stored.update(session.stored)
                continue
            self._sessions[session.id] = session
            if session.is_ordered:
                self._id_of_owner[session.owner] = session.id

    def dismantle(self) -> Iterator[None]:
        """Lets the sessions go, `FREED_PER_STEP` at a time; nothing else is called any more."""
        while self._sessions:
            for _ in range(min(FREED_PER_STEP, len(self._sessions))):
                self._sessions.popitem()
            yield

    def digest(self) -> bytes:
        """A checksum of the whole state, limits included; equal for equal tables."""
        checksum = hashlib.sha256(_encoder.encode(self._limits))
        for session in self._sessions.values():
            checksum.update(_encoder.encode(session))
        return checksum.digest()

    def _walk(self, frozen: dict[int, _Session | None]) -> Iterator[bytes]:
        """The sections of a snapshot, behind an empty one.

        That one is fetched when the snapshot begins: only a generator that was begun ends what it
        has to end when it is dropped.
        """
        try:
            yield b""
            sessions: list[_Session] = []
            size = 0
            for session in frozen.values():
                assert session is not None
                is_large = session.snapshot_bytes > SECTION_BYTES
                # A large one lives on while its pieces are fetched. Each of these ends a section,
                # because it counts as large as the whole.
                pieces = session.copy().pieces() if is_large else [session]
                frozen[session.id] = None
                for piece in pieces:
                    sessions.append(piece)
                    size += piece.snapshot_bytes
                    if size >= SECTION_BYTES:
                        yield _encoder.encode(_Section(self._limits, sessions))
                        sessions, size = [], 0
            if sessions or not frozen:
                yield _encoder.encode(_Section(self._limits, sessions))
        finally:
            self._frozen = None

    def _touch(self, session: _Session, time_ms: int) -> None:
        """Every change of a session that exists begins here."""
        frozen = self._frozen
        if frozen is not None and frozen.get(session.id) is session:
            frozen[session.id] = session.copy()
        session.last_active_ms = time_ms
        self._sessions.move_to_end(session.id)

    def _end(self, session: _Session) -> None:
        del self._sessions[session.id]
        if session.is_ordered:
            del self._id_of_owner[session.owner]

    def _make_room(self, time_ms: int) -> bool:
        """Sees that one more client's session may exist; False if none yields to it."""
        if len(self._sessions) - len(self._id_of_owner) < self._limits.client_sessions:
            return True
        longest_idle = next(s for s in self._sessions.values() if not s.is_ordered)
        if time_ms - longest_idle.last_active_ms <= self._limits.protected_ms:
            return False
        self._end(longest_idle)
        return True
