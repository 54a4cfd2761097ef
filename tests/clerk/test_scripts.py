"""The Clerk's core, one rule after the other, as scripted conversations with its servers."""

from collections.abc import Iterable
from typing import Any

import pytest
from tests.clerk.script import FIXED, Script

from quorate.clerk.errors import (
    ClerkError,
    CommandError,
    NotExecutedError,
    OutcomeUnknownError,
    SessionExpiredError,
    TooManyCallsError,
    TooManySessionsError,
)
from quorate.clerk.operations import Operation, append, delete, get, get_or_none, put
from quorate.clerk.replies import ErrorReply, Reply
from quorate.clerk.settings import ClerkSettings

OK = b"OK"


def serving(settings: ClerkSettings = FIXED) -> Script:
    """A Clerk that is connected to the leader; it made one read (call 1) to get there."""
    script = Script(settings=settings)
    assert script.call(get("k")) == ["connect a:1"]
    assert script.connected() == ["> QUORATE.LEADER"]
    assert script.reply(b"a:1") == ["> GET k"]
    assert script.reply(None) == ["1 = b''"]
    return script


def with_session(settings: ClerkSettings = FIXED) -> Script:
    """A Clerk with session 7, in which it has made one write (call 2, number 1)."""
    script = serving(settings)
    assert script.call(put("k", "v")) == ["> QUORATE.SESSION"]
    assert script.reply(7) == ["> ONCE 7 1 0 SET k v"]
    assert script.reply(OK) == ["2 = None"]
    return script


def with_doubt() -> Script:
    """A Clerk whose write (call 3, number 2) was sent twice, the first time without a reply."""
    script = with_session()
    assert script.call(append("k", "x")) == ["> ONCE 7 2 1 APPEND k x"]
    assert script.lost() == ["disconnect"]
    assert script.reconnect() == ["> ONCE 7 2 1 APPEND k x"]
    return script


# --------------------------------------------------------------------- finding the leader


def test_it_connects_only_when_there_is_something_to_do() -> None:
    script = Script()
    assert script.drain() == []
    assert script.core.deadline() is None


def test_it_asks_the_first_server_who_leads_and_follows_the_answer() -> None:
    script = Script()
    assert script.call(get("k")) == ["connect a:1"]
    assert script.connected() == ["> QUORATE.LEADER"]
    assert script.reply(b"c:1") == ["disconnect", "connect c:1"]
    assert script.connected() == ["> GET k"]


def test_it_follows_the_leader_to_an_address_that_is_not_in_its_list() -> None:
    script = Script(servers=("a:1",))
    script.call(get("k"))
    script.connected()
    assert script.reply(b"elsewhere:9") == ["disconnect", "connect elsewhere:9"]


@pytest.mark.parametrize(
    "answer", [None, b"", b"not an address", b"\xff", 5, ErrorReply("ERR", "unknown command")]
)
def test_it_stays_with_a_server_that_does_not_know_the_leader(answer: Reply) -> None:
    script = Script()
    script.call(get("k"))
    script.connected()
    assert script.reply(answer) == ["> GET k"]


def test_a_leader_that_cannot_be_reached_is_not_tried_again_until_another_one_is_named() -> None:
    script = Script()
    script.call(get("k"))
    script.connected()
    assert script.reply(b"inside:1") == ["disconnect", "connect inside:1"]
    assert script.lost() == ["disconnect"]
    assert script.wait() == ["connect b:1"]
    script.connected()
    assert script.reply(b"inside:1") == ["> GET k"]
    script.lost()
    assert script.wait() == ["connect c:1"]
    script.connected()
    assert script.reply(b"inside:2") == ["disconnect"]
    assert script.wait() == ["connect inside:2"]


def test_servers_that_name_each_other_do_not_make_it_run_to_and_fro() -> None:
    script = Script(servers=("a:1", "b:1"))
    script.call(get("k"))
    script.connected()
    assert script.reply(b"b:1") == ["disconnect", "connect b:1"]
    assert script.connected() == ["> GET k"]  # b is not asked
    assert script.refuse("NOTLEADER a:1") == ["disconnect"]  # nor does it hurry now
    assert script.wait() == ["connect a:1"]


