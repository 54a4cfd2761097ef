"""What a node keeps for all of its clients together, because of what they do not do.

Two things stay for as long as a client likes: replies that it does not take in, and a request of
which it does not send the rest. Each connection has bounds of its own, but there may be thousands
of connections, so there is one bound for all of them on each of the two. When it is reached,
whoever takes part of it up gets nothing more until there is room again; and a client that does not
move meanwhile is given up, so that it holds up nobody else for long. There is one bound, too, on
the requests that are not answered, the fewest of which wait for a client.

A client that is slow, but moves, is waited for.
"""

from collections import OrderedDict
from itertools import takewhile

import msgspec

from quorate.node.limits import NodeLimits
from quorate.raft.deadlines import earliest


class _Unsent(msgspec.Struct):
    """Replies that a client's socket does not take.

    Attributes:
        size: in bytes.
        since: when they last became fewer, in microseconds.
    """

    size: int
    since: int


class ClientMemory:
    """The books on what is kept for the clients of one node, by connection id.

    Attributes:
        pending_bytes: what all requests that are not answered take up. Whoever looks at one, or
            answers it, counts it here himself: this is done with each.
    """

    def __init__(self, limits: NodeLimits) -> None:
        self._limits = limits
        self.pending_bytes = 0
        self._reply_bytes = 0
        self._blocked_bytes = 0
        self._handed_out = 0
        self._unsent: OrderedDict[int, _Unsent] = OrderedDict()  # who moved longest ago first
        self._incomplete_bytes = 0
        self._incomplete: dict[int, int] = {}
        self._preferred: int | None = None  # goes on while the others wait
        self._preferred_moved = 0

    # ------------------------------------------------------------------ replies

    @property
    def room_for_replies(self) -> int:
        """How many bytes of replies that can be sent may be made now; not positive if none.

        Those that wait for an earlier reply of their connection do not count: were there no room
        for the earlier one because of them, all would wait for each other.
        """
        return self._limits.node_output_bytes - self._reply_bytes + self._blocked_bytes

    @property
    def is_full_of_replies(self) -> bool:
        """Whether no read should be answered now."""
        return self.room_for_replies <= 0

    @property
    def takes_no_more(self) -> bool:
        """Whether no reply should be made that may have to wait for an earlier one."""
        return self._reply_bytes >= self._limits.node_output_bytes

    @property
    def has_room_next_turn(self) -> bool:
        """Whether it will not be full of replies any more once those handed out are sent."""
        return self.room_for_replies + self._handed_out > 0

    def made(self, size: int) -> None:
        """So many bytes of replies were made; perhaps they wait for an earlier reply."""
        self._reply_bytes += size
        self._blocked_bytes += size

    def sendable(self, size: int) -> None:
        """So many bytes of what was made wait for no earlier reply any more."""
        self._blocked_bytes -= size

    def dropped(self, size: int) -> None:
        """So many bytes of what was sendable will not be sent."""
        self._reply_bytes -= size

    def handed_out(self, size: int) -> None:
        """So many bytes of what was sendable are on their way to sockets."""
        self._handed_out += size

    def made_and_handed_out(self, size: int) -> None:
        """So many bytes of replies were made, and are on their way to sockets."""
        self._reply_bytes += size
        self._handed_out += size

    def turn_begins(self) -> None:
        """What was handed out in earlier turns is sent, but for what `unsent` has told."""
        self._reply_bytes -= self._handed_out
        self._handed_out = 0

    def unsent(self, connection: int, size: int, now: int) -> None:
        """So many bytes of replies wait until this client's socket takes them."""
        known = self._unsent.get(connection)
        if known is None:
            if size:
                self._reply_bytes += size
                self._unsent[connection] = _Unsent(size, now)
            return
        self._reply_bytes += size - known.size
        if not size:
            del self._unsent[connection]
        elif size < known.size:
            known.since = now
            self._unsent.move_to_end(connection)
        if size < known.size and connection == self._preferred:
            self._preferred_moved = now  # nothing is read from him before he has read his replies
        known.size = size

    # ------------------------------------------------------------------ requests

    @property
    def is_full_of_requests(self) -> bool:
        """Whether who has something unanswered should have that answered first."""
        return self.pending_bytes >= self._limits.node_pending_bytes

    def incomplete(self, connection: int, size: int, now: int) -> None:
        """So many bytes are kept of a request of which this client has yet to send the rest."""
        self._incomplete_bytes += size - self._incomplete.pop(connection, 0)
        if size:
            self._incomplete[connection] = size
        if self._incomplete_bytes < self._limits.node_incomplete_bytes:
            self._preferred = None
        elif self._preferred not in self._incomplete:
            self._preferred = max(self._incomplete, key=self._incomplete.__getitem__)
            self._preferred_moved = now
        elif connection == self._preferred:
            self._preferred_moved = now

    @property
    def preferred(self) -> int | None:
        """The connection that goes on with its request while all others wait, if they do."""
        return self._preferred

    def preferred_is_held_up(self, now: int) -> None:
        """Nothing is read from the preferred one, for which he cannot be blamed."""
        self._preferred_moved = now

    def may_go_on(self, connection: int) -> bool:
        """Whether more of a request may be read from this client.

        When all is taken up, the one with the largest part of a request goes on alone, so that it
        comes to an end.
        """
        return (
            self._preferred is None
            or connection == self._preferred
            or connection not in self._incomplete
        )

    # ------------------------------------------------------------------ who is given up

    def forget(self, connection: int, now: int) -> None:
        """The client has gone."""
        self.unsent(connection, 0, now)
        self.incomplete(connection, 0, now)

    def take_given_up(self, now: int) -> list[int]:
        """The connections to end at once; all of theirs is forgotten."""
        given_up: list[int] = []
        while self._unsent and self.is_full_of_replies:
            connection, unsent = next(iter(self._unsent.items()))
            if now < unsent.since + self._limits.stalled_client_us:
                break
            self.forget(connection, now)
            given_up.append(connection)
        preferred = self._preferred
        if preferred is not None and now >= self._preferred_moved + self._limits.stalled_client_us:
            self.forget(preferred, now)
            given_up.append(preferred)
        return given_up

    def stalled(self, now: int) -> list[int]:
        """Who has replies to take in and has not moved for too long; the longest first."""
        before = now - self._limits.stalled_client_us
        is_stalled = takewhile(lambda item: item[1].since <= before, self._unsent.items())
        return [connection for connection, _ in is_stalled]

    def deadline(self) -> int | None:
        """When somebody is given up, unless he moves."""
        due: int | None = None
        if self._unsent and self.is_full_of_replies:
            due = next(iter(self._unsent.values())).since
        if self._preferred is not None:
            due = earliest(due, self._preferred_moved)
        return None if due is None else due + self._limits.stalled_client_us
