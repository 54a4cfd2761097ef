"""The tests of Lab 2 are tested: each bug planted in the Raft core makes one of them fail."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from tests.faults import raft_plants as plants
from tests.faults.lab_runs import assert_found, measure

if TYPE_CHECKING:
    from collections.abc import Callable

OVERWRITTEN = r"apply error: commit index=\d+ server="
TWO_LEADERS = "was led by server"
TERM_WENT_BACK = "term of server . went back"
NO_AGREEMENT = "failed to reach agreement"
NO_MAJORITY = "committed but no majority"

BUGS = [
    (plants.the_vote_is_not_persisted, "TestPersistVote2C", "figure2", 1, TWO_LEADERS),
    (plants.the_vote_is_not_persisted, "TestTwoCandidates2C", "production", 1, TWO_LEADERS),
    (plants.a_newer_term_is_not_persisted, "TestPersistTerm2C", "figure2", 1, TERM_WENT_BACK),
    (plants.a_newer_term_is_not_persisted, "TestPersistTerm2C", "production", 1, TERM_WENT_BACK),
    (
        plants.a_follower_answers_before_its_write_is_durable,
        "TestSlowFollowers2C",
        "figure2",
        1,
        OVERWRITTEN,
    ),
    (
        plants.a_follower_answers_before_its_write_is_durable,
        "TestSlowFollowers2C",
        "production",
        1,
        OVERWRITTEN,
    ),
    (
        plants.a_leader_counts_itself_before_its_write_is_durable,
        "TestSlowLeader2C",
        "figure2",
        1,
        OVERWRITTEN,
    ),
    (
        plants.a_leader_counts_itself_before_its_write_is_durable,
        "TestSlowLeader2C",
        "production",
        1,
        OVERWRITTEN,
    ),
    (
        plants.an_old_write_vouches_for_truncated_entries,
        "TestSlowTruncation2C",
        "figure2",
        1,
        OVERWRITTEN,
    ),
    (
        plants.an_old_write_vouches_for_truncated_entries,
        "TestSlowTruncation2C",
        "production",
        1,
        OVERWRITTEN,
    ),
    (
        plants.a_truncation_does_not_lower_the_durable_index,
        "TestSlowTruncation2C",
        "figure2",
        1,
        OVERWRITTEN,
    ),
    (
        plants.a_truncation_does_not_lower_the_durable_index,
        "TestSlowTruncation2C",
        "production",
        1,
        OVERWRITTEN,
    ),
    (
        plants.entries_of_old_terms_are_committed_by_counting,
        "TestFigure8Steps2C",
        "figure2",
        1,
        OVERWRITTEN,
    ),
    (
        plants.entries_of_old_terms_are_committed_by_counting,
        "TestFigure8Steps2C",
        "production",
        1,
        OVERWRITTEN,
    ),
    (plants.half_of_the_servers_are_a_majority, "TestFailNoAgree2B", "figure2", 1, NO_MAJORITY),
    (plants.half_of_the_servers_are_a_majority, "TestFailNoAgree2B", "production", 1, NO_MAJORITY),
    (
        plants.a_vote_is_given_to_one_whose_log_is_behind,
        "TestPersist32C",
        "figure2",
        1,
        OVERWRITTEN,
    ),
    (
        plants.a_vote_is_given_to_one_whose_log_is_behind,
        "TestPersist32C",
        "production",
        1,
        OVERWRITTEN,
    ),
    (
        plants.the_commit_index_passes_the_last_new_entry,
        "TestFigure8Steps2C",
        "figure2",
        1,
        OVERWRITTEN,
    ),
    (
        plants.the_commit_index_passes_the_last_new_entry,
        "TestFigure8Steps2C",
        "production",
        1,
        OVERWRITTEN,
    ),
    (
        plants.the_commit_index_passes_the_last_new_entry,
        "TestFigure8Unreliable2C",
        "figure2",
        1,
        OVERWRITTEN,
    ),
    (
        plants.the_commit_index_passes_the_last_new_entry,
        "TestFigure8Unreliable2C",
        "production",
        1,
        OVERWRITTEN,
    ),
    (plants.a_conflict_is_answered_with_success, "TestRejoin2B", "figure2", 1, NO_AGREEMENT),
    (plants.a_conflict_is_answered_with_success, "TestRejoin2B", "production", 1, NO_AGREEMENT),
    (
        plants.an_overtaken_request_truncates_what_does_not_conflict,
        "TestOvertakenAppends2C",
        "figure2",
        1,
        OVERWRITTEN,
    ),
    (
        plants.an_overtaken_request_truncates_what_does_not_conflict,
        "TestOvertakenAppends2C",
        "production",
        2,
        OVERWRITTEN,
    ),
]


@pytest.mark.parametrize(("plant", "test", "variant", "seed", "words"), BUGS)
def test_the_lab_finds_it(
    plant: Callable[[pytest.MonkeyPatch], None], test: str, variant: str, seed: int, words: str
) -> None:
    assert_found(plant, test, variant, seed=seed, words=words)


@pytest.mark.soak
@pytest.mark.timeout(1200)
@pytest.mark.parametrize(("plant", "test", "variant"), [bug[:3] for bug in BUGS])
def test_on_how_many_of_fifty_seeds(
    plant: Callable[[pytest.MonkeyPatch], None], test: str, variant: str
) -> None:
    measure(plant, test, variant)
