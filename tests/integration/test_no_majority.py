"""Without a majority nothing is acknowledged and nothing stale is served; with one, all goes on."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import pytest

from quorate.clerk.errors import NotExecutedError, OutcomeUnknownError, UnavailableError
from quorate.runtime.clerk import Clerk
from quorate.wire.resp_reply import ErrorReply

if TYPE_CHECKING:
    from tests.integration.conftest import Cluster, Connection

    from quorate.raft.configuration import NodeId

pytestmark = pytest.mark.processes

COMMAND_TIMEOUT_S = 0.5
SERVE_OPTIONS = ["--command-timeout-s", str(COMMAND_TIMEOUT_S)]


@pytest.fixture
def cluster(healed_cluster: Cluster) -> Cluster:
    return healed_cluster


def check_errors_in_time(client: Connection, *codes: str, command: tuple[str, ...]) -> None:
    began = time.perf_counter()
    reply = client.call(*command)
    took = time.perf_counter() - began
    assert isinstance(reply, ErrorReply)
    assert reply.code in codes
    assert 0.9 * COMMAND_TIMEOUT_S < took < COMMAND_TIMEOUT_S + 1.5


def check_nobody_is_answered(cluster: Cluster, survivor: NodeId, key: str) -> None:
    with cluster.connect(survivor) as client:
        check_errors_in_time(client, "UNAVAILABLE", command=("GET", key))
        check_errors_in_time(client, "UNKNOWN", "NOTEXECUTED", command=("APPEND", key, "b;"))
        check_errors_in_time(client, "UNAVAILABLE", command=("MGET", key, "nowhere"))
        # What needs no majority is answered.
        assert client.call("PING") == b"PONG"


@pytest.mark.parametrize("survivor_is", ["leader", "follower"])
def test_one_of_three_serves_nothing_until_a_second_one_is_back(
    cluster: Cluster, key: str, survivor_is: str
) -> None:
    leader, followers = cluster.leader(), cluster.followers()
    survivor = leader if survivor_is == "leader" else followers[0]
    dead = [node for node in cluster.nodes if node != survivor]
    with Clerk(cluster.servers) as clerk:
        assert clerk.append(key, "a;") == 2
        cluster.kill(*dead)
        check_nobody_is_answered(cluster, survivor, key)
        with pytest.raises(UnavailableError):
            clerk.get(key, timeout=0.5)
        with pytest.raises((NotExecutedError, OutcomeUnknownError)):
            clerk.append(key, "c;", timeout=0.5)
        cluster.restart(dead[0])
        clerk.append(key, "d;")
        value = clerk.get(key)
        cluster.restart(dead[1])
        cluster.wait_until_caught_up()
    # b and c failed or are unknown: there once or not at all. By now that is decided for good.
    elements = value.split(b";")[:-1]
    assert elements[0] == b"a"
    assert elements[-1] == b"d"
    assert sorted(elements[1:-1]) in ([], [b"b"], [b"c"], [b"b", b"c"])
    for node in cluster.nodes:
        with cluster.connect(node) as client:
            assert client.call("GET", key) == value


def test_followers_that_are_paused_are_no_majority_either(cluster: Cluster, key: str) -> None:
    # Their sockets stay open: nothing tells the leader but their silence.
    leader = cluster.leader()
    with cluster.connect(leader) as client:
        assert client.call("APPEND", key, "a;") == 2
    with cluster.paused(*cluster.followers()):
        check_nobody_is_answered(cluster, leader, key)
        assert cluster.status(leader).role != "leader"
    cluster.wait_until_serving()
    with cluster.connect(leader) as client:
        assert client.call("GET", key) in (b"a;", b"a;b;")


def test_a_write_before_the_majority_is_lost_is_never_served_stale(
    cluster: Cluster, key: str
) -> None:
    # The survivor has heard of the first value; the other two commit a second one without it.
    survivor, *others = cluster.followers()[0], cluster.leader()
    third = next(node for node in cluster.nodes if node not in (survivor, *others))
    with cluster.connect(survivor) as client:
        assert client.call("SET", key, "first") == b"OK"
        with cluster.paused(survivor):
            with cluster.connect(others[0]) as other:
                assert other.call("SET", key, "second") == b"OK"
            cluster.kill(others[0], third)
        check_errors_in_time(client, "UNAVAILABLE", command=("GET", key))
        cluster.restart(third)
        # Read through the survivor, whose own table has the first value.
        assert client.call("GET", key) == b"second"
