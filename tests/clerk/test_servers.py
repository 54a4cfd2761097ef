"""Which servers the Clerk knows: those that it was given, and those that the servers name."""

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.clerk.script import Script

from quorate.clerk.operations import get
from quorate.clerk.replies import ErrorReply, Reply
from quorate.clerk.servers import ServerChoice
from quorate.clerk.settings import ClerkSettings

LEARNING = ClerkSettings()
QUESTIONS = ["> QUORATE.SERVERS", "> QUORATE.LEADER"]


def script_of(*servers: str) -> Script:
    return Script(servers=servers, settings=LEARNING)


def told(as_of: int, *servers: str) -> Reply:
    return [as_of, *(server.encode() for server in servers)]


def serving(*seeds: str, as_of: int, servers: tuple[str, ...]) -> Script:
    """A Clerk whose first seed serves it, and has told which servers there are."""
    script = script_of(*seeds)
    assert script.call(get("k")) == [f"connect {seeds[0]}"]
    assert script.connected() == QUESTIONS
    assert script.reply(told(as_of, *servers)) == []
    assert script.reply(seeds[0].encode()) == ["> GET k"]
    assert script.reply(None) == ["1 = b''"]
    return script


def refused_everywhere(script: Script, count: int) -> list[str]:
    """Where the Clerk goes from a connection that breaks, when nobody can be reached."""
    lines = []
    for _ in range(count):
        script.lost()
        lines += [line.removeprefix("connect ") for line in script.wait()]
    return lines


# --------------------------------------------------------------------- when it asks


def test_a_server_that_says_in_its_greeting_that_it_is_none_any_more_is_left() -> None:
    script = serving("a:1", as_of=5, servers=("a:1",))
    script.call(get("k"))
    script.lost()
    assert script.wait() == ["connect a:1"]
    assert script.connected() == QUESTIONS
    assert "> GET k" not in script.reply(told(6, "b:1", "c:1"), None)


def test_it_asks_the_first_server_for_all_of_them_and_goes_round_those() -> None:
    script = serving("a:1", as_of=5, servers=("a:1", "b:1", "c:1"))
    script.call(get("k"))
    assert refused_everywhere(script, 3) == ["b:1", "c:1", "a:1"]


def test_it_learns_also_from_a_server_that_sends_it_on() -> None:
    script = script_of("a:1")
    script.call(get("k"))
    script.connected()
    assert script.reply(told(5, "b:1", "c:1")) == []
    assert script.reply(b"c:1") == ["disconnect", "connect c:1"]
    assert refused_everywhere(script, 1) == ["b:1"]


def test_a_named_leader_is_asked_with_the_first_request_once() -> None:
    script = script_of("a:1")
    script.call(get("k"))
    script.connected()
    assert script.reply(ErrorReply("ERR", "unknown command"), b"b:1")[-1] == "connect b:1"
    assert script.connected() == ["> GET k", "> QUORATE.SERVERS"]
    assert script.call(get("l")) == ["> GET l"]
    assert script.reply(b"v", told(3, "b:1", "d:1"), b"w") == ["1 = b'v'", "2 = b'w'"]
    script.call(get("m"))
    assert refused_everywhere(script, 1) == ["d:1"]


def test_it_asks_now_and_then_while_calls_are_made() -> None:
    script = serving("a:1", as_of=5, servers=("a:1",))
    assert script.call(get("k")) == ["> GET k"]
    script.reply(b"v")
    script.wait(6)
    assert script.call(get("k")) == ["> GET k", *QUESTIONS]
    script.reply(b"v", told(6, "a:1", "b:1"), b"a:1")
    assert script.call(get("k")) == ["> GET k"]
    assert refused_everywhere(script, 1) == ["b:1"]


def test_after_trouble_it_asks_the_next_server() -> None:
    script = serving("a:1", as_of=5, servers=("a:1", "b:1"))
    script.call(get("k"))
    assert script.refuse("UNAVAILABLE no leader") == ["disconnect"]
    assert script.wait() == ["connect b:1"]
    assert script.connected() == QUESTIONS


def test_a_server_that_does_not_answer_the_greeting_is_given_up() -> None:
    script = script_of("a:1", "b:1")
    script.call(get("k"))
    script.connected()
    script.reply(told(5, "a:1", "b:1"))
    assert script.wait() == ["disconnect"]
    assert script.now == LEARNING.connect_timeout_us


# --------------------------------------------------------------------- what it makes of the answer


@pytest.mark.parametrize(
    "answer",
    [
        ErrorReply("ERR", "unknown command"),
        None,
        b"",
        7,
        [],
        [3],
        [b"b:1"],
        [3, 4, [b"b:1"], b"nonsense", b"\xff", b"b:0"],
    ],
)
def test_an_answer_that_names_nobody_changes_nothing(answer: Reply) -> None:
    script = script_of("a:1", "c:1")
    script.call(get("k"))
    script.connected()
    assert script.reply(answer, b"a:1") == ["> GET k"]
    assert refused_everywhere(script, 3) == ["c:1", "a:1", "c:1"]


