"""A session table that goes on while its snapshot is fetched."""

from collections.abc import Iterator

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, precondition, rule

from quorate.codec.batch import OpenedSession, OpenSession, Outcome, Submission
from quorate.replica.sessions import FREED_PER_STEP, SessionLimits, SessionTable
from quorate.replica.state_machine import SECTION_BYTES

LIMITS = SessionLimits(client_sessions=4, protected_ms=10, ttl_ms=100)


def restored(sections: list[bytes]) -> SessionTable:
    table = SessionTable(SessionLimits())
    for section in sections:
        table.restore(section)
    return table


def opened(table: SessionTable, index: int, *, owner: int = 0, time_ms: int = 0) -> int:
    result = table.open_session(OpenSession(owner, index), index=index, time_ms=time_ms)
    assert isinstance(result, OpenedSession)
    return result.session


def submit(
    table: SessionTable,
    session: int,
    *replies: bytes,
    seq: int = 1,
    acked: int = 0,
    owner: int = 0,
    time_ms: int = 0,
) -> tuple[Outcome, ...]:
    """Writes that are answered with themselves."""
    submission = Submission(session, acked, seq, replies, owner)
    return table.submit(submission, time_ms=time_ms, apply=bytes).outcomes


def busy(sessions: int = 4) -> SessionTable:
    """A table with a reply in each session that fills a section."""
    table = SessionTable(LIMITS)
    for index in range(1, sessions + 1):
        submit(table, opened(table, index), bytes([index]) * SECTION_BYTES)
    return table


def test_a_session_that_changes_is_in_the_snapshot_as_it_was() -> None:
    table = busy()
    before = table.digest()
    walk = table.snapshot()
    sections = [next(walk)]
    for session in (1, 2, 3, 4):
        submit(table, session, b"new", seq=2, acked=1, time_ms=1)
        submit(table, session, b"newer", seq=3, time_ms=2)
    sections += walk
    assert len(sections) == 4
    assert restored(sections).digest() == before != table.digest()


def test_a_session_that_ends_is_in_the_snapshot_and_one_that_begins_is_not() -> None:
    table = busy()
    before = table.digest()
    walk = table.snapshot()
    sections = [next(walk)]
    assert opened(table, 5, time_ms=11) == 5, "the first has yielded"
    table.expire(101)
    opened(table, 6, time_ms=101)
    submit(table, 6, b"new", time_ms=101)
    assert restored([*sections, *walk]).digest() == before


def test_the_order_of_last_activity_survives() -> None:
    table = busy()
    submit(table, 1, time_ms=5)
    walk = table.snapshot()
    submit(table, 2, time_ms=6)
    copy = restored(list(walk))
    # Whoever was idle longest yields: 2 in the copy, 3 in the table that went on.
    for each, yielding in ((copy, 2), (table, 3)):
        opened(each, 9, time_ms=20)
        assert [bool(submit(each, session, time_ms=20)) for session in (1, 2, 3, 4)] == [
            session == yielding for session in (1, 2, 3, 4)
        ]


def test_a_session_with_many_replies_is_in_several_sections() -> None:
    """As a node's may be, which has the writes of thousands of connections."""
    table = SessionTable(SessionLimits())
    before, large, behind = opened(table, 1), opened(table, 2, owner=7), opened(table, 3)
    for session in (before, behind):
        submit(table, session, b"reply")
    submit(table, large, *[bytes(100)] * 5_000, owner=7)
    digest = table.digest()
    walk = table.snapshot()
    sections = []
    for seq, section in enumerate(walk, 5_001):
        submit(table, large, b"new", seq=seq, acked=seq - 1, owner=7)
        sections.append(section)
    assert 500_000 / SECTION_BYTES < len(sections) < 20
    assert all(len(section) < 1.1 * SECTION_BYTES for section in sections)
    assert restored(sections).digest() == digest


def test_one_snapshot_is_taken_at_a_time() -> None:
    table = busy()
    walk = table.snapshot()
    with pytest.raises(AssertionError, match="under way"):
        table.snapshot()
    assert restored(list(walk)).digest() == table.digest()
    table.snapshot()


@pytest.mark.parametrize("fetched", [0, 1])
def test_a_snapshot_that_is_dropped_is_over(fetched: int) -> None:
    table = busy()
    walk = table.snapshot()
    for _ in range(fetched):
        next(walk)
    submit(table, 2, b"new", seq=2)
    del walk
    assert restored(list(table.snapshot())).digest() == table.digest()


replies = st.builds(
    lambda byte, length: bytes([byte]) * length,
    st.integers(0, 255),
    st.sampled_from([0, 1, 30_000, 70_000]),
)


class Life(RuleBasedStateMachine):
    """One table, by submissions, sections and restarts in any order.

    Its twin is what a snapshot that is fetched at once holds.
    """

    def __init__(self) -> None:
        super().__init__()
        self.table = SessionTable(LIMITS)
        self.owners: dict[int, int] = {}
        self.index = 0
        self.time_ms = 0
        self.walk: Iterator[bytes] | None = None
        self.sections: list[bytes] = []
        self.digest = b""

    @rule(elapsed_ms=st.sampled_from([0, 1, 11, 60, 101]))
    def wait(self, elapsed_ms: int) -> None:
        self.time_ms += elapsed_ms
        self.table.expire(self.time_ms)

    @rule(owner=st.sampled_from([0, 0, 0, 7]))
    def open(self, owner: int) -> None:
        self.index += 1
        request = OpenSession(owner, self.index)
        result = self.table.open_session(request, index=self.index, time_ms=self.time_ms)
        if isinstance(result, OpenedSession):
            self.owners[result.session] = owner

    @precondition(lambda self: self.owners)
    @rule(
        pick=st.integers(0, 20),
        replies=st.lists(replies, max_size=4),
        seq=st.integers(1, 12),
        acked=st.integers(0, 8),
    )
    def submit(self, pick: int, replies: list[bytes], seq: int, acked: int) -> None:
        session = sorted(self.owners)[-(pick % len(self.owners)) - 1]
        owner = self.owners[session]
        submission = Submission(session, acked, seq, tuple(replies), owner)
        self.table.submit(submission, time_ms=self.time_ms, apply=bytes)

    @precondition(lambda self: self.walk is None)
    @rule()
    def begin(self) -> None:
        self.digest = restored(list(self.table.snapshot())).digest()
        assert self.digest == self.table.digest()
        self.walk = self.table.snapshot()
        self.sections = []

    @precondition(lambda self: self.walk is not None)
    @rule()
    def fetch(self) -> None:
        assert self.walk is not None
        section = next(self.walk, None)
        if section is not None:
            self.sections.append(section)
            return
        self.walk = None
        assert restored(self.sections).digest() == self.digest

    @precondition(lambda self: self.walk is not None)
    @rule()
    def drop(self) -> None:
        self.walk = None

    @precondition(lambda self: self.walk is None)
    @rule()
    def restart(self) -> None:
        self.table = restored(list(self.table.snapshot()))


TestLife = Life.TestCase
TestLife.settings = settings(max_examples=100, stateful_step_count=40)


def test_a_table_that_is_not_needed_any_more_goes_a_little_at_a_time() -> None:
    table = SessionTable(SessionLimits())
    for index in range(1, 3 * FREED_PER_STEP):
        table.open_session(OpenSession(), index=index, time_ms=0)
    assert sum(1 for _ in table.dismantle()) == 3
    assert list(table.dismantle()) == []
