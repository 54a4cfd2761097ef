"""Changes of the configuration, one server at a time, and handing over leadership.

Dissertation chapter 4 and §3.10; the sentences quoted are those of that text.
"""

from __future__ import annotations

import random
from typing import TYPE_CHECKING

from quorate.raft.configuration import (
    ChangeRefusal,
    Configuration,
    Member,
    Membership,
    NodeId,
)
from quorate.raft.core import Raft
from quorate.raft.entry import Entry
from quorate.raft.messages import TimeoutNow
from quorate.raft.ready import DurableState
from quorate.raft.settings import Settings
from quorate.raft.snapshot import SnapshotMetadata

if TYPE_CHECKING:
    from tests.raft.conftest import Cluster

PRODUCTION = Settings()
TIMEOUT = PRODUCTION.election_timeout_us
HEARTBEAT = PRODUCTION.heartbeat_interval_us


def ids(configuration: Configuration) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """The ids of the voters and of the learners."""
    return configuration.voter_ids, tuple(member.id for member in configuration.learners)


def lead(cluster: Cluster, node: int = 1) -> Configuration:
    """Lets a server lead, with an entry of its term committed; returns the configuration."""
    cluster.elect(node)
    cluster.run(HEARTBEAT)
    return cluster[node].raft.configuration


def test_a_learner_gets_the_log_and_becomes_a_voter_when_it_has_caught_up(
    new_cluster: type[Cluster],
) -> None:
    """ "The new server joins as a non-voting member", and the leader itself makes it a voter."""
    cluster = new_cluster(3, settings=PRODUCTION)
    configuration = lead(cluster)
    for _ in range(20):
        cluster.propose(1)
    cluster.add(4)
    cluster.change(1, configuration.with_learner(Member(NodeId(4)), promote=True))
    assert ids(cluster[1].raft.configuration) == ((1, 2, 3), (4,))
    cluster.run(3 * HEARTBEAT)
    for node in (1, 2, 3, 4):
        assert ids(cluster[node].raft.configuration) == ((1, 2, 3, 4), ())
        assert cluster[node].raft.configuration_is_committed
    assert cluster[4].raft.last_index == cluster[1].raft.last_index


def test_a_learner_without_promotion_stays_one_and_counts_for_nothing(
    new_cluster: type[Cluster],
) -> None:
    """It is not in the quorum: without a majority of the voters nothing is committed."""
    cluster = new_cluster(3, settings=PRODUCTION)
    configuration = lead(cluster)
    cluster.add(4)
    cluster.change(1, configuration.with_learner(Member(NodeId(4)), promote=False))
    cluster.run(5 * TIMEOUT)
    assert ids(cluster[4].raft.configuration) == ((1, 2, 3), (4,))
    cluster.isolate(2, 3)
    entry = cluster.propose(1)
    assert entry is not None
    cluster.run(HEARTBEAT)
    assert cluster[4].raft.last_index == entry.index
    assert cluster[1].raft.commit_index < entry.index


def test_a_server_is_removed_and_the_majority_is_that_of_the_rest(
    new_cluster: type[Cluster],
) -> None:
    cluster = new_cluster(3, settings=PRODUCTION)
    configuration = lead(cluster)
    cluster.isolate(3)
    cluster.change(1, configuration.without(NodeId(3)))
    cluster.run(2 * HEARTBEAT)
    assert cluster[1].raft.configuration_is_committed
    assert ids(cluster[2].raft.configuration) == ((1, 2), ())
    entry = cluster.propose(1)
    assert entry is not None
    cluster.run(HEARTBEAT)
    assert cluster[1].raft.commit_index == entry.index


def test_a_removed_server_disturbs_nobody(new_cluster: type[Cluster]) -> None:
    """It does not know that it was removed, and asks again and again (§4.2.3)."""
    cluster = new_cluster(3, settings=PRODUCTION)
    configuration = lead(cluster)
    cluster.change(1, configuration.without(NodeId(3)))
    cluster.run(20 * TIMEOUT)
    assert cluster[1].raft.is_leader
    assert cluster[1].raft.current_term == 1


