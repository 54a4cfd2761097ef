"""The tests of the lab are tested: each bug that could matter to them makes one of them fail."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING

import pytest
from tests.faults import raft_plants, replica_plants, snapshot_plants
from tests.faults.search import find, measure

from quorate.lab import suite
from quorate.lab.edition import Edition
from quorate.lab.errors import CheckFailedError
from quorate.lab.judgement import Judgement
from quorate.lab.runner import ClockKind, play_scenario

if TYPE_CHECKING:
    from tests.faults.search import Plant, Run

SEEDS = range(1, 51)

OVERWRITTEN = r"apply error: commit index=\d+ server="
TWO_LEADERS = "was led by server"
TERM_WENT_BACK = "term of server . went back"
NO_AGREEMENT = "failed to reach agreement"
NO_MAJORITY = "committed but no majority"
TWICE = "duplicate element|history is not linearizable|get wrong value"
MISSING = "missing element"
STALE = r"Get\(x\): expected:"
EXPIRED = "a clerk's call failed: the session expired"
TOO_LARGE = "the state of a server is too large"

LAB_2 = [
    (raft_plants.the_vote_is_not_persisted, "TestPersistVote2C", "figure2", 1, TWO_LEADERS),
    (raft_plants.the_vote_is_not_persisted, "TestTwoCandidates2C", "production", 1, TWO_LEADERS),
    (raft_plants.a_newer_term_is_not_persisted, "TestPersistTerm2C", "figure2", 1, TERM_WENT_BACK),
    (
        raft_plants.a_newer_term_is_not_persisted,
        "TestPersistTerm2C",
        "production",
        1,
        TERM_WENT_BACK,
    ),
    (
        raft_plants.a_follower_answers_before_its_write_is_durable,
        "TestSlowFollowers2C",
        "figure2",
        1,
        OVERWRITTEN,
    ),
    (
        raft_plants.a_follower_answers_before_its_write_is_durable,
        "TestSlowFollowers2C",
        "production",
        1,
        OVERWRITTEN,
    ),
    (
        raft_plants.a_leader_counts_itself_before_its_write_is_durable,
        "TestSlowLeader2C",
        "figure2",
        1,
        OVERWRITTEN,
    ),
    (
        raft_plants.a_leader_counts_itself_before_its_write_is_durable,
        "TestSlowLeader2C",
        "production",
        1,
        OVERWRITTEN,
    ),
    (
        raft_plants.an_old_write_vouches_for_truncated_entries,
        "TestSlowTruncation2C",
        "figure2",
        1,
        OVERWRITTEN,
    ),
    (
        raft_plants.an_old_write_vouches_for_truncated_entries,
        "TestSlowTruncation2C",
        "production",
        1,
        OVERWRITTEN,
    ),
    (
        raft_plants.a_truncation_does_not_lower_the_durable_index,
        "TestSlowTruncation2C",
        "figure2",
        1,
        OVERWRITTEN,
    ),
    (
        raft_plants.a_truncation_does_not_lower_the_durable_index,
        "TestSlowTruncation2C",
        "production",
        1,
        OVERWRITTEN,
    ),
    (
        raft_plants.entries_of_old_terms_are_committed_by_counting,
        "TestFigure8Steps2C",
        "figure2",
        1,
        OVERWRITTEN,
    ),
    (
        raft_plants.entries_of_old_terms_are_committed_by_counting,
        "TestFigure8Steps2C",
        "production",
        1,
        OVERWRITTEN,
    ),
    (
        raft_plants.half_of_the_servers_are_a_majority,
        "TestFailNoAgree2B",
        "figure2",
        1,
        NO_MAJORITY,
    ),
    (
        raft_plants.half_of_the_servers_are_a_majority,
        "TestFailNoAgree2B",
        "production",
        1,
        NO_MAJORITY,
    ),
    (
        raft_plants.a_vote_is_given_to_one_whose_log_is_behind,
        "TestPersist32C",
        "figure2",
        1,
        OVERWRITTEN,
    ),
    (
        raft_plants.a_vote_is_given_to_one_whose_log_is_behind,
        "TestPersist32C",
        "production",
        1,
        OVERWRITTEN,
    ),
    (
        raft_plants.the_commit_index_passes_the_last_new_entry,
        "TestFigure8Steps2C",
        "figure2",
        1,
        OVERWRITTEN,
    ),
    (
        raft_plants.the_commit_index_passes_the_last_new_entry,
        "TestFigure8Steps2C",
        "production",
        1,
        OVERWRITTEN,
    ),
    (
        raft_plants.the_commit_index_passes_the_last_new_entry,
        "TestFigure8Unreliable2C",
        "figure2",
        1,
        OVERWRITTEN,
    ),
    (
        raft_plants.the_commit_index_passes_the_last_new_entry,
        "TestFigure8Unreliable2C",
        "production",
        1,
        OVERWRITTEN,
    ),
    (raft_plants.a_conflict_is_answered_with_success, "TestRejoin2B", "figure2", 1, NO_AGREEMENT),
    (
        raft_plants.a_conflict_is_answered_with_success,
        "TestRejoin2B",
        "production",
        1,
        NO_AGREEMENT,
    ),
    (
        raft_plants.an_overtaken_request_truncates_what_does_not_conflict,
        "TestOvertakenAppends2C",
        "figure2",
        1,
        OVERWRITTEN,
    ),
    (
        raft_plants.an_overtaken_request_truncates_what_does_not_conflict,
        "TestOvertakenAppends2C",
        "production",
        2,
        OVERWRITTEN,
    ),
]
LAB_3 = [
    (replica_plants.duplicates_are_not_detected, "TestUnreliableOneKey3A", "clerk", 1, TWICE),
    (
        replica_plants.duplicates_are_not_detected,
        "TestPersistPartitionUnreliable3A",
        "plain",
        1,
        TWICE,
    ),
    (
        raft_plants.a_leader_serves_reads_without_asking_a_majority,
        "TestStaleRead3A",
        "clerk",
        1,
        STALE,
    ),
    (replica_plants.the_term_of_a_waiter_is_ignored, "TestOverwritten3A", "clerk", 1, MISSING),
    (
        replica_plants.the_waiter_of_an_overwritten_index_gets_its_reply,
        "TestOverwritten3A",
        "clerk",
        1,
        MISSING,
    ),
    (
        replica_plants.entries_are_applied_again_after_a_restart,
        "TestReplay3A",
        "clerk",
        1,
        TWICE,
    ),
    (replica_plants.stored_replies_are_never_freed, "TestSessions3A", "clerk", 1, TOO_LARGE),
    (replica_plants.stored_replies_are_never_freed, "TestSessions3A", "plain", 1, TOO_LARGE),
    (replica_plants.sessions_never_expire, "TestSessions3A", "clerk", 1, TOO_LARGE),
    (replica_plants.no_session_yields_to_another, "TestSessions3A", "clerk", 1, TOO_LARGE),
    (
        replica_plants.an_interrupted_write_is_sent_again_in_a_new_session,
        "TestPersistPartitionUnreliable3A",
        "plain",
        1,
        TWICE,
    ),
    (
        snapshot_plants.a_snapshot_lacks_the_sessions,
        "TestSnapshotUnreliableRecover3B",
        "clerk",
        1,
        EXPIRED,
    ),
    (
        snapshot_plants.a_snapshot_lacks_the_sessions,
        "TestSnapshotUnreliableRecover3B",
        "plain",
        1,
        TWICE,
    ),
]
BUGS = [*LAB_2, *LAB_3]


@cache
def lab_test(name: str, variant: str) -> Run:
    scenario = suite.find(name, variant)

    def run(seed: int) -> None:
        played = play_scenario(scenario, seed=seed, clock=ClockKind.VIRTUAL, edition=Edition.Y2022)
        failure = Judgement.on(played.histories).applied_to(played.outcome).failure
        if failure is not None:
            raise CheckFailedError(failure)

    return run


@pytest.mark.parametrize(("plant", "test", "variant", "seed", "words"), BUGS)
def test_the_lab_finds_it(plant: Plant, test: str, variant: str, seed: int, words: str) -> None:
    find(plant, lab_test(test, variant), words, seed=seed, seeds=SEEDS)


@pytest.mark.soak
@pytest.mark.timeout(1200)
@pytest.mark.parametrize(("plant", "test", "variant"), [bug[:3] for bug in BUGS])
def test_on_how_many_of_fifty_seeds(plant: Plant, test: str, variant: str) -> None:
    measure(plant, lab_test(test, variant), ".", seeds=SEEDS)
