"""Changes of the configuration, one server at a time, and handing over leadership.

Dissertation chapter 4 and §3.10; the sentences quoted are those of that text.
"""

from __future__ import annotations

import random
from typing import TYPE_CHECKING

import pytest

from quorate.raft.configuration import (
    ChangeRefusal,
    Configuration,
    Member,
    Membership,
    NodeId,
)
from quorate.raft.core import Raft
from quorate.raft.entry import Entry
from quorate.raft.messages import AppendEntries, PreVote, RequestVote, RequestVoteAnswer, TimeoutNow
from quorate.raft.ready import DurableState
from quorate.raft.settings import Settings
from quorate.raft.snapshot import SnapshotMetadata

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.raft.conftest import Cluster, Packet, Server

PRODUCTION = Settings()
TIMEOUT = PRODUCTION.election_timeout_us
HEARTBEAT = PRODUCTION.heartbeat_interval_us
LATER = 1 << 40
"""The id of a request behind all others."""


def ids(configuration: Configuration) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """The ids of the voters and of the learners."""
    return configuration.voter_ids, tuple(member.id for member in configuration.learners)


def lead(cluster: Cluster, node: int = 1) -> Configuration:
    """Lets a server lead, with an entry of its term committed; returns the configuration."""
    cluster.elect(node)
    cluster.run(HEARTBEAT)
    return cluster[node].raft.configuration


def entries_in(packet: Packet) -> tuple[Entry, ...]:
    """What a packet carries of the log."""
    return packet.message.entries if isinstance(packet.message, AppendEntries) else ()


def beat(cluster: Cluster, times: int, *, without_entries: set[int]) -> None:
    """Heartbeats go round; what else is sent to some servers is lost."""
    for _ in range(times):
        cluster.advance(HEARTBEAT)
        cluster.wake()
        cluster.deliver(lambda packet: packet.to not in without_entries or not entries_in(packet))
        cluster.drop()


def hand_over(cluster: Cluster, node: int, *, to: int) -> bool:
    """Lets a leader hand its leadership over; what it sends for that is on its way."""
    outcome = cluster[node].raft.transfer_leadership(NodeId(to), cluster[node].now)
    cluster[node].settle()
    cluster.collect()
    return outcome


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


def test_a_learner_that_reads_confirms_nothing(new_cluster: type[Cluster]) -> None:
    """It votes for nobody: who leads now may have been elected without its knowledge."""
    cluster = new_cluster(3, settings=PRODUCTION)
    configuration = lead(cluster)
    cluster.add(4)
    cluster.change(1, configuration.with_learner(Member(NodeId(4)), promote=False))
    cluster.run(2 * HEARTBEAT)
    cluster.isolate(2, 3)
    cluster.read(4, 5)
    cluster.deliver()
    assert cluster[4].reads == []


def test_a_leader_that_is_removed_needs_a_majority_without_itself_for_a_read(
    new_cluster: type[Cluster],
) -> None:
    """So many are asked at once, and a follower's request confirms no more than that follower."""
    cluster = new_cluster(4, settings=PRODUCTION)
    configuration = lead(cluster)
    cluster.change(1, configuration.without(NodeId(1)))
    cluster.deliver(lambda packet: 2 in (packet.sender, packet.to))
    cluster.drop()
    assert cluster[1].raft.is_leader
    cluster.read(1, 5)
    asked = [packet.to for packet in cluster.network if isinstance(packet.message, AppendEntries)]
    assert len(asked) == 2
    cluster.read(2, 6)
    cluster.deliver(lambda packet: 2 in (packet.sender, packet.to))
    assert cluster[1].reads == cluster[2].reads == []


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