def test_a_server_that_does_not_forward_names_the_leader_with_its_refusal() -> None:
    script = serving()
    assert script.call(get("k")) == ["> GET k"]
    assert script.refuse("NOTLEADER c:1") == ["disconnect", "connect c:1"]
    assert script.connected() == ["> GET k"]


def test_while_calls_are_made_it_asks_again_and_moves_when_all_is_answered() -> None:
    script = serving()
    script.wait(6)
    assert script.call(get("k")) == ["> GET k", "> QUORATE.LEADER"]
    assert script.call(get("l")) == ["> GET l"]
    assert script.reply(b"v", b"b:1") == ["2 = b'v'"]
    assert script.call(get("m")) == []  # waits for the move
    assert script.reply(b"w") == ["disconnect", "connect b:1", "3 = b'w'"]
    assert script.connected() == ["> GET m"]


def test_it_goes_round_the_servers_with_growing_waits_that_have_a_bound() -> None:
    script = Script()
    script.call(get("k"))
    waits = []
    servers = []
    for _ in range(12):
        assert script.lost() == ["disconnect"]
        before = script.now
        servers += script.wait()
        waits.append(script.now - before)
    assert servers == ["connect b:1", "connect c:1", "connect a:1"] * 4
    assert 5_000 <= waits[0] <= 10_000
    assert 80_000 <= waits[4] <= 160_000
    assert all(250_000 <= wait <= 500_000 for wait in waits[7:])


# --------------------------------------------------------------------- time-outs of a connection


def test_a_connection_that_takes_too_long_is_given_up() -> None:
    script = Script()
    script.call(get("k"))
    assert script.wait() == ["disconnect"]
    assert script.now == 2_000_000
    assert script.wait() == ["connect b:1"]


def test_a_server_that_does_not_answer_its_first_question_is_given_up() -> None:
    script = Script()
    script.call(get("k"))
    script.connected()
    assert script.wait() == ["disconnect"]
    assert script.now == 2_000_000


def test_a_server_that_stays_silent_is_left_and_the_calls_are_sent_to_another() -> None:
    script = serving()
    script.wait(60)  # silence is no trouble while nothing is asked
    script.call(get("k"))
    script.reply(b"v")
    script.call(get("k"))
    asked_at = script.now
    assert script.wait() == ["disconnect"]
    assert script.now == asked_at + 5_000_000
    assert script.reconnect() == ["> GET k"]


def test_a_server_that_answers_one_by_one_is_not_silent() -> None:
    script = serving()
    for key in "lmn":
        script.call(get(key))
    for ticket in (2, 3, 4):
        assert script.wait(4) == []
        assert script.reply(b"v") == [f"{ticket} = b'v'"]


def test_what_is_reported_of_an_earlier_connection_is_ignored() -> None:
    script = serving()
    old = script.connection
    script.call(get("k"))
    script.lost()
    assert script.reconnect() == ["> GET k"]
    assert script.reply(b"late", connection=old) == []
    assert script.lost(connection=old) == []
    assert script.connected(connection=old) == []
    assert script.reply(b"v") == ["2 = b'v'"]


def test_an_idle_connection_that_is_lost_is_made_again_with_the_next_call() -> None:
    script = serving()
    assert script.lost() == ["disconnect"]
    assert script.core.deadline() is None
    script.wait(1)
    assert script.call(get("k")) == ["connect b:1"]


@pytest.mark.parametrize("reply", [5, [b"v"]])
def test_a_reply_that_the_command_never_has_is_as_good_as_none(reply: Reply) -> None:
    script = serving()
    script.call(get("k"))
    assert script.reply(reply) == ["disconnect"]
    assert script.reconnect() == ["> GET k"]


def test_a_reply_without_a_request_ends_the_connection() -> None:
    assert serving().reply(b"v") == ["disconnect"]


# --------------------------------------------------------------------- numbers and sessions


