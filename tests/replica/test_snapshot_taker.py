"""When a snapshot is due, and that it is taken in parts with pauses between them."""

import msgspec
import pytest

from quorate.raft.configuration import NodeId, configuration_of
from quorate.raft.entry import ENTRY_HEADER_BYTES, Entry, EntryKind
from quorate.raft.snapshot import SnapshotMetadata
from quorate.replica.snapshot_taker import NEVER, SnapshotSettings, SnapshotTaker
from quorate.storage.snapshots import SnapshotPart

METADATA = SnapshotMetadata(7, 2, 500, configuration_of([1]))
SETTINGS = SnapshotSettings(max_raft_state=1000, part_bytes=10, pause_us=50, retry_us=900)


def apply_bytes(taker: SnapshotTaker, size: int) -> None:
    taker.applied(Entry(1, 1, 0, EntryKind.DATA, bytes(size - ENTRY_HEADER_BYTES)))


def take_all(taker: SnapshotTaker, now: int = 0) -> list[SnapshotPart]:
    parts = []
    while (part := taker.take_part(now)) is not None:
        parts.append(part)
        taker.written(now)
        now += SETTINGS.pause_us
    return parts


def test_one_is_due_when_the_raft_state_has_outgrown_its_bound() -> None:
    taker = SnapshotTaker(SETTINGS)
    apply_bytes(taker, 900)
    assert not taker.is_due(1000, 0)
    assert taker.is_due(1001, 0)


def test_none_is_due_if_it_would_free_next_to_nothing() -> None:
    """A leader without a majority has a log that grows, and nothing of it is applied."""
    taker = SnapshotTaker(SETTINGS)
    apply_bytes(taker, 100)
    assert not taker.is_due(1001, 0)
    apply_bytes(taker, 200)
    assert taker.is_due(1001, 0)


def test_the_members_count_as_much_as_they_take() -> None:
    """Else a log of few but long configurations would stay beyond its bound, if no write followed.

    Found by the simulation (`--churn`, seed 7, 5 seconds): with seven members and a bound of one
    byte, the last change of them stayed in the log for good.
    """
    taker = SnapshotTaker(msgspec.structs.replace(SETTINGS, max_raft_state=1))
    configuration = configuration_of(range(1, 101))
    taker.applied(Entry(1, 1, 0, EntryKind.CONFIGURATION, configuration=configuration))
    assert taker.is_due(len(msgspec.msgpack.encode(configuration)), 0)


def test_while_a_follower_is_brought_up_the_bound_is_higher() -> None:
    """A snapshot that is due by it would leave the follower behind again, and so on."""
    taker = SnapshotTaker(msgspec.structs.replace(SETTINGS, sending_factor=3))
    apply_bytes(taker, 3000)
    assert not taker.is_due(3000, 0, brings_up_a_follower=True)
    assert taker.is_due(3000, 0)
    assert taker.is_due(3001, 0, brings_up_a_follower=True)
    taker.want()
    assert taker.is_due(0, 0, brings_up_a_follower=True), "whoever asks for one gets it"


def test_without_a_bound_one_is_due_only_if_somebody_asks_for_it() -> None:
    taker = SnapshotTaker(SnapshotSettings(max_raft_state=NEVER))
    apply_bytes(taker, 1_000_000)
    assert not taker.is_due(1_000_000, 0)
    taker.want()
    assert taker.is_due(1_000_000, 0)
    taker.begin(METADATA, iter([b"state"]))
    assert not taker.is_due(1_000_000, 0)


def test_the_bytes_applied_before_a_snapshot_make_no_other_one_due() -> None:
    taker = SnapshotTaker(SETTINGS)
    apply_bytes(taker, 2000)
    taker.begin(METADATA, iter([b"state"]))
    take_all(taker)
    assert not taker.is_due(1001, 0), "the log is not yet shortened on the disk"


def test_a_small_state_is_one_part_at_once() -> None:
    taker = SnapshotTaker(SETTINGS)
    taker.begin(METADATA, iter([b"state"]))
    assert taker.take_part(0) == SnapshotPart(METADATA, (b"state",), is_first=True, is_last=True)
    assert taker.take_part(1000) is None


def test_a_large_state_comes_in_parts_each_after_the_one_before_it_was_written() -> None:
    taker = SnapshotTaker(SETTINGS)
    sections = [bytes([number]) * 4 for number in range(7)]
    taker.begin(METADATA, iter(sections))
    first = taker.take_part(0)
    assert first == SnapshotPart(METADATA, tuple(sections[:3]), is_first=True, is_last=False)
    assert taker.take_part(1000) is None, "it is not written yet"
    assert taker.deadline() is None
    taker.written(1000)
    assert taker.take_part(1049) is None, "a pause comes first"
    assert taker.deadline() == 1050
    rest = take_all(taker, 1050)
    assert rest == [
        SnapshotPart(METADATA, tuple(sections[3:6]), is_first=False, is_last=False),
        SnapshotPart(METADATA, tuple(sections[6:]), is_first=False, is_last=True),
    ]
    assert taker.deadline() is None


