"""One client's connection: its requests in, its replies out in the same order.

Commands of a connection take effect in the order sent. So a read waits until the writes before
it are answered and a write waits for the reads before it, while writes may be under way together,
and reads too. Plain writes and calls of `ONCE` wait for each other: they are in different sessions,
each of which keeps only its own order. What has to wait stays in a backlog, and everything behind
it as well.
"""

from collections import deque

import msgspec

from quorate.node.client_memory import ClientMemory
from quorate.node.limits import NodeLimits
from quorate.node.requests import ANSWER_BYTES, Call, Immediate, Read, Request, Write
from quorate.wire.resp_parser import RequestParser
from quorate.wire.resp_reply import RespVersion


class Slot(msgspec.Struct, eq=False):
    """The place of one reply in the order of a connection's replies.

    Attributes:
        connection: where the reply goes.
        kind: of the request; those of different kinds wait for each other, but what is answered
            immediately waits only to be sent.
        size: how many bytes it takes up until it is answered, or, if it was immediately, sent.
        requests: how many have their replies here.
        deadline: when the request is given up, in microseconds.
        protocol: of the reply, as it was when the request came.
        read: a read that may be served, once it may. It is when its reply can be sent, since a
            reply takes up memory and a read that waits does not.
        reply: the encoded reply, once there is one.
    """

    connection: "Connection"
    kind: type[Request | Immediate]
    size: int
    deadline: int
    protocol: RespVersion
    requests: int = 1
    read: Read | None = None
    reply: bytes | None = None


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
        pending_bytes: what all that is not answered takes up.
        is_writable: whether the client's socket has taken all its replies; if not, nothing more is
            begun.
        is_incomplete: whether the beginning of a request has come and not its end.
        closing: no more requests are taken; the connection ends when all is answered.
    """

    def __init__(self, connection_id: int, limits: NodeLimits, memory: ClientMemory) -> None:
        self.id = connection_id
        self.protocol: RespVersion = 2
        self.name = b""
        self.parser = RequestParser(limits.request)
        self.unread: deque[list[bytes]] = deque()
        self.last_words: bytes | None = None
        self.backlog: deque[tuple[Request, Slot]] = deque()
        self.running: dict[type[Request | Immediate], int] = {Read: 0, Write: 0, Call: 0}
        self.pending_bytes = 0
        self.is_writable = True
        self.is_incomplete = False
        self.closing = False
        self._limits = limits
        self._memory = memory
        self._slots: deque[Slot] = deque()
        self._pending = 0  # the requests of all slots
        self._output: list[bytes] = []  # what can be sent, for it waits for no earlier reply
        self._sendable_bytes = 0
        self._output_bytes = 0  # of all replies that were made

    @property
    def is_full(self) -> bool:
        """Whether no more requests should be looked at for now."""
        if not self.is_writable:
            return True
        if self._output_bytes > 0 and (
            self._output_bytes >= self._limits.connection_output_bytes or self._memory.takes_no_more
        ):
            return True
        return bool(self._slots) and (
            self._pending >= self._limits.connection_pending
            or self.pending_bytes >= self._limits.connection_pending_bytes
            or self._memory.is_full_of_requests
        )

    @property
    def has_output(self) -> bool:
        """Whether there are replies that can be sent."""
        return bool(self._output)

    @property
    def is_idle(self) -> bool:
        """Whether everything is answered."""
        return not self._slots and not self.unread

    @property
    def room(self) -> int:
        """How many bytes may be sent to this client now; the last reply may exceed them.

        What waits for an earlier reply takes up none of it, for the earlier one must be possible.
        """
        if not self.is_writable:
            return 0
        own = self._limits.connection_output_bytes - self._sendable_bytes
        return min(own, self._memory.room_for_replies)

    def may_begin(self, request: Request) -> bool:
        """Whether nothing is in this request's way, such as an earlier one of the other kind.

        Calls of `ONCE` are not ordered among themselves nor behind reads.
        """
        if not self.is_writable or (self._sendable_bytes > 0 and self.room <= 0):
            return False
        running = self.running
        if isinstance(request, Write):
            return not running[Read] and not running[Call]
        if isinstance(request, Read):
            return not running[Write] and not running[Call]
        return not running[Write]

    def begun(self, slot: Slot) -> None:
        """The request of this slot is under way."""
        self.running[slot.kind] += 1

    def settled(self, slot: Slot) -> None:
        """The request of this slot, which was under way, has its reply."""
        assert slot.reply is not None
        self.pending_bytes -= slot.size
        self.running[slot.kind] -= 1
        self._made(len(slot.reply))

    def waits_only_for(self, slot: Slot) -> bool:
        """Whether nothing is before this request, behind it, or waiting to be sent."""
        return (
            len(self._slots) == 1
            and self._slots[0] is slot
            and not (self._output or self.unread or self.backlog or self.closing)
            and self.last_words is None
        )

    def take_only_reply(self, slot: Slot) -> bytes:
        """The reply to the only request, which can be sent.

        The same as `settled` and `take_output`. Most clients have one request under way, and are
        answered in a third of the time so: 1 us for each.
        """
        assert slot.reply is not None
        self._slots.clear()
        self._pending = 0
        self.pending_bytes -= slot.size
        self.running[slot.kind] -= 1
        self._memory.made_and_handed_out(len(slot.reply))
        return slot.reply

    def skip_backlog(self, reply: bytes) -> None:
        """The first request of the backlog is answered without being begun."""
        _, slot = self.backlog.popleft()
        slot.reply = reply
        self.pending_bytes -= slot.size
        self._made(len(reply))

    def answer(self, reply: bytes) -> None:
        """Answers a request at once, but behind the replies to all earlier ones."""
        self._made(len(reply))
        if not self._slots:
            self._output.append(reply)
            self._became_sendable(len(reply))
            return
        slot = Slot(self, Immediate, ANSWER_BYTES, 0, self.protocol, reply=reply)
        self._slots.append(slot)
        self._pending += 1
        self.pending_bytes += ANSWER_BYTES
        self._memory.pending_bytes += ANSWER_BYTES

    def new_slot(self, request: Request, *, size: int, deadline: int) -> Slot:
        """A place for the reply to a request that takes its time."""
        slot = Slot(self, type(request), size, deadline, self.protocol)
        self._slots.append(slot)
        self._pending += 1
        self.pending_bytes += size
        self._memory.pending_bytes += size
        return slot

    @property
    def last_slot(self) -> Slot | None:
        """Where the last reply of all will go; None if nothing is unanswered."""
        return self._slots[-1] if self._slots else None

    def enlarge(self, slot: Slot, size: int) -> None:
        """Gives another request its reply in this slot."""
        slot.requests += 1
        slot.size += size
        self._pending += 1
        self.pending_bytes += size
        self._memory.pending_bytes += size

    def next_ready_read(self) -> Slot | None:
        """The read to be served next, if it may be and all before it is answered."""
        self._collect()
        return self._slots[0] if self._slots and self._slots[0].read is not None else None

    @property
    def can_move(self) -> bool:
        """Whether something can be done for this client at once."""
        return (
            (bool(self.unread) and not self.is_full)
            or (bool(self.backlog) and self.may_begin(self.backlog[0][0]))
            or (self.room > 0 and self.next_ready_read() is not None)
        )

    def waiting_slots(self) -> list[Slot]:
        """The slots of requests that are not under way: nothing more will be heard of them."""
        settled = [
            slot
            for slot in self._slots
            if slot.kind is Immediate or (slot.read is not None and slot.reply is None)
        ]
        return [slot for _, slot in self.backlog] + settled

    def drop(self) -> None:
        """The client has gone; what is under way is not waited for."""
        self.closing = True
        self.unread.clear()
        self.backlog.clear()
        self._slots.clear()
        self._output.clear()
        self._became_sendable(self._output_bytes - self._sendable_bytes)
        self._memory.dropped(self._output_bytes)
        self._output_bytes = self._sendable_bytes = 0

    def take_output(self) -> bytes:
        """The replies that can be sent now: those before the first that is missing."""
        self._collect()
        if not self._output:
            return b""
        output = b"".join(self._output)
        self._output.clear()
        self._output_bytes -= len(output)
        self._sendable_bytes -= len(output)
        self._memory.handed_out(len(output))
        return output

    def _collect(self) -> None:
        slots = self._slots
        if not slots or slots[0].reply is None:
            return
        size = 0
        while slots and (reply := slots[0].reply) is not None:
            self._output.append(reply)
            size += len(reply)
            slot = slots.popleft()
            self._pending -= slot.requests
            if slot.kind is Immediate:
                self.pending_bytes -= slot.size
                self._memory.pending_bytes -= slot.size
        self._became_sendable(size)

    def _became_sendable(self, size: int) -> None:
        self._sendable_bytes += size
        self._memory.sendable(size)

    def _made(self, size: int) -> None:
        self._output_bytes += size
        self._memory.made(size)
