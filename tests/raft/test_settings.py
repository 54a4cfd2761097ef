"""Settings that cannot work are refused."""

from __future__ import annotations

import pytest

from quorate.raft.settings import Settings


def test_the_defaults_are_those_of_production() -> None:
    settings = Settings()
    assert (settings.pre_vote, settings.check_quorum, settings.no_op) == (True, True, True)


@pytest.mark.parametrize("heartbeat", [0, -1, 500_000])
def test_heartbeats_must_be_more_frequent_than_elections(heartbeat: int) -> None:
    with pytest.raises(ValueError, match="heartbeat_interval_us"):
        Settings(heartbeat_interval_us=heartbeat, election_timeout_us=500_000)


def test_timeouts_must_be_positive() -> None:
    with pytest.raises(ValueError, match="append_timeout_us"):
        Settings(append_timeout_us=0)
    with pytest.raises(ValueError, match="forward_timeout_us"):
        Settings(forward_timeout_us=-1)


def test_the_window_and_the_batches_must_hold_something() -> None:
    with pytest.raises(ValueError, match="max_appends_in_flight"):
        Settings(max_appends_in_flight=0)
    with pytest.raises(ValueError, match="max_append_bytes"):
        Settings(max_append_bytes=0)
    with pytest.raises(ValueError, match="max_write_bytes"):
        Settings(max_write_bytes=0)
    with pytest.raises(ValueError, match="max_committed_bytes"):
        Settings(max_committed_bytes=0)
    with pytest.raises(ValueError, match="max_held_messages"):
        Settings(max_held_messages=0)
