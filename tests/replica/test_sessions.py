import pytest

from quorate.codec.batch import (
    OpenedSession,
    OpenSession,
    Outcome,
    Refusal,
    RefusedSession,
    Submission,
    SubmissionOutcomes,
)
from quorate.codec.errors import DecodeError
from quorate.replica.sessions import SessionLimits, SessionTable

SMALL = SessionLimits(
    window=4,
    ordered_window=6,
    reply_bytes=8,
    ordered_reply_bytes=8,
    client_sessions=2,
    protected_ms=10,
    ttl_ms=100,
)
NODE = 7


def copy_of(table: SessionTable) -> SessionTable:
    """Another one with the same contents, by way of a snapshot."""
    copy = SessionTable(SessionLimits())
    for section in table.snapshot():
        copy.restore(section)
    assert copy.digest() == table.digest()
    return copy


def size(table: SessionTable) -> int:
    """Of a snapshot, in bytes."""
    return sum(map(len, table.snapshot()))


class Cluster:
    """A session table, a clock, and a machine whose every reply is another one."""

    def __init__(self, limits: SessionLimits = SMALL) -> None:
        self.table = SessionTable(limits)
        self.executed: list[bytes] = []
        self.time_ms = 0
        self.index = 0
        self.owners: dict[int, int] = {}

    def apply(self, command: bytes) -> bytes:
        self.executed.append(command)
        return b"%d" % len(self.executed)

    def next_entry(self) -> None:
        self.index += 1
        self.table.expire(self.time_ms)

    def ask(self, owner: int = 0, incarnation: int = 0) -> OpenedSession | RefusedSession:
        self.next_entry()
        return self.table.open_session(
            OpenSession(owner, incarnation), index=self.index, time_ms=self.time_ms
        )

    def open(self, owner: int = 0, incarnation: int = 0) -> int:
        result = self.ask(owner, incarnation)
        assert isinstance(result, OpenedSession)
        self.owners[result.session] = owner
        return result.session

    def submit(
        self, session: int, *commands: bytes, seq: int = 1, acked: int = 0
    ) -> tuple[Outcome, ...]:
        self.next_entry()
        owner = self.owners.get(session, 0)
        submission = Submission(session, acked, seq, commands, owner)
        result = self.table.submit(submission, time_ms=self.time_ms, apply=self.apply)
        assert isinstance(result, SubmissionOutcomes)
        return result.outcomes

    def exists(self, session: int) -> bool:
        """Whether the session exists; asking does not keep it alive."""
        copy = copy_of(self.table)
        copy.expire(self.time_ms)
        keep_alive = Submission(session, 0, 1, (), self.owners.get(session, 0))
        return not copy.submit(keep_alive, time_ms=self.time_ms, apply=self.apply).outcomes


# ------------------------------------------------------------------ exactly once


def test_a_write_sent_again_is_answered_with_the_stored_reply() -> None:
    cluster = Cluster()
    session = cluster.open()
    assert cluster.submit(session, b"a", b"b") == (b"1", b"2")
    assert cluster.submit(session, b"b", seq=2) == (b"2",)
    assert cluster.submit(session, b"a", b"b", b"c") == (b"1", b"2", b"3")
    assert cluster.executed == [b"a", b"b", b"c"]


def test_a_clients_writes_take_effect_in_any_order() -> None:
    cluster = Cluster()
    session = cluster.open()
    assert cluster.submit(session, b"c", seq=3) == (b"1",)
    assert cluster.submit(session, b"a", seq=1) == (b"2",)
    assert cluster.submit(session, b"b", seq=2) == (b"3",)
    assert cluster.submit(session, b"a", b"b", b"c") == (b"2", b"3", b"1")


def test_sessions_do_not_share_their_numbers() -> None:
    cluster = Cluster()
    one, other = cluster.open(), cluster.open()
    assert cluster.submit(one, b"a") == (b"1",)
    assert cluster.submit(other, b"a") == (b"2",)


