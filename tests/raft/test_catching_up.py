"""When a learner has caught up (dissertation §4.2.1)."""

from quorate.raft.catching_up import CatchingUp

LIMIT = 100


def test_a_round_that_is_short_enough_ends_it() -> None:
    rounds = CatchingUp(last_index=10, now=0)
    rounds.advance(9, last_index=12, now=10, limit_us=LIMIT)
    assert not rounds.is_done
    rounds.advance(10, last_index=12, now=99, limit_us=LIMIT)
    assert rounds.is_done


def test_a_round_that_takes_an_election_timeout_is_followed_by_another() -> None:
    rounds = CatchingUp(last_index=1000, now=0)
    rounds.advance(1000, last_index=1500, now=100, limit_us=LIMIT)
    assert not rounds.is_done
    rounds.advance(1499, last_index=1600, now=110, limit_us=LIMIT)
    assert not rounds.is_done
    rounds.advance(1500, last_index=1600, now=150, limit_us=LIMIT)
    assert rounds.is_done


def test_who_falls_behind_again_has_not_caught_up() -> None:
    rounds = CatchingUp(last_index=1, now=0)
    rounds.advance(1, last_index=50, now=10, limit_us=LIMIT)
    assert rounds.is_done
    rounds.advance(50, last_index=60, now=500, limit_us=LIMIT)
    assert not rounds.is_done


def test_who_is_away_has_not_caught_up_nor_when_it_is_back() -> None:
    rounds = CatchingUp(last_index=1, now=0)
    rounds.advance(1, last_index=1, now=10, limit_us=LIMIT)
    assert rounds.has_caught_up(109, LIMIT)
    assert not rounds.has_caught_up(110, LIMIT)
    rounds.advance(0, last_index=50, now=500, limit_us=LIMIT)
    assert not rounds.has_caught_up(500, LIMIT)
    rounds.advance(1, last_index=50, now=510, limit_us=LIMIT)
    assert not rounds.has_caught_up(510, LIMIT), "what it lacks now begins a round"
    rounds.advance(50, last_index=50, now=520, limit_us=LIMIT)
    assert rounds.has_caught_up(520, LIMIT)
