"""Writes one life of a simulated cluster down, for people who look at it afterwards.

A `Recorder` is given to a world; it watches, and changes nothing of what happens. Of a long life
it forgets what is small and long ago: messages, calls, and by how much logs grew. Who led, who was
down and why, and what befell whom it keeps of all of it.
"""

import re
from collections import deque
from collections.abc import Iterable, Sequence
from typing import NamedTuple

import msgspec

from quorate.node.node import Node
from quorate.raft.configuration import NodeId
from quorate.raft.messages import PeerMessage
from quorate.sim.errors import HistoryError
from quorate.sim.history import Append, History, Read
from quorate.sim.message_summary import HEARTBEAT, HEARTBEAT_ANSWER, kind_of, summarize
from quorate.sim.recording import (
    ARRIVED,
    CUT_OFF,
    LOST,
    Call,
    Failure,
    Mark,
    Message,
    Recording,
    ServerState,
)
from quorate.sim.scheduler import Scheduler
from quorate.sim.server import SimulatedServer

MAX_MESSAGES, MAX_DETAILS, MAX_CALLS = 60_000, 50_000, 20_000
"""See `Recorder`. With these, a page on a recording has some 15 MB and opens in a few seconds."""
MAX_TEXT = 4_000
"""A longer text has its middle cut out. What a failed check says may hold whole values."""
_SHOWN_ELEMENTS = 3


class _Look(NamedTuple):
    """What may change although a server does nothing."""

    node: Node | None
    is_paused: bool


class MessageOnItsWay:
    """Is told what becomes of a copy of a message.

    Args:
        message: as it is recorded.
        scheduler: virtual time.
    """

    def __init__(self, message: Message, scheduler: Scheduler) -> None:
        self._message = message
        self._scheduler = scheduler

    def arrived(self) -> None:
        """It has come to the other end."""
        self._end(ARRIVED)

    def lost(self) -> None:
        """It is lost, as it is sent or later."""
        self._end(CUT_OFF if self._scheduler.now > self._message.sent else LOST)

    def _end(self, fate: str) -> None:
        self._message.fate = fate
        self._message.ended = self._scheduler.now


