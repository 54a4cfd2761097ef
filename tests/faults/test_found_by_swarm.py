"""The swarm finds faults of disk and recovery, in lives as `quorate swarm` lives them.

One that it does not find within 200 is told of in docs/testing.md; another test finds it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from tests.faults import replica_plants, snapshot_plants, storage_plants
from tests.faults.search import find, measure

from quorate.sim.life import drawn_life
from quorate.sim.world import World

if TYPE_CHECKING:
    from tests.faults.search import Plant

SEEDS = range(1, 201)
"""Each has to be found within so many."""

SYMPTOM = (
    "found term .* on its disk, where|is down: |this node has numbered|calls are not answered|"
    "has not noticed that its log is damaged|have different states|times in|is not on its disk|"
    "on the disks of|leads term .* without entry|committed another entry|without a gap"
)
"""A server finds something else than was synced, cannot start, or has a past of its own."""

FAULTS: list[tuple[Plant, int]] = [
    (storage_plants.nothing_is_synced, 1),
    (storage_plants.the_directory_is_not_synced, 4),
    (storage_plants.a_new_segment_is_not_synced_into_the_directory, 1),
    (storage_plants.a_failed_sync_is_tried_again, 82),
    (storage_plants.a_torn_tail_is_not_cut, 10),
    (storage_plants.a_torn_tail_is_taken_for_corruption, 10),
    (storage_plants.corruption_is_taken_for_a_torn_tail, 17),
    (storage_plants.the_checksum_of_a_frame_is_not_checked, 17),
    (storage_plants.what_is_recovered_is_not_made_durable, 38),
    (storage_plants.a_new_segment_forgets_the_vote, 1),
    (storage_plants.a_full_disk_is_ignored, 5),
    (snapshot_plants.a_snapshot_counts_before_it_is_synced, 1),
    (snapshot_plants.a_snapshot_counts_before_its_name_is_durable, 10),
    (snapshot_plants.the_old_snapshot_goes_before_the_new_one_is_durable, 1),
    (snapshot_plants.segments_are_removed_too_early, 1),
    (snapshot_plants.a_restart_believes_the_log_rather_than_the_snapshot, 129),
    (replica_plants.entries_are_applied_again_after_a_restart, 3),
]


def live(seed: int) -> None:
    World(drawn_life(seed, seconds=60)).run()


@pytest.mark.soak
@pytest.mark.timeout(3600)
@pytest.mark.parametrize(("plant", "seed"), FAULTS)
def test_the_swarm_finds_it(plant: Plant, seed: int) -> None:
    find(plant, live, SYMPTOM, seed=seed, seeds=SEEDS)


@pytest.mark.soak
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("plant", [plant for plant, _ in FAULTS])
def test_in_how_many_of_twenty_lives(plant: Plant) -> None:
    measure(plant, live, SYMPTOM, seeds=range(1, 21))
