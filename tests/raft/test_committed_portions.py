"""A long committed log is handed out in portions.

Its story: a cluster that was restarted with 250,000 appends in its log applied all of them in one
turn. Meanwhile it heard nobody, and held two needless elections before it served.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from quorate.raft.configuration import NodeId
from quorate.raft.entry import ENTRY_HEADER_BYTES, Entry, EntryKind
from quorate.raft.messages import AppendEntries
from quorate.raft.settings import Settings

if TYPE_CHECKING:
    from tests.raft.conftest import Server


ENTRY_BYTES = ENTRY_HEADER_BYTES + 5
"""What one entry of these tests counts for."""


def follower_with_long_log(new_server: type[Server], max_committed_bytes: int) -> Server:
    follower = new_server(settings=Settings(max_committed_bytes=max_committed_bytes))
    entries = tuple(Entry(index, 1, 0, EntryKind.DATA, b"12345") for index in range(1, 8))
    follower.raft.receive(NodeId(2), AppendEntries(1, 1, 0, 0, 7, entries), follower.now)
    return follower


def test_each_portion_is_bounded_and_none_is_missing(new_server: type[Server]) -> None:
    follower = follower_with_long_log(new_server, max_committed_bytes=2 * ENTRY_BYTES)
    portions = []
    while committed := follower.raft.take_events(follower.now).committed:
        portions.append([entry.index for entry in committed])
    assert portions == [[1, 2], [3, 4], [5, 6], [7]]


def test_an_entry_beyond_the_bound_comes_alone(new_server: type[Server]) -> None:
    follower = follower_with_long_log(new_server, max_committed_bytes=1)
    assert [len(follower.raft.take_events(follower.now).committed) for _ in range(8)] == [
        *[1] * 7,
        0,
    ]


def test_the_driver_is_called_back_at_once_while_some_are_left(new_server: type[Server]) -> None:
    follower = follower_with_long_log(new_server, max_committed_bytes=4 * ENTRY_BYTES)
    follower.raft.take_events(follower.now)
    assert follower.raft.deadline() == follower.now
    follower.raft.take_events(follower.now)
    due = follower.raft.deadline()
    assert due is not None
    assert due > follower.now