def test_the_id_of_a_session_is_the_index_of_its_entry() -> None:
    cluster = Cluster()
    cluster.index = 41
    assert cluster.ask() == OpenedSession(42)


def test_an_entry_opens_at_most_one_session() -> None:
    table = SessionTable(SMALL)
    table.open_session(OpenSession(NODE, 1), index=1, time_ms=0)
    with pytest.raises(AssertionError, match="at most one"):
        table.open_session(OpenSession(NODE, 2), index=1, time_ms=0)


# ------------------------------------------------------------------ refusals


def test_a_number_at_or_below_acked_is_stale_executed_or_not() -> None:
    cluster = Cluster()
    session = cluster.open()
    cluster.submit(session, b"a")
    cluster.submit(session, acked=2)
    stale = Refusal.STALE
    assert cluster.submit(session, b"a", b"b", b"c") == (stale, stale, b"2")
    assert cluster.executed == [b"a", b"c"]


def test_the_acked_of_a_submission_holds_for_its_own_commands() -> None:
    cluster = Cluster()
    session = cluster.open()
    assert cluster.submit(session, b"a", b"b", acked=1) == (Refusal.STALE, b"1")


def test_acked_never_goes_back() -> None:
    cluster = Cluster()
    session = cluster.open()
    cluster.submit(session, acked=3)
    assert cluster.submit(session, b"c", seq=3, acked=1) == (Refusal.STALE,)


def test_there_is_no_number_below_one() -> None:
    cluster = Cluster()
    session = cluster.open()
    stale = Refusal.STALE
    assert cluster.submit(session, b"a", b"b", b"c", seq=-1) == (stale, stale, b"1")


def test_nobody_gets_into_the_session_of_another_owner() -> None:
    table = SessionTable(SMALL)
    table.open_session(OpenSession(NODE, 1), index=1, time_ms=0)
    table.open_session(OpenSession(), index=2, time_ms=0)
    for session, owner in ((1, 0), (1, NODE + 1), (2, NODE)):
        intruder = Submission(session, 0, 1, (b"x",), owner)
        result = table.submit(intruder, time_ms=0, apply=bytes)
        assert result == SubmissionOutcomes((Refusal.SESSION_EXPIRED,))


@pytest.mark.parametrize(("owner", "window"), [(0, 4), (NODE, 6)])
def test_a_number_beyond_the_window_is_refused_until_acked_moves(owner: int, window: int) -> None:
    cluster = Cluster()
    session = cluster.open(owner, 1)
    commands = [b"%d" % number for number in range(window + 1)]
    *inside, beyond = cluster.submit(session, *commands)
    assert inside == [b"%d" % (number + 1) for number in range(window)]
    assert beyond == Refusal.BEYOND_WINDOW
    assert len(cluster.executed) == window
    assert cluster.submit(session, commands[-1], seq=window + 1, acked=1) == (b"%d" % (window + 1),)


@pytest.mark.parametrize("owner", [0, NODE])
def test_writes_are_refused_while_too_many_bytes_of_replies_are_stored(owner: int) -> None:
    limits = SessionLimits(reply_bytes=5, ordered_reply_bytes=5)
    table = SessionTable(limits)
    table.open_session(OpenSession(owner, 1), index=1, time_ms=0)
    executed: list[bytes] = []

    def apply(command: bytes) -> bytes:
        executed.append(command)
        return b"xyz"

    def submit(seq: int, acked: int, *commands: bytes) -> tuple[Outcome, ...]:
        submission = Submission(1, acked, seq, commands, owner)
        return table.submit(submission, time_ms=0, apply=apply).outcomes

    assert submit(1, 0, b"a", b"b") == (b"xyz", b"xyz")
    assert submit(2, 0, b"b", b"c") == (b"xyz", Refusal.BEYOND_WINDOW)
    assert executed == [b"a", b"b"]
    assert submit(3, 1, b"c") == (b"xyz",)


