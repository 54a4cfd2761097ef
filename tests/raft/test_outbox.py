"""Which message leaves when."""

from __future__ import annotations

from typing import TYPE_CHECKING

from quorate.raft.configuration import NodeId
from quorate.raft.entry import Entry, EntryKind
from quorate.raft.messages import RequestVoteAnswer
from quorate.raft.outbox import Outbox
from quorate.raft.persistence import Persistence, Promise
from quorate.raft.settings import Settings

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
    outbox = Outbox(Persistence(new_disk_state(), Settings()), Settings(), first_request_id=1000)
    assert outbox.next_id == 1000
    assert [outbox.take_id() for _ in range(3)] == [1000, 1001, 1002]
    assert outbox.next_id == 1003


def test_what_waits_for_nothing_leaves_at_once_and_in_order(new_disk_state: NewDisk) -> None:
    outbox = Outbox(Persistence(new_disk_state(), Settings()), Settings(), 1)
    outbox.send(PEER, message(1))
    outbox.send_after(Promise(write=0, last_index=0), PEER, message(2))
    outbox.send(PEER, message(3))
    assert sent(outbox) == [1, 2, 3]
    assert sent(outbox) == []


def test_a_promise_waits_for_its_write_and_no_longer(new_disk_state: NewDisk) -> None:
    persistence = Persistence(new_disk_state(term=1), Settings())
    outbox = Outbox(persistence, Settings(), 1)
    persistence.vote(PEER)
    outbox.send_after(persistence.promise_of_vote(), PEER, message(1))
    write = persistence.take_write()
    assert write is not None
    persistence.append([Entry(1, 1, 0, EntryKind.DATA, b"")])
    outbox.send_after(persistence.promise_of_entries(1), PEER, message(2))
    outbox.release()
    assert sent(outbox) == []
    persistence.complete(write.number)
    outbox.release()
    assert sent(outbox) == [1]
    complete(persistence)
    outbox.release()
    assert sent(outbox) == [2]


def test_a_promise_of_a_term_that_is_over_is_dropped(new_disk_state: NewDisk) -> None:
    persistence = Persistence(new_disk_state(term=1), Settings())
    outbox = Outbox(persistence, Settings(), 1)
    persistence.vote(PEER)
    outbox.send_after(persistence.promise_of_vote(), PEER, message(1))
    persistence.adopt_term(2)
    outbox.send_after(persistence.promise_of_vote(), PEER, message(2))
    complete(persistence)
    outbox.release()
    assert sent(outbox) == [2]


def test_of_too_many_promises_the_oldest_are_dropped(new_disk_state: NewDisk) -> None:
    """A limit of ours, for a disk that stalls while others go on asking: `max_held_messages`."""
    settings = Settings(max_held_messages=3)
    persistence = Persistence(new_disk_state(term=1), settings)
    outbox = Outbox(persistence, settings, 1)
    persistence.vote(PEER)
    for number in range(1, 6):
        outbox.send_after(persistence.promise_of_vote(), PEER, message(number))
    complete(persistence)
    outbox.release()
    assert sent(outbox) == [3, 4, 5]