def test_an_older_answer_does_not_replace_a_newer_one() -> None:
    """A node that lags behind, or was removed and does not know it."""
    script = serving("a:1", as_of=9, servers=("a:1", "b:1", "c:1"))
    script.call(get("k"))
    script.refuse("UNAVAILABLE no leader")
    assert script.wait() == ["connect b:1"]
    script.connected()
    assert script.reply(told(4, "a:1", "old:1"), b"b:1") == ["> GET k"]
    assert refused_everywhere(script, 2) == ["c:1", "a:1"]


def test_a_server_that_was_removed_is_left_when_its_calls_have_ended() -> None:
    script = serving("a:1", as_of=5, servers=("a:1", "b:1"))
    script.wait(6)
    assert script.call(get("k")) == ["> GET k", *QUESTIONS]
    assert script.call(get("l")) == ["> GET l"]
    assert script.reply(b"v", told(6, "b:1", "c:1")) == ["2 = b'v'"]
    assert script.call(get("m")) == []  # waits for the move
    assert script.reply(b"a:1") == []
    assert script.reply(b"w") == ["disconnect", "connect b:1", "3 = b'w'"]
    assert refused_everywhere(script, 2) == ["c:1", "a:1"], "as a last resort it is still good"


def test_a_server_that_goes_by_another_name_there_is_not_left() -> None:
    script = serving("alias:1", as_of=5, servers=("a:1", "b:1"))
    assert script.call(get("k")) == ["> GET k"]


# --------------------------------------------------------------------- the last resort


def test_those_it_was_given_are_the_last_resort() -> None:
    script = serving("seed:1", "seed:2", as_of=5, servers=("a:1", "b:1"))
    script.call(get("k"))
    assert refused_everywhere(script, 4) == ["a:1", "b:1", "seed:2", "seed:1"]


def test_they_are_tried_too_when_all_of_the_others_were_tried_in_vain() -> None:
    """One of those may answer and serve nobody: it was removed, and has not heard of it.

    Found by the simulation (`--churn`, seed 536, 5 seconds): all servers of the list were such, so
    they could be reached, and two Clerks went round them for ever.
    """
    script = serving("seed:1", as_of=5, servers=("a:1", "b:1"))
    script.call(get("k"))
    assert refused_everywhere(script, 1) == ["a:1"]
    script.connected()
    script.reply(told(5, "a:1", "b:1"), None)
    assert script.refuse("UNAVAILABLE no leader") == ["disconnect"]
    assert script.wait() == ["connect b:1"]
    assert refused_everywhere(script, 3) == ["seed:1", "a:1", "b:1"]


def test_addresses_that_this_client_cannot_reach_are_not_tried_first_again() -> None:
    """Those of containers, say, that the client knows by another address."""
    script = serving("seed:1", "seed:2", as_of=5, servers=("a:1", "b:1"))
    script.call(get("k"))
    assert refused_everywhere(script, 3) == ["a:1", "b:1", "seed:2"]
    script.connected()
    assert script.reply(told(6, "a:1", "b:1"), None) == ["> GET k"]
    assert script.reply(b"v") == ["2 = b'v'"]
    script.call(get("k"))
    assert script.refuse("UNAVAILABLE no leader") == ["disconnect"]
    assert script.wait() == ["connect seed:1"]


def test_an_older_answer_counts_when_nobody_of_the_newer_one_is_left() -> None:
    """Their cluster is no more, and one that was made from a survivor may be behind them."""
    script = serving("a:1", as_of=9, servers=("b:1", "c:1"))
    script.call(get("k"))
    assert refused_everywhere(script, 3) == ["b:1", "c:1", "a:1"]
    script.connected()
    assert script.reply(told(4, "a:1", "new:1"), b"a:1") == ["> GET k"]
    assert refused_everywhere(script, 2) == ["new:1", "a:1"]


# --------------------------------------------------------------------- every round


@given(data=st.data())
def test_whoever_can_be_reached_has_its_turn_in_every_round(data: st.DataObject) -> None:
    """Whatever was learned and tried before: nobody who could serve is passed by for ever."""
    addresses = [f"{letter}:1" for letter in "abcdef"]
    some = st.lists(st.sampled_from(addresses), min_size=1, max_size=4, unique=True).map(tuple)
    seeds = data.draw(some)
    choice = ServerChoice(seeds, random.Random(0), LEARNING)
    learned, as_of = seeds, 0
    for _ in range(data.draw(st.integers(0, 15))):
        server, _ = choice.take_next()
        what = data.draw(st.sampled_from(["down", "up", "served", "told"]))
        if what == "down":
            choice.is_unreachable(server)
            continue
        choice.reached(server)
        if what == "served":
            choice.served()
        if what == "told":
            learned, as_of = data.draw(some), as_of + 1
            choice.heard_servers(learned, as_of=as_of, at=server)
    within_reach = data.draw(st.sets(st.sampled_from(addresses)))
    taken = []
    for _ in range(40):
        server, is_leader = choice.take_next()
        assert not is_leader
        taken.append(server)
        if server in within_reach:
            choice.reached(server)  # and is of no use all the same
        else:
            choice.is_unreachable(server)
    wanted = {*learned, *seeds}
    round_of = len(wanted)
    for end in range(20, 40, round_of):
        assert set(taken[end - round_of : end]) == wanted
