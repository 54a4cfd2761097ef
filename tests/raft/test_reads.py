"""Rounds of confirmations for reads at a leader."""

from __future__ import annotations

from quorate.raft.configuration import NodeId
from quorate.raft.reads import LocalRead, Read, ReadRounds, RemoteRead


def test_without_reads_no_round_begins() -> None:
    rounds = ReadRounds()
    rounds.begin(read_index=5, first_id=10, ask_all_at=0)
    assert not rounds.is_under_way


def test_all_that_wait_share_a_round() -> None:
    rounds = ReadRounds()
    reads: list[Read] = [LocalRead(1), RemoteRead(NodeId(2), 7), LocalRead(2)]
    for read in reads:
        rounds.add(read)
    rounds.begin(read_index=5, first_id=10, ask_all_at=0)
    assert (rounds.is_under_way, rounds.read_index, rounds.first_id) == (True, 5, 10)
    assert rounds.take_confirmed(9) == []
    assert rounds.take_confirmed(10) == reads
    assert not rounds.is_under_way


def test_a_read_that_comes_during_a_round_has_the_next() -> None:
    rounds = ReadRounds()
    rounds.add(LocalRead(1))
    rounds.begin(read_index=5, first_id=10, ask_all_at=0)
    rounds.add(LocalRead(2))
    rounds.begin(read_index=6, first_id=20, ask_all_at=0)
    assert (rounds.read_index, rounds.first_id) == (5, 10), "the round under way goes on"
    assert rounds.take_confirmed(30) == [LocalRead(1)]
    rounds.begin(read_index=6, first_id=31, ask_all_at=0)
    assert rounds.take_confirmed(30) == []
    assert rounds.take_confirmed(31) == [LocalRead(2)]


def test_a_leader_that_loses_its_term_leaves_no_read_behind() -> None:
    rounds = ReadRounds()
    rounds.add(LocalRead(1))
    rounds.begin(read_index=5, first_id=10, ask_all_at=0)
    rounds.add(LocalRead(2))
    assert rounds.abandon() == [LocalRead(1), LocalRead(2)]


def test_of_each_follower_only_the_newest_request_waits() -> None:
    """1. A leader cannot commit anything, because its followers' disks stall. 2. Its followers ask
    for a read index, give up, and ask again, four times a second. 3. What they gave up stayed.
    """
    rounds = ReadRounds()
    rounds.add(LocalRead(1))
    for request_id in range(100, 200):
        rounds.add(RemoteRead(NodeId(2), request_id))
        rounds.add(RemoteRead(NodeId(3), request_id))
    assert rounds.abandon() == [
        LocalRead(1),
        RemoteRead(NodeId(2), 199),
        RemoteRead(NodeId(3), 199),
    ]
