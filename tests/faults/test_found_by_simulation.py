"""The simulation finds each planted bug."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from tests.faults import (
    membership_plants,
    raft_plants,
    replica_plants,
    snapshot_plants,
    storage_plants,
)
from tests.faults.search import find, measure
from tests.simulation.test_snapshot_cycle import live_each_as_deposed_leader

from quorate.sim.errors import InvariantError
from quorate.sim.life import Life
from quorate.sim.world import World

if TYPE_CHECKING:
    from tests.faults.search import Plant

SEEDS = range(1, 101)

NOT_COPIED = "not on its disk|on the disks of"
NOT_DURABLE = f"but its disk|{NOT_COPIED}"
LOST = "committed another entry|leads term .* without entry|committed entry never changes"
STALE = "a read by .* began at"
TWICE = r"is \d+ times in"
ORDER = "which its writer had begun earlier"
STATE = "have different states as of"
WRONG = "which is not committed"
FORGOTTEN = "found term .* on its disk, where|is down: "
"""A node finds another state than was synced, or damage that keeps it from starting."""
USED_AGAIN = f"{FORGOTTEN}|calls are not answered|this node has numbered"
"""Or it uses the numbers of an earlier boot again."""

RAFT = [
    (raft_plants.the_vote_is_not_persisted, NOT_DURABLE, 1),
    (raft_plants.a_newer_term_is_not_persisted, NOT_DURABLE, 1),
    (raft_plants.a_follower_answers_before_its_write_is_durable, NOT_DURABLE, 1),
    (raft_plants.a_leader_counts_itself_before_its_write_is_durable, NOT_DURABLE, 1),
    (raft_plants.an_old_write_vouches_for_truncated_entries, NOT_DURABLE, 1),
    (raft_plants.a_truncation_does_not_lower_the_durable_index, NOT_DURABLE, 1),
    (raft_plants.entries_of_old_terms_are_committed_by_counting, f"by counting|{LOST}", 1),
    (raft_plants.half_of_the_servers_are_a_majority, NOT_DURABLE, 4),
    (raft_plants.all_servers_are_needed, "calls are not answered", 1),
    (raft_plants.a_vote_is_given_to_one_whose_log_is_behind, LOST, 1),
    (raft_plants.the_commit_index_passes_the_last_new_entry, f"{LOST}|{NOT_DURABLE}", 1),
    (raft_plants.a_conflict_is_answered_with_success, NOT_DURABLE, 1),
    (raft_plants.an_overtaken_request_truncates_what_does_not_conflict, NOT_DURABLE, 23),
    (raft_plants.a_leader_serves_reads_without_asking_a_majority, STALE, 15),
    (raft_plants.a_read_is_confirmed_by_an_answer_to_an_older_request, STALE, 22),
    (raft_plants.a_new_leader_reads_before_it_has_committed_anything, STALE, 1),
]
REPLICA = [
    (replica_plants.duplicates_are_not_detected, TWICE, 1),
    (replica_plants.an_ordered_session_executes_despite_a_gap, ORDER, 1),
    (replica_plants.acknowledged_numbers_are_executed_again, TWICE, 4),
    (replica_plants.stored_replies_are_never_freed, "calls are not answered", 2),
    (replica_plants.the_waiter_of_an_overwritten_index_gets_its_reply, "was acknowledged", 17),
    # `the_term_of_a_waiter_is_ignored` alone takes another leader's entry that comes, is committed
    # and is applied in one turn: none of a hundred lives noticed. A test of the lab does.
    (replica_plants.entries_are_applied_again_after_a_restart, "different states|times in", 3),
    (replica_plants.a_read_is_served_before_its_index_is_applied, STALE, 1),
    (replica_plants.a_read_index_serves_reads_that_came_after_it_was_asked_for, STALE, 20),
    (replica_plants.an_expired_own_session_re_sends_in_a_new_one, TWICE, 9),
    (
        replica_plants.a_submitted_write_that_is_given_up_is_called_not_executed,
        "not to be executed",
        33,
    ),
    (replica_plants.the_expiry_of_a_repeated_call_is_passed_on, TWICE, 17),
    (replica_plants.a_read_does_not_wait_for_earlier_writes, ORDER, 1),
]
SNAPSHOT = [
    (snapshot_plants.a_snapshot_lacks_the_sessions, STATE, 1),
    (snapshot_plants.a_value_is_replaced_under_the_walk, STATE, 23),
    (snapshot_plants.cluster_time_is_not_restored, STATE, 1),
    (snapshot_plants.the_metadata_has_the_current_term, f"snapshot.term ==|{WRONG}", 2),
    (snapshot_plants.the_metadata_has_the_commit_index, ".", 5),
    (snapshot_plants.the_log_begins_with_a_wrong_term, ".", 1),
    (snapshot_plants.one_trailing_entry_too_few, ".", 1),
    (snapshot_plants.the_log_is_dropped_before_the_snapshot_is_durable, "has dropped entries", 1),
    (snapshot_plants.a_snapshot_counts_before_it_is_synced, FORGOTTEN, 1),
    (snapshot_plants.a_snapshot_counts_before_its_name_is_durable, FORGOTTEN, 1),
    (snapshot_plants.the_old_snapshot_goes_before_the_new_one_is_durable, FORGOTTEN, 22),
    (snapshot_plants.a_snapshot_is_acknowledged_before_it_is_durable, NOT_COPIED, 1),
    (snapshot_plants.the_beginning_of_the_log_is_not_recorded, ".", 1),
    (snapshot_plants.a_new_segment_forgets_the_beginning_of_the_log, FORGOTTEN, 3),
    (snapshot_plants.segments_are_removed_too_early, FORGOTTEN, 7),
    (snapshot_plants.a_restart_believes_the_log_rather_than_the_snapshot, ".", 118),
    (snapshot_plants.a_snapshot_is_installed_over_newer_state, "back to", 65),
    (snapshot_plants.pieces_of_different_snapshots_are_put_together, "are not one snapshot", 1),
    (snapshot_plants.pieces_are_sent_of_whatever_snapshot_is_the_newest, "are not one snapshot", 1),
]
STORAGE = [
    (storage_plants.nothing_is_synced, USED_AGAIN, 1),
    (storage_plants.the_log_is_not_synced, USED_AGAIN, 1),
    (storage_plants.the_directory_is_not_synced, USED_AGAIN, 1),
    (storage_plants.a_new_segment_is_not_synced_into_the_directory, USED_AGAIN, 1),
    (storage_plants.the_identity_is_not_synced_into_the_directory, USED_AGAIN, 15),
    (storage_plants.a_torn_tail_is_not_cut, USED_AGAIN, 19),
    (storage_plants.a_failed_sync_is_tried_again, USED_AGAIN, 3),
    (storage_plants.what_is_recovered_is_not_made_durable, USED_AGAIN, 10),
    (storage_plants.a_new_segment_forgets_the_vote, USED_AGAIN, 1),
    (storage_plants.the_boot_is_not_counted, ".", 1),
    (storage_plants.a_full_disk_is_ignored, USED_AGAIN, 3),
]
MEMBERSHIP = [
    (membership_plants.a_change_is_committed_by_the_old_majority_alone, NOT_COPIED, 1),
    (membership_plants.two_changes_are_made_at_once, "has changed the members", 1),
    (
        membership_plants.a_change_is_made_before_the_first_commit_of_the_term,
        "has changed the members",
        1,
    ),
    (membership_plants.learners_count_in_the_quorum, NOT_COPIED, 22),
    (membership_plants.a_snapshot_lacks_the_members, "says that the members", 1),
    (membership_plants.removed_servers_disturb, "leaders were elected after", 1),
    (membership_plants.a_server_that_has_lost_its_data_is_let_in, f"{NOT_COPIED}|{LOST}", 10),
    (
        membership_plants.a_node_with_new_data_has_the_sessions_of_its_predecessor,
        "this node has numbered",
        3,
    ),
]
"""To be found where the members change."""
BUGS = [*RAFT, *REPLICA, *SNAPSHOT, *STORAGE]


def live(seed: int) -> None:
    World(Life(seed=seed)).run()


def live_with_churn(seed: int) -> None:
    World(Life(seed=seed, churn=True)).run()


@pytest.mark.parametrize(("plant", "symptom", "seed"), MEMBERSHIP)
def test_the_simulation_finds_it_where_members_change(
    plant: Plant, symptom: str, seed: int
) -> None:
    find(plant, live_with_churn, symptom, seed=seed, seeds=range(1, 51))


@pytest.mark.parametrize(("plant", "symptom", "seed"), BUGS)
def test_the_simulation_finds_it(plant: Plant, symptom: str, seed: int) -> None:
    find(plant, live, symptom, seed=seed, seeds=SEEDS)


@pytest.mark.soak
@pytest.mark.timeout(3600)
@pytest.mark.parametrize(("plant", "symptom"), [bug[:2] for bug in BUGS])
def test_in_how_many_of_a_hundred_lives(plant: Plant, symptom: str) -> None:
    measure(plant, live, symptom, seeds=SEEDS)


@pytest.mark.soak
@pytest.mark.timeout(3600)
@pytest.mark.parametrize(("plant", "symptom"), [bug[:2] for bug in MEMBERSHIP])
def test_in_how_many_of_a_hundred_lives_in_which_members_change(plant: Plant, symptom: str) -> None:
    measure(plant, live_with_churn, symptom, seeds=SEEDS)


def test_a_leader_that_is_deposed_and_crashes_finds_it() -> None:
    """In none of sixty random lives: it takes a log that goes on behind a snapshot of another past,
    and a crash between that snapshot and the next write to the log.
    """
    with pytest.MonkeyPatch.context() as patches:
        snapshot_plants.a_restart_keeps_entries_that_a_snapshot_has_replaced(patches)
        with pytest.raises(InvariantError, match=FORGOTTEN):
            live_each_as_deposed_leader(remains=1)
