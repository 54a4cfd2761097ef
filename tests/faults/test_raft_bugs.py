"""The simulation finds bugs planted in the Raft core."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from tests.faults import raft_plants as plants

if TYPE_CHECKING:
    from collections.abc import Callable

NOT_DURABLE = "not on its disk|but its disk|on the disks of"
LOST = "committed another entry|leads term .* without entry|committed entry never changes"
STALE = "a read by .* began at"

BUGS = [
    (plants.the_vote_is_not_persisted, NOT_DURABLE, 1),
    (plants.a_newer_term_is_not_persisted, NOT_DURABLE, 1),
    (plants.a_follower_answers_before_its_write_is_durable, NOT_DURABLE, 1),
    (plants.a_leader_counts_itself_before_its_write_is_durable, NOT_DURABLE, 1),
    (plants.an_old_write_vouches_for_truncated_entries, NOT_DURABLE, 1),
    (plants.a_truncation_does_not_lower_the_durable_index, NOT_DURABLE, 1),
    (plants.entries_of_old_terms_are_committed_by_counting, f"by counting|{LOST}", 1),
    (plants.half_of_the_servers_are_a_majority, NOT_DURABLE, 2),
    (plants.a_vote_is_given_to_one_whose_log_is_behind, LOST, 1),
    (plants.the_commit_index_passes_the_last_new_entry, f"{LOST}|{NOT_DURABLE}", 15),
    (plants.a_conflict_is_answered_with_success, NOT_DURABLE, 1),
    (plants.an_overtaken_request_truncates_what_does_not_conflict, NOT_DURABLE, 19),
    (plants.a_leader_serves_reads_without_asking_a_majority, STALE, 19),
    (plants.a_read_is_confirmed_by_an_answer_to_an_older_request, STALE, 1),
    (plants.a_new_leader_reads_before_it_has_committed_anything, STALE, 1),
]


@pytest.mark.parametrize(("plant", "symptom", "seed"), BUGS)
def test_the_simulation_finds_it(
    plant: Callable[[pytest.MonkeyPatch], None],
    symptom: str,
    seed: int,
    find: Callable[..., None],
) -> None:
    find(plant, symptom, seed=seed)


@pytest.mark.soak
@pytest.mark.parametrize(("plant", "symptom"), [bug[:2] for bug in BUGS])
def test_in_how_many_of_a_hundred_lives(
    plant: Callable[[pytest.MonkeyPatch], None], symptom: str, measure: Callable[..., None]
) -> None:
    measure(plant, symptom)