def test_a_read_needs_no_session() -> None:
    script = serving()
    assert script.call(get_or_none("k")) == ["> GET k"]
    assert script.reply(None) == ["2 = None"]


def test_the_first_write_opens_a_session_and_writes_are_numbered_in_it() -> None:
    script = serving()
    assert script.call(put("k", "v")) == ["> QUORATE.SESSION"]
    assert script.call(append("k", "w")) == []
    assert script.reply(7) == ["> ONCE 7 1 0 SET k v", "> ONCE 7 2 0 APPEND k w"]
    assert script.reply(OK, 2) == ["2 = None", "3 = 2"]
    assert script.call(delete("k")) == ["> ONCE 7 3 2 DEL k"]
    assert script.reply(1) == ["4 = True"]


def test_a_session_that_was_asked_for_in_vain_is_asked_for_again() -> None:
    script = serving()
    script.call(put("k", "v"))
    script.lost()
    assert script.reconnect() == ["> QUORATE.SESSION"]


def test_acked_goes_up_to_the_first_number_without_a_reply() -> None:
    """Replies come in order on one connection, but some of them say: send it again."""
    script = with_session()
    script.call(put("a", "1"))
    script.call(put("b", "2"))
    assert script.reply(ErrorReply("WINDOW", "beyond the window"), OK) == ["4 = None"]
    assert script.call(put("c", "3")) == []
    assert script.wait() == ["> ONCE 7 2 1 SET a 1", "> ONCE 7 4 1 SET c 3"]
    assert script.reply(OK) == ["3 = None"]
    assert script.call(put("d", "4")) == ["> ONCE 7 5 3 SET d 4"]


def test_unanswered_writes_are_sent_again_with_their_numbers_in_order() -> None:
    script = with_session()
    script.call(put("a", "1"))
    script.call(put("b", "2"))
    script.call(put("c", "3"))
    assert script.reply(OK) == ["3 = None"]
    script.lost()
    assert script.call(put("d", "4")) == []
    assert script.reconnect() == [
        "> ONCE 7 3 2 SET b 2",
        "> ONCE 7 4 2 SET c 3",
        "> ONCE 7 5 2 SET d 4",
    ]


def test_writes_beyond_the_window_wait() -> None:
    script = with_session(ClerkSettings(window=2, learns_servers=False))
    assert script.call(put("a", "1")) == ["> ONCE 7 2 1 SET a 1"]
    assert script.call(put("b", "2")) == ["> ONCE 7 3 1 SET b 2"]
    assert script.call(put("c", "3")) == []
    assert script.call(get("k")) == ["> GET k"]  # reads have no window
    assert script.reply(OK) == ["> ONCE 7 4 2 SET c 3", "3 = None"]


def test_no_more_requests_are_in_flight_than_may_be() -> None:
    script = serving(ClerkSettings(max_in_flight=2, learns_servers=False))
    assert script.call(get("a")) == ["> GET a"]
    assert script.call(get("b")) == ["> GET b"]
    assert script.call(get("c")) == []
    assert script.reply(b"v") == ["> GET c", "2 = b'v'"]


def test_calls_beyond_the_limit_are_refused_at_once() -> None:
    script = serving(ClerkSettings(max_calls=2, learns_servers=False))
    script.call(get("a"))
    script.call(get("b"))
    with pytest.raises(TooManyCallsError):
        script.call(get("c"))
    script.reply(b"v")
    assert script.call(get("c")) == ["> GET c"]


# --------------------------------------------------------------------- refusals


@pytest.mark.parametrize(
    "refusal",
    [
        "NOTEXECUTED no leader",
        "UNKNOWN no answer within 3 s",
        "NOTLEADER no leader is known",
        "BUSY of no known code",
    ],
)
def test_a_write_that_a_server_could_not_complete_goes_to_another_with_its_number(
    refusal: str,
) -> None:
    script = with_session()
    script.call(append("k", "x"))
    assert script.refuse(refusal) == ["disconnect"]
    assert script.reconnect() == ["> ONCE 7 2 1 APPEND k x"]
    assert script.reply(2) == ["3 = 2"]


