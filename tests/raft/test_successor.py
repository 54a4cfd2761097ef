"""Whom a leader hands its leadership over to: somebody who is there."""

from __future__ import annotations

from typing import TYPE_CHECKING

from quorate.raft.configuration import NodeId
from quorate.raft.messages import InstallSnapshot
from quorate.raft.settings import Settings

if TYPE_CHECKING:
    from tests.raft.conftest import Cluster

PRODUCTION = Settings()
HEARTBEAT = PRODUCTION.heartbeat_interval_us


def link_changed(cluster: Cluster, at: int, peer: int, *, up: bool) -> None:
    cluster[at].raft.link_changed(NodeId(peer), up=up, now=cluster[at].now)


def successor(cluster: Cluster) -> NodeId | None:
    return cluster[1].raft.successor(cluster[1].now)


def test_who_is_cut_off_is_no_successor_until_it_is_heard_again(new_cluster: type[Cluster]) -> None:
    # It ended a moment ago, well within the election timeout for which it counts as in touch: a
    # leader that ends too would wait for it in vain.
    cluster = new_cluster(3, settings=PRODUCTION)
    cluster.elect(1)
    cluster.run(HEARTBEAT)
    cluster.isolate(3)
    cluster.propose(1)
    cluster.run(HEARTBEAT)
    assert successor(cluster) == 2
    cluster.isolate(2)
    link_changed(cluster, 1, 2, up=False)
    assert successor(cluster) == 3
    link_changed(cluster, 1, 3, up=False)
    assert successor(cluster) is None
    cluster.heal()
    cluster.run(2 * HEARTBEAT)
    assert successor(cluster) is not None


def test_who_is_cut_off_is_out_of_touch_whatever_it_has_answered_a_moment_ago(
    new_cluster: type[Cluster],
) -> None:
    cluster = new_cluster(3, settings=PRODUCTION)
    cluster.elect(1)
    cluster.run(HEARTBEAT)
    assert cluster[1].raft.followers[NodeId(2)].is_in_touch
    link_changed(cluster, 1, 2, up=False)
    assert not cluster[1].raft.followers[NodeId(2)].is_in_touch


def test_who_has_lost_its_snapshot_is_no_successor_before_it_has_another_one(
    new_cluster: type[Cluster],
) -> None:
    # It does not stand for election, whoever asks it to. All have the whole log as far as the
    # leader knows, so it was chosen again and again, and all writes were held up each time.
    cluster = new_cluster(3, settings=PRODUCTION)
    cluster.elect(1)
    cluster.propose(1)
    cluster.run(3 * HEARTBEAT)
    for node in (1, 2, 3):
        cluster[node].compact()
    cluster.run(HEARTBEAT)
    cluster.crash(2)
    cluster[2].disk.lose_snapshots()
    cluster.restart(2)
    for _ in range(8):
        cluster.advance(HEARTBEAT)
        cluster.wake()
        cluster.deliver(lambda packet: not isinstance(packet.message, InstallSnapshot))
        cluster.drop()
    assert cluster[2].raft.snapshot_is_lost
    leader = cluster[1].raft
    assert leader.followers[NodeId(2)].match_index == leader.last_index
    assert successor(cluster) == 3


def test_a_transfer_to_who_is_cut_off_is_given_up_at_once(new_cluster: type[Cluster]) -> None:
    cluster = new_cluster(3, settings=PRODUCTION)
    cluster.elect(1)
    cluster.run(HEARTBEAT)
    leader = cluster[1].raft
    cluster.isolate(2)
    assert leader.transfer_leadership(NodeId(2), cluster[1].now)
    link_changed(cluster, 1, 3, up=False)
    assert leader.is_transferring
    link_changed(cluster, 1, 2, up=False)
    assert not leader.is_transferring
    assert cluster.propose(1) is not None
