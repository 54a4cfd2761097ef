"""Writes of a plain connection that come together are kept as one, and differ in nothing else."""

from __future__ import annotations

from typing import TYPE_CHECKING

import hiredis
import pytest
from tests.node.conftest import encode

from quorate.codec.batch import Submission, decode_batch
from quorate.node.gateway import MAX_JOINED_BYTES
from quorate.node.limits import NodeLimits
from quorate.node.requests import REQUEST_BYTES
from quorate.raft.entry import EntryKind
from quorate.replica.sessions import SessionLimits

if TYPE_CHECKING:
    from tests.node.conftest import Cluster, Server

SECOND = 1_000_000


def submissions(server: Server) -> list[Submission]:
    """All that is committed."""
    raft = server.node.raft
    entries = [raft.committed_entry(index) for index in range(1, raft.commit_index + 1)]
    operations = [
        operation
        for entry in entries
        if entry.kind is EntryKind.DATA
        for operation in decode_batch(entry.data)
    ]
    return [operation for operation in operations if isinstance(operation, Submission)]


def appends(count: int) -> bytes:
    return encode("APPEND", "k", "x") * count


def test_each_has_a_number_and_a_reply_of_its_own(new_cluster: type[Cluster]) -> None:
    cluster = new_cluster(1)
    server = cluster.run_until_led()
    client = server.connect()
    client.send_raw(appends(3) + encode("SET", "k", "v") + appends(1) + encode("DEL", "k", "l"))
    cluster.settle()
    assert client.take_replies() == [1, 2, 3, b"OK", 2, 1]
    (submission,) = submissions(server)
    assert submission.first_seq == 1
    assert len(submission.commands) == 6


def test_what_is_between_them_is_answered_in_its_place(new_cluster: type[Cluster]) -> None:
    cluster = new_cluster(1)
    server = cluster.run_until_led()
    client = server.connect()
    one = appends(2) + encode("PING") + appends(1) + encode("GET", "k") + appends(1)
    client.send_raw(one * 2)
    cluster.settle()
    assert client.take_replies() == [
        *(1, 2, b"PONG", 3, b"xxx", 4),
        *(5, 6, b"PONG", 7, b"xxxxxxx", 8),
    ]


def test_one_that_fails_fails_alone(new_cluster: type[Cluster]) -> None:
    cluster = new_cluster(1, limits=NodeLimits(max_value_bytes=2 * 1024 * 1024))
    server = cluster.run_until_led()
    client = server.connect()
    client.send("SET", "k", "v" * (1024 * 1024 - 1))
    client.send_raw(appends(3) + encode("SET", "l", "v"))
    cluster.settle()
    first, one, *failed, last = client.take_replies()
    assert (first, one, last) == (b"OK", 1024 * 1024, b"OK")
    assert [type(reply) for reply in failed] == [hiredis.ReplyError] * 2


@pytest.mark.parametrize("window", [1, 2, 3, 5])
def test_they_need_not_fit_into_the_window_of_the_servers(
    new_cluster: type[Cluster], window: int
) -> None:
    """What is executed of them is acknowledged before the last one is."""
    cluster = new_cluster(1, session_limits=SessionLimits(ordered_window=window))
    server = cluster.run_until_led()
    client = server.connect()
    client.send_raw(appends(9))
    cluster.run(SECOND)
    assert client.take_replies() == list(range(1, 10))


def test_of_those_that_are_given_up_each_says_what_is_known_of_it(
    new_cluster: type[Cluster],
) -> None:
    cluster = new_cluster(
        1,
        limits=NodeLimits(retry_delay_us=SECOND, command_timeout_us=SECOND // 2),
        session_limits=SessionLimits(ordered_window=2),
    )
    server = cluster.run_until_led()
    client = server.connect()
    client.send_raw(appends(4))
    cluster.run(SECOND // 2)
    one, two, *others = client.take_replies()
    assert (one, two) == (1, 2)
    assert [str(reply).split()[0] for reply in others] == ["UNKNOWN"] * 2


def test_each_counts_as_a_command_of_its_connection(new_cluster: type[Cluster]) -> None:
    cluster = new_cluster(3, limits=NodeLimits(connection_pending=5))
    leader = cluster.run_until_led()
    client = leader.connect()
    cluster.isolate(leader.me)
    client.send_raw(appends(20))
    cluster.settle()
    assert leader.node.is_congested(client.id)
    cluster.heal()
    cluster.run(SECOND)
    assert client.take_replies() == list(range(1, 21))


def test_what_is_kept_together_is_bounded(new_cluster: type[Cluster]) -> None:
    """Else a submission of many might be much larger than one may be."""
    cluster = new_cluster(1, limits=NodeLimits(command_timeout_us=SECOND))
    server = cluster.run_until_led()
    client = server.connect()
    slots = set()
    command = encode("SET", "k", "v" * 1000)
    most = MAX_JOINED_BYTES // (1000 + REQUEST_BYTES)
    client.send_raw(command * (3 * most))
    gateway = server.node._gateway  # noqa: SLF001 - how they are kept is seen nowhere else
    server.read_clients()
    for slot in gateway._unanswered:  # noqa: SLF001
        slots.add(slot)
        assert slot.size <= MAX_JOINED_BYTES
    assert len(slots) >= 3
    cluster.settle()
    assert client.take_replies() == [b"OK"] * (3 * most)
