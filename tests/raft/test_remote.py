"""What a follower asks its leader: which read is settled by which answer, and what is given up."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from quorate.raft.configuration import NodeId
from quorate.raft.messages import Forward, ForwardAnswer, ReadIndex, ReadIndexAnswer
from quorate.raft.outbox import Outbox
from quorate.raft.persistence import Persistence
from quorate.raft.ready import ForwardAnswered, ForwardLost, ForwardRefused, ReadyRead
from quorate.raft.remote import RemoteCalls
from quorate.raft.settings import Settings

if TYPE_CHECKING:
    from collections.abc import Callable

    from quorate.raft.ready import DurableState

    NewDisk = Callable[..., DurableState]

LEADER, OTHER = NodeId(2), NodeId(3)
SETTINGS = Settings(append_timeout_us=100, forward_timeout_us=1000)


class Desk:
    """Remote calls with what they sent."""

    def __init__(self, durable: DurableState) -> None:
        self._outbox = Outbox(Persistence(durable, Settings()), Settings(), 1)
        self.calls = RemoteCalls(self._outbox, SETTINGS)

    def sent(self) -> list[tuple[NodeId, int]]:
        """To whom, and with which id."""
        return [(envelope.to, envelope.message.id) for envelope in self._outbox.take()]

    def messages(self) -> list[object]:
        return [envelope.message for envelope in self._outbox.take()]


@pytest.fixture
def desk(new_disk_state: NewDisk) -> Desk:
    return Desk(new_disk_state())


def test_nothing_is_asked_without_reads(desk: Desk) -> None:
    desk.calls.send_reads(LEADER, 1, 0)
    assert desk.sent() == []
    assert desk.calls.deadline() is None


def test_an_answer_settles_the_reads_that_its_request_covered(desk: Desk) -> None:
    desk.calls.add_read(1)
    desk.calls.add_read(2)
    desk.calls.send_reads(LEADER, 4, 0)
    assert desk.messages() == [ReadIndex(1, 4)]
    desk.calls.add_read(3)
    desk.calls.send_reads(LEADER, 4, 0)
    assert desk.sent() == []
    assert desk.calls.read_answered(ReadIndexAnswer(1, 4, 9)) == [ReadyRead(1, 9), ReadyRead(2, 9)]
    desk.calls.send_reads(LEADER, 4, 0)
    assert desk.sent() == [(LEADER, 2)]
    assert desk.calls.read_answered(ReadIndexAnswer(1, 4, 9)) == []
    assert desk.calls.read_answered(ReadIndexAnswer(2, 4, 11)) == [ReadyRead(3, 11)]


def test_a_lost_request_is_repeated_under_a_new_id(desk: Desk) -> None:
    desk.calls.add_read(1)
    desk.calls.send_reads(LEADER, 1, 0)
    assert desk.calls.deadline() == 100
    desk.calls.send_reads(LEADER, 1, 99)
    assert desk.sent() == [(LEADER, 1)]
    desk.calls.send_reads(LEADER, 1, 100)
    assert desk.sent() == [(LEADER, 2)]
    assert desk.calls.deadline() == 200
    assert desk.calls.read_answered(ReadIndexAnswer(1, 1, 9)) == []


def test_another_leader_is_asked_at_once(desk: Desk) -> None:
    desk.calls.add_read(1)
    desk.calls.send_reads(LEADER, 1, 0)
    desk.calls.send_reads(OTHER, 2, 1)
    assert desk.sent() == [(LEADER, 1), (OTHER, 2)]


def test_who_cannot_tell_is_not_asked_again_before_the_timeout(desk: Desk) -> None:
    desk.calls.add_read(1)
    desk.calls.send_reads(LEADER, 1, 0)
    assert desk.calls.read_answered(ReadIndexAnswer(1, 1, None)) == []
    desk.calls.send_reads(LEADER, 1, 50)
    assert desk.sent() == [(LEADER, 1)]
    desk.calls.send_reads(LEADER, 1, 100)
    assert desk.sent() == [(LEADER, 2)]


def test_a_new_leader_takes_its_own_reads_over(desk: Desk) -> None:
    desk.calls.add_read(1)
    desk.calls.send_reads(LEADER, 1, 0)
    desk.calls.add_read(2)
    assert desk.calls.take_reads() == [1, 2]
    assert desk.calls.deadline() is None
    assert desk.calls.read_answered(ReadIndexAnswer(1, 1, 9)) == []


def test_each_forwarded_proposal_has_one_outcome(desk: Desk) -> None:
    for ticket in (71, 72, 73, 74):
        desk.calls.forward(ticket, LEADER, 1, b"%d" % ticket, now=ticket)
    assert desk.messages()[0] == Forward(1, 1, b"71")
    assert desk.calls.forward_answered(ForwardAnswer(2, 1, b"ok")) == [ForwardAnswered(72, b"ok")]
    assert desk.calls.forward_answered(ForwardAnswer(2, 1, b"ok")) == []
    assert desk.calls.forward_answered(ForwardAnswer(3, 1, None)) == [ForwardRefused(73)]
    assert desk.calls.deadline() == 1071
    assert desk.calls.expire_forwards(LEADER, 1070) == []
    assert desk.calls.expire_forwards(LEADER, 1071) == [ForwardLost(71)]
    assert desk.calls.forward_answered(ForwardAnswer(1, 1, b"late")) == []
    assert desk.calls.lose_forwards() == [ForwardLost(74)]
    assert desk.calls.lose_forwards() == []
    assert desk.calls.deadline() is None


@pytest.mark.parametrize("leader", [OTHER, None])
def test_what_was_forwarded_is_lost_with_its_leader(leader: NodeId | None, desk: Desk) -> None:
    desk.calls.forward(71, LEADER, 1, b"", now=0)
    desk.calls.forward(72, LEADER, 1, b"", now=0)
    assert desk.calls.expire_forwards(leader, 1) == [ForwardLost(71), ForwardLost(72)]


def test_the_deadline_is_the_earlier_one(desk: Desk) -> None:
    desk.calls.forward(71, LEADER, 1, b"", now=0)
    desk.calls.add_read(1)
    desk.calls.send_reads(LEADER, 1, 950)
    assert desk.calls.deadline() == 1000
    assert desk.calls.lose_forwards() == [ForwardLost(71)]
    assert desk.calls.deadline() == 1050