def test_a_removed_leader_leads_until_its_removal_is_committed_and_does_not_count_itself(
    new_cluster: type[Cluster],
) -> None:
    """ "it replicates log entries but does not count itself in majorities" (§4.2.2)."""
    cluster = new_cluster(3, settings=PRODUCTION)
    configuration = lead(cluster)
    entry = cluster.change(1, configuration.without(NodeId(1)))
    assert isinstance(entry, Entry)
    cluster.deliver(lambda packet: 3 not in (packet.sender, packet.to))
    assert cluster[1].raft.is_leader, "of servers 2 and 3, one alone is no majority"
    assert cluster[1].raft.commit_index < entry.index
    cluster.deliver(lambda packet: not isinstance(packet.message, TimeoutNow))
    assert cluster[1].raft.commit_index == entry.index
    assert not cluster[1].raft.is_leader
    cluster.deliver()
    assert cluster.leader.me in (2, 3), "another one stands at once"
    cluster.run(20 * TIMEOUT)
    assert not cluster[1].raft.is_leader
    assert cluster.leader.raft.current_term == 2


def test_a_server_that_is_to_go_may_still_have_to_lead(new_cluster: type[Cluster]) -> None:
    """Only it has the entry that removes it, and only with that entry can anybody win (§4.2.2)."""
    cluster = new_cluster(2, settings=PRODUCTION)
    configuration = lead(cluster)
    entry = cluster.change(1, configuration.without(NodeId(1)))
    assert isinstance(entry, Entry)
    cluster.drop()
    cluster.crash(1)
    cluster.restart(1)
    assert ids(cluster[1].raft.configuration) == ((2,), ())
    cluster.run(20 * TIMEOUT)
    assert cluster[2].raft.is_leader
    assert ids(cluster[2].raft.configuration) == ((2,), ())
    assert cluster[2].raft.commit_index > entry.index


def test_one_change_at_a_time(new_cluster: type[Cluster]) -> None:
    """ "must not start a new change until the previous one is committed"."""
    cluster = new_cluster(5, settings=PRODUCTION)
    configuration = lead(cluster)
    new = configuration.without(NodeId(5))
    assert isinstance(cluster.change(1, new), Entry)
    assert cluster.change(1, new.without(NodeId(4))) is ChangeRefusal.CHANGE_UNDER_WAY
    cluster.deliver()
    assert isinstance(cluster.change(1, new.without(NodeId(4))), Entry)


def test_a_change_that_is_truncated_is_taken_back(new_cluster: type[Cluster]) -> None:
    cluster = new_cluster(3, settings=PRODUCTION)
    configuration = lead(cluster)
    cluster.isolate(1)
    cluster.change(1, configuration.without(NodeId(3)))
    assert ids(cluster[1].raft.configuration) == ((1, 2), ())
    cluster.run(3 * TIMEOUT)
    assert cluster.leader.me != 1
    cluster.heal()
    cluster.run(TIMEOUT)
    assert ids(cluster[1].raft.configuration) == ((1, 2, 3), ())


def test_a_server_with_new_data_does_not_take_itself_for_the_voter_that_had_its_id() -> None:
    """Found by the simulation (`--churn`, seed 1085, 8 seconds).

    1. Server 2 was the only voter for a while, then server 7 was, and 2 was removed. 2. It came
    back with an empty disk and was added as a learner. 3. In the log that it got there was the
    configuration in which it had been the only voter. 4. With no more of the log than that it was
    cut off, stood for election, and elected itself.
    """
    alone = Configuration(voters=(Member(NodeId(1), data_id="old"),))
    snapshot = SnapshotMetadata(index=3, term=1, time_ms=0, configuration=alone)
    for data_ids, role in ((("new",), "follower"), (("old",), "leader"), (("", "new"), "follower")):
        raft = Raft(
            NodeId(1),
            durable=DurableState(term=1, voted_for=None, snapshot=snapshot, snapshot_size=1),
            settings=PRODUCTION,
            rng=random.Random(0),
            now=0,
            data_ids=frozenset(data_ids),
        )
        for now in range(0, 4 * TIMEOUT, HEARTBEAT):
            raft.wake(now)
            write = raft.take_ready(now).write
            if write is not None:
                raft.persisted(write.number, now)
        assert raft.role_name == role


def test_a_server_without_its_snapshot_knows_that_it_does_not_know_the_members() -> None:
    """What it has are those that the cluster was started with, as of no entry at all.

    Else it would refuse a leader that had lost its data and was let in again since, for it knows a
    later configuration only in appearance. And from that leader it may have to get its snapshot.
    """
    started_with = Configuration(voters=(Member(NodeId(1)), Member(NodeId(2))))
    lost = SnapshotMetadata(index=9, term=1, time_ms=0, configuration=started_with)
    raft = Raft(
        NodeId(1),
        durable=DurableState(term=1, voted_for=None, snapshot=lost, snapshot_is_lost=True),
        settings=PRODUCTION,
        rng=random.Random(0),
        now=0,
    )
    assert raft.membership == Membership(started_with, index=0, is_committed=False)