def test_by_default_a_client_has_a_window_of_1024_and_a_node_one_of_65536() -> None:
    cluster = Cluster(SessionLimits())
    client, node = cluster.open(), cluster.open(NODE, 1)
    assert cluster.submit(client, b"a", b"b", seq=1024) == (b"1", Refusal.BEYOND_WINDOW)
    outcomes = cluster.submit(node, *[b"a"] * 65_537)
    assert outcomes[-2:] == (b"65537", Refusal.BEYOND_WINDOW)


def test_a_number_used_again_for_another_command_is_a_mismatch() -> None:
    cluster = Cluster()
    session = cluster.open()
    cluster.submit(session, b"a")
    assert cluster.submit(session, b"A") == (Refusal.MISMATCH,)
    assert cluster.submit(session, b"a") == (b"1",)
    assert cluster.executed == [b"a"]


def test_numbers_that_no_snapshot_could_hold_are_beyond_the_window() -> None:
    cluster = Cluster()
    session = cluster.open()
    last = 2**63 - 1
    outcomes = cluster.submit(session, b"a", b"b", seq=last, acked=last - 1)
    assert outcomes == (b"1", Refusal.BEYOND_WINDOW)
    assert cluster.submit(session, b"c", seq=2**64 - 1, acked=2**64 - 1) == (Refusal.STALE,)
    assert cluster.exists(session)


def test_a_session_that_never_existed_refuses_every_command() -> None:
    cluster = Cluster()
    expired = Refusal.SESSION_EXPIRED
    assert cluster.submit(5, b"a", b"b") == (expired, expired)
    assert cluster.submit(5) == (expired,)
    assert cluster.executed == []


# ------------------------------------------------------------------ ordered sessions


def test_an_ordered_session_executes_nothing_behind_a_gap() -> None:
    cluster = Cluster()
    session = cluster.open(NODE, 1)
    out_of_order = Refusal.OUT_OF_ORDER
    assert cluster.submit(session, b"b", b"c", seq=2) == (out_of_order, out_of_order)
    assert cluster.submit(session, b"a", b"b") == (b"1", b"2")
    assert cluster.submit(session, b"d", seq=4) == (out_of_order,)
    assert cluster.submit(session, b"c", seq=3) == (b"3",)
    assert cluster.executed == [b"a", b"b", b"c"]


def test_an_out_of_order_write_leaves_nothing_behind() -> None:
    cluster = Cluster()
    session = cluster.open(NODE, 1)
    cluster.submit(session, b"other", seq=2)
    assert cluster.submit(session, b"a", b"b") == (b"1", b"2")


def test_a_fence_beyond_the_last_write_lets_an_ordered_session_go_on_after_it() -> None:
    cluster = Cluster()
    session = cluster.open(NODE, 1)
    cluster.submit(session, b"a")
    assert cluster.submit(session, acked=3) == ()
    stale = Refusal.STALE
    assert cluster.submit(session, b"b", b"c", b"d", seq=2) == (stale, stale, b"2")
    assert cluster.executed == [b"a", b"d"]


def test_acked_up_to_the_last_write_leaves_the_order_of_an_ordered_session_alone() -> None:
    cluster = Cluster()
    session = cluster.open(NODE, 1)
    cluster.submit(session, b"a", b"b")
    assert cluster.submit(session, b"d", seq=4, acked=1) == (Refusal.OUT_OF_ORDER,)
    assert cluster.submit(session, b"c", seq=3, acked=2) == (b"3",)


# ------------------------------------------------------------------ sessions of nodes


def test_the_same_incarnation_finds_the_same_session() -> None:
    cluster = Cluster()
    session = cluster.open(NODE, 3)
    cluster.submit(session, b"a")
    assert cluster.open(NODE, 3) == session
    assert cluster.submit(session, b"a") == (b"1",)


def test_asking_for_the_same_incarnation_keeps_the_session_alive() -> None:
    cluster = Cluster()
    session = cluster.open(NODE, 3)
    for _ in range(3):
        cluster.time_ms += 100
        assert cluster.open(NODE, 3) == session