class Recorder:
    """Records one life; give it to the `World` that lives it.

    Args:
        max_messages: so many copies of messages are kept, the last ones.
        max_details: so many states, the last ones, that differ from those before in indices alone.
        max_calls: so many calls, the last ones, and those by which the life failed.
    """

    def __init__(
        self,
        *,
        max_messages: int = MAX_MESSAGES,
        max_details: int = MAX_DETAILS,
        max_calls: int = MAX_CALLS,
    ) -> None:
        self._max_messages = max_messages
        self._max_details = max_details
        self._max_calls = max_calls
        self._scheduler = Scheduler()
        self._servers: Iterable[SimulatedServer] = ()
        self._history = History()
        self._looks: dict[NodeId, _Look] = {}
        self._busy: list[NodeId] = []
        self._latest: dict[NodeId, ServerState] = {}
        self._turns: list[ServerState] = []
        self._details: deque[ServerState] = deque()
        self._details_since = 0
        self._messages: deque[Message] = deque()
        self._messages_since = 0
        self._marks: list[Mark] = []
        self._failure: Failure | None = None
        self._wrong: tuple[object, ...] = ()

    # ------------------------------------------------------------------ as the world lives

    def begin(
        self, scheduler: Scheduler, servers: Iterable[SimulatedServer], history: History
    ) -> None:
        """The world is there.

        Args:
            scheduler: its time.
            servers: all that there may ever be.
            history: what its clients see.
        """
        self._scheduler = scheduler
        self._servers = servers
        self._history = history

    def look(self) -> None:
        """Something has happened, and `has_acted` tells still to which servers."""
        busy: list[NodeId] = []
        for server in self._servers:
            look = _Look(server.node, server.is_paused)
            if server.has_acted or self._looks.get(server.id) != look:
                self._looks[server.id] = look
                self._note_state(server)
                busy.append(server.id)
        if busy:
            self._busy = busy

    def sent(
        self, sender: NodeId, to: NodeId, message: PeerMessage | None, *, is_twin: bool = False
    ) -> MessageOnItsWay:
        """A copy of a message is sent; None: a server says who it is."""
        seen = Message(
            kind=kind_of(message),
            sender=sender,
            to=to,
            sent=self._scheduler.now,
            id=0 if message is None else message.id,
            fields="" if message is None else summarize(message),
            is_twin=is_twin,
        )
        self._messages.append(seen)
        if len(self._messages) > self._max_messages:
            self._messages_since = self._messages.popleft().sent + 1
        return MessageOnItsWay(seen, self._scheduler)

    def mark(self, what: str, nodes: Sequence[NodeId], until: int | None) -> None:
        """Something befalls servers, or is done to them; see `Mark`."""
        self._marks.append(Mark(at=self._scheduler.now, until=until, what=what, nodes=tuple(nodes)))

    def failed(self, error: Exception) -> None:
        """The life fails."""
        self.look()
        text = str(error)
        named = [
            NodeId(int(number))
            for some in re.findall(r"\bnodes? \(?(\d+)(?:,[^)]*\))?(?: and \(?(\d+))?", text)
            for number in some
            if number
        ]
        self._failure = Failure(
            kind=type(error).__name__,
            text=_shortened(text) or "an assertion does not hold",
            at=self._scheduler.now,
            nodes=tuple(dict.fromkeys(named or self._busy)),
        )
        if isinstance(error, HistoryError):
            self._failure = msgspec.structs.replace(self._failure, nodes=())
            self._wrong = error.calls

    # ------------------------------------------------------------------ afterwards

    def recording(self) -> Recording:
        """All of it, as far as it has come."""
        messages = _with_heartbeats_answered(self._messages)
        operations = self._history.operations
        left_out = max(0, len(operations) - self._max_calls)
        calls = [
            self._call(operation)
            for place, operation in enumerate(operations)
            if place >= left_out or self._is_wrong(operation)
        ]
        return Recording(
            ended=self._scheduler.now,
            nodes=tuple(sorted(self._latest)),
            states=[*self._turns, *self._details],
            messages=messages,
            marks=self._marks,
            calls=calls,
            failure=self._failure,
            messages_since=self._messages_since,
            details_since=self._details_since,
            calls_since=operations[left_out - 1].begun + 1 if left_out else 0,
        )

    def _note_state(self, server: SimulatedServer) -> None:
        before = self._latest.get(server.id)
        if before is None and server.node is None and not server.why_down:
            return  # it was never there
        now = _state_of(server, self._scheduler.now)
        if before is not None and msgspec.structs.replace(before, at=now.at) == now:
            return
        self._latest[server.id] = now
        self._details.append(now)
        if len(self._details) > self._max_details:
            self._forget_detail()

    def _forget_detail(self) -> None:
        """The oldest state goes, unless it is one that begins something new."""
        oldest = self._details.popleft()
        before = next((state for state in reversed(self._turns) if state.node == oldest.node), None)
        if before is None or _gist(before) != _gist(oldest):
            self._turns.append(oldest)
        else:
            self._details_since = oldest.at + 1

    def _is_wrong(self, operation: Append | Read) -> bool:
        return any(operation is wrong for wrong in self._wrong)

    def _call(self, operation: Append | Read) -> Call:
        writer = operation.writer
        name = writer.name.decode()
        client, connection = (name, "") if writer.settles else name.rsplit("-", 1)
        key = operation.key.decode()
        if isinstance(operation, Append):
            what = f"append {_brief(operation.element)} to {key}"
            outcome = operation.outcome
            result = "" if operation.length is None else f"length {operation.length}"
        else:
            what = f"read {key}"
            outcome = "not answered" if operation.value is None else "answered"
            result = "" if operation.value is None else _told(operation.value)
        return Call(
            client=client,
            connection=connection,
            what=what,
            begun=operation.begun,
            ended=operation.ended,
            outcome=outcome,
            result=result,
            is_wrong=self._is_wrong(operation),
        )


def _state_of(server: SimulatedServer, now: int) -> ServerState:
    if server.node is None:
        return ServerState(at=now, node=server.id, role="down", why=_shortened(server.why_down))
    raft = server.node.raft
    role = raft.role_name
    if role == "follower" and not raft.configuration.is_voter(server.id):
        is_member = raft.configuration.member(server.id) is not None
        role = "learner" if is_member else "outsider"
    return ServerState(
        at=now,
        node=server.id,
        role=role,
        is_paused=server.is_paused,
        term=raft.current_term,
        leader=raft.leader or 0,
        commit_index=raft.commit_index,
        last_applied=server.node.state.last_applied,
        durable_index=raft.durable_index,
        log_start=raft.log_start.index,
        last_index=raft.last_index,
        last_term=raft.last_term,
        snapshot_index=raft.snapshot.index,
    )


def _gist(state: ServerState) -> tuple[object, ...]:
    return state.role, state.why, state.is_paused, state.term, state.leader


def _with_heartbeats_answered(messages: Iterable[Message]) -> list[Message]:
    """Answers to heartbeats look like others: only their requests tell them apart."""
    heartbeats = {(m.sender, m.id) for m in messages if m.kind == HEARTBEAT}
    return [
        msgspec.structs.replace(message, kind=HEARTBEAT_ANSWER)
        if message.kind == "AppendEntriesAnswer" and (message.to, message.id) in heartbeats
        else message
        for message in messages
    ]


def _told(value: bytes) -> str:
    """A value by its end: in a world, values only grow."""
    last = value.rsplit(b";", _SHOWN_ELEMENTS + 1)[1:]
    end = _brief(b";".join(last))
    return f"{len(value)} bytes" + (f", ending with {end}" if value else "")


def _brief(element: bytes) -> str:
    """Elements without the padding that some writers' names have."""
    return re.sub("x{10,}", "x…", element.decode())


def _shortened(text: str) -> str:
    if len(text) <= MAX_TEXT:
        return text
    half = MAX_TEXT // 2
    return f"{text[:half]} … {len(text) - MAX_TEXT} characters … {text[-half:]}"
