"""The gateway: the clients' connections of one node, from their bytes to their replies.

It understands commands, keeps each connection's order, and is the Clerk of plain connections.
It knows neither sockets nor Raft: reads and operations go out with tickets, and their results
come back by ticket.
"""

from collections import OrderedDict
from collections.abc import Callable
from itertools import count

import msgspec

from quorate.codec.batch import Operation
from quorate.kv.queries import Query, QueryResult
from quorate.node.calls import Calls, PendingCall
from quorate.node.client_memory import ClientMemory
from quorate.node.commands import CommandSpec, find_command
from quorate.node.connection import Connection, Slot
from quorate.node.connection_commands import NodeView, answer_locally
from quorate.node.limits import NodeLimits
from quorate.node.own_session import OwnSession, PendingWrite
from quorate.node.requests import Call, CommandError, Read, Request, Write, pending_bytes
from quorate.node.results import NOT_EXECUTED, READ_UNAVAILABLE
from quorate.raft.configuration import NodeId
from quorate.raft.deadlines import earliest
from quorate.replica.outcomes import Completed, Interrupted, NotProposed, Outcome, ReadReady
from quorate.wire.errors import ProtocolError
from quorate.wire.resp_reply import OK, encode_error, encode_reply

MAX_JOINED_BYTES = 64 * 1024
"""Writes of a connection that came together go together if they take up no more than this."""

_TOO_MANY_CONNECTIONS = encode_error("ERR", "max number of clients reached")


class PendingRead(msgspec.Struct, frozen=True):
    """A read that may not be served yet."""

    ticket: int
    slot: Slot
    read: Read


class GatewayReady(msgspec.Struct):
    """What the gateway wants done; each list is in order.

    Attributes:
        operations: to be submitted: (ticket, operation).
        reads: to be asked for: (ticket, query).
        cancelled_reads: tickets of reads that nobody waits for any more.
        replies: bytes for connections: (connection id, bytes).
        closing: connections to be closed once their bytes are sent.
        broken: the same for those whose clients broke the protocol and may still be sending.
        given_up: connections to be ended at once; the gateway has forgotten them.
        wants_snapshot: whether a snapshot is to be taken.
    """

    operations: list[tuple[int, Operation]] = msgspec.field(default_factory=list)
    reads: list[tuple[int, Query]] = msgspec.field(default_factory=list)
    cancelled_reads: list[int] = msgspec.field(default_factory=list)
    replies: list[tuple[int, bytes]] = msgspec.field(default_factory=list)
    closing: list[int] = msgspec.field(default_factory=list)
    broken: list[int] = msgspec.field(default_factory=list)
    given_up: list[int] = msgspec.field(default_factory=list)
    wants_snapshot: bool = False


