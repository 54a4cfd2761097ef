"""Clients of all kinds at once, with small limits: every command is answered, in order, at last.

Clients send pipelines in odd pieces, read or do not, break the protocol, say QUIT, leave at any
moment. Afterwards nothing is counted for any of them, so that those who come then have all the
room that there is.
"""

from __future__ import annotations

import random
from typing import TYPE_CHECKING

import hiredis
from hypothesis import given, settings
from hypothesis import strategies as st

from quorate.node.limits import NodeLimits

if TYPE_CHECKING:
    from tests.node.conftest import Client, Cluster, Server

SECOND = 1_000_000
LARGE = b"v" * 900
ANYTHING = object()
"""A reply that is not looked at."""


class Conversation:
    """One client: what it has sent, and what has come back.

    It alone writes to its key, a value that it has not written before, and no two of its texts to
    ECHO are the same: so replies that change places are noticed.
    """

    def __init__(self, rng: random.Random, server: Server) -> None:
        self.client: Client = server.connect()
        self.ends = False
        self._rng = rng
        self._key = b"key:%d" % self.client.id
        self._sent: list[tuple[bytes, object]] = []
        self._answered = 0
        self._value: bytes | None = None
        self._rest = b""
        self._reader = hiredis.Reader(notEnoughData=StopIteration)

    def send(self) -> None:
        """Sends some commands, cut into pieces; perhaps without the end of the last."""
        data = self._rest
        for _ in range(self._rng.randrange(12)):
            if not self.ends:
                data += self._command()
        cuts = sorted(self._rng.randrange(len(data) + 1) for _ in range(self._rng.randrange(4)))
        pieces = [data[a:b] for a, b in zip([0, *cuts], [*cuts, len(data)], strict=True)]
        self._rest = pieces.pop() if self._rng.random() < 0.5 else b""
        self.client.send_raw(*[piece for piece in pieces if piece])

    def come_to_an_end(self) -> None:
        """Sends the end of the last request, and takes all replies in."""
        self.client.send_raw(self._rest)
        self.client.go_on_reading()

    def _command(self) -> bytes:
        choice = self._rng.randrange(40)
        number = b"%d" % len(self._sent)
        if choice < 8:
            text = number + b"." * self._rng.choice([0, 10, 700, 3_000])
            self._sent.append((b"ECHO", text))
            return b"*2\r\n$4\r\nECHO\r\n$%d\r\n%b\r\n" % (len(text), text)
        if choice < 18:
            self._sent.append((b"GET", ANYTHING))
            return b"GET %b\r\n" % self._key
        if choice < 26:
            value = number + self._rng.choice([b"", LARGE])
            self._sent.append((b"SET", value))
            return b"SET %b %b\r\n" % (self._key, value)
        if choice < 36:
            self._sent.append((b"LARGE", LARGE))
            return b"GET large\r\n"
        if choice < 39:
            self._sent.append((b"OTHER", ANYTHING))
            return self._rng.choice([b"ONCE 1 1 0 SET once v\r\n", b"NOSUCH\r\n"])
        self.ends = True
        self._sent.append((b"OTHER", ANYTHING))
        return self._rng.choice([b"*1\r\n:1\r\n", b"QUIT\r\n"])

    def check(self) -> None:
        """What has come is what was asked for, in order."""
        self._reader.feed(self.client.take())
        for reply in iter(self._reader.gets, StopIteration):
            command, argument = self._sent[self._answered]
            self._answered += 1
            code = str(reply).partition(" ")[0] if isinstance(reply, Exception) else None
            match command:
                case b"SET" if code is None:
                    assert reply == b"OK"
                    assert isinstance(argument, bytes)
                    self._value = argument
                case b"SET":
                    assert code == "NOTEXECUTED"
                case b"GET" if code is None:
                    assert reply == self._value
                case b"LARGE" if code is None:
                    assert reply == LARGE
                case b"GET" | b"LARGE":
                    assert code == "UNAVAILABLE"
                case b"ECHO":
                    assert reply == argument

    @property
    def is_answered(self) -> bool:
        """Whether everything is."""
        return self._answered == len(self._sent)


def what_there_is_room_for(cluster: Cluster, server: Server) -> tuple[list[int], list[bool]]:
    """What clients get who come now: how many bytes of replies, and whether more is read of them.

    That is less if anything is counted for others.
    """
    readers = [server.connect() for _ in range(12)]
    senders = [server.connect() for _ in range(12)]
    for client in readers:
        client.let_replies_pile_up()
        client.send("GET", "large")
    cluster.settle()
    for client in senders:
        client.send_raw(b"*2\r\n$4\r\nECHO\r\n$900\r\n" + LARGE)
    cluster.settle()
    may_go_on = [not server.node.is_congested(client.id) for client in senders]
    sizes = [client.unsent for client in readers]
    for client in readers + senders:
        client.close()
    cluster.settle()
    return sizes, may_go_on


def new_server(new_cluster: type[Cluster], limits: NodeLimits) -> tuple[Cluster, Server]:
    """A cluster with a large value, and a follower of it."""
    cluster = new_cluster(limits=limits)
    server = cluster.run_until_led()
    client = server.connect()
    client.send("SET", "large", LARGE)
    cluster.settle()
    client.close()
    return cluster, cluster.followers[0]


def do_anything(rng: random.Random, cluster: Cluster, conversation: Conversation) -> None:
    """One step of a client, or of the servers."""
    conversation.check()
    client = conversation.client
    choice = rng.randrange(20)
    if choice < 3:
        cluster.settle()
    elif choice < 6:
        cluster.collect()
    elif choice == 6:
        cluster.run(rng.randrange(SECOND))
    elif client.is_closed:
        pass
    elif choice == 7:
        client.close()
    elif choice == 8:
        client.let_replies_pile_up()
    elif choice < 11:
        client.read_on(rng.randint(0, client.unsent))
    elif choice < 13:
        client.go_on_reading()
    else:
        conversation.send()


SMALL_LIMITS = st.builds(
    NodeLimits,
    connection_pending=st.sampled_from([1, 2, 5, 1024]),
    connection_pending_bytes=st.sampled_from([1, 1_000, 1_000_000]),
    connection_output_bytes=st.sampled_from([1, 1_000, 5_000]),
    node_pending_bytes=st.sampled_from([1, 1_000, 1_000_000]),
    node_output_bytes=st.sampled_from([1, 1_000, 5_000, 20_000]),
    node_incomplete_bytes=st.sampled_from([1, 1_000, 5_000]),
)


@settings(max_examples=60)
@given(limits=SMALL_LIMITS, seed=st.integers(0, 2**32))
def test_all_is_answered_in_order_and_nothing_stays_counted(
    new_cluster: type[Cluster], limits: NodeLimits, seed: int
) -> None:
    rng = random.Random(seed)
    cluster, server = new_server(new_cluster, limits)
    room = what_there_is_room_for(cluster, server)
    conversations = [Conversation(rng, server) for _ in range(rng.randint(1, 12))]
    for _ in range(rng.randrange(40)):
        do_anything(rng, cluster, rng.choice(conversations))
    for conversation in conversations:
        if not conversation.client.is_closed:
            conversation.come_to_an_end()
    cluster.run(10 * SECOND)
    left = [c for c in conversations if c.client.id in server.clients]
    for conversation in conversations:
        conversation.check()
        assert conversation.is_answered or conversation.client.id not in server.clients
    for conversation in left:
        assert not conversation.client.unread
        conversation.client.close()
    cluster.run(4 * SECOND)
    assert server.node.status().connections == 0
    assert what_there_is_room_for(cluster, server) == room
