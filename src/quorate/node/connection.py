"""One client's connection: its requests in, its replies out in the same order.

Commands of a connection take effect in the order sent. So a read waits until the writes before
it are answered and a write waits for the reads before it, while writes may be under way together,
and reads too. Plain writes and calls of `ONCE` wait for each other: they are in different sessions,
each of which keeps only its own order. What has to wait stays in a backlog, and everything behind
it as well.
"""

from collections import deque

from quorate.node.limits import NodeLimits
from quorate.node.requests import Call, Read, Request, Write
from quorate.wire.resp_parser import RequestParser
from quorate.wire.resp_reply import RespVersion


class Slot:
    """The place of one reply in the order of a connection's replies.

    Attributes:
        connection: where the reply goes.
        kind: of the request; those of different kinds wait for each other.
        size: how many bytes of arguments it keeps pending.
        values: how many values its reply may hold.
        deadline: when the request is given up, in microseconds.
        protocol: of the reply, as it was when the request came.
        reply: the encoded reply, once there is one.
    """

    __slots__ = ("connection", "deadline", "kind", "protocol", "reply", "size", "values")

    def __init__(
        self, connection: "Connection", kind: type[Request], *, size: int, deadline: int
    ) -> None:
        self.connection = connection
        self.kind = kind
        self.size = size
        self.values = 0
        self.deadline = deadline
        self.protocol = connection.protocol
        self.reply: bytes | None = None


class Connection:
    """What a node knows of one client.

    Attributes:
        id: the connection's number at this node, never reused.
        protocol: of the replies: 2 or 3.
        name: as the client set it.
        parser: takes the client's bytes.
        unread: requests that were not looked at yet; their time has not begun.
        last_words: what the client is told when all of `unread` was looked at, before the
            connection ends; None as long as more may come.
        backlog: requests that must wait for earlier ones, with their slots.
        running: how many requests of each kind were begun and are not answered.
        pending_bytes: bytes of arguments of all that is not answered.
        is_writable: whether the client takes its replies in; if not, nothing more is begun.
        closing: no more requests are taken; the connection ends when all is answered.
    """

    def __init__(self, connection_id: int, limits: NodeLimits) -> None:
        self.id = connection_id
        self.protocol: RespVersion = 2
        self.name = b""
        self.parser = RequestParser(limits.request)
        self.unread: deque[list[bytes]] = deque()
        self.last_words: bytes | None = None
        self.backlog: deque[tuple[Request, Slot]] = deque()
        self.running: dict[type[Request], int] = {Read: 0, Write: 0, Call: 0}
        self._running_values = 0
        self.pending_bytes = 0
        self.is_writable = True
        self.closing = False
        self._limits = limits
        self._slots: deque[Slot] = deque()
        self._output: list[bytes] = []
        self._output_bytes = 0

    @property
    def is_full(self) -> bool:
        """Whether no more requests should be looked at for now."""
        return (
            self._takes_no_more
            or len(self._slots) >= self._limits.connection_pending
            or self.pending_bytes >= self._limits.connection_pending_bytes
        )

    @property
    def is_idle(self) -> bool:
        """Whether everything is answered."""
        return not self._slots and not self.unread

    @property
    def _takes_no_more(self) -> bool:
        return not self.is_writable or self._output_bytes >= self._limits.connection_output_bytes

    def may_begin(self, request: Request) -> bool:
        """Whether nothing is in this request's way, such as an earlier one of the other kind.

        Calls of `ONCE` are not ordered among themselves nor behind reads.
        """
        if self._takes_no_more:
            return False
        running = self.running
        match request:
            case Read():
                # A small command can ask for a large reply, so reads are begun a few at a time.
                return (
                    not running[Write]
                    and not running[Call]
                    and (not running[Read] or self._has_room_for(request.values))
                )
            case Write():
                return not running[Read] and not running[Call]
            case Call():
                return not running[Write]

    def _has_room_for(self, values: int) -> bool:
        return self._running_values + values <= self._limits.connection_running_reads

    def begun(self, slot: Slot) -> None:
        """The request of this slot is under way."""
        self.running[slot.kind] += 1
        self._running_values += slot.values

    def settled(self, slot: Slot) -> None:
        """The request of this slot, which was under way, has its reply."""
        assert slot.reply is not None
        self.pending_bytes -= slot.size
        self.running[slot.kind] -= 1
        self._output_bytes += len(slot.reply)
        self._running_values -= slot.values

    def skip_backlog(self, reply: bytes) -> None:
        """The first request of the backlog is answered without being begun."""
        _, slot = self.backlog.popleft()
        slot.reply = reply
        self.pending_bytes -= slot.size
        self._output_bytes += len(reply)

    def answer(self, reply: bytes) -> None:
        """Answers a request at once, but behind the replies to all earlier ones."""
        self._output_bytes += len(reply)
        if not self._slots:
            self._output.append(reply)
            return
        slot = Slot(self, Read, size=0, deadline=0)
        slot.reply = reply
        self._slots.append(slot)

    def new_slot(self, request: Request, *, size: int, deadline: int) -> Slot:
        """A place for the reply to a request that takes its time."""
        slot = Slot(self, type(request), size=size, deadline=deadline)
        if isinstance(request, Read):
            slot.values = request.values
        self._slots.append(slot)
        self.pending_bytes += size
        return slot

    def drop(self) -> None:
        """The client has gone; what is under way is not waited for."""
        self.closing = True
        self.unread.clear()
        self.backlog.clear()
        self._slots.clear()

    def take_output(self) -> bytes:
        """The replies that can be sent now."""
        slots = self._slots
        output = self._output
        while slots and (reply := slots[0].reply) is not None:
            output.append(reply)
            slots.popleft()
        if not output:
            return b""
        self._output = []
        joined = b"".join(output)
        self._output_bytes -= len(joined)
        return joined
