"""One client's connection: its requests in, its replies out in the same order.

Commands of a connection take effect in the order sent. So a read waits until the writes before
it are answered and a write waits for the reads before it, while writes may be under way together,
and reads too. What has to wait stays in a backlog, and everything behind it as well.
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
        is_read: whether it is a read's; writes and reads of a connection wait for each other.
        size: how many bytes of arguments it keeps pending.
        reply: the encoded reply, once there is one.
    """

    __slots__ = ("connection", "is_read", "reply", "size")

    def __init__(self, connection: "Connection", *, is_read: bool, size: int) -> None:
        self.connection = connection
        self.is_read = is_read
        self.size = size
        self.reply: bytes | None = None


class Connection:
    """What a node knows of one client.

    Attributes:
        id: the connection's number at this node, never reused.
        protocol: of the replies: 2 or 3.
        name: as the client set it.
        parser: takes the client's bytes.
        unread: requests that were not looked at yet, with the time of their arrival in
            microseconds.
        last_words: what the client is told when all of `unread` was looked at, before the
            connection ends; None as long as more may come.
        backlog: requests that must wait for earlier ones, with their slots and the time of
            their arrival in microseconds.
        running_reads: reads that were begun and are not answered.
        running_writes: the same of writes.
        pending_bytes: bytes of arguments of all that is not answered.
        is_writable: whether the client takes its replies in; if not, nothing more is begun.
        closing: no more requests are taken; the connection ends when all is answered.
    """

    def __init__(self, connection_id: int, limits: NodeLimits) -> None:
        self.id = connection_id
        self.protocol: RespVersion = 2
        self.name = b""
        self.parser = RequestParser(limits.request)
        self.unread: deque[tuple[list[bytes], int]] = deque()
        self.last_words: bytes | None = None
        self.backlog: deque[tuple[Request, Slot, int]] = deque()
        self.running_reads = 0
        self.running_writes = 0
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
            not self.is_writable
            or self._output_bytes >= self._limits.connection_output_bytes
            or len(self._slots) >= self._limits.connection_pending
            or self.pending_bytes >= self._limits.connection_pending_bytes
        )

    @property
    def is_idle(self) -> bool:
        """Whether everything is answered."""
        return not self._slots and not self.unread

    def may_begin(self, request: Request) -> bool:
        """Whether nothing is in this request's way, such as an earlier one of the other kind.

        Calls of `ONCE` are not ordered among themselves nor behind reads.
        """
        if not self.is_writable:
            return False
        match request:
            case Read():
                # A small command can ask for a large reply, so reads are begun a few at a time.
                return (
                    self.running_writes == 0
                    and self.running_reads < self._limits.connection_running_reads
                )
            case Write():
                return self.running_reads == 0
            case Call():
                return True

    def begun(self, slot: Slot) -> None:
        """The request of this slot is under way."""
        if slot.is_read:
            self.running_reads += 1
        else:
            self.running_writes += 1

    def settled(self, slot: Slot) -> None:
        """The request of this slot, which was under way, has its reply."""
        self.pending_bytes -= slot.size
        if slot.is_read:
            self.running_reads -= 1
        else:
            self.running_writes -= 1

    def answer(self, reply: bytes) -> None:
        """Answers a request at once, but behind the replies to all earlier ones."""
        if not self._slots:
            self._output.append(reply)
            self._output_bytes += len(reply)
            return
        slot = Slot(self, is_read=True, size=0)
        slot.reply = reply
        self._slots.append(slot)

    def new_slot(self, *, is_read: bool, size: int) -> Slot:
        """A place for the reply to a request that takes its time."""
        slot = Slot(self, is_read=is_read, size=size)
        self._slots.append(slot)
        self.pending_bytes += size
        return slot

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
        self._output_bytes = 0
        return b"".join(output)