def test_its_progress_can_be_seen_until_all_of_it_is_durable() -> None:
    taker = SnapshotTaker(SETTINGS)
    progress = [(taker.snapshot_under_way, taker.bytes_taken)]
    taker.begin(METADATA, iter([bytes(12), bytes(5)]))
    progress.append((taker.snapshot_under_way, taker.bytes_taken))
    for now in (0, 50):
        taker.take_part(now)
        progress.append((taker.snapshot_under_way, taker.bytes_taken))
        taker.written(now)
    progress.append((taker.snapshot_under_way, taker.bytes_taken))
    assert progress == [(None, 0), (METADATA, 0), (METADATA, 12), (METADATA, 17), (None, 0)]


def test_one_that_is_wanted_while_one_is_taken_follows_it() -> None:
    taker = SnapshotTaker(SETTINGS)
    taker.begin(METADATA, iter([b"state"]))
    taker.want()
    assert not taker.is_due(0, 0)
    take_all(taker)
    assert taker.is_due(0, 0)
    taker.satisfied()
    assert not taker.is_due(0, 0)


def test_one_that_failed_is_tried_again_later_and_from_its_beginning() -> None:
    taker = SnapshotTaker(SETTINGS)
    taker.begin(METADATA, iter([bytes(12), bytes(5)]))
    taker.take_part(0)
    taker.failed(100)
    assert taker.take_part(999) is None
    assert not taker.is_due(0, 999)
    assert taker.deadline() == 1000
    assert taker.is_due(0, 1000)
    taker.begin(METADATA, iter([bytes(12), bytes(5)]))
    part = taker.take_part(1000)
    assert part is not None
    assert part.is_first


def test_it_can_be_seen_that_one_failed_until_one_succeeds() -> None:
    taker = SnapshotTaker(SETTINGS)
    for fails in (True, True, False):
        taker.begin(METADATA, iter([bytes(5)]))
        taker.take_part(10_000)
        taker.failed(0) if fails else taker.written(0)
        assert taker.has_failed is fails


def test_one_that_failed_is_tried_again_at_once_if_somebody_asks_for_it() -> None:
    taker = SnapshotTaker(SETTINGS)
    taker.begin(METADATA, iter([bytes(12)]))
    taker.take_part(0)
    taker.failed(100)
    taker.want()
    assert not taker.is_due(0, 100), "a follower that needs one asks again and again"
    taker.want_at_once()
    assert not taker.has_failed
    assert taker.is_due(0, 100)


def test_who_asks_again_does_not_shorten_the_pauses() -> None:
    taker = SnapshotTaker(SETTINGS)
    taker.begin(METADATA, iter([bytes(12), bytes(5)]))
    taker.take_part(0)
    taker.written(0)
    taker.want_at_once()
    assert taker.take_part(49) is None
    assert taker.deadline() == 50


def test_one_that_is_abandoned_gives_out_no_more_and_the_next_begins_when_its_part_is_written() -> (
    None
):
    taker = SnapshotTaker(SETTINGS)
    taker.begin(METADATA, iter([bytes(12), bytes(5)]))
    taker.take_part(0)
    taker.abandon()
    assert taker.snapshot_under_way is None
    taker.want()
    assert not taker.is_due(0, 0), "the disk still has its part"
    taker.written(0)
    assert taker.take_part(1000) is None
    assert taker.is_due(0, 0)


@pytest.mark.parametrize(
    "settings",
    [
        {"max_raft_state": -2},
        {"part_bytes": 0},
        {"pause_us": -1},
        {"retry_us": -1},
        {"sending_factor": 0},
    ],
)
def test_settings_without_sense_are_refused(settings: dict[str, int]) -> None:
    with pytest.raises(ValueError, match="got"):
        SnapshotSettings(**settings)


def test_a_quarter_of_the_bound_may_stay_for_slow_followers() -> None:
    assert SnapshotSettings(max_raft_state=1000).trailing_bytes == 250
    assert SnapshotSettings(max_raft_state=NEVER).trailing_bytes == 0


def test_nodes_with_the_same_settings_do_not_take_their_snapshots_at_the_same_time() -> None:
    settings = SnapshotSettings(max_raft_state=1000)
    bounds = [settings.of_node(NodeId(node)).max_raft_state for node in range(1, 7)]
    assert bounds == [1000, 950, 900, 850, 800, 1000]
    assert SnapshotSettings(max_raft_state=1).of_node(NodeId(3)).max_raft_state == 1
    never = SnapshotSettings(max_raft_state=NEVER)
    assert never.of_node(NodeId(3)) == never