@pytest.mark.parametrize(
    "refusal", ["UNAVAILABLE no majority", "NOTLEADER no leader is known", "LOADING"]
)
def test_a_read_that_a_server_could_not_confirm_goes_to_another(refusal: str) -> None:
    script = serving()
    script.call(get("k"))
    assert script.refuse(refusal) == ["disconnect"]
    assert script.reconnect() == ["> GET k"]


def test_replies_that_came_together_with_a_refusal_still_count() -> None:
    script = with_session()
    for key in "abc":
        script.call(put(key, "v"))
    assert script.reply(OK, ErrorReply("UNKNOWN"), OK) == ["disconnect", "3 = None", "5 = None"]
    assert script.reconnect() == ["> ONCE 7 3 2 SET b v"]


@pytest.mark.parametrize("operation", [get("k"), put("k", "v")])
def test_a_usage_error_is_the_callers(operation: Operation[Any]) -> None:
    script = with_session()
    script.call(operation)
    assert script.refuse("ERR value is too large") == ["3 = CommandError"]
    assert isinstance(script.errors[3], NotExecutedError)
    assert str(script.errors[3]) == "ERR value is too large"
    assert script.core.deadline() is None


def test_the_number_of_a_write_with_a_usage_error_is_done_with() -> None:
    script = with_session()
    script.call(put("k", "v"))
    script.refuse("ERR value is too large")
    assert script.call(put("k", "w")) == ["> ONCE 7 3 2 SET k w"]


def test_a_usage_error_after_an_unanswered_sending_leaves_the_outcome_unknown() -> None:
    """A server with lower limits refuses what one with higher limits has taken before."""
    script = with_doubt()
    assert script.refuse("ERR value is too large") == [
        "> ONCE 7 2 2 APPEND k x",  # the fence
        "3 = OutcomeUnknownError",
    ]


@pytest.mark.parametrize("code", ["STALE", "MISMATCH"])
def test_a_number_that_somebody_else_used_leaves_the_outcome_unknown(code: str) -> None:
    script = with_session()
    script.call(append("k", "x"))
    assert script.refuse(code)[-1] == "3 = SessionMisusedError"
    assert isinstance(script.errors[3], OutcomeUnknownError)


def test_a_write_beyond_the_servers_window_waits_and_reads_do_not() -> None:
    script = with_session()
    script.call(append("k", "x"))
    assert script.refuse("WINDOW acknowledge first") == []
    assert script.call(get("k")) == ["> GET k"]
    assert script.reply(b"v") == ["4 = b'v'"]
    assert script.wait() == ["> ONCE 7 2 1 APPEND k x"]


def test_no_room_for_a_session_is_waited_for() -> None:
    script = serving()
    script.call(put("k", "v"))
    assert script.refuse("TOOMANYSESSIONS") == []
    assert script.wait() == ["> QUORATE.SESSION"]
    assert script.reply(7) == ["> ONCE 7 1 0 SET k v"]


def test_no_room_for_a_session_until_the_deadline_is_the_callers() -> None:
    script = serving()
    script.call(put("k", "v"), timeout=0.005)
    script.refuse("TOOMANYSESSIONS")
    assert script.wait() == ["2 = TooManySessionsError"]
    assert issubclass(TooManySessionsError, NotExecutedError)


def test_a_server_that_knows_no_sessions_is_the_callers_mistake() -> None:
    script = serving()
    script.call(put("k", "v"))
    script.call(put("k", "w"))
    assert script.refuse("ERR unknown command 'QUORATE.SESSION'") == [
        "2 = CommandError",
        "3 = CommandError",
    ]


def test_a_session_that_could_not_be_opened_is_asked_for_elsewhere() -> None:
    script = serving()
    script.call(put("k", "v"))
    assert script.refuse("UNKNOWN") == ["disconnect"]
    assert script.reconnect() == ["> QUORATE.SESSION"]
    assert script.reply(b"not a number") == ["disconnect"]
    assert script.reconnect("c:1") == ["> QUORATE.SESSION"]


# --------------------------------------------------------------------- an expired session


