"""The tests of Lab 3 are tested: each bug that clients could notice makes one of them fail."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from tests.faults import raft_plants, replica_plants
from tests.faults.lab_runs import assert_found, measure

if TYPE_CHECKING:
    from collections.abc import Callable

TWICE = "duplicate element|history is not linearizable|get wrong value"
MISSING = "missing element"
STALE = r"Get\(x\): expected:"
TOO_LARGE = "the state of a server is too large"

BUGS = [
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