def test_one_that_joined_and_is_to_go_may_still_have_to_lead_after_a_restart(
    new_cluster: type[Cluster],
) -> None:
    """Found by random worlds in which servers come and go.

    1. Server 2 joins, leads, and removes itself. 2. It crashes when only its own log has that.
    3. It comes back and does not know what is committed; as of its snapshot, which is none, it is
    no member. If it goes by that, it never stands; and server 1 waits for its vote for ever, for
    its own log is shorter.
    """
    cluster = new_cluster(1, settings=PRODUCTION)
    configuration = lead(cluster)
    cluster.add(2)
    cluster.change(1, configuration.with_learner(Member(NodeId(2)), promote=True))
    cluster.run(3 * HEARTBEAT)
    hand_over(cluster, 1, to=2)
    cluster.run(HEARTBEAT)
    assert cluster[2].raft.is_leader
    configuration = cluster[2].raft.configuration
    entry = cluster.change(2, configuration.without(NodeId(2)))
    assert isinstance(entry, Entry)
    cluster.drop()
    cluster.crash(2)
    cluster.restart(2)
    cluster.run(20 * TIMEOUT)
    assert cluster[1].raft.is_leader
    assert ids(cluster[1].raft.configuration) == ((1,), ())
    assert cluster[1].raft.commit_index > entry.index
    term = cluster[1].raft.current_term
    cluster.run(20 * TIMEOUT)
    assert (cluster[2].raft.role_name, cluster[1].raft.current_term) == ("follower", term)


def test_one_that_is_removed_stands_until_it_knows_that_this_is_committed(
    new_cluster: type[Cluster],
) -> None:
    cluster = new_cluster(3, settings=PRODUCTION)
    configuration = lead(cluster)
    cluster.isolate(1)
    cluster.change(1, configuration.without(NodeId(1)))
    cluster.run(4 * TIMEOUT)
    assert cluster[1].raft.role_name == "pre-candidate"
    cluster.heal()
    cluster.run(2 * TIMEOUT)
    gone = cluster.leader
    assert gone.raft.configuration == configuration, "it was taken back"
    cluster.change(gone.me, configuration.without(gone.me))
    cluster.run(HEARTBEAT)
    assert cluster.leader is not gone
    cluster.isolate(gone.me)
    for _ in range(20):
        cluster.run(TIMEOUT)
        assert gone.raft.role_name == "follower"


def test_a_cluster_of_one_becomes_one_of_two_and_one_of_one_again(
    new_cluster: type[Cluster],
) -> None:
    """With the other one: the first is removed by itself, and not needed any more."""
    cluster = new_cluster(1, settings=PRODUCTION)
    configuration = lead(cluster)
    cluster.propose(1, b"kept")
    cluster.add(2)
    cluster.change(1, configuration.with_learner(Member(NodeId(2)), promote=True))
    cluster.run(3 * HEARTBEAT)
    configuration = cluster[1].raft.configuration
    assert ids(configuration) == ((1, 2), ())
    cluster.isolate(2)
    entry = cluster.propose(1)
    assert entry is not None
    cluster.run(HEARTBEAT)
    assert cluster[1].raft.commit_index < entry.index, "two of two are needed"
    cluster.heal()
    cluster.change(1, configuration.without(NodeId(1)))
    cluster.run(TIMEOUT)
    cluster.crash(1)
    cluster.run(TIMEOUT)
    assert cluster[2].raft.is_leader
    assert ids(cluster[2].raft.configuration) == ((2,), ())
    entry = cluster.propose(2)
    assert entry is not None
    assert cluster[2].raft.commit_index == entry.index
    assert b"kept" in [known.data for known in cluster[2].committed]


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


# --------------------------------------------------------------------- when a change is allowed


def change_refused(cluster: Cluster, node: int, configuration: Configuration) -> ChangeRefusal:
    outcome = cluster.change(node, configuration)
    assert isinstance(outcome, ChangeRefusal)
    return outcome