def test_a_write_sent_once_is_renumbered_into_a_new_session() -> None:
    script = with_session()
    script.call(append("k", "x"))
    assert script.refuse("SESSIONEXPIRED") == []
    assert script.wait() == ["> QUORATE.SESSION"]
    assert script.reply(8) == ["> ONCE 8 1 0 APPEND k x"]
    assert script.reply(2) == ["3 = 2"]


def test_a_write_sent_more_often_has_an_unknown_outcome() -> None:
    script = with_doubt()
    assert script.refuse("SESSIONEXPIRED") == ["3 = SessionExpiredError"]
    assert issubclass(SessionExpiredError, OutcomeUnknownError)


def test_sendings_that_provably_executed_nothing_do_not_count() -> None:
    script = with_session()
    script.call(append("k", "x"))
    script.refuse("NOTEXECUTED")
    assert script.reconnect() == ["> ONCE 7 2 1 APPEND k x"]
    assert script.refuse("SESSIONEXPIRED") == []
    assert script.wait() == ["> QUORATE.SESSION"]


@pytest.mark.parametrize("refusal", ["UNKNOWN", "BUSY of no known code"])
def test_sendings_whose_outcome_the_server_did_not_know_count(refusal: str) -> None:
    script = with_session()
    script.call(append("k", "x"))
    script.refuse(refusal)
    script.reconnect()
    assert script.refuse("SESSIONEXPIRED") == ["3 = SessionExpiredError"]


def test_all_writes_of_the_expired_session_follow_the_same_rule() -> None:
    script = with_doubt()
    script.call(append("k", "y"))
    expired = ErrorReply("SESSIONEXPIRED")
    assert script.reply(expired, expired) == ["3 = SessionExpiredError"]
    assert script.wait() == ["> QUORATE.SESSION"]
    assert script.reply(8) == ["> ONCE 8 1 0 APPEND k y"]


def test_a_write_answered_before_its_session_expired_counts() -> None:
    script = with_session()
    script.call(append("k", "x"))
    script.call(append("k", "y"))
    assert script.reply(ErrorReply("SESSIONEXPIRED"), 2) == ["4 = 2"]


def test_a_write_that_waits_to_be_sent_again_follows_the_rule_too() -> None:
    script = with_session()
    for value in "xyz":
        script.call(append("k", value))
    script.reply(ErrorReply("UNKNOWN"), ErrorReply("NOTEXECUTED"), ErrorReply("SESSIONEXPIRED"))
    assert isinstance(script.errors[3], SessionExpiredError)
    assert set(script.errors) == {3}
    assert script.wait(1) == ["connect b:1"]
    script.connected()
    assert script.reply(None) == ["> QUORATE.SESSION"]
    assert script.reply(8) == ["> ONCE 8 1 0 APPEND k z", "> ONCE 8 2 0 APPEND k y"]


def test_a_write_of_the_expired_session_whose_connection_is_lost_is_not_sent_again() -> None:
    script = with_session()
    script.call(append("k", "x"))
    script.call(append("k", "y"))
    assert script.refuse("SESSIONEXPIRED") == []
    assert script.lost() == ["disconnect", "4 = SessionExpiredError"]


def test_a_session_that_expires_at_once_does_not_make_it_spin() -> None:
    script = with_session()
    script.call(append("k", "x"))
    for session in range(8, 15):
        script.refuse("SESSIONEXPIRED")
        assert script.wait() == ["> QUORATE.SESSION"]
        script.reply(session)
    assert script.now > 500_000


# --------------------------------------------------------------------- deadlines and the fence


def test_a_write_that_was_never_sent_was_not_executed() -> None:
    script = Script()
    script.call(append("k", "x"), timeout=1)
    assert script.wait() == ["1 = NotExecutedError"]
    assert script.now == 1_000_000


def test_a_deadline_that_has_come_already_sends_nothing() -> None:
    script = with_session()
    assert script.call(append("k", "x"), timeout=0) == ["3 = NotExecutedError"]


