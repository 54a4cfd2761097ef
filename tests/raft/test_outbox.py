"""Which message leaves when."""

from __future__ import annotations

from typing import TYPE_CHECKING

from quorate.raft.configuration import NodeId
from quorate.raft.entry import Entry, EntryKind
from quorate.raft.messages import RequestVoteAnswer
from quorate.raft.outbox import Outbox
from quorate.raft.persistence import Persistence

if TYPE_CHECKING:
    from collections.abc import Callable

    from quorate.raft.ready import DurableState

    NewDisk = Callable[..., DurableState]

PEER = NodeId(2)


def message(number: int) -> RequestVoteAnswer:
    return RequestVoteAnswer(number, 1, vote_granted=True)


def sent(outbox: Outbox) -> list[int]:
    return [envelope.message.id for envelope in outbox.take()]


def complete(persistence: Persistence) -> None:
    write = persistence.take_write()
    assert write is not None
    persistence.complete(write.number)


def test_ids_count_up_from_where_the_life_of_the_server_begins(new_disk_state: NewDisk) -> None:
    outbox = Outbox(Persistence(new_disk_state()), first_request_id=1000)
    assert outbox.next_id == 1000
    assert [outbox.take_id() for _ in range(3)] == [1000, 1001, 1002]
    assert outbox.next_id == 1003


def test_what_waits_for_nothing_leaves_at_once_and_in_order(new_disk_state: NewDisk) -> None:
    outbox = Outbox(Persistence(new_disk_state()), 1)
    outbox.send(PEER, message(1))
    outbox.send_after(0, PEER, message(2))
    outbox.send(PEER, message(3))
    assert sent(outbox) == [1, 2, 3]
    assert sent(outbox) == []


def test_a_promise_waits_for_its_write_and_no_longer(new_disk_state: NewDisk) -> None:
    persistence = Persistence(new_disk_state(term=1))
    outbox = Outbox(persistence, 1)
    persistence.vote(PEER)
    outbox.send_after(persistence.write_for_vote(), PEER, message(1))
    write = persistence.take_write()
    assert write is not None
    persistence.append([Entry(1, 1, 0, EntryKind.DATA, b"")])
    outbox.send_after(persistence.write_for_entries(1), PEER, message(2))
    outbox.release()
    assert sent(outbox) == []
    persistence.complete(write.number)
    outbox.release()
    assert sent(outbox) == [1]
    complete(persistence)
    outbox.release()
    assert sent(outbox) == [2]


def test_a_promise_of_a_term_that_is_over_is_dropped(new_disk_state: NewDisk) -> None:
    persistence = Persistence(new_disk_state(term=1))
    outbox = Outbox(persistence, 1)
    persistence.vote(PEER)
    outbox.send_after(persistence.write_for_vote(), PEER, message(1))
    persistence.adopt_term(2)
    outbox.send_after(persistence.write_for_vote(), PEER, message(2))
    complete(persistence)
    outbox.release()
    assert sent(outbox) == [2]