def test_a_later_incarnation_ends_the_session_of_the_earlier() -> None:
    cluster = Cluster()
    earlier = cluster.open(NODE, 3)
    later = cluster.open(NODE, 4)
    assert later != earlier
    assert cluster.submit(earlier, b"a") == (Refusal.SESSION_EXPIRED,)
    assert cluster.submit(later, b"a") == (b"1",)


def test_an_earlier_incarnation_is_superseded() -> None:
    cluster = Cluster()
    session = cluster.open(NODE, 4)
    cluster.time_ms = 100
    assert cluster.ask(NODE, 3) == RefusedSession(Refusal.SUPERSEDED)
    cluster.time_ms = 101
    assert not cluster.exists(session), "the refused request counted as activity"


def test_nodes_do_not_end_each_others_sessions() -> None:
    cluster = Cluster()
    one, other = cluster.open(1, 5), cluster.open(2, 6)
    assert cluster.exists(one)
    assert cluster.exists(other)


def test_after_a_nodes_session_expired_its_incarnation_opens_a_new_one() -> None:
    cluster = Cluster()
    expired = cluster.open(NODE, 3)
    cluster.time_ms = 101
    session = cluster.open(NODE, 3)
    assert session != expired
    assert cluster.submit(expired, b"a") == (Refusal.SESSION_EXPIRED,)


# ------------------------------------------------------------------ expiry and the cap


@pytest.mark.parametrize("owner", [0, NODE])
def test_a_session_expires_when_it_was_idle_longer_than_its_time_to_live(owner: int) -> None:
    cluster = Cluster()
    session = cluster.open(owner, 1)
    cluster.time_ms = 100
    assert cluster.exists(session)
    cluster.time_ms = 101
    assert cluster.submit(session, b"a") == (Refusal.SESSION_EXPIRED,)
    assert cluster.executed == []


def test_an_empty_submission_keeps_a_session_alive() -> None:
    cluster = Cluster()
    session = cluster.open()
    for _ in range(5):
        cluster.time_ms += 100
        assert cluster.submit(session) == ()


def test_a_submission_that_is_refused_keeps_a_session_alive_all_the_same() -> None:
    cluster = Cluster()
    session = cluster.open()
    cluster.time_ms = 100
    assert cluster.submit(session, b"a", seq=9) == (Refusal.BEYOND_WINDOW,)
    cluster.time_ms = 200
    assert cluster.exists(session)


def test_only_the_idle_sessions_expire() -> None:
    cluster = Cluster()
    first, second = cluster.open(), cluster.open()
    cluster.time_ms = 60
    cluster.submit(first)
    cluster.time_ms = 120
    cluster.next_entry()
    assert cluster.exists(first)
    assert not cluster.exists(second)


def test_by_default_a_session_lives_for_half_an_hour() -> None:
    cluster = Cluster(SessionLimits())
    session = cluster.open()
    cluster.time_ms = 30 * 60 * 1000
    assert cluster.exists(session)
    cluster.time_ms += 1
    assert not cluster.exists(session)


def test_at_the_cap_the_session_idle_longest_yields() -> None:
    cluster = Cluster()
    first, second = cluster.open(), cluster.open()
    cluster.time_ms = 1
    cluster.submit(first)
    cluster.time_ms = 12
    third = cluster.open()
    assert [cluster.exists(session) for session in (first, second, third)] == [True, False, True]


def test_at_the_cap_no_session_active_within_the_protected_time_yields() -> None:
    cluster = Cluster()
    first, second = cluster.open(), cluster.open()
    cluster.time_ms = 10
    assert cluster.ask() == RefusedSession(Refusal.TOO_MANY_SESSIONS)
    assert cluster.exists(first)
    assert cluster.exists(second)
    cluster.time_ms = 11
    assert isinstance(cluster.ask(), OpenedSession)


