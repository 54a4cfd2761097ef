"""Whole nodes with snapshots: the log stays short, and no client notices."""

from __future__ import annotations

import itertools
import json
from typing import TYPE_CHECKING, Any

import hiredis
import msgspec
import pytest

from quorate.raft.messages import PreVote, RequestVote
from quorate.raft.settings import Settings
from quorate.replica.snapshot_taker import NEVER, SnapshotSettings
from quorate.storage.snapshots import RECEIVED

if TYPE_CHECKING:
    from tests.node.conftest import Client, Cluster, Server

SECOND = 1_000_000
TIMEOUT = 3 * SECOND
BOUND = 8 * 1024
SMALL = SnapshotSettings(max_raft_state=BOUND)
IN_PARTS = SnapshotSettings(max_raft_state=NEVER, part_bytes=1)
"""A part holds one section, of 64 KiB."""
BIG = "x" * 60_000
"""Three values of this size are a state of three sections."""
CHUNKS = Settings(max_chunk_bytes=50_000)


def status(server: Server) -> dict[str, Any]:
    fields = json.loads(ask_alone(server, "QUORATE.STATUS"))
    assert isinstance(fields, dict)
    return fields


def ask_alone(server: Server, *words: str) -> Any:
    """The answer of this node alone; nothing else moves."""
    client = server.connect()
    client.send(*words)
    server.turn()
    (reply,) = client.take_replies()
    client.close()
    return reply


def ask(cluster: Cluster, server: Server, *words: str | int) -> Any:
    client = server.connect()
    client.send(*words)
    cluster.settle()
    (reply,) = client.take_replies()
    client.close()
    return reply


def fill(cluster: Cluster, commands: int = 60, at: Server | None = None) -> None:
    """Writes more than a small log holds."""
    client = (at or cluster.leader).connect()
    for number in range(commands):
        client.send("SET", f"key-{number}", "x" * 300)
        cluster.run(1000)
    assert client.take_replies() == [b"OK"] * commands
    client.close()
    cluster.run(SECOND)


def write_big_values(cluster: Cluster, values: int = 3) -> None:
    for number in range(values):
        assert ask(cluster, cluster.leader, "SET", f"big-{number}", BIG) == b"OK"
    cluster.run(SECOND)


def started(new_cluster: type[Cluster], *args: Any, **settings: Any) -> Cluster:
    cluster = new_cluster(*args, **settings)
    cluster.run_until_led()
    cluster.settle()
    return cluster


def snapshot_everywhere(cluster: Cluster) -> None:
    for server in cluster.up:
        assert ask_alone(server, "QUORATE.SNAPSHOT").startswith(b"Background snapshot")
    cluster.run(SECOND)
    for server in cluster.up:
        assert server.node.raft.snapshot.index > 0


def restart_all(cluster: Cluster) -> None:
    for server in list(cluster.up):
        cluster.crash(server)
    for node in sorted(cluster.down):
        cluster.restart(cluster[node])
    cluster.run_until_led()
    cluster.run(SECOND)


@pytest.fixture
def small(new_cluster: type[Cluster]) -> Cluster:
    """Three nodes whose log may have 8 KiB."""
    return started(new_cluster, snapshots=SMALL)


@pytest.fixture
def on_demand(new_cluster: type[Cluster]) -> Cluster:
    """Three nodes that take a snapshot only when asked to; then the whole log before it goes."""
    return started(new_cluster, snapshots=SnapshotSettings(max_raft_state=NEVER))


@pytest.fixture
def parts(new_cluster: type[Cluster]) -> Cluster:
    """The same, one section at a time, with a state of three sections."""
    cluster = started(new_cluster, snapshots=IN_PARTS, settings=CHUNKS)
    write_big_values(cluster)
    return cluster


@pytest.fixture
def single(new_cluster: type[Cluster]) -> Cluster:
    """The same with one node."""
    cluster = started(new_cluster, 1, snapshots=IN_PARTS)
    write_big_values(cluster)
    return cluster


# ---------------------------------------------------------------------- taken when due


