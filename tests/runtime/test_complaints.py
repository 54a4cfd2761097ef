"""What the log is told of connections of servers that are no good."""

from __future__ import annotations

import logging

import pytest

from quorate.runtime.complaints import (
    COMPLAINT_PERIOD_S,
    MAX_COMPLAINTS_PER_PERIOD,
    Complaints,
)


@pytest.fixture(autouse=True)
def _warnings_are_kept(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.WARNING, "quorate")


def test_a_caller_is_complained_of_by_name(caplog: pytest.LogCaptureFixture) -> None:
    Complaints().tell(("10.0.0.1", 4711), "refused: no member", 0.0)
    assert caplog.messages == ["peer connection 10.0.0.1:4711 refused: no member"]


def test_the_same_of_one_host_is_told_once_in_a_period(caplog: pytest.LogCaptureFixture) -> None:
    complaints = Complaints()
    for port in range(1, 100):  # each call comes from another port
        complaints.tell(("10.0.0.1", port), "refused", 0.0)
    complaints.tell(("10.0.0.1", 100), "refused", 0.99 * COMPLAINT_PERIOD_S)
    assert len(caplog.messages) == 1
    complaints.tell(("10.0.0.1", 101), "refused", COMPLAINT_PERIOD_S)
    assert len(caplog.messages) == 2


def test_something_else_and_another_host_are_told(caplog: pytest.LogCaptureFixture) -> None:
    complaints = Complaints()
    complaints.tell(("10.0.0.1", 1), "refused", 0.0)
    complaints.tell(("10.0.0.1", 1), "broken off", 0.0)
    complaints.tell(("10.0.0.2", 1), "refused", 0.0)
    assert len(caplog.messages) == 3


def test_no_more_is_told_in_a_period_than_the_limit(caplog: pytest.LogCaptureFixture) -> None:
    complaints = Complaints()
    for host in range(2 * MAX_COMPLAINTS_PER_PERIOD):
        complaints.tell((f"host {host}", 1), "refused", 0.0)
    assert len(caplog.messages) == MAX_COMPLAINTS_PER_PERIOD
    complaints.tell(("one more", 1), "refused", COMPLAINT_PERIOD_S)
    assert len(caplog.messages) == MAX_COMPLAINTS_PER_PERIOD + 1
