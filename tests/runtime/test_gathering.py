"""Whether what clients send waits for what others are just sending."""

from quorate.runtime.gathering import FEW_CLIENTS, GATHERING_US, Gathering

MANY = FEW_CLIENTS + 1


def gathering_after(answered: int) -> Gathering:
    """So many clients were answered in the last turn that answered any."""
    gathering = Gathering()
    gathering.answered(answered)
    return gathering


def test_with_few_clients_nothing_waits() -> None:
    for answered in range(FEW_CLIENTS + 1):
        gathering = gathering_after(answered)
        gathering.came()
        assert not gathering.goes_on(0)
        assert not gathering.is_to_go_on


def test_what_comes_waits_as_long_as_more_comes() -> None:
    gathering = gathering_after(MANY)
    for now in range(5):
        gathering.came()
        assert gathering.goes_on(now)
        assert gathering.is_to_go_on
    assert not gathering.goes_on(5), "nobody has sent anything since"
    assert not gathering.is_to_go_on


def test_clients_that_were_answered_are_waited_for_once() -> None:
    gathering = gathering_after(MANY)
    assert gathering.is_to_go_on, "there is a turn to see whether they send"
    assert gathering.goes_on(0)
    assert not gathering.goes_on(1)


def test_nothing_waits_for_longer_than_the_limit() -> None:
    gathering = gathering_after(MANY)
    for now in (0, GATHERING_US - 1):
        gathering.came()
        assert gathering.goes_on(now)
    gathering.came()
    assert not gathering.goes_on(GATHERING_US)
    gathering.came()
    assert gathering.goes_on(GATHERING_US), "and then it begins anew"


def test_a_turn_that_answers_nobody_tells_nothing() -> None:
    gathering = gathering_after(MANY)
    assert gathering.goes_on(0)
    gathering.answered(0)
    gathering.came()
    assert gathering.goes_on(1)
