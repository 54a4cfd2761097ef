"""The messages between servers as remote procedure calls.

Every peer message is a request with an id or the answer to one, so each request is one call,
`Raft.<Message>`, whose reply is the answer with the same id. An answer that must wait until a write
is durable holds its call open. What has no answer after all (its term is over, say) ends its call
with an empty reply after a while: the caller does not wait for it anyway.
"""

from collections import Counter, deque
from collections.abc import Callable, Sequence
from functools import partial

from quorate.codec.peer import decode_message, encode_message
from quorate.lab.network import ClientEnd
from quorate.raft.configuration import NodeId
from quorate.raft.messages import (
    AppendEntriesAnswer,
    ForwardAnswer,
    InstallSnapshotAnswer,
    PeerMessage,
    PreVoteAnswer,
    ReadIndexAnswer,
    RequestVoteAnswer,
    SnapshotNeeded,
)
from quorate.raft.ready import Envelope
from quorate.sim.tasks import Future, Tasks

_Answer = (
    PreVoteAnswer
    | RequestVoteAnswer
    | AppendEntriesAnswer
    | SnapshotNeeded
    | InstallSnapshotAnswer
    | ReadIndexAnswer
    | ForwardAnswer
)
TOLD_IN_A_ROW = 2
"""An unreliable network loses three calls in a row once in 150 times; a partition loses all."""
_NO_ANSWER = b""
_UNANSWERED_US = 2_000_000
"""A request that was not answered in this time never will be."""


def node_id(server: int) -> NodeId:
    """The id of a server that the course counts from 0; ours begin with 1."""
    return NodeId(server + 1)


class PeerCalls:
    """The calls of one server to the others, and theirs to it: its service `Raft`.

    Args:
        tasks: tell the time.
        ends: to each server, itself included, by their numbers from 0.
        me: this server's number.
        receive: takes in a message.
        lost: is told of a call to a server that has failed, which is sooner than time-outs tell;
            not of more than `TOLD_IN_A_ROW` in a row, for that server may well be out of reach.

    Attributes:
        received: how many requests came, by the name of the message.
    """

    def __init__(
        self,
        tasks: Tasks,
        ends: Sequence[ClientEnd],
        me: int,
        receive: Callable[[NodeId, PeerMessage], None],
        lost: Callable[[NodeId], None] = lambda _: None,
    ) -> None:
        self.received: Counter[str] = Counter()
        self._tasks = tasks
        self._ends = ends
        self._sender = bytes((me,))
        self._receive = receive
        self._lost = lost
        self._failed_in_a_row: Counter[NodeId] = Counter()
        self._open: dict[tuple[NodeId, int], Future[bytes]] = {}
        self._expiries: deque[tuple[int, NodeId, int]] = deque()
        self._is_over = False

    def send(self, envelope: Envelope) -> None:
        """Sends a message: calls for a request, replies for an answer."""
        message = envelope.message
        data = encode_message(message)
        if isinstance(message, _Answer):
            call = self._open.pop((envelope.to, message.id), None)
            if call is not None:
                call.set(data)
            return
        end = self._ends[envelope.to - 1]
        method = f"Raft.{type(message).__name__}"
        reply = end.start_call(method, self._sender + data)
        reply.when_done(partial(self._replied, envelope.to, reply))

    def end(self) -> None:
        """The server is dead: takes in nothing more, and lets all calls go."""
        self._is_over = True
        calls, self._open = self._open, {}
        for call in calls.values():
            call.set(_NO_ANSWER)

    async def handle(self, method: str, arguments: bytes) -> bytes:
        """Takes in a request and waits for its answer."""
        if self._is_over:
            return _NO_ANSWER
        self.received[method] += 1
        self._expire()
        sender, message = node_id(arguments[0]), decode_message(arguments[1:])
        call: Future[bytes] = Future()
        self._open[sender, message.id] = call
        self._expiries.append((self._tasks.now + _UNANSWERED_US, sender, message.id))
        self._receive(sender, message)
        return await call

    def _replied(self, sender: NodeId, reply: Future[bytes | None]) -> None:
        if self._is_over:
            return
        if reply.value is None:
            self._failed_in_a_row[sender] += 1
            if self._failed_in_a_row[sender] <= TOLD_IN_A_ROW:
                self._lost(sender)
            return
        self._failed_in_a_row[sender] = 0
        if reply.value != _NO_ANSWER:
            self._receive(sender, decode_message(reply.value))

    def _expire(self) -> None:
        while self._expiries and self._expiries[0][0] <= self._tasks.now:
            _, sender, request_id = self._expiries.popleft()
            call = self._open.pop((sender, request_id), None)
            if call is not None:
                call.set(_NO_ANSWER)
