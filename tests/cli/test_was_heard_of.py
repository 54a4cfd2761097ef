"""Whether a leader has heard of a member lately, by two of its answers."""

from __future__ import annotations

import msgspec
import pytest
from tests.cli.answering import member, status

from quorate.cli.member.command import was_heard_of
from quorate.node.status import NodeStatus


def of_leader(silent_ms: int | None, *, term: int = 1) -> NodeStatus:
    of_two = msgspec.structs.replace(member(2, "127.0.0.1:2"), silent_ms=silent_ms)
    return status(1, "127.0.0.1:1", of_two, role="leader", term=term)


@pytest.mark.parametrize(
    ("before", "now", "expected"),
    [
        (of_leader(600), of_leader(20), True),
        (of_leader(0), of_leader(0), True),  # time has passed, so it would have grown
        (of_leader(600), of_leader(700), False),
        (of_leader(600), of_leader(20, term=2), False),  # counted from the election on
        (None, of_leader(20), False),
        (of_leader(None), of_leader(20), False),
    ],
)
def test_was_heard_of(*, before: NodeStatus | None, now: NodeStatus, expected: bool) -> None:
    assert was_heard_of(2, before, now) is expected
