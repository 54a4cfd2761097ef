"""Random worlds of cores whose members change find each planted bug of membership.

What is noticed are the consequences: what is on too few disks, what is not as agreed, or that
another leader may be elected that lacks what is committed. Nobody there looks at when a leader
makes a change.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from tests.faults import membership_plants
from tests.faults.search import find, measure
from tests.raft import churn

if TYPE_CHECKING:
    from tests.faults.search import Plant

SEEDS = range(1, 51)

NOT_COPIED = "on a majority's disks"
SPLIT = "may be elected without|election safety|leader completeness|state machine safety"

BUGS = [
    (membership_plants.a_change_is_committed_by_the_old_majority_alone, NOT_COPIED, 4),
    (membership_plants.two_changes_are_made_at_once, SPLIT, 1),
    (membership_plants.a_change_is_made_before_the_first_commit_of_the_term, SPLIT, 3),
    (membership_plants.learners_count_in_the_quorum, NOT_COPIED, 1),
    (membership_plants.a_snapshot_lacks_the_members, "as of the snapshot", 1),
    (membership_plants.a_removed_leader_counts_itself, NOT_COPIED, 3),
    (membership_plants.a_truncation_leaves_the_configuration_in_force, "is in force", 6),
]


def live(seed: int) -> None:
    churn.live("production", 3, "empty", seed)


@pytest.mark.parametrize(("plant", "symptom", "seed"), BUGS)
def test_random_worlds_find_it(plant: Plant, symptom: str, seed: int) -> None:
    find(plant, live, symptom, seed=seed, seeds=SEEDS)


@pytest.mark.soak
@pytest.mark.parametrize(("plant", "symptom"), [bug[:2] for bug in BUGS])
def test_in_how_many_of_fifty_worlds(plant: Plant, symptom: str) -> None:
    measure(plant, live, symptom, seeds=SEEDS)