def test_no_change_before_an_entry_of_the_term_is_committed(new_cluster: type[Cluster]) -> None:
    """Ongaro's correction of 2015; `faults/test_changes_by_script.py` shows what it is good for."""
    cluster = new_cluster(4, settings=PRODUCTION)
    cluster.time_out(1)
    while cluster[1].raft.role_name == "follower":
        cluster.time_out(1)
    cluster.deliver(lambda packet: not isinstance(packet.message, AppendEntries))
    assert cluster[1].raft.is_leader
    wanted = cluster[1].raft.configuration.without(NodeId(3))
    assert change_refused(cluster, 1, wanted) is ChangeRefusal.TERM_NOT_COMMITTED
    cluster.deliver()  # what its term begins with is committed
    assert isinstance(cluster.change(1, wanted), Entry)


def test_only_the_leader_makes_changes(new_cluster: type[Cluster]) -> None:
    cluster = new_cluster(3, settings=PRODUCTION)
    configuration = lead(cluster)
    wanted = configuration.without(NodeId(3))
    assert change_refused(cluster, 2, wanted) is ChangeRefusal.NOT_LEADER


def test_no_change_while_leadership_is_handed_over(new_cluster: type[Cluster]) -> None:
    cluster = new_cluster(3, settings=PRODUCTION)
    configuration = lead(cluster)
    assert cluster[1].raft.transfer_leadership(NodeId(2), cluster[1].now)
    wanted = configuration.without(NodeId(3))
    assert change_refused(cluster, 1, wanted) is ChangeRefusal.TRANSFER_UNDER_WAY


# --------------------------------------------------------------------- what is in force


def test_a_configuration_is_in_force_as_soon_as_it_is_in_the_log(
    new_cluster: type[Cluster],
) -> None:
    """Committed or not: "a server always uses the latest configuration in its log" (Raft §6)."""
    cluster = new_cluster(3, settings=PRODUCTION)
    configuration = lead(cluster)
    cluster.change(1, configuration.without(NodeId(3)))
    assert ids(cluster[1].raft.configuration) == ((1, 2), ())
    cluster.deliver(lambda packet: isinstance(packet.message, AppendEntries) and packet.to == 2)
    assert ids(cluster[2].raft.configuration) == ((1, 2), ())
    assert not cluster[2].raft.configuration_is_committed


def test_a_restart_finds_the_configuration_in_the_log(new_cluster: type[Cluster]) -> None:
    cluster = new_cluster(3, settings=PRODUCTION)
    configuration = lead(cluster)
    cluster.change(1, configuration.without(NodeId(3)))
    cluster.run(2 * HEARTBEAT)
    cluster.crash(2)
    cluster.restart(2)
    assert ids(cluster[2].raft.configuration) == ((1, 2), ())


def test_a_snapshot_holds_the_configuration_as_of_its_index(new_cluster: type[Cluster]) -> None:
    """Not a later one, which may yet be taken back, and is in the log behind it anyway."""
    cluster = new_cluster(3, settings=PRODUCTION)
    configuration = lead(cluster)
    before = cluster.propose(1)
    assert before is not None
    cluster.deliver()
    entry = cluster.change(1, configuration.without(NodeId(3)))
    assert isinstance(entry, Entry)
    cluster.deliver()
    assert ids(cluster[1].raft.snapshot_metadata(before.index).configuration) == ((1, 2, 3), ())
    assert ids(cluster[1].raft.snapshot_metadata(entry.index).configuration) == ((1, 2), ())
    cluster[1].compact(before.index)
    assert ids(cluster[1].raft.configuration) == ((1, 2), ())
    cluster[1].compact(entry.index)
    assert ids(cluster[1].raft.configuration) == ((1, 2), ())
    cluster.crash(1)
    cluster.restart(1)
    assert ids(cluster[1].raft.configuration) == ((1, 2), ())
    assert cluster[1].raft.membership.index == entry.index