def test_by_default_ten_thousand_clients_have_sessions_and_are_safe_for_a_minute() -> None:
    cluster = Cluster(SessionLimits())
    for _ in range(10_000):
        cluster.open()
    cluster.time_ms = 60_000
    assert cluster.ask() == RefusedSession(Refusal.TOO_MANY_SESSIONS)
    cluster.time_ms = 60_001
    cluster.open()
    assert not cluster.exists(1)
    assert cluster.exists(2)


def test_at_the_cap_an_expired_session_makes_room_first() -> None:
    cluster = Cluster()
    cluster.open()
    cluster.time_ms = 60
    second = cluster.open()
    cluster.time_ms = 101
    third = cluster.open()
    assert cluster.exists(second)
    assert cluster.exists(third)


def test_a_nodes_session_neither_counts_at_the_cap_nor_yields() -> None:
    cluster = Cluster()
    node = cluster.open(NODE, 1)
    clients = [cluster.open(), cluster.open()]
    assert cluster.exists(cluster.open(8, 1)), "a node gets its session among busy clients"
    cluster.time_ms = 50
    cluster.open()
    assert cluster.exists(node)
    assert not cluster.exists(clients[0])
    assert cluster.exists(clients[1])


def test_a_nodes_session_that_expired_leaves_no_trace_in_the_count_at_the_cap() -> None:
    cluster = Cluster()
    cluster.open(NODE, 1)
    cluster.time_ms = 101
    cluster.open()
    cluster.open()
    assert cluster.ask() == RefusedSession(Refusal.TOO_MANY_SESSIONS)


# ------------------------------------------------------------------ memory and snapshots


def test_acknowledged_replies_leave_the_state() -> None:
    acknowledged, fresh = Cluster(SessionLimits()), Cluster(SessionLimits())
    session = acknowledged.open(NODE, 1)
    fresh.open(NODE, 1)
    for seq in range(1, 301, 3):
        acknowledged.submit(session, b"a", b"b", b"c", seq=seq, acked=seq - 1)
    full = size(acknowledged.table)
    acknowledged.submit(session, acked=300)
    assert full < size(fresh.table) + 100
    assert size(acknowledged.table) < size(fresh.table) + 10


@pytest.mark.parametrize("acked", [3, 100])
def test_a_fence_frees_the_reply_at_its_very_number(acked: int) -> None:
    cluster = Cluster()
    session = cluster.open()
    empty = size(cluster.table)
    cluster.submit(session, b"a", seq=3)
    cluster.submit(session, acked=acked)
    assert size(cluster.table) == empty


def test_a_fence_far_beyond_the_window_costs_no_more_than_what_is_stored() -> None:
    cluster = Cluster()
    session = cluster.open()
    cluster.submit(session, b"a", seq=3)
    assert cluster.submit(session, acked=2**62) == ()
    assert cluster.submit(session, b"b", seq=2**62 + 1) == (b"2",)


def test_a_restored_table_goes_on_like_the_original() -> None:
    cluster = Cluster()
    client, node = cluster.open(), cluster.open(NODE, 2)
    cluster.submit(client, b"b", seq=2, acked=1)
    cluster.submit(node, b"a")
    cluster.table = copy_of(cluster.table)
    assert cluster.submit(client, b"a", b"b", b"c") == (Refusal.STALE, b"1", b"3")
    assert cluster.submit(node, b"a", b"b") == (b"2", b"4")
    assert cluster.submit(client, b"f", seq=6) == (Refusal.BEYOND_WINDOW,), "limits travel too"
    assert cluster.ask(NODE, 1) == RefusedSession(Refusal.SUPERSEDED)
    assert cluster.open(NODE, 2) == node


def test_bytes_that_are_no_section_are_refused_and_change_nothing() -> None:
    cluster = Cluster()
    cluster.submit(cluster.open(), b"a")
    before = cluster.table.digest()
    (section,) = cluster.table.snapshot()
    for length in range(len(section)):
        with pytest.raises(DecodeError):
            cluster.table.restore(section[:length])
    assert cluster.table.digest() == before
