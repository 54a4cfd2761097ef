"""`QUORATE.MEMBER`: who may be added, removed and promoted, and what the leader does by itself."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from quorate.node.limits import NodeLimits
from quorate.raft.messages import ForwardAnswer, InstallSnapshot
from quorate.raft.settings import Settings
from quorate.replica.snapshot_taker import SnapshotSettings

if TYPE_CHECKING:
    from tests.node.conftest import Client, Cluster

    from quorate.raft.configuration import Member

SECOND = 1_000_000
ADD_FOUR = ("QUORATE.MEMBER", "ADD", 4, "peer:4", "client:4", "data-4")


def ask(cluster: Cluster, client: Client, *words: str | int) -> str:
    """The reply to one command, as text."""
    client.send(*words)
    cluster.settle()
    reply = client.take_replies().pop()
    return reply.decode() if isinstance(reply, bytes) else str(reply)


def voters(cluster: Cluster) -> tuple[int, ...]:
    """Those that vote, as the leader knows them."""
    return cluster.leader.node.raft.configuration.voter_ids


def members(cluster: Cluster) -> dict[int, Member]:
    """All members by id, as the leader knows them."""
    return {member.id: member for member in cluster.leader.node.raft.configuration.members}


@pytest.fixture
def client(cluster: Cluster) -> Client:
    return cluster.leader.connect()


def test_a_node_that_is_added_becomes_a_voter(cluster: Cluster, client: Client) -> None:
    cluster.add(4)
    assert ask(cluster, client, *ADD_FOUR) == "OK"
    cluster.run(SECOND)
    assert voters(cluster) == (1, 2, 3, 4)
    assert members(cluster)[4].data_id == "data-4"
    assert members(cluster)[4].client_address == "client:4"
    assert cluster[4].node.state.last_applied == cluster.leader.node.state.last_applied
    assert ask(cluster, client, *ADD_FOUR) == "OK", "a repetition does no harm"


def test_a_learner_stays_one_until_it_is_promoted(cluster: Cluster, client: Client) -> None:
    cluster.add(4)
    assert ask(cluster, client, *ADD_FOUR, "LEARNER") == "OK"
    cluster.run(5 * SECOND)
    assert voters(cluster) == (1, 2, 3)
    assert ask(cluster, client, "QUORATE.MEMBER", "PROMOTE", 4) == "OK"
    cluster.run(SECOND)
    assert voters(cluster) == (1, 2, 3, 4)


def test_who_is_to_vote_is_not_made_a_mere_learner(cluster: Cluster, client: Client) -> None:
    cluster.add(4)
    cluster.isolate(cluster[4].me)
    assert ask(cluster, client, *ADD_FOUR) == "OK"
    refusal = ask(cluster, client, *ADD_FOUR, "LEARNER")
    assert refusal == (
        "ERR member 4 is to vote as soon as it has caught up: if it is not to, `quorate member "
        "remove 4` first"
    )


def test_a_member_is_removed(cluster: Cluster, client: Client) -> None:
    gone = cluster.followers[0].me
    assert ask(cluster, client, "QUORATE.MEMBER", "REMOVE", gone) == "OK"
    cluster.run(SECOND)
    assert gone not in voters(cluster)
    assert "no member" in ask(cluster, client, "QUORATE.MEMBER", "REMOVE", gone)


def test_what_would_lose_the_quorum_is_refused_unless_forced(
    cluster: Cluster, client: Client
) -> None:
    dead, alive = cluster.followers
    cluster.crash(dead)
    cluster.run(2 * SECOND)
    refusal = ask(cluster, client, "QUORATE.MEMBER", "REMOVE", alive.me)
    assert f"{dead.me} cannot be reached" in refusal
    assert "--force" in refusal
    assert ask(cluster, client, "QUORATE.MEMBER", "REMOVE", alive.me, "FORCE") == "OK"
    assert len(voters(cluster)) == 2


@pytest.mark.parametrize("command", ["REMOVE", "TRANSFER"])
def test_who_was_cut_off_just_now_is_not_counted_on(
    cluster: Cluster, client: Client, command: str
) -> None:
    """It was, for the election timeout after its last answer: then nothing could be written."""
    dead, alive = cluster.followers
    cluster.crash(dead)
    cluster.leader.link_changed(dead.me, up=False)
    about = alive.me if command == "REMOVE" else dead.me
    assert f"{dead.me} cannot be reached" in ask(cluster, client, "QUORATE.MEMBER", command, about)
    assert len(voters(cluster)) == 3
    assert not cluster.leader.node.raft.is_transferring


def test_the_dead_one_may_be_removed(cluster: Cluster, client: Client) -> None:
    dead = cluster.followers[0]
    cluster.crash(dead)
    cluster.run(2 * SECOND)
    assert ask(cluster, client, "QUORATE.MEMBER", "REMOVE", dead.me) == "OK"
    assert ask(cluster, client, "SET", "k", "v") == "OK"


def test_only_the_leader_changes_the_members(cluster: Cluster) -> None:
    follower = cluster.followers[0].connect()
    reply = ask(cluster, follower, "QUORATE.MEMBER", "REMOVE", 1)
    assert reply == f"NOTLEADER client:{cluster.leader.me}"


def test_two_changes_at_once_are_refused_for_now(cluster: Cluster, client: Client) -> None:
    for follower in cluster.followers:
        cluster.isolate(follower.me)
    first, second = (follower.me for follower in cluster.followers)
    assert ask(cluster, client, "QUORATE.MEMBER", "REMOVE", first, "FORCE") == "OK"
    reply = ask(cluster, client, "QUORATE.MEMBER", "REMOVE", second, "FORCE")
    assert reply == "TRYAGAIN not now: the change before this one is not committed yet"
    # Its answer may have been lost: who repeats it must not be told that it cannot be done.
    reply = ask(cluster, client, "QUORATE.MEMBER", "REMOVE", first, "FORCE")
    assert reply == "TRYAGAIN not now: the change before this one is not committed yet"


@pytest.mark.parametrize(
    ("words", "text"),
    [
        (["ADD", 4, "peer:4", "client:4"], "syntax"),
        (["ADD", 4, "peer:4", "client:4", "d", "VOTER"], "syntax"),
        (["ADD", 0, "peer:4", "client:4", "d"], "'0' is not the id of a node"),
        (["ADD", 4, "peer", "client:4", "d"], "bad server address 'peer'"),
        (
            ["ADDRESS", 3, "a..b:3", "client:3"],
            "bad server address 'a..b:3': no host has such a name",
        ),
        (["ADD", 4, "0.0.0.0:8", "client:4", "d"], "nobody else finds the node at 0.0.0.0:8"),
        (["ADDRESS", 3, "peer:3", "[::]:7"], "nobody else finds the node at [::]:7"),
        (["ADDRESS", 3, "peer:3", "[::0]:7"], "nobody else finds the node at [::0]:7"),
        (["ADD", 4, "h:4", "h:4", "d"], "clients and servers cannot both connect to h:4"),
        (["ADDRESS", 3, "h:3", "h:3"], "clients and servers cannot both connect to h:3"),
        (["ADD", 4, "peer:4", "client:4", ""], "bad data id"),
        (["ADD", 4, "peer:1", "client:4", "d"], "member 1 has the address peer:1"),
        (["ADD", 2, "peer:4", "client:4", "d"], "there is a member 2 already"),
        (["REMOVE", 9], "there is no member 9: the members are 1, 2, 3"),
        (["PROMOTE", 9], "there is no learner 9"),
        (["ADDRESS", 9, "peer:9", "client:9"], "there is no member 9"),
        (["TRANSFER", 9], "node 9 is no voter"),
        (["DANCE"], "syntax"),
    ],
)
def test_nonsense_is_refused(
    cluster: Cluster, client: Client, words: list[str | int], text: str
) -> None:
    assert text in ask(cluster, client, "QUORATE.MEMBER", *words)


def test_addresses_are_changed(cluster: Cluster, client: Client) -> None:
    follower = cluster.followers[0].me
    command = ("QUORATE.MEMBER", "ADDRESS", follower, "peer:99", "client:99")
    assert ask(cluster, client, *command) == "OK"
    assert members(cluster)[follower].peer_address == "peer:99"


def test_the_leader_puts_the_data_ids_into_the_configuration(cluster: Cluster) -> None:
    leader = cluster.leader
    for follower in cluster.followers:
        leader.node.peer_identified(follower.me, f"data-{follower.me}")
    cluster.run(SECOND)
    for server in cluster.up:
        known = server.node.raft.configuration
        ids = {member.id: member.data_id for member in known.voters if member.id != leader.me}
        assert ids == {other.me: f"data-{other.me}" for other in cluster.followers}


# --------------------------------------------------------------------- leadership


def test_a_leader_that_is_to_go_hands_over_before_it_is_removed(
    cluster: Cluster, client: Client
) -> None:
    # Else it would never learn what has become of what its clients have sent it last.
    old = cluster.leader
    client.send("QUORATE.MEMBER", "REMOVE", old.me)
    client.send("APPEND", "k", "x")
    cluster.settle()
    cluster.run(SECOND)
    refusal, length = client.take_replies()
    assert str(refusal) == "TRYAGAIN not now: leadership is handed over first"
    assert length == 1
    assert cluster.leader is not old
    assert ask(cluster, cluster.leader.connect(), "QUORATE.MEMBER", "REMOVE", old.me) == "OK"
    cluster.run(SECOND)
    assert old.me not in members(cluster)


def test_a_removed_node_sends_its_clients_elsewhere_but_for_those_who_will_be_answered(
    cluster: Cluster,
) -> None:
    removed, leader = cluster.followers[0], cluster.leader
    waiting, other = removed.connect(), removed.connect()
    assert ask(cluster, waiting, "APPEND", "k", "x") == "1"
    assert ask(cluster, leader.connect(), "QUORATE.MEMBER", "REMOVE", removed.me) == "OK"
    waiting.send("APPEND", "k", "x")
    waiting.send("GET", "k")
    cluster.collect()
    removed.node.removed()
    for words in (("APPEND", "k", "y"), ("GET", "k"), ("ONCE", 4, 1, 0, "SET", "k", "v")):
        answer = ask(cluster, other, *words)
        assert answer == "NOTLEADER this node was removed from the cluster: use another one"
    assert ask(cluster, other, "PING") == "PONG"
    length, value = waiting.take_replies()
    assert length == 2
    assert str(value).startswith("NOTLEADER")


def test_a_removed_node_does_not_wait_for_answers_without_a_leader(cluster: Cluster) -> None:
    removed = cluster.followers[0]
    waiting = removed.connect()
    cluster.isolate(removed.me)
    waiting.send("APPEND", "k", "x")
    cluster.settle()
    removed.node.removed()
    removed.link_changed(cluster.leader.me, up=False)
    cluster.run(2 * Settings().election_timeout_us)
    (reply,) = waiting.take_replies()
    assert str(reply).startswith("UNKNOWN"), "it was on its way to the leader"


def test_a_removed_node_gives_up_in_time_what_it_had_begun(cluster: Cluster) -> None:
    """It is not answered if the answer is lost, as it is not sent again."""
    removed = cluster.followers[0]
    waiting = removed.connect()
    assert ask(cluster, waiting, "APPEND", "k", "x") == "1"
    cluster.loses = lambda packet: isinstance(packet.message, ForwardAnswer)
    waiting.send("APPEND", "k", "x")
    cluster.settle()
    removed.node.removed()
    cluster.run(NodeLimits().command_timeout_us + SECOND // 10)
    (reply,) = waiting.take_replies()
    assert str(reply).startswith("UNKNOWN")
    due = removed.node.deadline(cluster.now)
    assert due is None or due > cluster.now


@pytest.mark.parametrize("words", [(), (2,)], ids=["to anybody", "to one"])
def test_after_a_pause_a_leader_does_not_hand_over_what_it_has_lost(
    cluster: Cluster, words: tuple[int, ...]
) -> None:
    client = cluster.leader.connect()
    cluster.now += 5 * SECOND
    client.send("QUORATE.MEMBER", "TRANSFER", *words)
    cluster.collect()
    (reply,) = client.take_replies()
    assert str(reply).startswith("TRYAGAIN")


def test_two_members_cannot_have_the_same_data(cluster: Cluster, client: Client) -> None:
    """If one of them were removed, the other one would be refused everywhere."""
    cluster.add(4)
    assert ask(cluster, client, *ADD_FOUR) == "OK"
    cluster.run(SECOND)
    refusal = ask(cluster, client, "QUORATE.MEMBER", "ADD", 5, "peer:5", "client:5", "data-4")
    assert refusal.startswith("ERR member 4 has the data directory data-4")


def test_leadership_is_not_handed_over_to_who_is_gone(cluster: Cluster, client: Client) -> None:
    dead = cluster.followers[0]
    cluster.crash(dead)
    cluster.run(2 * SECOND)
    refusal = ask(cluster, client, "QUORATE.MEMBER", "TRANSFER", dead.me)
    assert refusal == f"ERR node {dead.me} cannot be reached, so it cannot lead"
    assert not cluster.leader.node.raft.is_transferring, "writes would wait"


@pytest.fixture
def one_is_far_behind(new_cluster: type[Cluster]) -> Cluster:
    """Its first follower was away, and its snapshot is on the way until `release`."""
    cluster = new_cluster(snapshots=SnapshotSettings(max_raft_state=8192))
    cluster.run_until_led()
    client, behind = cluster.leader.connect(), cluster.followers[0]
    cluster.isolate(behind.me)
    for number in range(50):
        assert ask(cluster, client, "SET", f"key-{number}", "x" * 300) == "OK"
    cluster.holds = lambda packet: isinstance(packet.message, InstallSnapshot)
    cluster.cut.clear()
    cluster.run(SECOND // 10)
    return cluster


def test_nobody_is_removed_without_whom_who_is_far_behind_is_needed(
    one_is_far_behind: Cluster,
) -> None:
    """Nothing could be written before it has the snapshot."""
    cluster = one_is_far_behind
    client, (behind, other) = cluster.leader.connect(), cluster.followers
    refusal = ask(cluster, client, "QUORATE.MEMBER", "REMOVE", other.me)
    assert refusal == (
        f"TRYAGAIN not now: voter {behind.me} is being brought up, and is needed without member "
        f"{other.me}"
    )
    assert len(voters(cluster)) == 3
    assert ask(cluster, client, "QUORATE.MEMBER", "REMOVE", behind.me) == "OK"
    assert ask(cluster, client, "SET", "k", "v") == "OK"


def test_leadership_is_not_handed_over_to_who_is_far_behind_until_it_has_caught_up(
    one_is_far_behind: Cluster,
) -> None:
    cluster = one_is_far_behind
    client, behind = cluster.leader.connect(), cluster.followers[0]
    refusal = ask(cluster, client, "QUORATE.MEMBER", "TRANSFER", behind.me)
    assert refusal == f"TRYAGAIN not now: node {behind.me} is being brought up"
    assert not cluster.leader.node.raft.is_transferring, "writes would wait"
    cluster.release()
    cluster.run(SECOND)
    assert ask(cluster, client, "QUORATE.MEMBER", "TRANSFER", behind.me) == "OK"
    cluster.run(SECOND)
    assert cluster.leader is behind


def test_leadership_is_handed_over_and_what_comes_meanwhile_is_not_lost(
    cluster: Cluster, client: Client
) -> None:
    old, (other, _) = cluster.leader, cluster.followers
    client.send("QUORATE.MEMBER", "TRANSFER", other.me)
    client.send("APPEND", "k", "x")
    for server in cluster.followers:
        server.connect().send("APPEND", "k", "y")
    cluster.settle()
    cluster.run(SECOND)
    assert cluster.leader is other
    assert old.node.raft.current_term == other.node.raft.current_term == 2
    assert client.take_replies()[0] == b"OK"
    assert ask(cluster, client, "STRLEN", "k") == "3"


def test_a_leader_that_nobody_follows_keeps_what_it_had_taken_in(
    cluster: Cluster, client: Client
) -> None:
    other = cluster.followers[0]
    cluster.isolate(other.me)
    assert ask(cluster, client, "QUORATE.MEMBER", "TRANSFER", other.me) == "OK"
    client.send("SET", "k", "v")
    cluster.settle()
    assert client.take_replies() == []
    cluster.run(SECOND)
    assert client.take_replies() == [b"OK"], "after an election timeout it goes on"
