"""A snapshot on its way to one follower: what is sent next, and which answers count."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from quorate.raft.configuration import configuration_of
from quorate.raft.snapshot import SnapshotMetadata
from quorate.raft.snapshot_transfer import MAX_PATIENCE, MAX_REMEMBERED_PIECES, SnapshotTransfer

SIZE = 10
PIECE = 4
TIMEOUT = 100


def metadata(index: int) -> SnapshotMetadata:
    return SnapshotMetadata(index, 1, 0, configuration_of([1, 2, 3]))


def new_transfer() -> SnapshotTransfer:
    return SnapshotTransfer(metadata(5), SIZE)


def send(transfer: SnapshotTransfer, request_id: int, now: int = 0) -> None:
    length = min(PIECE, transfer.size - transfer.offset)
    transfer.sent(request_id, length, now=now, timeout_us=TIMEOUT)


def test_one_piece_at_a_time() -> None:
    transfer = new_transfer()
    assert transfer.may_send(0)
    send(transfer, 1)
    assert not transfer.may_send(TIMEOUT - 1)
    assert transfer.answered(1, PIECE) == 0
    assert (transfer.offset, transfer.may_send(0)) == (PIECE, True)


def test_what_is_not_answered_is_sent_less_and_less_often() -> None:
    """Also what comes then, until the link is a new one: it may just be slow."""
    transfer = new_transfer()
    now = 0
    pauses = []
    for request_id in range(1, 6):
        send(transfer, request_id, now)
        assert transfer.expires_at is not None
        pauses.append(transfer.expires_at - now)
        now = transfer.expires_at
        assert transfer.may_send(now)
    assert pauses == [100, 200, 400, 400, 400]
    assert MAX_PATIENCE == 4
    transfer.answered(1, PIECE)
    send(transfer, 6, now)
    assert transfer.expires_at == now + MAX_PATIENCE * TIMEOUT
    transfer.restart()
    send(transfer, 7, now)
    assert transfer.expires_at == now + TIMEOUT


def test_only_the_last_request_leads_back() -> None:
    transfer = new_transfer()
    send(transfer, 1)
    transfer.answered(1, PIECE)
    send(transfer, 2)
    transfer.answered(1, 0)
    assert transfer.offset == PIECE
    transfer.answered(2, 0)
    assert (transfer.offset, transfer.may_send(TIMEOUT - 1)) == (0, False)


def test_it_is_doubted_if_all_of_it_was_thrown_away_until_some_of_it_is_there_again() -> None:
    transfer = new_transfer()
    for request_id in (1, 2):
        send(transfer, request_id)
        transfer.answered(request_id, PIECE * request_id)
    send(transfer, 3)
    transfer.answered(3, 0)
    assert transfer.is_doubted
    send(transfer, 4)
    transfer.answered(4, PIECE)
    assert not transfer.is_doubted


def test_it_is_not_doubted_if_a_part_of_it_was_lost() -> None:
    transfer = new_transfer()
    send(transfer, 1)
    transfer.answered(1, PIECE)
    send(transfer, 2)
    transfer.answered(2, 0)
    assert (transfer.offset, transfer.is_doubted) == (0, False)


def test_also_one_of_a_single_piece_is_doubted() -> None:
    transfer = SnapshotTransfer(metadata(5), PIECE)
    send(transfer, 1)
    transfer.answered(1, 0)
    assert transfer.is_doubted
    transfer.replace(metadata(7), PIECE)
    assert not transfer.is_doubted


def test_the_whole_of_an_earlier_snapshot_counts_after_it_was_replaced() -> None:
    transfer = new_transfer()
    send(transfer, 1)
    transfer.replace(metadata(7), 3 * SIZE)
    send(transfer, 2)
    assert transfer.answered(1, SIZE) == 5
    assert transfer.offset == 0
    assert transfer.answered(2, 3 * SIZE) == 7


def test_of_requests_long_ago_nothing_is_remembered() -> None:
    transfer = new_transfer()
    for request_id in range(1, MAX_REMEMBERED_PIECES + 2):
        send(transfer, request_id)
    assert transfer.answered(1, SIZE) == 0
    assert transfer.answered(2, SIZE) == 5


EVENTS = st.one_of(
    st.tuples(st.just("time"), st.integers(0, 500)),
    st.tuples(st.just("answer"), st.integers(0, 20)),
    st.tuples(st.just("lost all"), st.just(0)),
    st.tuples(st.just("newer"), st.just(0)),
    st.tuples(st.just("link"), st.just(0)),
)


@given(st.lists(EVENTS, max_size=60))
def test_whatever_is_answered_the_transfer_comes_to_an_end(events: list[tuple[str, int]]) -> None:
    """A follower takes in what comes to it, answers late, twice or not at all, and forgets what it
    has; in the end, with nothing lost any more, it has the whole.
    """
    transfer = new_transfer()
    requests: dict[int, tuple[int, int]] = {}
    answers: list[tuple[int, int]] = []
    has: dict[int, int] = {}
    now = 0

    def send_and_receive() -> None:
        index = transfer.snapshot.index
        request_id = len(requests) + 1
        requests[request_id] = (index, transfer.offset)
        send(transfer, request_id, now)
        if transfer.offset == has.get(index, 0):
            has[index] = min(transfer.offset + PIECE, SIZE)
        answers.append((request_id, has.get(index, 0)))

    for event, number in events:
        if transfer.offset < SIZE and transfer.may_send(now):
            send_and_receive()
        match event:
            case "time":
                now += number
            case "answer" if answers:
                request_id, next_offset = answers[number % len(answers)]
                index = transfer.answered(request_id, next_offset)
                assert (index > 0) <= (next_offset == SIZE)
                assert index in (0, requests[request_id][0])
            case "lost all":
                has.clear()
            case "newer":
                transfer.replace(metadata(transfer.snapshot.index + 1), SIZE)
            case "link":
                transfer.restart()
        assert 0 <= transfer.offset <= SIZE
    for _ in range(6):
        if transfer.offset < SIZE:
            now = max(now, transfer.expires_at or 0)
            send_and_receive()
            transfer.answered(*answers[-1])
    assert transfer.offset == SIZE
