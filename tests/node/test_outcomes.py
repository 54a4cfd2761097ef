"""What a client is told when the outcome does not come in time, and what may still happen then."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec
import pytest

from quorate.codec.batch import OpenedSession, SubmissionOutcomes, encode_results
from quorate.node.limits import NodeLimits
from quorate.raft.messages import Forward, ForwardAnswer
from quorate.replica.sessions import SessionLimits

if TYPE_CHECKING:
    from tests.node.conftest import Cluster, Packet

SECOND = 1_000_000
TIMEOUT = NodeLimits().command_timeout_us
UNKNOWN = b"-UNKNOWN the outcome is unknown: it may have been executed, once\r\n"
NOT_EXECUTED = b"-NOTEXECUTED it did not reach a log in time, and will never be executed\r\n"
UNAVAILABLE = b"-UNAVAILABLE the read could not be confirmed in time\r\n"


def is_forward(packet: Packet) -> bool:
    return isinstance(packet.message, Forward)


def stop_all_but(cluster: Cluster, survivor: int) -> None:
    for server in list(cluster.up):
        if server.me != survivor:
            cluster.crash(server)


def value_of(cluster: Cluster, key: str) -> bytes | None:
    """What a linearizable read gives."""
    client = cluster.up[0].connect()
    client.send("GET", key)
    cluster.run(2 * SECOND)
    (reply,) = client.take_replies()
    assert reply is None or isinstance(reply, bytes)
    return reply


# ---------------------------------------------------------------------- no majority


def test_without_a_leader_commands_wait_and_then_say_that_nothing_was_executed(
    cluster: Cluster,
) -> None:
    survivor = cluster.followers[0]
    stop_all_but(cluster, survivor.me)
    cluster.run(2 * SECOND)  # by now it knows that there is no leader
    clients = [survivor.connect() for _ in range(4)]
    clients[0].send("SET", "k", "v")
    clients[1].send("GET", "k")
    clients[2].send("ONCE", 4, 1, 0, "SET", "k", "v")
    clients[3].send("QUORATE.SESSION")
    cluster.run(TIMEOUT - 1)
    assert [client.take() for client in clients] == [b"", b"", b"", b""]
    cluster.run(1)
    assert [client.take() for client in clients] == [
        NOT_EXECUTED,
        UNAVAILABLE,
        NOT_EXECUTED,
        NOT_EXECUTED,
    ]
    assert not any(client.is_closed for client in clients)


def test_what_was_not_executed_does_not_show_up_when_the_others_come_back(
    cluster: Cluster,
) -> None:
    survivor = cluster.followers[0]
    stop_all_but(cluster, survivor.me)
    cluster.run(2 * SECOND)
    client = survivor.connect()
    client.send("APPEND", "k", "x")
    client.send("ONCE", 4, 1, 0, "APPEND", "k", "x")
    cluster.run(TIMEOUT)
    assert client.take() == NOT_EXECUTED * 2
    for server in cluster.servers.values():
        if server is not survivor:
            cluster.restart(server)
    cluster.run(3 * SECOND)
    assert value_of(cluster, "k") is None


def test_commands_that_wait_for_a_leader_are_executed_when_there_is_one(cluster: Cluster) -> None:
    follower = cluster.followers[0]
    client = follower.connect()
    cluster.crash(cluster.leader)
    client.send("APPEND", "k", "x")
    client.send("GET", "k")
    client.send("QUORATE.SESSION")
    cluster.settle()
    assert client.take() == b""
    cluster.run(2 * SECOND)
    length, value, session = client.take_replies()
    assert (length, value) == (1, b"x")
    assert session > 0


def test_a_leader_without_followers_cannot_tell(cluster: Cluster) -> None:
    leader = cluster.leader
    stop_all_but(cluster, leader.me)
    clients = [leader.connect() for _ in range(3)]
    clients[0].send("SET", "k", "v")
    clients[1].send("GET", "k")
    clients[2].send("ONCE", 4, 1, 0, "SET", "k", "v")
    cluster.run(TIMEOUT)
    # The writes are in its log: if the others come back they may be executed after all.
    assert [client.take() for client in clients] == [UNKNOWN, UNAVAILABLE, UNKNOWN]


def test_the_old_leader_serves_nothing_that_is_old(cluster: Cluster) -> None:
    old = cluster.leader
    at_old = old.connect()
    at_old.send("SET", "k", "old")
    cluster.settle()
    cluster.isolate(old.me)
    readers = [old.connect() for _ in range(5)]
    for reader in readers:
        reader.send("GET", "k")
        cluster.run(SECOND // 10)
    cluster.run(SECOND)
    new = cluster.leader
    assert new is not old
    at_new = new.connect()
    at_new.send("SET", "k", "new")
    cluster.settle()
    assert at_new.take() == b"+OK\r\n"
    late = old.connect()
    late.send("GET", "k")
    cluster.settle()
    assert at_old.take() == b"+OK\r\n"
    assert [reader.take() for reader in [*readers, late]] == [b""] * 6
    cluster.run(TIMEOUT)
    assert [reader.take() for reader in [*readers, late]] == [UNAVAILABLE] * 6


def test_a_read_that_was_asked_at_the_old_leader_is_served_by_the_new(cluster: Cluster) -> None:
    old = cluster.leader
    cluster.isolate(old.me)
    reader = old.connect()
    reader.send("GET", "k")
    cluster.run(2 * SECOND)
    at_new = cluster.leader.connect()
    at_new.send("SET", "k", "new")
    cluster.settle()
    assert (at_new.take(), reader.take()) == (b"+OK\r\n", b"")
    cluster.heal()
    cluster.run(SECOND // 2)
    assert reader.take() == b"$3\r\nnew\r\n"


def test_a_write_that_the_old_leader_could_not_commit_is_repeated_at_the_new(
    cluster: Cluster,
) -> None:
    old = cluster.leader
    cluster.isolate(old.me)
    client = old.connect()
    client.send("APPEND", "k", "old")
    cluster.run(SECOND * 3 // 2)
    at_new = cluster.leader.connect()
    at_new.send("APPEND", "k", "new")
    cluster.settle()
    cluster.heal()
    cluster.run(SECOND)
    assert (at_new.take(), client.take()) == (b":3\r\n", b":6\r\n")
    assert value_of(cluster, "k") == b"newold"


def test_a_stalled_disk_of_a_majority_is_no_majority(cluster: Cluster) -> None:
    for server in cluster.up:
        server.disk.is_stalled = True
    client = cluster.leader.connect()
    client.send("SET", "k", "v")
    cluster.run(TIMEOUT)
    assert client.take() == UNKNOWN
    cluster.heal()
    cluster.run(2 * SECOND)
    client.send("GET", "k")
    cluster.settle()
    assert client.take() in {b"$1\r\nv\r\n", b"$-1\r\n"}


# ---------------------------------------------------------------------- given up, and the fence


def test_a_write_that_may_be_in_a_log_is_unknown_after_its_time(cluster: Cluster) -> None:
    client = cluster.followers[0].connect()
    cluster.loses = is_forward
    client.send("SET", "k", "v")
    cluster.run(TIMEOUT)
    assert client.take() == UNKNOWN
    assert not client.is_closed


def test_a_write_that_was_given_up_is_never_executed_after_a_later_one(cluster: Cluster) -> None:
    # 1. The first write is on its way to the leader for longer than its client was made to wait.
    follower = cluster.followers[0]
    client = follower.connect()
    cluster.holds = is_forward
    client.send("SET", "k", "first")
    cluster.run(TIMEOUT)
    assert client.take() == UNKNOWN
    held, cluster.held = cluster.held, []
    cluster.holds = lambda _: False
    # 2. The next write fences it: the leader learns that nobody waits for the first.
    client.send("SET", "k", "second")
    cluster.settle()
    assert client.take() == b"+OK\r\n"
    # 3. Now all its copies arrive.
    assert held
    cluster.network += held
    cluster.run(SECOND)
    assert value_of(cluster, "k") == b"second"


def test_a_write_that_was_given_up_may_still_be_executed_before_a_later_one(
    cluster: Cluster,
) -> None:
    client = cluster.followers[0].connect()
    cluster.holds = is_forward
    client.send("APPEND", "k", "first")
    cluster.run(TIMEOUT)
    assert client.take() == UNKNOWN
    cluster.release()
    client.send("APPEND", "k", " second")
    cluster.settle()
    assert client.take() == b":12\r\n"
    assert value_of(cluster, "k") == b"first second"


def test_a_lost_answer_is_no_lost_write(cluster: Cluster) -> None:
    client = cluster.followers[0].connect()
    cluster.loses = lambda packet: isinstance(packet.message, ForwardAnswer)
    client.send("APPEND", "k", "x")
    client.send("APPEND", "k", "y")
    cluster.run(SECOND * 3 // 2)
    assert client.take() == b""
    cluster.loses = lambda _: False
    cluster.run(SECOND)
    assert client.take_replies() == [1, 2]
    assert value_of(cluster, "k") == b"xy"


def test_a_lost_answer_is_unknown_after_the_time_of_its_write(cluster: Cluster) -> None:
    client = cluster.followers[0].connect()
    cluster.loses = lambda packet: isinstance(packet.message, ForwardAnswer)
    client.send("APPEND", "k", "x")
    cluster.run(TIMEOUT)
    assert client.take() == UNKNOWN
    cluster.loses = lambda _: False
    client.send("APPEND", "k", "y")
    cluster.settle()
    assert client.take_replies() == [2]


def test_a_call_of_a_session_is_repeated_until_its_outcome_is_known(cluster: Cluster) -> None:
    client = cluster.followers[0].connect()
    client.send("QUORATE.SESSION")
    cluster.settle()
    (session,) = client.take_replies()
    cluster.loses = lambda packet: isinstance(packet.message, ForwardAnswer)
    client.send("ONCE", session, 1, 0, "APPEND", "k", "x")
    cluster.run(SECOND * 3 // 2)
    assert client.take() == b""
    cluster.loses = lambda _: False
    cluster.run(SECOND)
    assert client.take_replies() == [1]
    assert value_of(cluster, "k") == b"x"


REPEATED = [
    b"",
    b"garbage",
    encode_results(()),
    encode_results((OpenedSession(1),)),
    encode_results((SubmissionOutcomes(()),)),
    encode_results((SubmissionOutcomes((b"\xc0", b"\xc0")),)),
]
BELIEVED = [
    encode_results((SubmissionOutcomes((b"\xc1",)),)),
    encode_results((SubmissionOutcomes((b"garbage",)),)),
]


@pytest.mark.parametrize("data", [*REPEATED, *BELIEVED])
@pytest.mark.parametrize("words", [("APPEND", "k", "x"), ("ONCE", "{}", 1, 0, "APPEND", "k", "x")])
def test_an_answer_that_makes_no_sense_is_no_answer(
    cluster: Cluster, words: tuple[str | int, ...], data: bytes
) -> None:
    # A server that answers like this is broken; those that it talks to must not break with it.
    client = cluster.followers[0].connect()
    client.send("QUORATE.SESSION")
    cluster.settle()
    (session,) = client.take_replies()
    cluster.holds = lambda packet: isinstance(packet.message, ForwardAnswer)
    client.send(*[str(word).format(session) for word in words])
    cluster.settle()
    (packet,) = cluster.take_held()
    assert isinstance(packet.message, ForwardAnswer)
    answer = ForwardAnswer(packet.message.id, packet.message.term, data)
    cluster.hand_over(msgspec.structs.replace(packet, message=answer))
    cluster.holds = lambda _: False
    cluster.run(SECOND)
    assert client.take() == (b":1\r\n" if data in REPEATED else UNKNOWN)
    assert value_of(cluster, "k") == b"x"


# ---------------------------------------------------------------------- time is from the arrival


def test_what_waits_for_earlier_commands_has_no_more_time_than_they(cluster: Cluster) -> None:
    survivor = cluster.followers[0]
    stop_all_but(cluster, survivor.me)
    cluster.run(2 * SECOND)
    client = survivor.connect()
    for _ in range(3):
        client.send("SET", "k", "v")
        client.send("GET", "k")
        client.send("ONCE", 4, 1, 0, "SET", "k", "v")
    client.send("PING")
    cluster.run(TIMEOUT)
    assert client.take() == (NOT_EXECUTED + UNAVAILABLE + NOT_EXECUTED) * 3 + b"+PONG\r\n"


@pytest.mark.parametrize("last", [("SET", "k", "v"), ("GET", "k"), ("ONCE", 4, 1, 0, "DEL", "k")])
def test_a_command_does_not_wait_for_the_time_of_other_connections(
    cluster: Cluster, last: tuple[str | int, ...]
) -> None:
    # A command that had to wait for an earlier one of its connection is begun behind those that
    # others have sent since. Its own time counts nevertheless: it was sent before theirs.
    survivor = cluster.followers[0]
    stop_all_but(cluster, survivor.me)
    cluster.run(2 * SECOND)
    first, others = survivor.connect(), survivor.connect()
    first.send("GET", "k")
    first.send("SET", "k", "v")
    first.send(*last)
    cluster.run(TIMEOUT - 1000)
    others.send("SET", "k", "v")
    others.send("SET", "k", "v")
    cluster.settle()
    others.send("GET", "k")
    others.send("ONCE", 4, 1, 0, "DEL", "k")
    cluster.run(1000)
    assert first.take().count(b"\r\n") == 3
    assert others.take() == b""
    cluster.run(TIMEOUT - 1000)
    assert others.take() == NOT_EXECUTED * 2 + UNAVAILABLE + NOT_EXECUTED


def test_a_write_begun_late_is_given_up_in_time_though_others_are_before_it(
    cluster: Cluster,
) -> None:
    follower = cluster.followers[0]
    late, others = follower.connect(), follower.connect()
    cluster.holds = lambda packet: packet.to == follower.me  # neither reads nor writes end
    late.send("GET", "k")
    late.send("APPEND", "k", "late")
    cluster.run(1000)
    cluster.isolate(follower.me)
    cluster.run(TIMEOUT - 2000)
    others.send("APPEND", "k", "other")
    cluster.run(1000)
    assert late.take() == UNAVAILABLE + NOT_EXECUTED
    assert others.take() == b""
    cluster.heal()
    cluster.run(2 * SECOND)
    assert others.take() == b":5\r\n"
    assert value_of(cluster, "k") == b"other"


def test_a_node_that_was_paused_gives_up_what_came_just_before(cluster: Cluster) -> None:
    server = cluster.followers[0]
    client = server.connect()
    client.send("GET", "k")
    client.send("SET", "k", "v")
    client.send("ONCE", 4, 1, 0, "SET", "k", "v")
    server.read_clients()
    cluster.now += TIMEOUT  # nothing happens anywhere in this time
    cluster.settle()
    assert client.take() == UNAVAILABLE + NOT_EXECUTED * 2
    cluster.run(2 * SECOND)
    assert value_of(cluster, "k") is None


# ---------------------------------------------------------------------- the node's own session


def test_a_node_that_restarts_ends_its_earlier_session(cluster: Cluster) -> None:
    # 1. A write of its first life is on its way when the node dies.
    server = cluster.followers[0]
    client = server.connect()
    cluster.holds = is_forward
    client.send("APPEND", "k", "first")
    cluster.settle()
    (packet,) = cluster.held
    cluster.held = []
    cluster.holds = lambda _: False
    cluster.crash(server)
    # 2. In its next life it opens another session.
    cluster.restart(server)
    cluster.run(SECOND)
    client = server.connect()
    client.send("APPEND", "k", "second")
    cluster.settle()
    assert client.take() == b":6\r\n"
    # 3. Only then the write of the first life arrives.
    cluster.network.append(packet)
    cluster.run(SECOND)
    assert value_of(cluster, "k") == b"second"


def test_when_the_session_of_a_node_has_expired_its_writes_in_flight_are_unknown(
    new_cluster: type[Cluster],
) -> None:
    cluster = new_cluster(
        session_limits=SessionLimits(ttl_ms=2000),
        limits=NodeLimits(session_keepalive_us=SECOND),
    )
    cluster.run_until_led()
    follower = cluster.followers[0]
    cluster.isolate(follower.me)
    cluster.run(SECOND)
    client, other = follower.connect(), cluster.leader.connect()
    cluster.run(SECOND)
    client.send("APPEND", "k", "never")
    cluster.run(SECOND)
    other.send("PING")
    cluster.run(SECOND)
    other.send("APPEND", "k", "other")
    cluster.settle()
    cluster.heal()
    cluster.run(SECOND)
    assert client.take() == UNKNOWN
    # In its new session the node serves as before, and what was given up stays out of it.
    client.send("APPEND", "k", "again")
    cluster.settle()
    assert client.take() == b":10\r\n"
    assert value_of(cluster, "k") == b"otheragain"


@pytest.mark.parametrize("size", [1, 3])
def test_a_node_that_nobody_talks_to_keeps_its_session_alive(
    new_cluster: type[Cluster], size: int
) -> None:
    cluster = new_cluster(
        size,
        session_limits=SessionLimits(ttl_ms=3000),
        limits=NodeLimits(session_keepalive_us=SECOND),
    )
    cluster.run_until_led()
    client = cluster.up[-1].connect()
    cluster.run(20 * SECOND)
    client.send("APPEND", "k", "x")
    cluster.settle()
    assert client.take() == b":1\r\n"


def test_a_node_that_is_not_idle_needs_no_keep_alive(new_cluster: type[Cluster]) -> None:
    cluster = new_cluster(1, limits=NodeLimits(session_keepalive_us=SECOND))
    cluster.run_until_led()
    client = cluster.leader.connect()
    cluster.settle()
    before = cluster.leader.node.raft.last_index
    for _ in range(10):
        client.send("APPEND", "k", "x")
        cluster.run(SECOND // 2)
    assert cluster.leader.node.raft.last_index == before + 10