def test_when_the_log_has_grown_enough_each_node_takes_a_snapshot_and_shortens_it(
    small: Cluster,
) -> None:
    fill(small)
    for server in small.up:
        found = status(server)
        assert found["snapshot_index"] > 0
        assert found["snapshot_bytes"] == server.disk.snapshots.newest.size  # type: ignore[union-attr]
        assert found["raft_state_bytes"] <= BOUND + 1000
        raft = server.node.raft
        assert 0 < raft.log_start.index <= raft.snapshot.index <= raft.commit_index


def test_the_disk_does_not_grow_with_the_number_of_writes(small: Cluster) -> None:
    fill(small)
    used = []
    for _ in range(6):
        fill(small, 100)
        used.append(max(server.disk.used for server in small.up))
    assert max(used) <= used[0] + 2 * 32 * 1024  # a segment more or less


def test_without_a_bound_none_is_taken(parts: Cluster) -> None:
    fill(parts)
    assert [status(server)["snapshot_index"] for server in parts.up] == [0, 0, 0]


def test_clients_are_served_while_a_snapshot_waits_for_the_disk(parts: Cluster) -> None:
    leader = parts.leader
    leader.disk.snapshots_are_stalled = True
    covered = leader.node.state.last_applied
    assert ask(parts, leader, "QUORATE.SNAPSHOT") == b"Background snapshot started"
    for number in range(20):
        assert ask(parts, leader, "APPEND", "k", "x") == number + 1
    leader.disk.snapshots_are_stalled = False
    parts.run(SECOND)
    # It is as of when it was begun, and what came behind it is in the log.
    assert status(leader)["snapshot_index"] == covered
    restart_all(parts)
    assert ask(parts, leader, "GET", "k") == b"x" * 20
    assert ask(parts, leader, "GET", "big-0") == BIG.encode()


# ---------------------------------------------------------------------- asked for


def test_a_node_takes_a_snapshot_when_it_is_asked_to_and_only_that_one(cluster: Cluster) -> None:
    ask(cluster, cluster.leader, "SET", "k", "v")
    cluster.run(SECOND)
    asked, other = cluster.followers
    applied = asked.node.state.last_applied
    assert ask(cluster, asked, "QUORATE.SNAPSHOT") == b"Background snapshot started"
    assert status(asked)["snapshot_index"] == applied
    assert status(asked)["snapshot_taking"] is None
    assert status(other)["snapshot_index"] == 0


def test_the_answer_comes_before_the_snapshot(parts: Cluster) -> None:
    server = parts.leader
    client = server.connect()
    client.send("QUORATE.SNAPSHOT")
    client.send("PING")
    server.turn()
    assert client.take_replies() == [b"Background snapshot started", b"PONG"]
    assert status(server)["snapshot_index"] == 0


def test_one_that_is_asked_for_while_one_is_taken_follows_it(parts: Cluster) -> None:
    server = parts.leader
    server.disk.snapshots_are_stalled = True
    first = server.node.state.last_applied
    assert ask(parts, server, "QUORATE.SNAPSHOT") == b"Background snapshot started"
    ask(parts, server, "SET", "k", "v")
    assert ask(parts, server, "QUORATE.SNAPSHOT") == b"Background snapshot scheduled"
    assert ask(parts, server, "QUORATE.SNAPSHOT") == b"Background snapshot scheduled"
    assert status(server)["snapshot_taking"]["index"] == first
    server.disk.snapshots_are_stalled = False
    parts.run(SECOND)
    assert status(server)["snapshot_index"] == first + 1
    assert status(server)["snapshot_taking"] is None


def test_without_anything_new_the_one_there_is_will_do(cluster: Cluster) -> None:
    server = cluster.leader
    ask(cluster, server, "QUORATE.SNAPSHOT")
    index = status(server)["snapshot_index"]
    assert index > 0
    assert ask(cluster, server, "QUORATE.SNAPSHOT") == b"Snapshot is up to date"
    ask(cluster, server, "SET", "k", "v")
    assert ask(cluster, server, "QUORATE.SNAPSHOT") == b"Background snapshot started"
    assert status(server)["snapshot_index"] == index + 1