def test_a_newcomer_learns_the_members_from_a_snapshot(new_cluster: type[Cluster]) -> None:
    """And is promoted although the log that it would need from its beginning is gone."""
    cluster = new_cluster(3, settings=PRODUCTION)
    lead(cluster)
    for _ in range(5):
        cluster.propose(1)
    cluster.run(HEARTBEAT)
    cluster[1].compact()
    cluster.add(4)
    configuration = cluster[1].raft.configuration
    cluster.change(1, configuration.with_learner(Member(NodeId(4)), promote=True))
    cluster.run(2 * TIMEOUT)
    assert cluster[4].installed
    assert ids(cluster[4].raft.configuration) == ((1, 2, 3, 4), ())


def test_a_restart_finds_a_change_behind_the_snapshot(new_cluster: type[Cluster]) -> None:
    cluster = new_cluster(3, settings=PRODUCTION)
    configuration = lead(cluster)
    cluster.run(HEARTBEAT)
    cluster[2].compact()
    cluster.change(1, configuration.without(NodeId(3)))
    cluster.deliver()
    cluster.crash(2)
    cluster.restart(2)
    assert ids(cluster[2].raft.snapshot.configuration) == ((1, 2, 3), ())
    assert ids(cluster[2].raft.configuration) == ((1, 2), ())
    assert not cluster[2].raft.configuration_is_committed, "nobody has told it again yet"


def test_what_is_taken_back_behind_a_snapshot_leaves_that_of_the_snapshot(
    new_cluster: type[Cluster],
) -> None:
    cluster = new_cluster(3, settings=PRODUCTION)
    configuration = lead(cluster)
    cluster.change(1, configuration.without(NodeId(2)))
    cluster.run(HEARTBEAT)
    cluster.change(1, cluster[1].raft.configuration.with_learner(Member(NodeId(2)), promote=True))
    cluster.run(2 * HEARTBEAT)
    configuration = cluster[1].raft.configuration
    assert ids(configuration) == ((1, 2, 3), ())
    cluster[1].compact()
    cluster.isolate(1)
    cluster.change(1, configuration.without(NodeId(3)))
    assert ids(cluster[1].raft.configuration) == ((1, 2), ())
    cluster.run(4 * TIMEOUT)
    cluster.heal()
    cluster.run(TIMEOUT)
    assert cluster.leader.me != 1
    assert cluster[1].raft.configuration == configuration


def test_a_snapshot_of_the_leader_brings_the_members_that_it_was_taken_with(
    new_cluster: type[Cluster],
) -> None:
    """ "load snapshot's cluster configuration" (Raft Figure 13, step 8)."""
    cluster = new_cluster(4, settings=PRODUCTION)
    configuration = lead(cluster)
    cluster.isolate(4)
    cluster.change(1, configuration.without(NodeId(3)))
    cluster.run(2 * HEARTBEAT)
    cluster[1].compact()
    assert ids(cluster[4].raft.configuration) == ((1, 2, 3, 4), ())
    cluster.heal()
    cluster.run(4 * HEARTBEAT)
    assert cluster[4].installed
    assert ids(cluster[4].raft.configuration) == ((1, 2, 4), ())
    assert ids(cluster[4].raft.snapshot.configuration) == ((1, 2, 4), ())


# --------------------------------------------------------------------- who votes


def test_a_learner_gives_its_vote(new_cluster: type[Cluster]) -> None:
    """It may have been made a voter, and not know it yet (dissertation §4.2.2)."""
    cluster = new_cluster(3, settings=PRODUCTION)
    configuration = lead(cluster)
    cluster.add(4)
    cluster.change(1, configuration.with_learner(Member(NodeId(4)), promote=False))
    cluster.run(2 * HEARTBEAT)
    cluster.crash(1)
    cluster.advance(2 * TIMEOUT)
    cluster[4].receive(
        2, RequestVote(99, 7, last_log_index=cluster[2].raft.last_index, last_log_term=1)
    )
    (answer,) = [e.message for e in cluster[4].sent if e.to == 2 and e.message.term == 7]
    assert getattr(answer, "vote_granted", False)


