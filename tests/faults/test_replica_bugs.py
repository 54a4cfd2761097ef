"""Bugs planted between the log and the clients: the simulation finds each."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from tests.faults import replica_plants as plants

if TYPE_CHECKING:
    from collections.abc import Callable

TWICE = r"is \d+ times in"
ORDER = "which its writer had begun earlier"
STALE = "a read by .* began at"

BUGS = [
    (plants.duplicates_are_not_detected, TWICE, 1),
    (plants.an_ordered_session_executes_despite_a_gap, ORDER, 1),
    (plants.acknowledged_numbers_are_executed_again, TWICE, 3),
    (plants.stored_replies_are_never_freed, "calls are not answered", 2),
    (plants.the_waiter_of_an_overwritten_index_gets_its_reply, "was acknowledged", 3),
    (plants.the_term_of_a_waiter_is_ignored, "was acknowledged", 3),
    (plants.entries_are_applied_again_after_a_restart, "different states|times in", 3),
    (plants.a_read_is_served_before_its_index_is_applied, STALE, 1),
    (plants.a_read_index_serves_reads_that_came_after_it_was_asked_for, STALE, 44),
    (plants.an_expired_own_session_re_sends_in_a_new_one, TWICE, 9),
    (plants.a_submitted_write_that_is_given_up_is_called_not_executed, "not to be executed", 7),
    (plants.the_expiry_of_a_repeated_call_is_passed_on, TWICE, 9),
    (plants.a_read_does_not_wait_for_earlier_writes, ORDER, 1),
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
