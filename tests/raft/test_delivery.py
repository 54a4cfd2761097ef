"""What the layer above is given: entries in portions, and snapshots before what follows them."""

from __future__ import annotations

import pytest

from quorate.raft.configuration import configuration_of
from quorate.raft.delivery import Delivery
from quorate.raft.entry import ENTRY_HEADER_BYTES, Entry, EntryKind
from quorate.raft.log import RaftLog
from quorate.raft.snapshot import LogStart, SnapshotMetadata


def metadata(index: int) -> SnapshotMetadata:
    return SnapshotMetadata(index, 1, 0, configuration_of([1, 2, 3]))


def log_after(index: int) -> RaftLog:
    entries = [Entry(place, 1, 0, EntryKind.DATA, b"") for place in range(index + 1, index + 6)]
    return RaftLog(LogStart(index, 1), metadata(index), entries)


def indices(delivery: Delivery, commit_index: int) -> list[int]:
    return [entry.index for entry in delivery.take_entries(commit_index)]


def test_entries_go_out_in_portions_and_in_order() -> None:
    delivery = Delivery(log_after(10), max_bytes=2 * ENTRY_HEADER_BYTES)
    assert not delivery.is_due(10)
    assert delivery.is_due(13)
    assert [indices(delivery, 13) for _ in range(3)] == [[11, 12], [13], []]
    assert delivery.index == 13


def test_nothing_follows_a_snapshot_until_it_is_restored() -> None:
    delivery = Delivery(log_after(10), max_bytes=1000)
    delivery.install(metadata(12))
    assert delivery.take_snapshot() == metadata(12)
    assert delivery.take_snapshot() is None
    assert not delivery.is_due(13)
    assert indices(delivery, 13) == []
    delivery.restored(11)
    assert not delivery.is_due(13)
    delivery.restored(12)
    assert indices(delivery, 13) == [13]


def test_of_two_snapshots_the_newer_one_counts() -> None:
    delivery = Delivery(log_after(10), max_bytes=1000)
    delivery.install(metadata(11))
    delivery.install(metadata(13))
    assert delivery.take_snapshot() == metadata(13)
    delivery.restored(11)
    assert indices(delivery, 15) == []
    delivery.restored(13)
    assert indices(delivery, 15) == [14, 15]


def test_a_snapshot_that_leads_backwards_is_our_bug() -> None:
    delivery = Delivery(log_after(10), max_bytes=1000)
    delivery.take_entries(13)
    with pytest.raises(AssertionError):
        delivery.install(metadata(12))
