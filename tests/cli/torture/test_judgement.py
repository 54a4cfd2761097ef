"""The judgement: right histories pass, and each one with something wrong in it fails."""

import pytest
from tests.cli.torture.histories import KEY, Story

from quorate.cli.torture.judgement import Account, Judgement
from quorate.cli.torture.ledger import Fate


def assert_only(judgement: Judgement, **wrong: tuple[bytes, ...]) -> None:
    """This is wrong with the elements, so nobody can explain the history either."""
    assert judgement.account == Account(**wrong)
    assert len(judgement.illegal) == 1
    assert judgement.worst is not None
    assert not judgement.is_clean


def two_appends() -> Story:
    return Story().append(b"a.1;", 0, 10, length=4).append(b"a.2;", 20, 30, length=8)


def test_what_was_acknowledged_is_there_once_in_order() -> None:
    judgement = two_appends().read(b"a.1;", 12, 25).judged(b"a.1;a.2;", b"a.1;a.2;", b"a.1;a.2;")
    assert judgement.is_clean
    assert (judgement.keys, judgement.operations) == (1, 3)


@pytest.mark.parametrize("value", [b"a.1;", b"a.1;a.2;"])
def test_what_is_unknown_may_be_there_or_not(value: bytes) -> None:
    story = Story().append(b"a.1;", 0, 10).append(b"a.2;", 20, 30, Fate.UNKNOWN)
    assert story.judged(value).is_clean


@pytest.mark.parametrize("value", [b"a.1;", b"a.1;a.1;", b"a.1;a.1;a.1;"])
def test_a_plain_command_that_was_sent_thrice_may_be_there_thrice(value: bytes) -> None:
    assert Story().append(b"a.1;", 0, 10, sendings=3).judged(value).is_clean


def test_lost() -> None:
    assert_only(two_appends().judged(b"a.1;"), lost=(b"a.2;",))
    assert_only(two_appends().judged(None), lost=(b"a.1;", b"a.2;"))


def test_doubled() -> None:
    story = Story().append(b"a.1;", 0, 10)
    assert_only(story.judged(b"a.1;a.1;"), doubled=(b"a.1;",))
    story = Story().append(b"a.1;", 0, 10, Fate.UNKNOWN)
    assert_only(story.judged(b"a.1;a.1;"), doubled=(b"a.1;",))


def test_doubled_beyond_what_a_plain_client_has_sent() -> None:
    story = Story().append(b"a.1;", 0, 10, sendings=2)
    assert_only(story.judged(b"a.1;a.1;a.1;"), doubled=(b"a.1;",))


@pytest.mark.parametrize("fate", [Fate.NOT_EXECUTED, Fate.DISPROVED])
def test_not_executed_but_there(fate: Fate) -> None:
    story = Story().append(b"a.1;", 0, 10).append(b"a.2;", 20, 30, fate)
    assert story.judged(b"a.1;").is_clean
    assert_only(story.judged(b"a.1;a.2;"), not_executed=(b"a.2;",))


def test_of_several_sendings_the_last_alone_was_not_executed() -> None:
    story = Story().append(b"a.1;", 0, 10, Fate.NOT_EXECUTED, sendings=2)
    assert story.judged(b"").is_clean
    assert story.judged(b"a.1;").is_clean
    assert not story.judged(b"a.1;a.1;").is_clean


def test_never_asked_for() -> None:
    assert_only(two_appends().judged(b"a.1;b.9;a.2;"), unasked=(b"b.9;",))


def test_a_stale_read() -> None:
    judgement = two_appends().read(b"a.1;", 40, 50).judged(b"a.1;a.2;")
    assert judgement.account.is_clean
    assert len(judgement.illegal) == 1
    assert not judgement.is_clean
    assert "a.1;" in judgement.illegal[0]


def test_an_acknowledged_length_that_is_wrong() -> None:
    story = Story().append(b"a.1;", 0, 10, length=4).append(b"a.2;", 20, 30, length=12)
    assert not story.judged(b"a.1;a.2;").is_clean


def test_acknowledged_in_another_order() -> None:
    judgement = two_appends().judged(b"a.2;a.1;")
    assert judgement.account.is_clean
    assert not judgement.is_clean


def test_copies_that_differ() -> None:
    story = Story().append(b"a.1;", 0, 10).append(b"a.2;", 20, 30, Fate.UNKNOWN)
    judgement = story.judged(b"a.1;", b"a.1;a.2;")
    assert judgement.differing == (KEY,)
    assert not judgement.is_clean
