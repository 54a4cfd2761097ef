"""The simulation finds bugs planted in what is done with snapshots."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from tests.faults import snapshot_plants as plants
from tests.simulation.test_snapshot_cycle import live_each_as_deposed_leader

from quorate.sim.errors import InvariantError

if TYPE_CHECKING:
    from collections.abc import Callable

STATE = "have different states as of"
LOST = "found term .* on its disk, where|is down: "
NOT_DURABLE = "not on its disk|on the disks of"
WRONG = "which is not committed"

BUGS = [
    (plants.a_snapshot_lacks_the_sessions, STATE, 1),
    (plants.a_value_is_replaced_under_the_walk, STATE, 1),
    (plants.cluster_time_is_not_restored, STATE, 1),
    (plants.the_metadata_has_the_current_term, f"snapshot.term ==|{WRONG}", 1),
    (plants.the_metadata_has_the_commit_index, ".", 2),
    (plants.the_log_begins_with_a_wrong_term, ".", 1),
    (plants.one_trailing_entry_too_few, ".", 1),
    (plants.the_log_is_dropped_before_the_snapshot_is_durable, "has dropped entries", 1),
    (plants.a_snapshot_counts_before_it_is_synced, LOST, 1),
    (plants.a_snapshot_counts_before_its_name_is_durable, LOST, 2),
    (plants.the_old_snapshot_goes_before_the_new_one_is_durable, LOST, 5),
    (plants.a_snapshot_is_acknowledged_before_it_is_durable, NOT_DURABLE, 1),
    (plants.the_beginning_of_the_log_is_not_recorded, ".", 1),
    (plants.a_new_segment_forgets_the_beginning_of_the_log, LOST, 4),
    (plants.segments_are_removed_too_early, LOST, 2),
    (plants.a_restart_believes_the_log_rather_than_the_snapshot, ".", 76),
    (plants.a_snapshot_is_installed_over_newer_state, "back to", 68),
    (plants.pieces_of_different_snapshots_are_put_together, "are not one snapshot", 1),
    (plants.pieces_are_sent_of_whatever_snapshot_is_the_newest, "are not one snapshot", 1),
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


def test_a_leader_that_is_deposed_and_crashes_finds_it() -> None:
    """In none of sixty random lives: it takes a log that goes on behind a snapshot of another past,
    and a crash between that snapshot and the next write to the log.
    """
    with pytest.MonkeyPatch.context() as patches:
        plants.a_restart_keeps_entries_that_a_snapshot_has_replaced(patches)
        with pytest.raises(InvariantError, match=LOST):
            live_each_as_deposed_leader(remains=1)
