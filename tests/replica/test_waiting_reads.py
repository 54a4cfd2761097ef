import random

from hypothesis import given
from hypothesis import strategies as st

from quorate.replica.waiting_reads import WaitingReads


def test_without_reads_no_index_is_asked_for() -> None:
    assert WaitingReads[str]().begin() is None


def test_all_reads_that_wait_share_one_index() -> None:
    reads = WaitingReads[str]()
    reads.add(1, "a")
    reads.add(2, "b")
    assert reads.begin() is not None
    assert reads.begin() is None
    reads.confirmed(7)
    assert reads.take_ready(6) == []
    assert reads.take_ready(7) == [(1, "a"), (2, "b")]
    assert reads.take_ready(7) == []


def test_a_read_that_arrives_later_waits_for_the_next_index() -> None:
    # The index that was asked for may be older than a write which that read has to see.
    reads = WaitingReads[str]()
    reads.add(1, "a")
    first = reads.begin()
    reads.add(2, "b")
    assert reads.begin() is None
    reads.confirmed(7)
    assert reads.take_ready(100) == [(1, "a")]
    second = reads.begin()
    assert second is not None
    assert second != first
    reads.confirmed(8)
    assert reads.take_ready(100) == [(2, "b")]


def test_reads_are_served_in_the_order_of_their_arrival() -> None:
    reads = WaitingReads[str]()
    for ticket, index in ((5, 10), (3, 10), (4, 12)):
        reads.add(ticket, "q")
        reads.begin()
        reads.confirmed(index)
    assert reads.take_ready(10) == [(5, "q"), (3, "q")]
    assert reads.take_ready(12) == [(4, "q")]


def test_a_cancelled_read_is_not_served_wherever_it_was() -> None:
    reads = WaitingReads[str]()
    for ticket in range(1, 7):
        reads.add(ticket, "q")
        if ticket == 2:
            reads.begin()
            reads.confirmed(5)
        if ticket == 4:
            reads.begin()
    for ticket in (1, 3, 5):
        reads.cancel(ticket)
    reads.cancel(99)
    assert reads.take_ready(100) == [(2, "q")]
    reads.confirmed(6)
    assert reads.take_ready(100) == [(4, "q")]
    reads.begin()
    reads.confirmed(7)
    assert reads.take_ready(100) == [(6, "q")]


def test_an_index_for_reads_that_were_all_cancelled_serves_none() -> None:
    reads = WaitingReads[str]()
    reads.add(1, "a")
    reads.begin()
    reads.cancel(1)
    reads.confirmed(5)
    assert reads.take_ready(5) == []
    assert reads.begin() is None


class Twin:
    """The same in the dumbest way: what each read has come to."""

    def __init__(self) -> None:
        self.reads: dict[int, str | int] = {}

    def begin(self) -> bool:
        if "asked" in self.reads.values() or "arrived" not in self.reads.values():
            return False
        self.reads = {t: "asked" if s == "arrived" else s for t, s in self.reads.items()}
        return True

    def confirmed(self, index: int) -> None:
        self.reads = {t: index if s == "asked" else s for t, s in self.reads.items()}

    def take_ready(self, applied: int) -> list[tuple[int, str]]:
        ready = [t for t, s in self.reads.items() if isinstance(s, int) and s <= applied]
        for ticket in ready:
            del self.reads[ticket]
        return [(ticket, f"query {ticket}") for ticket in ready]


@given(seed=st.integers(0, 2**32))
def test_it_does_what_the_twin_does(seed: int) -> None:
    rng = random.Random(seed)
    reads, twin = WaitingReads[str](), Twin()
    is_asked = False
    index = applied = 0
    for ticket in range(1, 200):
        match rng.randrange(6):
            case 0 | 1:
                reads.add(ticket, f"query {ticket}")
                twin.reads[ticket] = "arrived"
            case 2:
                cancelled = rng.randrange(1, ticket + 1)
                reads.cancel(cancelled)
                twin.reads.pop(cancelled, None)
            case 3 if not is_asked:
                is_asked = reads.begin() is not None
                assert is_asked == twin.begin()
            case 4 if is_asked:
                index += rng.randrange(3)
                reads.confirmed(index)
                twin.confirmed(index)
                is_asked = False
            case 5:
                applied += rng.randrange(3)
                assert reads.take_ready(applied) == twin.take_ready(applied)
