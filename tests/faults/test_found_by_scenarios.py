"""Each scenario notices the bug that it is about, when that is there."""

from __future__ import annotations

import re
from functools import partial
from typing import TYPE_CHECKING

import pytest
from tests.faults import raft_plants, replica_plants, snapshot_plants
from tests.faults import scenario_plants as plants
from tests.faults.search import noticed
from tests.scenarios import (
    test_clocks,
    test_elections,
    test_failover,
    test_full_disk,
    test_reads,
    test_replies,
    test_snapshot_load,
    test_stalled_disk,
    test_torn_vote,
)

from quorate.raft.settings import Settings
from quorate.replica.snapshot_taker import SnapshotSettings

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.faults.search import Plant

PLAIN = Settings(pre_vote=False, check_quorum=False)
"""Raft as in Figure 2, which has the first of these bugs."""


@pytest.mark.parametrize(
    ("scenario", "raft"),
    [
        (test_elections.a_node_rejoins, PLAIN),
        (test_elections.a_link_fails_alone, PLAIN),
        (test_elections.nodes_at_the_edge, PLAIN),
        (test_elections.one_in_the_middle, Settings(check_quorum=False)),
    ],
)
def test_without_its_extensions_raft_elects_too_often_or_not_at_all(
    scenario: Callable[[Settings], None], raft: Settings
) -> None:
    with pytest.raises(AssertionError):
        scenario(raft)


def crossed() -> None:
    """On several seeds, for replies can be crossed and yet be the same."""
    for seed in range(3):
        test_replies.crossed_replies(seed)


lower_term = partial(test_elections.test_a_node_of_a_lower_term_learns_the_new_one, 1)
stalled = test_stalled_disk.test_while_the_disk_of_the_leader_stalls_it_leads_on
cut_off = partial(
    test_stalled_disk.test_a_leader_that_is_cut_off_too_serves_nothing_any_more, is_held_up=False
)
stopped = partial(
    test_reads.test_no_answer_of_a_leader_that_was_stopped_serves_a_later_read, clock_goes_on=False
)
hears_nobody, dies, is_cut_off = (
    partial(test_replies.test_what_is_called_not_executed_is_not_there, trouble)
    for trouble in test_replies.TROUBLES
)
failover = test_failover.test_each_new_leader_has_all_data
crash = partial(
    test_failover.test_after_a_crash_no_entry_is_applied_twice_or_left_out, SnapshotSettings()
)
crash_with_snapshots = partial(crash.func, test_failover.EVERY_ENTRY)
loading = test_snapshot_load.test_a_node_that_dies_while_it_gets_a_snapshot_is_brought_up
reading = test_snapshot_load.test_a_node_that_dies_while_it_reads_a_snapshot_is_brought_up
full = partial(
    test_full_disk.test_a_node_whose_disk_was_full_comes_back_with_all_data, victim_leads=True
)
torn = partial(test_torn_vote.test_of_a_vote_that_was_being_written_there_is_all_or_nothing, 0)
clock = partial(test_clocks.jump, is_leader=True)

APART = "have applied the same log"
UNTRUE = "was said not to be executed, and is there"
FORGOTTEN = "found term .* on its disk, where"

BUGS: list[tuple[Plant, str, Callable[[], None]]] = [
    (plants.what_an_older_term_asks_before_an_election_is_ignored, "somebody leads", lower_term),
    (plants.a_leader_waits_for_its_own_disk, "UNKNOWN", stalled),
    (plants.a_leader_whose_write_does_not_end_looks_at_no_timer, "believes in itself", cut_off),
    (raft_plants.a_read_is_confirmed_by_an_answer_to_an_older_request, "a stale read", stopped),
    (plants.an_answer_is_taken_for_that_to_the_oldest_request, "crossed", crossed),
    (plants.a_write_whose_leader_is_gone_is_called_not_executed, UNTRUE, hears_nobody),
    (plants.a_write_whose_leader_is_gone_is_called_not_executed, UNTRUE, dies),
    (plants.a_write_whose_leader_is_gone_is_called_not_executed, UNTRUE, is_cut_off),
    (
        replica_plants.a_submitted_write_that_is_given_up_is_called_not_executed,
        UNTRUE,
        hears_nobody,
    ),
    (plants.a_new_leader_starts_empty, "None", failover),
    (replica_plants.entries_are_applied_again_after_a_restart, "different states", crash),
    (plants.a_snapshot_says_that_one_entry_less_was_applied, APART, crash_with_snapshots),
    (snapshot_plants.the_metadata_has_the_commit_index, APART, crash_with_snapshots),
    (plants.a_piece_that_is_not_answered_is_waited_for, APART, loading),
    (plants.a_leader_goes_on_with_the_next_piece_whatever_the_follower_has, APART, loading),
    (snapshot_plants.a_snapshot_counts_before_it_is_synced, FORGOTTEN, loading),
    (plants.a_state_of_which_some_was_read_is_put_in_place, "different states", reading),
    (plants.what_does_not_fit_is_taken_for_written, "is_up", full),
    (plants.term_and_vote_are_two_records, FORGOTTEN, torn),
    (raft_plants.the_vote_is_not_persisted, "a torn vote", torn),
    (plants.a_leader_believes_its_clock_whatever_it_shows, "its session has expired", clock),
]


@pytest.mark.parametrize(("plant", "symptom", "scenario"), BUGS)
def test_its_scenario_finds_it(plant: Plant, symptom: str, scenario: Callable[[], None]) -> None:
    # That it passes without the bug is tested in `tests/scenarios`.
    what = noticed(plant, lambda _seed: scenario(), 0)
    assert what is not None
    assert re.search(symptom, what)