def test_its_progress_can_be_seen(parts: Cluster) -> None:
    server = parts.leader
    server.disk.snapshots_are_stalled = True
    ask_alone(server, "QUORATE.SNAPSHOT")
    index = server.node.state.last_applied
    offsets = []
    while (taking := status(server)["snapshot_taking"]) is not None:
        assert (taking["index"], taking["size"]) == (index, None)
        offsets.append(taking["offset"])
        server.work_on_snapshots()
        parts.run(IN_PARTS.pause_us)
    assert offsets == sorted(offsets)
    assert len(set(offsets)) >= 3
    assert offsets[-1] > 3 * len(BIG)
    assert server.node.raft.snapshot.index == index


# ---------------------------------------------------------------------- no room on the disk


def test_a_disk_without_room_for_a_snapshot_does_not_stop_the_node(parts: Cluster) -> None:
    server = parts.leader
    server.disk.files.limit_capacity(server.disk.used + 100_000)
    ask(parts, server, "QUORATE.SNAPSHOT")
    parts.run(SECOND // 10)
    found = status(server)
    assert (found["snapshot_has_failed"], found["snapshot_index"]) == (True, 0)
    assert ask(parts, server, "APPEND", "k", "x") == 1
    assert b"rdb_last_bgsave_status:err" in ask(parts, server, "INFO")
    # It is tried again by itself.
    server.disk.files.limit_capacity(None)
    parts.run(IN_PARTS.retry_us)
    found = status(server)
    assert (found["snapshot_has_failed"], found["snapshot_index"]) == (False, found["last_applied"])


def test_who_has_made_room_need_not_wait(parts: Cluster) -> None:
    server = parts.leader
    server.disk.files.limit_capacity(server.disk.used)
    ask(parts, server, "QUORATE.SNAPSHOT")
    assert status(server)["snapshot_has_failed"]
    assert ask(parts, server, "QUORATE.SNAPSHOT") == b"Background snapshot started"
    assert status(server)["snapshot_has_failed"], "there is no room yet"
    server.disk.files.limit_capacity(None)
    assert ask(parts, server, "QUORATE.SNAPSHOT") == b"Background snapshot started"
    parts.run(SECOND // 10)
    assert status(server)["snapshot_index"] == server.node.state.last_applied


# ---------------------------------------------------------------------- a restart


def test_a_cluster_goes_on_from_its_snapshots(small: Cluster) -> None:
    fill(small)
    small.run(SECOND)
    restart_all(small)
    for server in small.up:
        assert server.node.raft.snapshot.index > 0
    reader = small.followers[0]
    values = ask(small, reader, "MGET", *(f"key-{number}" for number in range(60)))
    assert values == [b"x" * 300] * 60
    assert ask(small, reader, "DBSIZE") == 60


@pytest.mark.parametrize("bound", [BOUND, BOUND // 4])
def test_with_a_lower_bound_than_before_a_node_shortens_its_log_soon_after_its_start(
    bound: int, new_cluster: type[Cluster]
) -> None:
    """All that it applies again counts as applied since the last snapshot, so one is worth taking:
    of the log before that, no more than a quarter of the new bound stays from the start on.
    """
    cluster = started(new_cluster, snapshots=SnapshotSettings(max_raft_state=8 * BOUND))
    fill(cluster, 180)
    fill(cluster, 60)
    before = {server.me: status(server) for server in cluster.up}
    assert all(found["raft_state_bytes"] > 2 * BOUND for found in before.values())
    assert any(found["snapshot_index"] > 0 for found in before.values())
    cluster.node_settings = msgspec.structs.replace(
        cluster.node_settings, snapshots=SnapshotSettings(max_raft_state=bound)
    )
    restart_all(cluster)
    for server in cluster.up:
        found = status(server)
        assert found["raft_state_bytes"] <= bound
        assert found["snapshot_index"] > before[server.me]["snapshot_index"]


def test_its_age_is_in_cluster_time_and_survives_a_restart(cluster: Cluster) -> None:
    server = cluster.leader
    ask(cluster, server, "QUORATE.SNAPSHOT")
    assert status(server)["snapshot_age_ms"] == 0
    cluster.run(5 * SECOND)
    ask(cluster, server, "SET", "k", "v")
    assert 5000 <= status(server)["snapshot_age_ms"] <= 5100
    restart_all(cluster)
    ask(cluster, server, "SET", "k", "w")
    assert status(server)["snapshot_age_ms"] >= 5000


def test_a_write_of_a_session_that_comes_again_after_a_restart_is_answered_from_the_snapshot(
    on_demand: Cluster,
) -> None:
    session = ask(on_demand, on_demand.leader, "QUORATE.SESSION")
    once = ("ONCE", session, 1, 0, "APPEND", "k", "x")
    assert ask(on_demand, on_demand.leader, *once) == 1
    on_demand.run(SECOND)
    snapshot_everywhere(on_demand)
    restart_all(on_demand)
    for server in on_demand.up:
        assert server.node.raft.log_start.index > session, "the log does not tell of it any more"
        assert ask(on_demand, server, *once) == 1
        assert ask(on_demand, server, "GET", "k") == b"x"
    other = ("ONCE", session, 1, 0, "APPEND", "k", "y")
    assert str(ask(on_demand, on_demand.leader, *other)).startswith("MISMATCH")


def test_a_nodes_own_session_goes_on_at_leaders_that_restarted_from_snapshots(
    on_demand: Cluster,
) -> None:
    """A node's write is executed, and nobody tells it; the next leader knows it by a snapshot."""
    # 1. The leader executes the write, and its answers do not reach the node.
    node, other = on_demand.followers
    client = node.connect()
    client.send("APPEND", "k", "x")
    on_demand.settle()
    assert client.take_replies() == [1]
    leader = on_demand.leader
    on_demand.cut.add((leader.me, node.me))
    client.send("APPEND", "k", "y")
    on_demand.settle()
    assert client.take() == b""
    on_demand.run(SECOND // 10)  # the other one hears of the commitment
    assert other.node.state.last_applied == leader.node.state.last_applied
    # 2. All but the node restart, from snapshots that cover the write.
    for server in (leader, other):
        ask(on_demand, server, "QUORATE.SNAPSHOT")
        on_demand.crash(server)
    on_demand.cut.clear()
    for server in (leader, other):
        on_demand.restart(server)
        assert server.node.raft.log_start.index == server.node.raft.snapshot.index
    # 3. The node repeats it.
    on_demand.run(2 * SECOND)
    assert client.take_replies() == [2]
    assert ask(on_demand, node, "GET", "k") == b"xy"


# ---------------------------------------------------------------------- while a node restores


def restarting(cluster: Cluster) -> Server:
    """A node alone, up again, that has a snapshot and does not get to read it."""
    server = cluster.leader
    snapshot_everywhere(cluster)
    cluster.crash(server)
    cluster.restart(server)
    server.disk.snapshots_are_stalled = True
    return server


def test_a_read_waits_until_the_node_has_its_state_again(single: Cluster) -> None:
    server = restarting(single)
    client = server.connect()
    client.send("STRLEN", "big-0")
    single.run(2 * SECOND)
    assert server.node.raft.is_leader, "it may lead meanwhile"
    assert client.take() == b""
    # Not even when a part of it is there.
    server.work_on_snapshots()
    single.settle()
    assert client.take() == b""
    single.heal()
    assert client.take_replies() == [len(BIG)]


def test_how_far_it_has_come_can_be_seen(single: Cluster) -> None:
    server = restarting(single)
    offsets = []
    while (restoring := status(server)["snapshot_restoring"]) is not None:
        assert restoring["index"] == server.node.raft.snapshot.index
        assert restoring["size"] == server.node.raft.snapshot_size
        assert b"loading:1" in ask_alone(server, "INFO")
        offsets.append(restoring["offset"])
        server.work_on_snapshots()
        server.turn()
    assert offsets[0] == 0
    assert offsets == sorted(offsets)
    assert len(offsets) >= 3
    assert b"loading:0" in ask_alone(server, "INFO")


def test_a_node_that_restores_has_no_snapshot_to_take(single: Cluster) -> None:
    server = restarting(single)
    for _ in range(2):  # before its first turn, and after it
        reply = ask_alone(server, "QUORATE.SNAPSHOT")
        assert isinstance(reply, hiredis.ReplyError)
        assert str(reply).startswith("ERR this node restores a snapshot")
    single.heal()
    single.run(2 * SECOND)
    assert ask(single, server, "QUORATE.SNAPSHOT") == b"Background snapshot started"


def test_if_restoring_takes_long_commands_are_answered_in_their_time(single: Cluster) -> None:
    server = restarting(single)
    reader, writer = server.connect(), server.connect()
    reader.send("GET", "big-0")
    writer.send("APPEND", "k", "x")
    single.run(TIMEOUT)
    assert codes(reader) == ["UNAVAILABLE"]
    assert codes(writer) in (["UNKNOWN"], ["NOTEXECUTED"])
    single.heal()
    single.run(SECOND)
    assert ask(single, server, "GET", "k") in (None, b"x")
    assert ask(single, server, "APPEND", "other", "x") == 1


def codes(client: Client) -> list[str]:
    replies = client.take_replies()
    assert all(isinstance(reply, hiredis.ReplyError) for reply in replies)
    return [str(reply).split()[0] for reply in replies]


# ---------------------------------------------------------------------- brought up by the leader


def lagging(cluster: Cluster) -> Server:
    """A follower that was away while the log went on, and whose link is back."""
    follower = cluster.followers[0]
    cluster.isolate(follower.me)
    cluster.run(SECOND)
    write_big_values(cluster)
    ask(cluster, cluster.leader, "SET", "k", "new")
    ask(cluster, cluster.leader, "QUORATE.SNAPSHOT")
    cluster.run(SECOND)
    leader = cluster.leader
    assert leader.node.raft.log_start.index > follower.node.raft.last_index
    return follower


def test_a_follower_that_was_away_gets_the_snapshot_and_goes_on_behind_it(small: Cluster) -> None:
    follower = small.followers[0]
    small.isolate(follower.me)
    small.run(SECOND)
    fill(small)
    assert small.leader.node.raft.log_start.index > follower.node.raft.last_index
    small.heal()
    small.run(2 * SECOND)
    small.run_until_led()
    fill(small, 3)
    assert follower.node.state.last_applied == small.leader.node.state.last_applied
    assert follower.node.state.digest() == small.leader.node.state.digest()
    assert ask(small, follower, "GET", "key-59") == b"x" * 300


def test_its_clients_are_answered_rightly_during_and_after_it(parts: Cluster) -> None:
    ask(parts, parts.leader, "SET", "k", "old")
    parts.run(SECOND)
    follower = parts.followers[0]
    reader, writer, both = (follower.connect() for _ in range(3))
    assert lagging(parts) is follower
    follower.disk.snapshots_are_stalled = True
    parts.cut.clear()
    parts.run(SECOND)
    parts.run_until_led()
    # Nothing of the snapshot is on its disk: the reads wait, the writes need only the leader.
    reader.send("GET", "k")
    writer.send("APPEND", "w", "1")
    both.send("APPEND", "b", "1")
    both.send("GET", "b")
    parts.run(SECOND)
    assert reader.take() == b""
    assert writer.take_replies() == [1]
    assert both.take_replies() == [1]
    # Now it is, and is being restored.
    index = parts.leader.node.raft.snapshot.index
    while follower.node.raft.snapshot.index < index:
        follower.work_on_snapshots()
        parts.run(1000)
    assert status(follower)["snapshot_restoring"] is not None
    writer.send("APPEND", "w", "2")
    parts.settle()
    assert writer.take_replies() == [2]
    assert reader.take() == both.take() == b""
    parts.heal()
    parts.run(SECOND // 2)
    assert reader.take_replies() == [b"new"]
    assert both.take_replies() == [b"1"]
    assert ask(parts, follower, "GET", "w") == b"12"


def test_what_is_on_its_way_can_be_seen_at_both_ends(parts: Cluster) -> None:
    follower = lagging(parts)
    follower.disk.snapshots_are_stalled = True
    parts.cut.clear()
    parts.run(SECOND)
    parts.run_until_led()
    leader = parts.leader
    expected = {"index": leader.node.raft.snapshot.index, "size": leader.node.raft.snapshot_size}
    seen = []
    while (received := status(follower)["snapshot_receiving"]) is not None:
        seen.append(received["offset"])
        assert received == expected | {"offset": seen[-1], "to": None}
        (sent,) = status(leader)["snapshots_sending"]
        assert sent == expected | {"offset": sent["offset"], "to": follower.me}
        assert sent["offset"] in {seen[-1], *seen[-2:-1]}
        assert f"snapshot_sending_to_{follower.me}:index=" in ask(parts, leader, "INFO").decode()
        follower.work_on_snapshots()
        parts.settle()
    assert seen[0] == 0
    assert len(set(seen)) >= 4
    parts.heal()
    parts.run(SECOND)
    assert status(leader)["snapshots_sending"] == []
    assert status(follower)["snapshot_receiving"] is None


def test_a_snapshot_that_is_being_taken_when_a_newer_one_comes_is_given_up(parts: Cluster) -> None:
    follower = parts.followers[0]
    follower.disk.snapshots_are_stalled = True
    ask(parts, follower, "QUORATE.SNAPSHOT")
    assert status(follower)["snapshot_taking"] is not None
    assert lagging(parts) is follower
    parts.heal()
    parts.run(2 * SECOND)
    parts.run_until_led()
    ask(parts, parts.leader, "SET", "k", "newer")
    parts.run(SECOND)
    found = status(follower)
    assert found["snapshot_taking"] is None
    assert found["snapshot_index"] >= parts.leader.node.raft.log_start.index
    assert ask(parts, follower, "GET", "k") == b"newer"


# ---------------------------------------------------------------------- lost


def test_a_node_that_has_lost_its_snapshot_says_so_until_it_has_one_from_the_leader(
    on_demand: Cluster,
) -> None:
    ask(on_demand, on_demand.leader, "SET", "k", "v")
    on_demand.run(SECOND)
    server = on_demand.followers[0]
    ask(on_demand, server, "QUORATE.SNAPSHOT")
    index = status(server)["snapshot_index"]
    on_demand.run(SECOND)
    on_demand.crash(server)
    (name,) = [name for name in server.disk.files.names() if name.endswith(".snapshot")]
    server.disk.files.open(name).write_at(40, b"damage")
    on_demand.isolate(server.me)
    on_demand.restart(server)
    client = server.connect()
    client.send("GET", "k")
    on_demand.run(SECOND)
    found = status(server)
    assert found["snapshot_is_lost"]
    assert found["snapshot_index"] == index
    assert (found["snapshot_bytes"], found["snapshot_age_ms"]) == (0, None)
    assert b"snapshot_is_lost:1" in ask_alone(server, "INFO")
    reply = ask_alone(server, "QUORATE.SNAPSHOT")
    assert str(reply).startswith("ERR this node has lost its snapshot")
    assert client.take() == b""
    # The leader, which had none, takes one for it.
    on_demand.heal()
    on_demand.run(SECOND)
    assert not status(server)["snapshot_is_lost"]
    assert status(server)["snapshot_index"] >= index
    assert client.take_replies() == [b"v"]


# ---------------------------------------------------------------------- damaged while it runs


def damage(server: Server, *, of: int = 100_000) -> None:
    """Some bytes of its newest snapshot are others from now on."""
    name = max(name for name in server.disk.files.names() if name.endswith(".snapshot"))
    server.disk.files.open(name).write_at(of, b"damage")


def test_a_leaders_snapshot_that_is_damaged_on_its_disk_is_replaced_when_a_follower_refuses_it(
    parts: Cluster,
) -> None:
    """It was sent again and again until another one was due, which may be never."""
    follower = lagging(parts)
    index = status(parts.leader)["snapshot_index"]
    damage(parts.leader)
    ask(parts, parts.leader, "SET", "k", "newer")
    parts.heal()
    parts.run(3 * SECOND)
    parts.run_until_led()
    assert status(parts.leader)["snapshot_index"] > index
    assert ask(parts, follower, "GET", "k") == b"newer"
    assert follower.node.state.digest() == parts.leader.node.state.digest()


def test_so_is_one_that_ends_too_early_of_which_the_follower_never_gets_all(
    parts: Cluster,
) -> None:
    follower = lagging(parts)
    index = status(parts.leader)["snapshot_index"]
    name = max(name for name in parts.leader.disk.files.names() if name.endswith(".snapshot"))
    parts.leader.disk.files.open(name).truncate(100_000)
    ask(parts, parts.leader, "SET", "k", "newer")
    parts.heal()
    parts.run(3 * SECOND)
    parts.run_until_led()
    assert status(parts.leader)["snapshot_index"] > index
    assert ask(parts, follower, "GET", "k") == b"newer"


def test_so_is_one_of_a_single_piece_behind_which_nothing_was_written(on_demand: Cluster) -> None:
    """Another of the same state takes its place."""
    follower = on_demand.followers[0]
    on_demand.isolate(follower.me)
    on_demand.run(SECOND)
    leader = on_demand.leader
    ask(on_demand, leader, "SET", "k", "v")
    on_demand.run(SECOND)
    ask(on_demand, leader, "QUORATE.SNAPSHOT")
    index = status(leader)["snapshot_index"]
    assert index == leader.node.raft.last_index == leader.node.raft.log_start.index
    damage(leader, of=40)
    # Nobody stands for election meanwhile, which would write something.
    on_demand.heal()
    on_demand.loses = lambda packet: isinstance(packet.message, PreVote | RequestVote)
    on_demand.run(3 * SECOND)
    assert status(leader)["snapshot_index"] == index == leader.node.raft.last_index
    assert status(leader)["snapshot_bytes"] > 0
    assert follower.node.state.digest() == leader.node.state.digest()


def test_so_is_one_without_which_there_is_no_majority(on_demand: Cluster) -> None:
    """Nothing can be committed: one node is down, and the other waits for the snapshot."""
    late, other = on_demand.followers
    on_demand.isolate(late.me)
    on_demand.run(SECOND)
    leader = on_demand.leader
    ask(on_demand, leader, "SET", "k", "v")
    on_demand.run(SECOND)
    ask(on_demand, leader, "QUORATE.SNAPSHOT")
    damage(leader, of=40)
    on_demand.crash(other)
    on_demand.heal()
    on_demand.run(3 * SECOND)
    on_demand.run_until_led()
    assert ask(on_demand, late, "GET", "k") == b"v"


def test_while_there_is_no_other_it_says_that_it_has_none_and_sends_none(parts: Cluster) -> None:
    follower = lagging(parts)
    leader = parts.leader
    damage(leader)
    leader.node.raft.snapshot_damaged(status(leader)["snapshot_index"], parts.now)
    leader.disk.files.limit_capacity(leader.disk.used)
    parts.heal()
    parts.run(SECOND)
    found = status(leader)
    assert (found["snapshot_bytes"], found["snapshots_sending"]) == (0, [])
    assert found["snapshot_has_failed"]
    leader.disk.files.limit_capacity(None)
    parts.run(IN_PARTS.retry_us + SECOND)
    parts.run_until_led()
    assert status(leader)["snapshot_bytes"] > 0
    assert follower.node.state.last_applied == leader.node.state.last_applied


def test_a_follower_whose_disk_spoils_what_it_gets_costs_the_leader_no_snapshot(
    parts: Cluster,
) -> None:
    follower = lagging(parts)
    index = status(parts.leader)["snapshot_index"]
    follower.disk.snapshots_are_stalled = True
    parts.cut.clear()
    sizes = []
    for _ in range(300):
        parts.run(SECOND // 100)
        follower.work_on_snapshots()
        files = follower.disk.files
        sizes.append(files.open(RECEIVED).size if RECEIVED in files.names() else 0)
        if sizes[-1] > 100_000:
            files.open(RECEIVED).write_at(100_000, b"damage")
    assert sum(before > after for before, after in itertools.pairwise(sizes)) >= 3
    assert follower.node.raft.snapshot.index == 0
    parts.run_until_led()
    assert status(parts.leader)["snapshot_index"] == index
    parts.heal()
    parts.run(2 * SECOND)
    assert follower.node.state.digest() == parts.leader.node.state.digest()


def test_a_leader_whose_disk_damages_every_snapshot_takes_another_now_and_then_only(
    single: Cluster,
) -> None:
    leader = single.leader
    ask(single, leader, "QUORATE.SNAPSHOT")
    single.run(SECOND)
    indices = []
    for _ in range(250):
        indices.append(status(leader)["snapshot_index"])
        ask(single, leader, "SET", "k", "v")
        leader.node.snapshot_damaged(indices[-1], single.now)
        single.run(SECOND // 10)
    assert IN_PARTS.retry_us == 10 * SECOND
    assert len(set(indices)) == 1 + 3
