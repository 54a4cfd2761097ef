"""The books on what is kept for all clients, against a twin that does the sums anew each time."""

from __future__ import annotations

import random

from hypothesis import given
from hypothesis import strategies as st

from quorate.node.client_memory import ClientMemory
from quorate.node.limits import NodeLimits

LIMITS = NodeLimits(node_output_bytes=100, node_incomplete_bytes=100, stalled_client_us=50)


class Twin:
    """The same in the dumbest way: everything that is known of each client."""

    def __init__(self) -> None:
        self.blocked = 0
        self.sendable = 0
        self.handed_out = 0
        self.unsent: dict[int, list[int]] = {}  # size, when it last became smaller
        self.incomplete: dict[int, int] = {}

    @property
    def replies(self) -> int:
        return self.sendable + self.handed_out + sum(size for size, _ in self.unsent.values())

    def set_unsent(self, connection: int, size: int, now: int) -> None:
        before, since = self.unsent.pop(connection, (0, now))
        if size:
            self.unsent[connection] = [size, now if size < before else since]


@given(seed=st.integers(0, 2**32))
def test_the_books_are_right(seed: int) -> None:
    rng = random.Random(seed)
    memory, twin = ClientMemory(LIMITS), Twin()
    for now in range(1, 300):
        connection, size = rng.randrange(6), rng.choice([0, rng.randrange(60)])
        match rng.randrange(9):
            case 0:
                twin.blocked += size
                memory.made(size)
            case 1:
                size = rng.randint(0, twin.sendable)
                twin.sendable -= size
                twin.handed_out += size
                memory.handed_out(size)
            case 7:
                size = rng.randint(0, twin.blocked)
                twin.blocked -= size
                twin.sendable += size
                memory.sendable(size)
            case 8:
                size = rng.randint(0, twin.sendable)
                twin.sendable -= size
                memory.dropped(size)
            case 2:
                twin.handed_out = 0
                memory.turn_begins()
            case 3:
                twin.set_unsent(connection, size, now)
                memory.unsent(connection, size, now)
            case 4:
                twin.incomplete[connection] = size
                memory.incomplete(connection, size, now)
            case 5:
                twin.unsent.pop(connection, None)
                twin.incomplete.pop(connection, None)
                memory.forget(connection, now)
            case 6:
                for given_up in memory.take_given_up(now):
                    twin.unsent.pop(given_up, None)
                    twin.incomplete.pop(given_up, None)
                assert twin.replies < 100 or all(
                    now < since + 50 for _, since in twin.unsent.values()
                )
        assert memory.is_full_of_replies == (twin.replies >= 100)
        assert memory.takes_no_more == (twin.replies + twin.blocked >= 100)
        assert memory.has_room_next_turn == (twin.replies - twin.handed_out < 100)
        may_go_on = [c for c, size in twin.incomplete.items() if size and memory.may_go_on(c)]
        sizes = [size for size in twin.incomplete.values() if size]
        assert len(may_go_on) == (1 if sum(sizes) >= 100 else len(sizes))
        assert memory.may_go_on(99)


def test_who_has_not_moved_for_the_longest_time_is_given_up_first() -> None:
    memory = ClientMemory(LIMITS)
    for connection in (1, 2, 3):
        memory.unsent(connection, 40, now=connection)
    memory.unsent(1, 39, now=10)
    assert memory.deadline() == 52
    assert memory.take_given_up(51) == []
    assert memory.take_given_up(52) == [2]
    assert memory.deadline() is None
    assert memory.take_given_up(1000) == []


def test_a_client_whose_replies_only_become_more_has_not_moved() -> None:
    memory = ClientMemory(LIMITS)
    memory.unsent(1, 60, now=0)
    memory.unsent(1, 120, now=40)
    assert memory.take_given_up(50) == [1]


def test_the_time_of_who_may_go_on_alone_begins_when_it_may() -> None:
    memory = ClientMemory(LIMITS)
    memory.incomplete(1, 60, now=0)
    memory.incomplete(2, 70, now=40)
    assert (memory.may_go_on(1), memory.may_go_on(2)) == (False, True)
    assert memory.deadline() == 90
    memory.incomplete(2, 80, now=60)
    assert memory.take_given_up(109) == []
    assert memory.take_given_up(110) == [2]
    assert memory.may_go_on(1)
    assert memory.deadline() is None