def test_a_read_that_is_not_answered_in_time_is_unavailable() -> None:
    script = serving()
    script.call(get("k"), timeout=1)
    assert script.wait() == ["2 = UnavailableError"]
    assert isinstance(script.errors[2], NotExecutedError)
    assert script.reply(b"late") == []
    assert script.call(get("l")) == ["> GET l"]


def test_the_error_says_what_the_trouble_was() -> None:
    script = Script(servers=("a:1",))
    script.call(append("k", "x"), timeout=0.001)
    script.lost()
    script.wait()
    assert str(script.errors[1]) == (
        "the write was not executed: the deadline has come; last trouble: a:1: no connection"
    )


def test_trouble_that_was_overcome_is_not_mentioned() -> None:
    script = with_doubt()
    script.reply(2)
    script.call(append("k", "y"), timeout=1)
    script.wait()
    assert str(script.errors[4]) == "the write may have been executed: the deadline has come"


def test_a_write_that_was_refused_each_time_was_not_executed_and_needs_no_fence() -> None:
    script = with_session()
    script.call(append("k", "x"), timeout=0.001)
    script.refuse("NOTEXECUTED")
    assert script.wait() == ["3 = NotExecutedError"]
    assert script.core.deadline() is None
    script.wait(1)
    assert script.call(append("k", "y")) == ["connect b:1"]
    script.connected()
    assert script.reply(None) == ["> ONCE 7 3 2 APPEND k y"]


def test_a_write_given_up_in_flight_is_unknown_at_its_deadline_and_fenced_at_once() -> None:
    script = with_session()
    script.call(append("k", "x"), timeout=1)
    assert script.wait() == ["> ONCE 7 2 2 APPEND k x", "3 = OutcomeUnknownError"]
    assert script.now == 1_000_000
    assert script.reply(2, ErrorReply("STALE")) == []
    assert script.core.deadline() is None


def test_writes_that_follow_a_given_up_one_fence_it_too() -> None:
    script = with_session()
    script.call(append("k", "x"), timeout=1)
    script.wait()
    assert script.call(append("k", "y")) == ["> ONCE 7 3 2 APPEND k y"]


def test_reads_wait_until_the_fence_is_committed() -> None:
    script = with_session()
    script.call(append("k", "x"), timeout=1)
    script.wait()
    assert script.call(get("k")) == []
    assert script.reply(2) == []
    assert script.refuse("STALE") == ["> GET k"]


def test_the_fence_waits_for_the_writes_before_it() -> None:
    """`acked` can be beyond the write only when all before it are settled."""
    script = with_session()
    script.call(append("k", "x"))
    script.call(append("k", "y"), timeout=1)
    assert script.wait() == ["4 = OutcomeUnknownError"]
    assert script.reply(2) == ["> ONCE 7 3 3 APPEND k y", "3 = 2"]


def test_one_fence_serves_several_writes() -> None:
    script = with_session()
    script.call(append("k", "x"), timeout=1)
    script.call(append("k", "y"), timeout=1)
    assert script.wait() == [
        "> ONCE 7 3 3 APPEND k y",
        "3 = OutcomeUnknownError",
        "4 = OutcomeUnknownError",
    ]
    assert script.reply(2, 3, ErrorReply("STALE")) == []
    assert script.core.deadline() is None


def test_an_older_fence_does_not_do_for_a_later_write() -> None:
    script = with_session()
    script.call(append("k", "x"), timeout=1)
    script.call(append("k", "y"), timeout=2)
    assert script.wait() == ["> ONCE 7 2 2 APPEND k x", "3 = OutcomeUnknownError"]
    assert script.wait() == ["> ONCE 7 3 3 APPEND k y", "4 = OutcomeUnknownError"]
    script.call(get("k"))
    assert script.reply(2, 3, ErrorReply("STALE")) == []
    assert script.refuse("STALE") == ["> GET k"]


