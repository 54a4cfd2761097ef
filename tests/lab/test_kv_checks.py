"""The checks of the key/value lab say what is wrong, in the course's words."""

import pytest

from quorate.checker import Kind
from quorate.lab.errors import CheckFailedError
from quorate.lab.judgement import Judgement
from quorate.lab.kv_checks import check_appends, element
from quorate.lab.kv_history import History


def of(client: int, *numbers: int) -> str:
    return "".join(element(client, number) for number in numbers)


def test_an_element_is_the_course_s_text() -> None:
    assert element(3, 12) == "x 3 12 y"


@pytest.mark.parametrize(
    "value",
    [
        of(1, 0, 1, 2),
        of(2, 0) + of(1, 0, 1) + of(2, 1) + of(1, 2),  # others may come between
        of(1, 0, 1, 2, 3),  # more than is known
        of(11, 2) + of(1, 0, 1, 2) + of(1, 22),  # none of them lies within another
    ],
)
def test_elements_that_occur_once_each_and_in_order_are_right(value: str) -> None:
    check_appends(1, value, 3)


@pytest.mark.parametrize(
    ("value", "failure"),
    [
        (of(1, 0, 2), "1 missing element x 1 1 y in Append result x 1 0 yx 1 2 y"),
        (of(1, 0, 1, 2, 1), "duplicate element x 1 1 y in Append result"),
        (of(1, 0, 2, 1), "wrong order for element x 1 2 y in Append result"),
        ("", "1 missing element x 1 0 y in Append result "),
    ],
)
def test_what_is_wrong_is_told(value: str, failure: str) -> None:
    with pytest.raises(CheckFailedError) as raised:
        check_appends(1, value, 3)
    assert str(raised.value) == failure


# --------------------------------------------------------------------- histories


def returned(history: History, kind: Kind, argument: str | None, result: str | None) -> None:
    now = 10 * len(history.operations)
    history.returned(kind, "k", argument, result, client=0, called=now, now=now + 5)


def failure_of(history: History) -> str | None:
    return Judgement.on([history.operations]).failure


def test_what_clients_saw_in_order_is_linearizable() -> None:
    history = History()
    returned(history, Kind.APPEND, "a", None)
    returned(history, Kind.GET, None, "a")
    assert failure_of(history) is None
    assert history.finished == 2


def test_a_stale_read_is_not() -> None:
    history = History()
    returned(history, Kind.APPEND, "a", None)
    returned(history, Kind.APPEND, "b", None)
    returned(history, Kind.GET, None, "a")
    assert failure_of(history) == "history is not linearizable"


@pytest.mark.parametrize("seen", ["b", "ba"])
def test_a_write_that_was_given_up_may_have_been_executed_later_or_never(seen: str) -> None:
    history = History()
    history.given_up(Kind.APPEND, "k", "a", client=1, called=0)
    returned(history, Kind.APPEND, "b", None)
    returned(history, Kind.GET, None, seen)
    assert failure_of(history) is None
    assert history.uncertain_keys == {"k"}
    assert history.finished == 2, "what was given up is not counted"


def test_a_write_that_was_given_up_is_executed_once_at_most() -> None:
    history = History()
    history.given_up(Kind.APPEND, "k", "a", client=1, called=0)
    returned(history, Kind.GET, None, "aa")
    assert failure_of(history) == "history is not linearizable"
