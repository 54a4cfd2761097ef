"""What a follower does before anything else: it writes what the leader has sent, and answers."""

from __future__ import annotations

from typing import TYPE_CHECKING

from quorate.raft.messages import AppendEntriesAnswer

if TYPE_CHECKING:
    from tests.node.conftest import Cluster


def test_a_follower_writes_and_answers_before_it_applies(new_cluster: type[Cluster]) -> None:
    cluster = new_cluster(3)
    leader = cluster.run_until_led()
    node = cluster.followers[0].node
    client = leader.connect()
    client.send("SET", "k", "v")
    cluster.settle()
    applied = node.state.last_applied
    assert applied < leader.node.state.last_applied, "the next message tells that it is committed"
    client.send("SET", "k", "w")
    packet = next(packet for packet in leader.turn() if packet.to == cluster.followers[0].me)
    node.receive(packet.sender, packet.message, cluster.now)
    urgent = node.take_urgent(cluster.now)
    assert urgent is not None
    assert urgent.write is not None
    assert not urgent.replies
    assert node.take_urgent(cluster.now) is None, "the answer waits for the disk"
    node.persisted(urgent.write.number, cluster.now, raft_state_bytes=0)
    urgent = node.take_urgent(cluster.now)
    assert urgent is not None
    (envelope,) = urgent.messages
    assert isinstance(envelope.message, AppendEntriesAnswer)
    assert envelope.message.success
    assert node.state.last_applied == applied
    assert node.take_urgent(cluster.now) is None
    node.take_ready(cluster.now)
    assert node.state.last_applied > applied


def test_nothing_of_a_leader_is_urgent(new_cluster: type[Cluster]) -> None:
    """What it writes comes together with what it sends, and its replies wait for neither."""
    cluster = new_cluster(3)
    leader = cluster.run_until_led()
    cluster.settle()
    leader.connect().send("SET", "k", "v")
    leader.read_clients()
    assert leader.node.take_urgent(cluster.now) is None
    assert leader.node.take_ready(cluster.now).write is not None
