"""What a node says of itself and of its leader; answered by that node alone."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from quorate.node.status import LinkStatus
from quorate.raft.settings import Settings

if TYPE_CHECKING:
    from tests.node.conftest import Cluster, Server

SECOND = 1_000_000


def ask(cluster: Cluster, server: Server, *words: str) -> Any:
    client = server.connect()
    client.send(*words)
    cluster.settle()
    (reply,) = client.take_replies()
    client.close()
    return reply


def status(cluster: Cluster, server: Server) -> dict[str, Any]:
    fields = json.loads(ask(cluster, server, "QUORATE.STATUS"))
    assert isinstance(fields, dict)
    return fields


def info(cluster: Cluster, server: Server, *words: str) -> dict[str, dict[str, str]]:
    """The sections of INFO."""
    sections: dict[str, dict[str, str]] = {}
    for section in ask(cluster, server, "INFO", *words).decode().split("# ")[1:]:
        title, *fields = section.split()
        sections[title] = dict(field.split(":", 1) for field in fields)
    return sections


def alone(cluster: Cluster) -> Server:
    """The only server that is left, once it knows of no leader."""
    survivor = cluster.followers[0]
    for server in list(cluster.up):
        if server is not survivor:
            cluster.crash(server)
    cluster.run(2 * SECOND)
    return survivor


def test_every_node_names_the_leaders_client_address(cluster: Cluster) -> None:
    expected = f"client:{cluster.leader.me}".encode()
    assert [ask(cluster, server, "QUORATE.LEADER") for server in cluster.up] == [expected] * 3


def test_a_node_without_a_leader_names_none(cluster: Cluster) -> None:
    server = alone(cluster)
    assert ask(cluster, server, "QUORATE.LEADER") is None
    assert status(cluster, server)["leader"] is None
    assert info(cluster, server)["Replication"]["raft_leader"] == ""


def test_the_new_leader_is_named_after_a_change(cluster: Cluster) -> None:
    old = cluster.leader
    cluster.crash(old)
    cluster.run(2 * SECOND)
    new = cluster.leader
    assert new is not old
    for server in cluster.up:
        assert ask(cluster, server, "QUORATE.LEADER") == f"client:{new.me}".encode()
        assert status(cluster, server)["term"] == new.node.raft.current_term


def test_the_status_of_each_node(cluster: Cluster) -> None:
    leader, (first, _) = cluster.leader, cluster.followers
    first.connect()
    client = leader.connect()
    for _ in range(3):
        client.send("APPEND", "k", "x")
        cluster.run(SECOND)  # the followers hear of the commitment with the next heartbeat
    for server in cluster.up:
        assert status(cluster, server) == {
            "id": server.me,
            "role": "leader" if server is leader else "follower",
            "term": 1,
            "leader": leader.me,
            "commit_index": 7,  # a no-op, a session for each node, three writes
            "last_applied": 7,
            "last_index": 7,
            "last_term": 1,
            "raft_state_bytes": server.disk.size,
            "snapshot_index": 0,
            "snapshot_bytes": 0,
            "snapshot_age_ms": None,
            "snapshot_is_lost": False,
            "snapshot_has_failed": False,
            "snapshot_taking": None,
            "snapshot_receiving": None,
            "snapshot_restoring": None,
            "snapshots_sending": [],
            "members": [
                {
                    "id": member,
                    "votes": True,
                    "is_promoting": False,
                    "peer_address": f"peer:{member}",
                    "client_address": f"client:{member}",
                    "data_id": "",
                    "match_index": 7 if server is leader and member != leader.me else None,
                    "silent_ms": 0 if server is leader and member != leader.me else None,
                    "is_in_touch": True if server is leader and member != leader.me else None,
                }
                for member in (1, 2, 3)
            ],
            "configuration_index": 0,
            "configuration_is_committed": True,
            "is_transferring": False,
            "links": [
                {"to": to, "is_up": False, "is_refused": False, "trouble": "it was not made yet"}
                for to in (1, 2, 3)
                if to != server.me
            ],
            "client_address": f"client:{server.me}",
            "peer_address": f"peer:{server.me}",
            "cluster_id": "cluster",
            "data_id": "",
            "pid": 4000 + server.me,
            "connections": 2 if server in (leader, first) else 1,  # who asks counts
            "version": "1.2.3",
        }


def test_a_node_that_lags_says_so(cluster: Cluster) -> None:
    follower = cluster.followers[0]
    cluster.isolate(follower.me)
    client = cluster.leader.connect()
    client.send("SET", "k", "v")
    cluster.settle()
    behind, ahead = status(cluster, follower), status(cluster, cluster.leader)
    assert behind["last_index"] < ahead["last_index"]
    assert behind["commit_index"] < ahead["commit_index"]


def test_the_leader_judges_who_is_in_touch_by_the_election_timeout(cluster: Cluster) -> None:
    leader, (cut, other) = cluster.leader, cluster.followers
    cluster.isolate(cut.me)
    timeout = Settings().election_timeout_us

    def judged() -> dict[int, bool | None]:
        return {member.id: member.is_in_touch for member in leader.node.status().members}

    cluster.run(timeout // 2)
    assert judged() == {leader.me: None, cut.me: True, other.me: True}
    cluster.run(timeout)
    assert judged() == {leader.me: None, cut.me: False, other.me: True}


def test_a_link_that_is_refused_is_told_from_one_that_cannot_be_made(cluster: Cluster) -> None:
    node = cluster.leader.node
    other = cluster.followers[0].me

    def link() -> LinkStatus:
        return next(link for link in node.status().links if link.to == other)

    node.link_failed(other, "no route", is_refused=False)
    assert link() == LinkStatus(other, is_up=False, is_refused=False, trouble="no route")
    node.link_failed(other, "a wrong cluster", is_refused=True)
    assert link() == LinkStatus(other, is_up=False, is_refused=True, trouble="a wrong cluster")
    node.link_made(other)
    assert link() == LinkStatus(other, is_up=True, is_refused=False, trouble="")


def test_a_candidate_says_so(cluster: Cluster) -> None:
    server = alone(cluster)
    assert status(cluster, server)["role"] == "pre-candidate"


def test_what_its_disk_holds_is_known_from_the_start(cluster: Cluster) -> None:
    server = cluster.followers[0]
    size = server.node.status().raft_state_bytes
    assert size == server.disk.size > 0
    cluster.crash(server)
    cluster.restart(server)
    assert server.node.status().raft_state_bytes == size


@pytest.mark.parametrize("words", [(), ("replication",), ("everything",), ("a", "b")])
def test_info_has_the_same_in_redis_format(cluster: Cluster, words: tuple[str, ...]) -> None:
    client = cluster.leader.connect()
    client.send("MSET", "a", "1", "b", "2")
    cluster.run(SECOND)
    client.close()
    server = cluster.followers[0]
    assert info(cluster, server, *words) == {
        "Server": {
            "quorate_version": "1.2.3",
            "process_id": str(4000 + server.me),
            "client_address": f"client:{server.me}",
        },
        "Clients": {"connected_clients": "1"},
        "Persistence": {
            "loading": "0",
            "rdb_bgsave_in_progress": "0",
            "rdb_last_bgsave_status": "ok",
            "snapshot_index": "0",
            "snapshot_bytes": "0",
            "snapshot_age_ms": "",
            "snapshot_is_lost": "0",
            "snapshot_taking": "",
            "snapshot_receiving": "",
            "snapshot_restoring": "",
        },
        "Replication": {
            "role": "master",
            "raft_role": "follower",
            "raft_term": "1",
            "raft_leader": str(cluster.leader.me),
            "raft_commit_index": "5",
            "raft_last_applied": "5",
            "raft_state_bytes": str(server.disk.size),
        },
        "Keyspace": {"db0": "keys=2,expires=0,avg_ttl=0"},
    }


def test_a_node_answers_for_itself_while_there_is_no_majority(cluster: Cluster) -> None:
    server = alone(cluster)
    client = server.connect()
    for words in [("PING",), ("HELLO", "3"), ("INFO",), ("COMMAND", "COUNT"), ("CLIENT", "ID")]:
        client.send(*words)
    cluster.settle()
    assert len(client.take_replies()) == 5