def test_a_learner_does_not_stand_for_election(new_cluster: type[Cluster]) -> None:
    cluster = new_cluster(3, settings=PRODUCTION)
    configuration = lead(cluster)
    cluster.add(4)
    cluster.change(1, configuration.with_learner(Member(NodeId(4)), promote=False))
    cluster.run(2 * HEARTBEAT)
    for node in (1, 2, 3):
        cluster.crash(node)
    cluster.run(20 * TIMEOUT)
    assert cluster[4].raft.role_name == "follower"
    assert not [packet for packet in cluster.network if isinstance(packet.message, PreVote)]


def test_who_knows_of_no_cluster_does_not_stand_for_election(new_cluster: type[Cluster]) -> None:
    cluster = new_cluster(1, settings=PRODUCTION)
    cluster.add(2)
    cluster.run(20 * TIMEOUT)
    assert (cluster[2].raft.role_name, cluster[2].raft.current_term) == ("follower", 0)


def test_a_candidate_counts_by_its_own_configuration(new_cluster: type[Cluster]) -> None:
    """Server 4 has a vote in its log, and no majority of five without 4 and 5 elects it."""
    cluster = new_cluster(5, settings=PRODUCTION)
    configuration = lead(cluster)
    cluster.change(1, configuration.without(NodeId(5)))
    cluster.run(2 * HEARTBEAT)
    cluster.crash(1)
    cluster.isolate(2, 5)
    cluster.run(20 * TIMEOUT)
    assert not [server for server in cluster.up if server.raft.is_leader], "3 and 4 are 2 of 4"
    cluster.heal()
    cluster.run(20 * TIMEOUT)
    assert cluster.leader.me in (2, 3, 4)


def test_a_learner_that_is_out_of_touch_is_not_promoted(new_cluster: type[Cluster]) -> None:
    cluster = new_cluster(3, settings=PRODUCTION)
    configuration = lead(cluster)
    cluster.add(4)
    cluster.change(1, configuration.with_learner(Member(NodeId(4)), promote=True))
    cluster.isolate(4)
    cluster.run(5 * TIMEOUT)
    assert ids(cluster[1].raft.configuration) == ((1, 2, 3), (4,))
    cluster.heal()
    cluster.run(2 * TIMEOUT)
    assert ids(cluster[1].raft.configuration) == ((1, 2, 3, 4), ())


