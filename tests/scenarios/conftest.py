"""Bugs that others had, as scenarios that this cluster has to live through.

Each begins with its story: who had the bug, what happened, where it is told, and how this cluster
has to behave. Then whole nodes live through it, in virtual time (`cluster.py`), or as real
processes where the point is the operating system. That a scenario notices its bug when there is one
is tested in `tests/faults/test_found_by_scenarios.py`. All of them, wherever they are tested:

 1. A node that rejoins, or is cut off in part, deposes the leader.
      scenarios/test_elections.py::test_a_node_that_rejoins_deposes_nobody
      scenarios/test_elections.py::test_a_link_that_fails_alone_deposes_nobody
      scenarios/test_elections.py::test_nodes_at_the_edge_depose_nobody
      scenarios/test_elections.py::test_the_only_node_that_reaches_a_majority_is_elected
 2. With PreVote, a node of a lower term never learns the new one.
      scenarios/test_elections.py::test_a_node_of_a_lower_term_learns_the_new_one
      raft/test_dissertation.py::test_pre_votes_between_different_terms_come_to_a_result
      raft/test_dissertation.py::test_a_server_whose_term_is_ahead_comes_back_in
 3. A leader stalls in fsync for ten seconds.
      scenarios/test_stalled_disk.py::test_while_the_disk_of_the_leader_stalls_it_leads_on
      scenarios/test_stalled_disk.py::test_a_leader_that_its_disk_holds_up_entirely_is_replaced
      scenarios/test_stalled_disk.py::test_a_leader_that_is_cut_off_too_serves_nothing_any_more
      scenarios/test_frozen_disk.py::test_the_cluster_serves_on_while_the_disk_of_its_leader_is_frozen
 4. A read is answered from a read index of before a pause.
      scenarios/test_reads.py::test_no_answer_of_a_leader_that_was_stopped_serves_a_later_read
      raft/test_dissertation.py::test_no_round_survives_a_pause
      raft/test_remote.py::test_a_lost_request_is_repeated_under_a_new_id
 5. Replies to two clients are crossed after a forward.
      scenarios/test_replies.py::test_no_client_gets_the_reply_to_another_ones_forwarded_command
 6. "No leader" is the answer to a write that was committed.
      scenarios/test_replies.py::test_what_is_called_not_executed_is_not_there
 7. Data are lost at every failover, because a new leader starts empty.
      scenarios/test_failover.py::test_each_new_leader_has_all_data
 8. A crash comes between applying and recording what was applied.
      scenarios/test_failover.py::test_after_a_crash_no_entry_is_applied_twice_or_left_out
 9. A node is restarted while it loads a snapshot.
      scenarios/test_snapshot_load.py::test_a_node_that_dies_while_it_gets_a_snapshot_is_brought_up
      scenarios/test_snapshot_load.py::test_a_node_that_dies_while_it_reads_a_snapshot_is_brought_up
      simulation/test_snapshot_cycle.py::test_power_goes_at_each_operation_of_the_disk
10. A full disk is freed again.
      scenarios/test_full_disk.py::test_a_node_whose_disk_was_full_comes_back_with_all_data
      scenarios/test_full_disk.py::test_a_node_whose_disk_is_freed_in_time_goes_on_with_all_data
      runtime/test_server.py::test_a_full_disk_stops_the_node_which_recovers_when_there_is_space
11. A vote is torn.
      scenarios/test_torn_vote.py::test_of_a_vote_that_was_being_written_there_is_all_or_nothing
      storage/test_wal_crash.py::test_power_may_go_at_any_operation
12. Two nodes are started with the same id: two that were one node, a copy of one, or by mistake
    (moby/swarmkit#1148, logcabin/logcabin#195). The one that is there stays, the other is refused.
      integration/test_who_is_who.py::test_a_copy_of_a_node_is_refused_and_the_node_stays
      integration/test_who_is_who.py::test_a_newcomer_is_not_taken_for_the_member_of_its_number
      integration/test_bad_peers.py::test_a_second_server_of_the_same_id
      integration/test_bad_peers.py::test_a_second_process_on_a_copy_of_the_data
      cli/test_serve_errors.py::test_a_directory_that_another_process_holds
13. A node is started with another cluster's data.
      scenarios/test_other_cluster.py::test_a_node_with_another_clusters_data_counts_for_nothing
      integration/test_who_is_who.py::test_a_node_of_another_cluster_is_no_newcomer
      integration/test_who_is_who.py::test_a_node_of_a_former_cluster_of_the_same_id_is_not_let_in
14. The wall clock of the leader jumps a year ahead.
      scenarios/test_clocks.py::test_no_module_reads_the_wall_clock
      scenarios/test_clocks.py::test_nothing_expires_when_even_the_monotonic_clock_jumps_a_year_ahead
      scenarios/test_wall_clock.py::test_nothing_expires_when_the_wall_clock_of_the_leader_jumps_a_year_ahead
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from tests.integration.machines import Machines

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture
def machines(tmp_path: Path) -> Iterator[Machines]:
    """Machines on which nodes may run, none as yet; they end with the test."""
    with Machines(tmp_path / "machines") as machines:
        yield machines
