"""Whole nodes in trouble: what plain connections and sessions are promised holds all the same."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING

from hypothesis import given, settings
from hypothesis import strategies as st

from quorate.node.limits import NodeLimits
from quorate.raft.settings import Settings
from quorate.replica.sessions import SessionLimits
from quorate.replica.snapshot_taker import SnapshotSettings

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.node.conftest import Client, Cluster, Packet, Sent, Server

SECOND = 1_000_000
LIMITS = NodeLimits(own_window=8, session_keepalive_us=5 * SECOND)
SESSION_LIMITS = SessionLimits(ordered_window=10, ttl_ms=20_000)


class World:
    """A cluster, the clients of its nodes, and what goes wrong."""

    def __init__(self, new_cluster: type[Cluster], new_sent: type[Sent], seed: int) -> None:
        self.rng = random.Random(seed)
        self.new_sent = new_sent
        self.cluster = new_cluster(
            self.rng.choice([1, 3, 3, 5]),
            limits=LIMITS,
            session_limits=SESSION_LIMITS,
            settings=Settings(max_chunk_bytes=self.rng.choice([200, 100_000])),
            snapshots=SnapshotSettings(
                max_raft_state=self.rng.choice([0, 1000, 5000, 1_000_000]),
                part_bytes=self.rng.choice([1, 100_000]),
            ),
            seed=seed,
        )
        self.cluster.run_until_led()
        self.clients: dict[Client, list[Sent]] = {}
        self.everything_sent: list[list[Sent]] = []
        self.tokens = 0

    def step(self) -> None:
        for _ in range(self.rng.randrange(4)):
            self.send()
        match self.rng.randrange(14):
            case 0:
                loss = self.rng.choice([0.1, 0.5])
                self.cluster.loses = lambda _: self.rng.random() < loss
            case 1:
                share = self.rng.choice([0.1, 0.5])
                self.cluster.holds = lambda _: self.rng.random() < share
            case 2:
                # What was held back comes late, and in another order.
                self.rng.shuffle(self.cluster.held)
                self.cluster.release()
            case 3:
                server = self.rng.choice(self.cluster.up)
                server.disk.is_stalled = not server.disk.is_stalled
            case 4:
                self.cluster.isolate(self.rng.choice(self.cluster.up).me)
            case 5 if len(self.cluster.up) * 2 > len(self.cluster.servers) + 1:
                self.crash(self.rng.choice(self.cluster.up))
            case 6 if self.cluster.down:
                self.cluster.restart(self.cluster[self.rng.choice(sorted(self.cluster.down))])
            case 7:
                self.cluster.heal()
            case 8 if self.clients:
                self.leave(self.rng.choice(list(self.clients)))
            case 9:
                server = self.rng.choice(self.cluster.up)
                server.disk.snapshots_are_stalled = not server.disk.snapshots_are_stalled
        self.cluster.run(self.rng.choice([0, 1000, 20_000, SECOND // 2]))
        self.collect()

    def send(self) -> None:
        """One client, perhaps a new one, sends a few commands in one piece."""
        if len(self.clients) < 6:
            client = self.rng.choice(self.cluster.up).connect()
            self.everything_sent.append([])
            self.clients[client] = self.everything_sent[-1]
        client, sent = self.rng.choice(list(self.clients.items()))
        data = b""
        for _ in range(self.rng.randrange(1, 5)):
            self.tokens += 1
            token = b"<%d>" % self.tokens if self.rng.random() < 0.7 else b""
            sent.append(self.new_sent(token, self.cluster.now))
            data += b"APPEND k %b\r\n" % token if token else b"GET k\r\n"
        client.send_raw(data)

    def crash(self, server: Server) -> None:
        for client in list(self.clients):
            if client.server is server:
                del self.clients[client]
        self.cluster.crash(server)

    def leave(self, client: Client) -> None:
        del self.clients[client]
        client.close()

    def collect(self) -> None:
        for client, sent in self.clients.items():
            waiting = iter([command for command in sent if not command.is_answered])
            for reply in client.take_replies():
                next(waiting).answer(reply)
            oldest = next(waiting, None)
            assert oldest is None or self.cluster.now < oldest.at + LIMITS.command_timeout_us

    def end(self) -> bytes | None:
        """Heals everything and reads what there is."""
        for node in sorted(self.cluster.down):
            self.cluster.restart(self.cluster[node])
        self.cluster.heal()
        self.cluster.run(2 * SECOND)
        self.cluster.run(2 * SECOND)
        self.collect()
        reader = self.cluster.leader.connect()
        reader.send("GET", "k")
        self.cluster.settle()
        (value,) = reader.take_replies()
        assert value is None or isinstance(value, bytes)
        return value


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 2**32))
def test_plain_connections_keep_their_promises_whatever_happens(
    new_cluster: type[Cluster],
    new_sent: type[Sent],
    check: Callable[[bytes | None, list[list[Sent]]], None],
    seed: int,
) -> None:
    world = World(new_cluster, new_sent, seed)
    for _ in range(40):
        world.step()
    value = world.end()
    for sent in world.clients.values():
        assert all(command.is_answered for command in sent)
    check(value, world.everything_sent)


@settings(max_examples=8, deadline=None)
@given(seed=st.integers(0, 2**32))
def test_a_call_takes_effect_once_however_often_and_wherever_it_is_sent(
    new_cluster: type[Cluster], seed: int
) -> None:
    rng = random.Random(seed)
    cluster = new_cluster(seed=seed)
    opener = cluster.run_until_led().connect()
    opener.send("QUORATE.SESSION")
    cluster.settle()
    (session,) = opener.take_replies()

    def loses(_: Packet) -> bool:
        return rng.random() < 0.3

    answers: dict[int, set[str]] = {}
    for seq in range(1, 16):
        # Several sendings of one write are under way together, on all nodes.
        cluster.loses = loses
        senders = [server.connect() for server in cluster.up for _ in range(2)]
        for sender in senders:
            sender.send("ONCE", session, seq, seq - 1, "APPEND", "k", f"<{seq}>")
        cluster.run(rng.choice([0, SECOND // 10, 4 * SECOND]))
        cluster.heal()
        cluster.run(3 * SECOND)
        answers[seq] = {str(reply) for sender in senders for reply in sender.take_replies()}
    opener.send("GET", "k")
    cluster.settle()
    assert opener.take_replies() == ["".join(f"<{seq}>" for seq in range(1, 16)).encode()]
    lengths = {len("".join(f"<{number}>" for number in range(1, seq + 1))) for seq in answers}
    for replies in answers.values():
        known = {reply for reply in replies if not reply.startswith(("UNKNOWN", "NOTEXECUTED"))}
        assert len(known) <= 1
        assert known <= {str(length) for length in lengths}