def test_a_learner_that_was_away_is_not_promoted_before_it_has_caught_up_anew(
    new_cluster: type[Cluster],
) -> None:
    """Else it would have a vote and lack what was written meanwhile: "an availability gap".

    1. It has caught up, but the change before is not committed yet, for the others' disks are slow.
    2. It is cut off when it has not got what was written last, and the change is committed. 3. It
    is heard again; and as long as no more was asked for, it was promoted at its first word.
    """
    cluster = new_cluster(3, settings=PRODUCTION)
    configuration = lead(cluster)
    cluster.add(4)
    cluster.change(1, configuration.with_learner(Member(NodeId(4)), promote=True))
    beat(cluster, 3, without_entries={2, 3})
    assert cluster[4].raft.last_index == cluster[1].raft.last_index
    for _ in range(50):
        cluster.propose(1)
    beat(cluster, 2, without_entries={2, 3, 4})
    cluster.isolate(4)
    beat(cluster, 2 * TIMEOUT // HEARTBEAT, without_entries={2, 3})
    assert not cluster[1].raft.configuration_is_committed
    cluster.heal()
    beat(cluster, 10, without_entries={4})
    assert cluster[1].raft.followers[NodeId(4)].is_in_touch
    assert ids(cluster[1].raft.configuration) == ((1, 2, 3), (4,))
    assert cluster[1].raft.configuration_is_committed
    cluster.run(TIMEOUT)
    assert ids(cluster[1].raft.configuration) == ((1, 2, 3, 4), ())


def test_an_answer_of_who_had_the_id_before_counts_for_nothing(new_cluster: type[Cluster]) -> None:
    """It has lost its data and was added anew; a late answer says what its former disk held."""
    cluster = new_cluster(3, settings=PRODUCTION)
    configuration = lead(cluster)
    cluster.propose(1)
    cluster.deliver(lambda packet: packet.to == 3 or packet.sender == 2 or packet.to == 2)
    late = [packet for packet in cluster.network if packet.sender == 3]
    cluster.drop()
    assert late
    cluster.change(1, configuration.without(NodeId(3)))
    cluster.deliver()
    configuration = cluster[1].raft.configuration
    cluster.isolate(3)
    cluster.change(1, configuration.with_learner(Member(NodeId(3)), promote=False))
    for packet in late:
        cluster[1].receive(3, packet.message)
    assert cluster[1].raft.followers[NodeId(3)].match_index == 0


# --------------------------------------------------------------------- handing over (§3.10)


def test_leadership_is_handed_over_without_waiting_for_a_timeout(
    new_cluster: type[Cluster],
) -> None:
    """The others vote although they hear the leader, for it has asked for this (§4.2.3)."""
    cluster = new_cluster(3, settings=PRODUCTION)
    lead(cluster)
    assert cluster[1].raft.transfer_leadership(NodeId(2), cluster[1].now)
    assert cluster[1].raft.is_transferring
    assert cluster[1].propose() is None, "what comes now waits for the next leader"
    cluster[1].settle()
    cluster.collect()
    cluster.deliver()
    assert cluster[2].raft.is_leader
    assert not cluster[1].raft.is_transferring


def test_the_next_leader_gets_the_whole_log_first(new_cluster: type[Cluster]) -> None:
    cluster = new_cluster(3, settings=PRODUCTION)
    lead(cluster)
    cluster.propose(1)
    cluster[1].raft.transfer_leadership(NodeId(2), cluster[1].now)
    cluster[1].settle()
    cluster.collect()
    told = [packet for packet in cluster.network if isinstance(packet.message, TimeoutNow)]
    assert not told, "it lacks an entry"
    cluster.deliver()
    assert cluster[2].raft.is_leader
    assert cluster[2].raft.last_index == cluster[1].raft.last_index


def test_a_transfer_is_given_up_after_an_election_timeout(new_cluster: type[Cluster]) -> None:
    cluster = new_cluster(3, settings=PRODUCTION)
    lead(cluster)
    cluster.isolate(2)
    assert cluster[1].raft.transfer_leadership(NodeId(2), cluster[1].now)
    cluster.run(TIMEOUT + HEARTBEAT)
    assert cluster[1].raft.is_leader
    assert not cluster[1].raft.is_transferring
    assert cluster.propose(1) is not None


@pytest.mark.parametrize("to", [1, 4, 9])
def test_leadership_goes_to_another_voter_only(new_cluster: type[Cluster], to: int) -> None:
    cluster = new_cluster(3, settings=PRODUCTION)
    configuration = lead(cluster)
    cluster.add(4)
    cluster.change(1, configuration.with_learner(Member(NodeId(4)), promote=False))
    cluster.run(HEARTBEAT)
    assert not cluster[1].raft.transfer_leadership(NodeId(to), cluster[1].now)
    assert not cluster[2].raft.transfer_leadership(NodeId(3), cluster[2].now)


def test_what_was_forwarded_waits_for_the_next_leader(new_cluster: type[Cluster]) -> None:
    cluster = new_cluster(3, settings=PRODUCTION)
    lead(cluster)
    cluster.isolate(2)
    cluster[1].raft.transfer_leadership(NodeId(2), cluster[1].now)
    assert cluster[3].raft.forward(7, b"data", cluster[3].now)
    cluster[3].settle()
    cluster.collect()
    cluster.deliver()
    assert cluster[1].forwarded == []
    cluster.run(TIMEOUT + HEARTBEAT)
    assert [proposal.data for proposal in cluster[1].forwarded] == [b"data"]


def test_what_was_forwarded_is_given_out_when_another_one_leads(new_cluster: type[Cluster]) -> None:
    """To be refused then, as anything that comes to a server that does not lead."""
    cluster = new_cluster(3, settings=PRODUCTION)
    lead(cluster)
    hand_over(cluster, 1, to=2)
    assert cluster[3].raft.forward(7, b"data", cluster[3].now)
    cluster[3].settle()
    cluster.collect()
    cluster.deliver(lambda packet: packet.to == 1)
    assert cluster[1].forwarded == []
    cluster.deliver()
    assert cluster[2].raft.is_leader
    assert [proposal.data for proposal in cluster[1].forwarded] == [b"data"]
    assert cluster[1].propose() is None


def test_the_order_to_stand_is_given_once(new_cluster: type[Cluster]) -> None:
    """If it is lost the transfer is given up; a second one could come when all is over."""
    cluster = new_cluster(3, settings=PRODUCTION)
    lead(cluster)
    hand_over(cluster, 1, to=2)
    orders = 0
    for _ in range(2 * TIMEOUT // HEARTBEAT):
        orders += sum(isinstance(packet.message, TimeoutNow) for packet in cluster.network)
        cluster.drop(lambda packet: isinstance(packet.message, TimeoutNow))
        cluster.deliver(lambda packet: not isinstance(packet.message, TimeoutNow))
        cluster.advance(HEARTBEAT)
        cluster.wake()
    assert orders == 1
    assert cluster[1].raft.is_leader
    assert cluster.propose(1) is not None


def test_a_second_transfer_waits_for_the_first(new_cluster: type[Cluster]) -> None:
    cluster = new_cluster(3, settings=PRODUCTION)
    lead(cluster)
    cluster.isolate(2)
    assert hand_over(cluster, 1, to=2)
    assert not hand_over(cluster, 1, to=3)
    cluster.run(TIMEOUT)
    assert hand_over(cluster, 1, to=3)


def test_the_end_of_a_transfer_is_a_deadline(new_cluster: type[Cluster]) -> None:
    """Also if no heartbeat falls on it; and when it is over it is none any more."""
    cluster = new_cluster(3, settings=PRODUCTION)
    lead(cluster)
    cluster.isolate(2)
    hand_over(cluster, 1, to=2)
    end = cluster[1].now + TIMEOUT
    cluster.run(TIMEOUT - 1)
    assert cluster[1].raft.is_transferring
    assert cluster[1].raft.deadline() == end
    cluster.run(1)
    assert not cluster[1].raft.is_transferring
    due = cluster[1].raft.deadline()
    assert due is not None
    assert due > cluster[1].now


def test_no_learner_is_promoted_while_leadership_is_handed_over(
    new_cluster: type[Cluster],
) -> None:
    cluster = new_cluster(3, settings=PRODUCTION)
    configuration = lead(cluster)
    cluster.add(4)
    cluster.isolate(2)
    cluster.change(1, configuration.with_learner(Member(NodeId(4)), promote=True))
    hand_over(cluster, 1, to=2)
    cluster.run(TIMEOUT - HEARTBEAT)
    assert cluster[4].raft.last_index == cluster[1].raft.last_index
    assert ids(cluster[1].raft.configuration) == ((1, 2, 3), (4,))
    cluster.run(2 * HEARTBEAT)
    assert ids(cluster[1].raft.configuration) == ((1, 2, 3, 4), ())


def test_a_vote_that_the_leader_wants_is_given_although_it_is_heard(
    new_cluster: type[Cluster],
) -> None:
    """ "I have permission to disrupt the leader", says the request (§4.2.3)."""
    for is_transfer in (False, True):
        cluster = new_cluster(3, settings=PRODUCTION)
        lead(cluster)
        cluster.drop()
        cluster[3].receive(
            2,
            RequestVote(
                99, 2, cluster[3].raft.last_index, last_log_term=1, is_transfer=is_transfer
            ),
        )
        answer = cluster[3].take_one(RequestVoteAnswer)
        assert answer.vote_granted == is_transfer
        assert cluster[3].raft.current_term == (2 if is_transfer else 1)


def test_one_that_has_lost_its_snapshot_does_not_stand_when_it_is_told_to(
    new_server: type[Server], new_disk_state: Callable[..., DurableState]
) -> None:
    """It could not serve; the leader gives the transfer up and goes on."""
    server = new_server(
        2, durable=new_disk_state(snapshot=(5, 1), snapshot_is_lost=True), settings=PRODUCTION
    )
    server.receive(1, TimeoutNow(5, term=1))
    assert (server.raft.role_name, server.raft.current_term) == ("follower", 1)


def test_an_old_order_to_stand_is_ignored(new_cluster: type[Cluster]) -> None:
    cluster = new_cluster(3, settings=PRODUCTION)
    lead(cluster)
    cluster.run(HEARTBEAT)
    cluster[2].receive(1, TimeoutNow(LATER, term=0))
    assert cluster[2].raft.role_name == "follower"
    cluster[2].receive(1, TimeoutNow(LATER, term=1))
    assert cluster[2].raft.role_name == "candidate"


@pytest.mark.parametrize("link_breaks", [False, True])
def test_an_order_to_stand_that_was_given_up_does_not_cost_the_leader_its_term(
    new_cluster: type[Cluster], *, link_breaks: bool
) -> None:
    """The leader has gone on since, so the other server is no successor any more."""
    cluster = new_cluster(3, settings=PRODUCTION)
    lead(cluster)
    hand_over(cluster, 1, to=2)
    (late,) = [packet for packet in cluster.network if isinstance(packet.message, TimeoutNow)]
    cluster.drop(lambda packet: packet is late)
    cluster.run(3 * TIMEOUT)
    if link_breaks:  # then it asks whether it may stand, and is no follower for the moment
        cluster[2].raft.link_changed(NodeId(1), up=False, now=cluster[2].now)
        cluster.advance(HEARTBEAT)
        cluster[2].wake()
        assert cluster[2].raft.role_name == "pre-candidate"
    cluster.hand_over(late)
    cluster.deliver()
    assert cluster[1].raft.is_leader
    assert cluster[1].raft.current_term == 1


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
    assert raft.membership == Membership(started_with, 0, committed=None, committed_index=0)
    assert not raft.configuration_is_committed


def test_who_was_a_member_before_the_latest_change_is_beyond_doubt_after_a_restart(
    new_cluster: type[Cluster],
) -> None:
    """Nothing is known to be committed then, but changes come one at a time.

    Else a node that was let in again could not say so after a restart of all, and one that had
    missed it would refuse it as one that has lost its data, even if nothing can be done without
    the two.
    """
    cluster = new_cluster(3, settings=PRODUCTION)
    before = lead(cluster)
    cluster.add(4)
    change = before.with_learner(Member(NodeId(4)), promote=False)
    entry = cluster[1].raft.change_configuration(change, cluster[1].now)
    assert isinstance(entry, Entry)
    cluster.run(HEARTBEAT)
    further = change.without(NodeId(4))
    last = cluster[1].raft.change_configuration(further, cluster[1].now)
    assert isinstance(last, Entry)
    cluster.run(2 * HEARTBEAT)
    assert cluster[2].raft.membership == Membership(further, last.index, further, last.index)
    cluster.crash(2)
    cluster.restart(2)
    assert cluster[2].raft.membership == Membership(further, last.index, change, entry.index)
