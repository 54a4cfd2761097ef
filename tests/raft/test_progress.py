"""What a leader believes of one follower: slots, expiry, and where to go on."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from quorate.raft.progress import Progress

WINDOW = 3


def send(progress: Progress, request_id: int, *, last_index: int, expires_at: int = 100) -> None:
    progress.sent(
        request_id,
        prev_log_index=progress.next_index - 1,
        last_index=last_index,
        expires_at=expires_at,
    )


def pipelining(*, matched: int = 5) -> Progress:
    """A follower whose log is known to match up to some index."""
    progress = Progress(next_index=matched + 1, now=0, first_id=1)
    send(progress, 1, last_index=matched)
    progress.succeeded(1, match_index=matched)
    assert not progress.probing
    return progress


def test_a_probe_goes_alone_and_next_index_stays() -> None:
    progress = Progress(next_index=6, now=0, first_id=1)
    assert progress.may_send(WINDOW)
    send(progress, 1, last_index=9)
    assert not progress.may_send(WINDOW)
    assert progress.next_index == 6


def test_a_successful_probe_opens_the_window() -> None:
    progress = Progress(next_index=6, now=0, first_id=1)
    send(progress, 1, last_index=9)
    progress.succeeded(1, match_index=9)
    assert (progress.match_index, progress.next_index, progress.probing) == (9, 10, False)
    for request_id in range(2, 2 + WINDOW):
        assert progress.may_send(WINDOW)
        send(progress, request_id, last_index=progress.next_index)
    assert not progress.may_send(WINDOW)
    assert progress.next_index == 13


def test_an_answer_frees_its_own_slot_only() -> None:
    progress = pipelining()
    for request_id in (11, 12, 13):
        send(progress, request_id, last_index=progress.next_index)
    progress.succeeded(12, match_index=7)
    assert progress.may_send(WINDOW)
    assert (progress.match_index, progress.next_index) == (7, 9)
    progress.succeeded(12, match_index=7)
    send(progress, 14, last_index=9)
    assert not progress.may_send(WINDOW), "a repeated answer frees nothing"


def test_slots_expire_by_their_own_timers() -> None:
    progress = pipelining()
    assert progress.earliest_expiry() is None
    send(progress, 11, last_index=6, expires_at=100)
    send(progress, 12, last_index=7, expires_at=150)
    assert progress.earliest_expiry() == 100
    progress.succeeded(11, match_index=6)
    assert progress.earliest_expiry() == 150
    progress.expire(149)
    assert progress.next_index == 8
    progress.expire(150)
    assert (progress.probing, progress.next_index) == (True, 7)
    assert progress.earliest_expiry() is None
    assert progress.may_send(WINDOW)


def test_a_lost_probe_goes_on_where_it_was() -> None:
    """Nothing is known to match yet, so there is nothing better to go back to."""
    progress = Progress(next_index=6, now=0, first_id=1)
    send(progress, 1, last_index=9, expires_at=100)
    progress.expire(100)
    assert (progress.probing, progress.next_index) == (True, 6)


def test_a_late_success_counts_but_opens_no_window() -> None:
    """The follower has the entries; but the newer probe is still to be answered."""
    progress = pipelining()
    send(progress, 11, last_index=8, expires_at=100)
    progress.expire(100)
    send(progress, 12, last_index=8)
    progress.succeeded(11, match_index=8)
    assert (progress.match_index, progress.next_index, progress.probing) == (8, 9, True)
    assert not progress.may_send(WINDOW)
    progress.succeeded(12, match_index=8)
    assert not progress.probing


def test_match_index_never_goes_back() -> None:
    progress = pipelining(matched=9)
    progress.succeeded(99, match_index=4)
    assert (progress.match_index, progress.next_index) == (9, 10)


def test_a_refusal_begins_a_new_search_where_the_follower_says() -> None:
    progress = Progress(next_index=20, now=0, first_id=1)
    send(progress, 1, last_index=20)
    progress.failed(1, next_index=8)
    assert (progress.probing, progress.next_index) == (True, 8)
    assert progress.may_send(WINDOW)


def test_a_search_goes_back_whatever_the_follower_says() -> None:
    """A hint that leads nowhere must not make the leader ask the same for ever."""
    progress = Progress(next_index=20, now=0, first_id=1)
    send(progress, 1, last_index=20)
    progress.failed(1, next_index=25)
    assert progress.next_index == 19


def test_a_search_never_goes_back_behind_what_matched() -> None:
    progress = pipelining(matched=5)
    send(progress, 11, last_index=9)
    send(progress, 12, last_index=10)
    progress.failed(12, next_index=2)
    assert (progress.probing, progress.next_index) == (True, 6)
    assert progress.may_send(WINDOW), "what was in flight behind the gap is given up too"


def test_a_refusal_of_a_request_that_was_given_up_changes_nothing() -> None:
    progress = pipelining(matched=5)
    send(progress, 11, last_index=9)
    progress.restart()
    send(progress, 12, last_index=9)
    progress.failed(11, next_index=2)
    assert not progress.may_send(WINDOW)
    assert progress.next_index == 6


EVENTS = st.one_of(
    st.tuples(st.just("send"), st.integers(0, 3)),
    st.tuples(st.just("success"), st.integers(0, 20)),
    st.tuples(st.just("refusal"), st.integers(0, 20)),
    st.tuples(st.just("time"), st.integers(0, 60)),
    st.tuples(st.just("restart"), st.just(0)),
)


@given(st.integers(1, 9), st.lists(EVENTS, max_size=40))
def test_whatever_is_answered_the_leader_can_always_go_on(
    next_index: int, events: list[tuple[str, int]]
) -> None:
    """The window is never exceeded, never stuck, and next_index stays after match_index."""
    progress = Progress(next_index=next_index, now=0, first_id=1)
    last_sent: dict[int, int] = {}
    now = request_id = 0
    for event, number in events:
        match event:
            case "send" if progress.may_send(WINDOW):
                request_id += 1
                last_sent[request_id] = progress.next_index + number - 1
                send(progress, request_id, last_index=last_sent[request_id], expires_at=now + 50)
            case "success" if number in last_sent:
                before = progress.match_index
                progress.succeeded(number, match_index=last_sent[number])
                assert progress.match_index == max(before, last_sent[number])
            case "refusal":
                progress.failed(number, next_index=max(1, number - 3))
            case "time":
                now += number
                progress.expire(now)
            case "restart":
                progress.restart()
        assert progress.next_index > progress.match_index
        expiry = progress.earliest_expiry()
        assert expiry is None or now < expiry <= now + 50
        assert progress.may_send(WINDOW) or expiry is not None
    progress.expire(now + 50)
    assert progress.may_send(WINDOW)
