"""What would go wrong without a rule, step by step, and does not with it."""

from __future__ import annotations

import pytest
from tests.faults import membership_plants
from tests.raft.conftest import Cluster

from quorate.raft.configuration import ChangeRefusal, NodeId
from quorate.raft.entry import Entry
from quorate.raft.messages import AppendEntries
from quorate.raft.settings import Settings

PRODUCTION = Settings()
TIMEOUT = PRODUCTION.election_timeout_us
HEARTBEAT = PRODUCTION.heartbeat_interval_us


def two_leaders_remove_one_server_each(cluster: Cluster) -> Entry | ChangeRefusal:
    """Ongaro, "bug in single-server membership changes", 2015, in a cluster of four.

    1. Server 1 leads term 1, appends "without 4" to its own log and is cut off. Its majority is two
    of 1, 2, 3 from now on. 2. Server 2 leads term 2 by the votes of 3 and 4, which know nothing of
    that, and appends "without 3". Its majority is two of 1, 2, 4. 3. With 4 it commits that, and
    then a write. 4. Server 1 is heard again, by 3 alone, which has neither. It wins the vote of 3:
    two of three, and its log is the longer one.

    Returns:
        What became of the change of step 2.
    """
    cluster.elect(1)
    cluster.run(HEARTBEAT)
    configuration = cluster[1].raft.configuration
    cluster.isolate(1)
    assert isinstance(cluster.change(1, configuration.without(NodeId(4))), Entry)
    cluster.drop()

    cluster.advance(2 * TIMEOUT)
    cluster.time_out(2)
    while cluster[2].raft.role_name == "follower":
        cluster.time_out(2)
    cluster.deliver(lambda packet: not isinstance(packet.message, AppendEntries))
    assert cluster[2].raft.is_leader
    cluster.drop()
    outcome = cluster.change(2, configuration.without(NodeId(3)))

    cluster.isolate(2, 4)
    cluster.cut -= {(1, 3), (3, 1)}
    cluster[2].propose(b"acknowledged")
    for _ in range(3):
        cluster.run(HEARTBEAT)
    for _ in range(6):
        cluster.run(TIMEOUT)
    return outcome


def has_committed(cluster: Cluster, node: int) -> bool:
    """Whether the write of the script is committed there."""
    return b"acknowledged" in [entry.data for entry in cluster[node].committed]


def test_a_change_before_the_first_commit_of_the_term_can_end_with_two_majorities() -> None:
    with pytest.MonkeyPatch.context() as patches:
        membership_plants.a_change_is_made_before_the_first_commit_of_the_term(patches)
        cluster = Cluster(4, settings=PRODUCTION)
        assert isinstance(two_leaders_remove_one_server_each(cluster), Entry)
        assert has_committed(cluster, 2)
        assert cluster[1].raft.is_leader
        committed = zip(cluster[1].committed, cluster[2].committed, strict=False)
        assert any(one != other for one, other in committed), "both were acknowledged"


def test_the_rule_of_2015_keeps_them_from_that() -> None:
    cluster = Cluster(4, settings=PRODUCTION)
    outcome = two_leaders_remove_one_server_each(cluster)
    assert outcome is ChangeRefusal.TERM_NOT_COMMITTED
    assert not has_committed(cluster, 2), "of 1 to 4, two alone are no majority"
