"""What a server does not let itself be told by one that has lost its mind.

Raft believes its members (docs/raft.md); but an answer counts only as an answer to what was asked.
Looking for what any bytes can do to whole nodes (`tests/fuzz`) has led to each of these.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from quorate.raft.messages import AppendEntries, AppendEntriesAnswer, TimeoutNow
from quorate.raft.ready import ReadyRead
from quorate.raft.settings import Settings

if TYPE_CHECKING:
    from tests.raft.conftest import Server

HEARTBEAT = Settings().heartbeat_interval_us


@pytest.fixture
def leader(new_server: type[Server]) -> Server:
    """Of three; both followers have all that it has."""
    server = new_server(settings=Settings())
    server.win_election()
    answer_all(server)
    return server


def answer(request_id: int, match_index: int) -> AppendEntriesAnswer:
    return AppendEntriesAnswer(
        request_id, 1, success=True, match_index=match_index, conflict_index=0, conflict_term=0
    )


def answer_all(server: Server) -> None:
    for peer in (2, 3):
        for request in server.take(AppendEntries, to=peer):
            match_index = request.prev_log_index + len(request.entries)
            server.receive(peer, answer(request.id, match_index))


def test_a_follower_that_claims_more_than_there_is_is_not_believed(leader: Server) -> None:
    # The leader's next heartbeat would have begun behind that: an assertion ended the leader.
    leader.propose()
    (request,) = leader.take(AppendEntries, to=2)
    leader.receive(2, answer(request.id, leader.raft.last_index + 5))
    leader.elapse(2 * HEARTBEAT)
    assert leader.raft.is_leader
    assert leader.raft.commit_index == 1
    leader.receive(2, answer(request.id, leader.raft.last_index))
    assert leader.raft.commit_index == 2


def test_an_answer_to_what_was_not_asked_yet_confirms_nothing(leader: Server) -> None:
    # It would have confirmed all reads to come, whoever led by then.
    for peer in (2, 3):
        leader.receive(peer, answer(2**62, 1))
    leader.take(AppendEntries)
    leader.read(5)
    assert leader.reads == []
    answer_all(leader)
    assert leader.reads == [ReadyRead(5, 1)]


def test_only_a_leader_tells_others_to_stand_for_election(leader: Server) -> None:
    # It would have stood as the leader that it was, and forgotten all reads that wait.
    leader.read(5)
    leader.receive(2, TimeoutNow(1, 1))
    assert leader.raft.is_leader
    answer_all(leader)
    assert leader.reads == [ReadyRead(5, 1)]
