import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from quorate.clerk.deadlines import Deadlines, deadline_after

TICKETS = st.integers(min_value=1, max_value=300)


@given(
    st.lists(
        st.one_of(
            st.tuples(st.just("add"), TICKETS, st.integers(min_value=0, max_value=50)),
            st.tuples(st.just("discard"), TICKETS, st.just(0)),
            st.tuples(st.just("due"), st.just(0), st.integers(min_value=0, max_value=50)),
        ),
        max_size=300,
    )
)
def test_it_agrees_with_a_plain_dictionary(steps: list[tuple[str, int, int]]) -> None:
    deadlines = Deadlines()
    twin: dict[int, int] = {}
    for step, ticket, time in steps:
        if step == "add" and ticket not in twin:
            deadlines.add(ticket, time)
            twin[ticket] = time
        elif step == "discard":
            deadlines.discard(ticket)
            twin.pop(ticket, None)
        elif step == "due":
            due = deadlines.take_due(time)
            assert sorted(due) == sorted(t for t, deadline in twin.items() if deadline <= time)
            times = [twin.pop(t) for t in due]
            assert times == sorted(times)
        assert deadlines.next() == min(twin.values(), default=None)


def test_calls_that_end_early_do_not_pile_up() -> None:
    """As many would as calls are made within the longest time-out."""
    deadlines = Deadlines()
    for ticket in range(10_000):
        deadlines.add(ticket, ticket + 1_000_000)
        deadlines.discard(ticket)
    assert deadlines.next() is None
    deadlines.add(10_000, 5)
    assert deadlines.take_due(2_000_000) == [10_000]


def test_a_timeout_in_seconds_becomes_a_deadline_in_microseconds() -> None:
    assert deadline_after(1.5, now=100) == 1_500_100
    assert deadline_after(0, now=100) == 100


@pytest.mark.parametrize("timeout", [None, math.inf, 1e308])
def test_without_a_timeout_there_is_no_deadline(timeout: float | None) -> None:
    assert deadline_after(timeout, now=100) is None


@pytest.mark.parametrize("timeout", [-1, math.nan])
def test_a_timeout_that_makes_no_sense_is_refused(timeout: float) -> None:
    with pytest.raises(ValueError, match="0 or more"):
        deadline_after(timeout, now=100)