class Gateway:
    """The connections of one node and everything that they wait for.

    Args:
        node: this node's id.
        boot: how often the node has started.
        data_id: on which data directory.
        limits: local limits.
        view: tells what commands about the node answer.
        administer: executes a command on the members of the cluster, or raises a `CommandError`.
        query: the state machine's answer to a query, as of now.
    """

    def __init__(
        self,
        node: NodeId,
        *,
        boot: int,
        data_id: str = "",
        limits: NodeLimits,
        view: Callable[[], NodeView],
        query: Callable[[Query], QueryResult],
        administer: Callable[[list[bytes], int], None],
    ) -> None:
        self._limits = limits
        self._view = view
        self._seen: NodeView | None = None  # by those that ask within a turn
        self._administer = administer
        self._query = query
        self._memory = ClientMemory(limits)
        self._connections: dict[int, Connection] = {}
        self._dirty: dict[int, Connection] = {}
        self._want_room: OrderedDict[int, Connection] = OrderedDict()
        self._connection_ids = count(1)
        self._tickets = count(1)
        self._own_session = OwnSession(node, boot, limits, data_id)
        self._calls = Calls(limits)
        self._reads: dict[int, PendingRead] = {}
        self._new_reads: list[tuple[int, Query]] = []
        # All requests that take their time, in the order of their deadlines; None until begun.
        self._unanswered: OrderedDict[Slot, PendingWrite | PendingCall | PendingRead | None] = (
            OrderedDict()
        )
        self._joinable: PendingWrite | None = None  # with those that are looked at now
        self._wants_snapshot = False
        self._can_submit = False
        self._refusal: bytes | None = None
        self._finishes_begun = False

    # ------------------------------------------------------------------ connections

    @property
    def connections(self) -> int:
        """How many clients are connected."""
        return len(self._connections)

    def open_connection(self) -> int:
        """A client has connected; returns the connection's id.

        Above the limit on connections the client gets an error and is closed.
        """
        connection = Connection(next(self._connection_ids), self._limits, self._memory)
        if len(self._connections) >= self._limits.max_connections:
            connection.answer(_TOO_MANY_CONNECTIONS)
            connection.closing = True
        self._connections[connection.id] = connection
        self._dirty[connection.id] = connection
        return connection.id

    def close_connection(self, connection_id: int, now: int) -> None:
        """A client has gone. What it had sent may still be executed, except what still waited."""
        connection = self._connections.pop(connection_id, None)
        if connection is not None:
            self._dirty.pop(connection_id, None)
            self._want_room.pop(connection_id, None)
            for slot in connection.waiting_slots():
                self._memory.pending_bytes -= slot.size
                self._unanswered.pop(slot, None)
            connection.drop()
            self._memory.forget(connection_id, now)

    def finish_connection(self, connection_id: int) -> None:
        """A client will send nothing more. It ends once everything is answered."""
        connection = self._connections.get(connection_id)
        if connection is not None and connection.last_words is None:
            connection.last_words = b""
            self._dirty[connection_id] = connection

    def client_unsent(self, connection_id: int, size: int, now: int) -> None:
        """So many bytes of replies were given out and wait until this client takes them in."""
        connection = self._connections.get(connection_id)
        if connection is not None:
            self._memory.unsent(connection_id, size, now)
            connection.is_writable = not size
            if connection.is_writable:
                self._dirty[connection_id] = connection

    @property
    def is_idle(self) -> bool:
        """Whether everything that clients have sent is answered, and the answers given out."""
        if self._unanswered or self._dirty or self._want_room:
            return False
        return not any(connection.unread for connection in self._connections.values())

    def is_congested(self, connection_id: int) -> bool:
        """Whether no more should be read from this client for now."""
        connection = self._connections.get(connection_id)
        return connection is None or self._is_congested(connection)

    def _is_congested(self, connection: Connection) -> bool:
        return (
            connection.closing
            or self._has_enough(connection)
            or not self._memory.may_go_on(connection.id)
        )

    def _has_enough(self, connection: Connection) -> bool:
        """Whether what this client has sent already is to be answered first."""
        return bool(connection.unread) or connection.is_full

    # ------------------------------------------------------------------ requests

    def receive(self, connection_id: int, data: bytes, now: int) -> bool:
        """Takes in a client's bytes; returns `is_congested`."""
        connection = self._connections.get(connection_id)
        if connection is None or connection.closing or connection.last_words is not None:
            return self.is_congested(connection_id)
        try:
            requests = connection.parser.receive(data)
        except ProtocolError as error:
            requests = error.requests
            connection.last_words = encode_error("ERR", str(error))
        kept_bytes = connection.parser.kept_bytes
        if kept_bytes or connection.is_incomplete:
            connection.is_incomplete = kept_bytes > 0
            self._memory.incomplete(connection_id, kept_bytes, now)
        connection.unread.extend(requests)
        self._advance(connection, now)
        if connection.has_output or connection.closing:
            self._dirty[connection_id] = connection
        return self._is_congested(connection)

    def _advance(self, connection: Connection, now: int) -> None:
        """Looks at requests, as many as the connection's limits allow."""
        self._joinable = None
        while connection.unread and not connection.is_full:
            try:
                self._take_request(connection, connection.unread.popleft(), now)
            except CommandError as error:
                connection.answer(encode_error(error.code, error.text))
        last_words = connection.last_words
        if last_words is not None and not connection.unread and not connection.closing:
            connection.answer(last_words)
            connection.closing = True

    def _take_request(self, connection: Connection, arguments: list[bytes], now: int) -> None:
        spec = find_command(arguments)
        if spec.understand is None:
            self._answer_at_once(connection, spec, arguments, now)
            return
        request = spec.understand(arguments, self._limits)
        size = pending_bytes(arguments)
        # Its time begins here, not when it is begun: who waits for an earlier command of his
        # connection has waited already.
        deadline = now + self._limits.command_timeout_us
        before = self._joinable
        if before is not None and self._joins(before, connection, request, size):
            return
        slot = connection.new_slot(request, size=size, deadline=deadline)
        if not connection.backlog and connection.may_begin(request):
            self._begin(request, slot)
        else:
            self._unanswered[slot] = None
            connection.backlog.append((request, slot))

    @staticmethod
    def _joins(before: PendingWrite, connection: Connection, request: Request, size: int) -> bool:
        """Lets a write go together with those before it that came with it.

        A pipeline of 16 takes the leader 0.6 times as long so.
        """
        slot = before.slot
        if (
            not isinstance(request, Write)
            or slot is not connection.last_slot
            or slot.size + size > MAX_JOINED_BYTES
        ):
            return False
        before.commands.append(request.command)
        connection.enlarge(slot, size)
        return True

    def _answer_at_once(
        self, connection: Connection, spec: CommandSpec, arguments: list[bytes], now: int
    ) -> None:
        if spec.name == "quorate.member":
            self._administer(arguments, now)
            connection.answer(OK)
            return
        immediate = answer_locally(spec, arguments, connection, self._view_of_turn)
        connection.answer(immediate.reply)
        self._wants_snapshot |= immediate.wants_snapshot
        if immediate.closes:
            connection.unread.clear()
            connection.closing = True

    def _view_of_turn(self) -> NodeView:
        """The node as it was when somebody first asked in this turn.

        To look takes as long as to answer five other commands, and a slice has room for hundreds.
        """
        if self._seen is None:
            self._seen = self._view()
        return self._seen

    def _begin(self, request: Request, slot: Slot) -> None:
        slot.connection.begun(slot)
        match request:
            case Write():
                self._unanswered[slot] = write = PendingWrite(slot, [request.command])
                self._own_session.add(write)
                self._joinable = write
            case Read():
                ticket = next(self._tickets)
                self._unanswered[slot] = self._reads[ticket] = PendingRead(ticket, slot, request)
                self._new_reads.append((ticket, request.query))
            case Call():
                self._unanswered[slot] = call = PendingCall(slot, request.operation)
                self._calls.add(call)

    # ------------------------------------------------------------------ results

    def take_outcome(self, outcome: Outcome, now: int) -> None:
        """What has become of a submitted operation."""
        ticket = outcome.ticket
        waiting = self._own_session if self._own_session.submitted(ticket) else self._calls
        match outcome:
            case Completed():
                waiting.completed(outcome, now)
            case NotProposed():
                waiting.not_proposed(ticket, now)
            case Interrupted():
                waiting.interrupted(ticket, now)

    def read_ready(self, read: ReadReady) -> None:
        """A read may be served. It is when its reply can be sent: until then it takes no memory."""
        pending = self._reads.pop(read.ticket, None)
        if pending is None:
            return
        slot = pending.slot
        del self._unanswered[slot]
        if slot.connection.id in self._connections:
            slot.read = pending.read
            self._dirty[slot.connection.id] = slot.connection
        else:
            self._memory.pending_bytes -= slot.size

    # ------------------------------------------------------------------ what comes out

    @property
    def has_answers(self) -> bool:
        """Whether something can be done for some client without waiting for anything."""
        return bool(self._dirty)

    def turn_begins(self) -> None:
        """All replies that were given out are sent, but for what `client_unsent` has told."""
        self._memory.turn_begins()
        self._seen = None

    def take_ready(
        self,
        now: int,
        *,
        can_submit: bool,
        is_hopeless: bool = False,
        refusal: bytes | None = None,
        finishes_begun: bool = False,
    ) -> GatewayReady:
        """What is to be done now; see `GatewayReady`.

        Args:
            now: in microseconds.
            can_submit: whether operations can be submitted at all.
            is_hopeless: whether nothing that clients wait for is to be waited for any longer.
            refusal: what is answered at once to everything that needs a leader, because this
                node cannot reach one; None if it can, or may soon.
            finishes_begun: whether that is not so for what was submitted before.
        """
        ready = GatewayReady()
        self._excuse_preferred(now)
        ready.given_up = self._memory.take_given_up(now)
        for connection_id in ready.given_up:
            self.close_connection(connection_id, now)
        self._end_stalled_commands(now, ready)
        self._refusal = refusal
        self._finishes_begun = finishes_begun
        if refusal is not None and finishes_begun:
            self._refuse_not_begun(ready, refusal)
            self._give_up_due(now, ready)
        elif refusal is not None:
            self._give_up_all(ready, write_refusal=refusal, read_refusal=refusal)
        elif is_hopeless:
            self._give_up_all(ready, write_refusal=NOT_EXECUTED, read_refusal=READ_UNAVAILABLE)
        else:
            self._give_up_due(now, ready)
        for slot in self._own_session.take_settled():
            self._settled(slot, ready)
        for slot in self._calls.take_settled():
            self._settled(slot, ready)
        self._flush_movable(ready, now)
        ready.reads, self._new_reads = self._new_reads, []
        ready.wants_snapshot, self._wants_snapshot = self._wants_snapshot, False
        self._can_submit = can_submit and refusal is None
        if self._can_submit:
            self._submit(ready, now)
        return ready

    def deadline(self, now: int) -> int | None:
        """When something is given up or repeated; at once if a connection has more to do."""
        if self._dirty or (self._want_room and self._memory.has_room_next_turn):
            return now
        if self._refusal is not None and any(map(self._is_to_refuse, self._unanswered.values())):
            return now  # they were begun after the others had been refused
        due = self._memory.deadline()
        if self._unanswered:
            due = earliest(due, next(iter(self._unanswered)).deadline)
        if self._can_submit:
            due = earliest(due, self._own_session.deadline())
            due = earliest(due, self._calls.deadline())
        return due

    def _submit(self, ready: GatewayReady, now: int) -> None:
        for attempt, operation in self._own_session.take_submissions(now):
            ticket = next(self._tickets)
            self._own_session.submit_as(ticket, attempt)
            ready.operations.append((ticket, operation))
        for call in self._calls.take_submissions(now):
            ticket = next(self._tickets)
            self._calls.submit_as(ticket, call)
            ready.operations.append((ticket, call.operation))

    def _excuse_preferred(self, now: int) -> None:
        if self._memory.preferred is not None:
            connection = self._connections[self._memory.preferred]
            # Who does not read his replies holds himself up.
            if connection.is_writable and not connection.closing and self._has_enough(connection):
                self._memory.preferred_is_held_up(now)

    def _end_stalled_commands(self, now: int, ready: GatewayReady) -> None:
        """Gives up who keeps commands pending by not reading, if the others have no room.

        A read that may be served has no deadline any more. This needs none either: who is held up
        has something unanswered, and there is a turn when that is answered.
        """
        if not self._memory.is_full_of_requests:
            return
        for connection_id in self._memory.stalled(now):
            if not self._memory.is_full_of_requests:
                break
            if self._connections[connection_id].pending_bytes:
                self.close_connection(connection_id, now)
                ready.given_up.append(connection_id)

    def _give_up_due(self, now: int, ready: GatewayReady) -> None:
        while self._unanswered and next(iter(self._unanswered)).deadline <= now:
            self._give_up_first(ready, write_refusal=NOT_EXECUTED, read_refusal=READ_UNAVAILABLE)

    def _give_up_all(
        self, ready: GatewayReady, *, write_refusal: bytes, read_refusal: bytes
    ) -> None:
        while self._unanswered:
            self._give_up_first(ready, write_refusal=write_refusal, read_refusal=read_refusal)

    def _refuse_not_begun(self, ready: GatewayReady, refusal: bytes) -> None:
        for slot, pending in list(self._unanswered.items()):
            if self._is_to_refuse(pending):
                del self._unanswered[slot]
                self._give_up(slot, pending, ready, write_refusal=refusal, read_refusal=refusal)

    def _is_to_refuse(self, pending: PendingWrite | PendingCall | PendingRead | None) -> bool:
        match pending:
            case PendingWrite(seq=number) | PendingCall(submissions=number):
                return not self._finishes_begun or number == 0
            case _:
                return True

    def _give_up_first(
        self, ready: GatewayReady, *, write_refusal: bytes, read_refusal: bytes
    ) -> None:
        """Settles the oldest request; with its refusal if it was not executed and never will be."""
        slot, pending = self._unanswered.popitem(last=False)
        self._give_up(slot, pending, ready, write_refusal=write_refusal, read_refusal=read_refusal)

    def _give_up(
        self,
        slot: Slot,
        pending: PendingWrite | PendingCall | PendingRead | None,
        ready: GatewayReady,
        *,
        write_refusal: bytes,
        read_refusal: bytes,
    ) -> None:
        match pending:
            case PendingWrite():
                self._own_session.give_up(pending, write_refusal)
            case PendingCall():
                self._calls.give_up(pending, write_refusal)
            case PendingRead(ticket=ticket):
                del self._reads[ticket]
                ready.cancelled_reads.append(ticket)
                slot.reply = read_refusal
                self._settled(slot, ready)
            case None:
                # It is the first of the backlog: whatever was before it came earlier.
                self._memory.pending_bytes -= slot.size
                slot.connection.skip_backlog(read_refusal if slot.kind is Read else write_refusal)
                self._dirty[slot.connection.id] = slot.connection

    def _settled(self, slot: Slot, ready: GatewayReady) -> None:
        self._unanswered.pop(slot, None)
        self._memory.pending_bytes -= slot.size
        connection = slot.connection
        if connection.id not in self._connections:
            return
        if connection.waits_only_for(slot):
            ready.replies.append((connection.id, connection.take_only_reply(slot)))
        else:
            connection.settled(slot)
            self._dirty[connection.id] = connection

    def _flush_movable(self, ready: GatewayReady, now: int) -> None:
        """Does what can be done; the connections that waited for room come first.

        They are served in turn: one that wants more room than there is comes behind the others.
        """
        movable, self._dirty = self._dirty, {}
        for _ in range(len(self._want_room)):
            if self._memory.is_full_of_replies:
                break
            connection_id, connection = self._want_room.popitem(last=False)
            movable.pop(connection_id, None)
            self._flush(connection, ready, now)
        for connection in movable.values():
            self._flush(connection, ready, now)

    def _flush(self, connection: Connection, ready: GatewayReady, now: int) -> None:
        if connection.next_ready_read() is not None:
            self._answer_reads(connection)
        while connection.backlog and connection.may_begin(connection.backlog[0][0]):
            self._begin(*connection.backlog.popleft())
        if connection.unread or connection.last_words is not None:
            self._advance(connection, now)
        output = connection.take_output()
        if output:
            ready.replies.append((connection.id, output))
        if connection.is_idle:
            if connection.closing:
                ended = ready.broken if connection.last_words else ready.closing
                ended.append(connection.id)
        elif connection.next_ready_read() is not None and self._memory.is_full_of_replies:
            self._want_room[connection.id] = connection
        elif connection.can_move:
            self._dirty[connection.id] = connection  # the rest in another turn

    def _answer_reads(self, connection: Connection) -> None:
        while (slot := connection.next_ready_read()) is not None and connection.room > 0:
            assert slot.read is not None
            result = slot.read.reply(self._query(slot.read.query))
            slot.reply = encode_reply(result, slot.protocol)
            self._memory.pending_bytes -= slot.size
            connection.settled(slot)
