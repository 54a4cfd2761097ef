"""What clients are told of writes that went to another node, or may have."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from tests.scenarios.cluster import LIMITS, MS, SECOND, Cluster, settings, table_of

from quorate.raft.settings import Settings
from quorate.sim.network import PERFECT, NetworkFaults
from quorate.wire.resp_reply import ErrorReply

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.scenarios.cluster import Call

    from quorate.sim.server import SimulatedServer

# ---------------------------------------------------------------------- 5: crossed replies

IMPATIENT = Settings(
    election_timeout_us=100 * MS,
    heartbeat_interval_us=20 * MS,
    append_timeout_us=30 * MS,
    forward_timeout_us=50 * MS,
)
BAD_NETWORK = NetworkFaults(loss=0.01, duplication=0.1, latency_us=20 * MS, stray=0.01, split=0.1)
"""Nearly everything overtakes something."""
SIZES = (7, 11, 13)
"""Of what each client at a node appends: the length that it is told gives away whose it is."""


class Customer:
    """Appends to a key of its own and reads it, and recognises what is not its own."""

    def __init__(self, cluster: Cluster, server: SimulatedServer, number: int) -> None:
        self._appender, self._reader = cluster.client(server), cluster.client(server)
        self._key = f"customer-{server.id}-{number}"
        self._element = f"{server.id}.{number}".ljust(SIZES[number], ".")
        self.appends: list[Call] = []
        self.reads: list[Call] = []

    def call(self) -> None:
        self.appends.append(self._appender.send("APPEND", self._key, self._element))
        self.reads.append(self._reader.send("GET", self._key))

    def check(self) -> None:
        element = self._element.encode()
        for number, append in enumerate(self.appends, start=1):
            if isinstance(append.reply, ErrorReply):
                assert append.reply.code in ("UNKNOWN", "NOTEXECUTED")
            elif append.is_answered:
                assert isinstance(append.reply, int), f"crossed: {append}"
                count, rest = divmod(append.reply, len(element))
                assert (rest, count <= number) == (0, True), f"crossed: {append}"
        for read in self.reads:
            if isinstance(read.reply, bytes):
                count = len(read.reply) // len(element)
                assert read.reply == element * count, f"crossed: {read}"
            elif read.reply is not None:
                assert isinstance(read.reply, ErrorReply), f"crossed: {read}"
                assert read.reply.code == "UNAVAILABLE"


def crossed_replies(seed: int) -> None:
    cluster = Cluster(settings=settings(raft=IMPATIENT), network=BAD_NETWORK, seed=seed)
    customers = [
        Customer(cluster, server, number)
        for number in range(len(SIZES))
        for server in cluster.servers.values()
    ]
    for turn in range(150):
        customers[turn % len(customers)].call()
        cluster.run(3 * MS)  # so several forwarded batches are under way at a time
        if turn == 75:
            leader = cluster.leader
            cluster.network.cut(cluster.links(leader))
    cluster.network.heal()
    cluster.network.faults = PERFECT
    cluster.run(LIMITS.command_timeout_us + SECOND)
    for customer in customers:
        customer.check()
        assert all(call.is_answered for call in customer.appends + customer.reads)
    told = [append.reply for customer in customers for append in customer.appends]
    assert sum(isinstance(reply, int) for reply in told) > 75
    cluster.agree()


@pytest.mark.parametrize("seed", range(3))
def test_no_client_gets_the_reply_to_another_ones_forwarded_command(seed: int) -> None:
    """5. RedisLabs/redisraft#26 ("Crossed wires with follower-proxy") and pull request 27, found by
    Jepsen: https://jepsen.io/analyses/redis-raft-1b3fbf6

    A follower passed commands on to the leader, and took what came back for the answers in the
    order of the commands. One that had failed without an answer, in a partition or a crash, put
    those that followed out of step: clients got what others had asked for.

    Here each forwarded batch has an id, an answer without its request is dropped, and an answer
    that does not fit the batch is none. Replies are matched to the writes by numbers in a session.
    """
    crossed_replies(seed)


# ---------------------------------------------------------------------- 6: not executed?


def leader_hears_nobody(cluster: Cluster) -> None:
    """Its entries reach the others; that they did does not reach it."""
    leader = cluster.leader
    cluster.network.cut((server.id, leader.id) for server in cluster.followers)


def leader_dies(cluster: Cluster) -> None:
    cluster.leader.kill(power=False)


def leader_is_cut_off(cluster: Cluster) -> None:
    cluster.network.cut(cluster.links(cluster.leader))


TROUBLES = (leader_hears_nobody, leader_dies, leader_is_cut_off)


def no_leader(trouble: Callable[[Cluster], None], moment_us: int) -> list[tuple[str, bool]]:
    """Makes trouble so long after each server was sent a write.

    Returns:
        What the clients were told, where they were told anything, and whether the write is there.
    """
    cluster = Cluster()
    leader = cluster.leader
    calls = {
        server.id: cluster.client(server).send("APPEND", f"at-{server.id}", "x")
        for server in cluster.servers.values()
    }
    cluster.run(moment_us)
    trouble(cluster)
    cluster.run(LIMITS.command_timeout_us + SECOND)
    cluster.network.heal()
    if not leader.is_up:
        leader.start()
    cluster.await_leader()
    cluster.run(SECOND)
    cluster.agree()
    told = []
    for node, call in calls.items():
        there = table_of(leader, b"at-%d" % node)
        assert there in (None, b"x"), "it is there twice"
        match call.reply:
            case int():
                told.append(("executed", True))
                assert there == b"x", "it was acknowledged, and is lost"
            case ErrorReply(code="NOTEXECUTED"):
                told.append(("not executed", False))
                assert there is None, "it was said not to be executed, and is there"
            case ErrorReply(code="UNKNOWN"):
                told.append(("unknown", there is not None))
            case reply:
                assert not call.is_answered, reply
    return told


@pytest.mark.parametrize("trouble", TROUBLES)
def test_what_is_called_not_executed_is_not_there(trouble: Callable[[Cluster], None]) -> None:
    """6. RedisLabs/redisraft#23 ("Aborted reads with NOLEADER"), found by Jepsen:
    https://jepsen.io/analyses/redis-raft-1b3fbf6

    A write was in a log when the leader lost its leadership. Its client was told NOLEADER, which
    means that nothing was done, and yet the write was committed, and others read it.

    Here only what cannot be in any log is called not executed. What may be is repeated under its
    number, until its outcome is known or its time is up; then it is unknown, and stays so.
    """
    told = [what for moment in range(0, 3 * MS, 250) for what in no_leader(trouble, moment)]
    assert ("executed", True) in told
    # This one is what was told wrong: it was committed after its leader had given it up.
    assert trouble is not leader_hears_nobody or ("unknown", True) in told
