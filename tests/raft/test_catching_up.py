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