def test_the_fence_is_sent_until_it_is_committed() -> None:
    script = with_session()
    script.call(append("k", "x"), timeout=1)
    script.wait()
    assert script.lost() == ["disconnect"]
    assert script.reconnect() == ["> ONCE 7 2 2 APPEND k x"]
    assert script.refuse("NOTEXECUTED") == ["disconnect"]
    assert script.reconnect("c:1") == ["> ONCE 7 2 2 APPEND k x"]
    assert script.refuse("WINDOW") == []
    assert script.wait() == ["> ONCE 7 2 2 APPEND k x"]
    assert script.refuse("STALE") == []
    assert script.core.deadline() is None


def test_an_expired_session_needs_no_fence() -> None:
    script = with_session()
    script.call(append("k", "x"), timeout=1)
    script.wait()
    script.call(get("k"))
    assert script.reply(ErrorReply("SESSIONEXPIRED")) == ["> GET k"]
    assert script.reply(ErrorReply("SESSIONEXPIRED")) == []  # the fence itself
    assert script.reply(b"v") == ["4 = b'v'"]


def test_the_fence_may_be_what_learns_that_the_session_expired() -> None:
    script = with_session()
    script.call(append("k", "x"), timeout=1)
    script.wait()
    assert script.reply(2, ErrorReply("SESSIONEXPIRED")) == []
    assert script.call(append("k", "y")) == []
    assert script.wait() == ["> QUORATE.SESSION"]


@pytest.mark.parametrize("reply", [2, ErrorReply("ERR", "not like this")])
def test_a_server_that_does_not_fence_does_not_hold_up_the_clerk(reply: Reply) -> None:
    script = with_session()
    script.call(append("k", "x"), timeout=1)
    script.wait()
    script.call(get("k"))
    assert script.reply(ErrorReply("UNKNOWN"))[0] == "disconnect"
    assert script.reconnect() == ["> ONCE 7 2 2 APPEND k x"]
    assert script.reply(reply) == ["> GET k"]


# --------------------------------------------------------------------- abandoning and closing


def test_an_abandoned_write_that_was_not_sent_is_never_sent() -> None:
    script = Script()
    script.call(append("k", "x"))
    script.abandon(1)
    script.connected()
    assert script.reply(None) == []


def test_an_abandoned_write_that_was_sent_is_fenced_and_has_no_outcome() -> None:
    script = with_session()
    script.call(append("k", "x"))
    assert script.abandon(3) == ["> ONCE 7 2 2 APPEND k x"]
    assert script.reply(2, ErrorReply("STALE")) == []
    assert script.call(append("k", "y")) == ["> ONCE 7 3 2 APPEND k y"]


def test_an_abandoned_write_that_waits_to_be_sent_again_is_not() -> None:
    script = with_session()
    script.call(append("k", "x"))
    script.lost()
    assert script.abandon(3) == []
    assert script.reconnect() == ["> ONCE 7 2 2 APPEND k x"]  # not the write: its fence


def test_an_abandoned_read_is_not_sent_again() -> None:
    script = serving()
    script.call(get("k"))
    script.abandon(2)
    script.lost()
    assert script.core.deadline() is None


def test_abandoning_a_call_that_has_ended_does_nothing() -> None:
    script = with_session()
    assert script.abandon(2) == []
    assert script.abandon(99) == []


def test_closing_ends_all_calls_each_with_what_is_known_of_it() -> None:
    script = with_session(ClerkSettings(window=1, learns_servers=False))
    script.call(append("k", "x"))
    script.call(append("k", "y"))
    script.call(get("k"))
    assert script.close() == [
        "disconnect",
        "3 = OutcomeUnknownError",
        "4 = NotExecutedError",
        "5 = UnavailableError",
    ]
    assert script.core.deadline() is None
    with pytest.raises(NotExecutedError, match="closed"):
        script.call(get("k"))


def test_every_error_says_whether_the_operation_was_executed() -> None:
    def leaves(error: type[ClerkError]) -> Iterable[type[ClerkError]]:
        yield error
        for below in error.__subclasses__():
            yield from leaves(below)

    for error in leaves(ClerkError):
        if error is not ClerkError:
            assert issubclass(error, NotExecutedError) != issubclass(error, OutcomeUnknownError)
    assert issubclass(CommandError, NotExecutedError)
