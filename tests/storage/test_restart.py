"""What a restart makes of a log and snapshots, rule by rule, and of damaged ones."""

import random
from collections.abc import Callable

import pytest

from quorate.codec.snapshot import SnapshotEnd, SnapshotHeader, encode_snapshot_record
from quorate.raft.configuration import Configuration, Member, NodeId, configuration_of
from quorate.raft.entry import Entry, EntryKind
from quorate.raft.ready import DurableState, LogWrite
from quorate.raft.snapshot import LogStart, SnapshotMetadata
from quorate.storage.errors import CorruptionError, UnsupportedFormatError
from quorate.storage.frames import encode_frame, frame_offset
from quorate.storage.memory_disk import MemoryDisk, StoppedError
from quorate.storage.segments import segment_name, segment_numbers
from quorate.storage.snapshot_file import FORMAT_VERSION
from quorate.storage.snapshots import SnapshotPart, Snapshots, snapshot_name
from quorate.storage.store import Store

SEGMENT_SIZE = 1024
MEMBERS = (Member(NodeId(1), "h:1"), Member(NodeId(2), "h:2"))
LATER_MEMBERS = configuration_of((1, 2, 3))


def metadata(index: int, term: int = 1) -> SnapshotMetadata:
    return SnapshotMetadata(index, term, index * 10, LATER_MEMBERS)


def entries(first: int, last: int, term: int = 1, length: int = 4) -> tuple[Entry, ...]:
    return tuple(
        Entry(index, term, index * 10, EntryKind.DATA, bytes([term]) * length)
        for index in range(first, last + 1)
    )


def store_with(*writes: LogWrite) -> tuple[MemoryDisk, Store]:
    disk = MemoryDisk()
    Store.initialize(
        disk,
        cluster_id="cluster",
        node=NodeId(1),
        data_id="data-1",
        members=MEMBERS,
        segment_size=SEGMENT_SIZE,
    )
    store = reopen(disk)
    save(store, *writes)
    return disk, store


def save(store: Store, *writes: LogWrite) -> None:
    for write in writes:
        store.append(write)
        store.sync()


def take(store: Store, index: int, term: int = 1) -> None:
    part = SnapshotPart(metadata(index, term), (b"state",), is_first=True, is_last=True)
    assert store.snapshots.write(part) is not None


def reopen(disk: MemoryDisk) -> Store:
    return Store.open(disk, segment_size=SEGMENT_SIZE)


def found(disk: MemoryDisk) -> DurableState:
    """What a restart finds; a second one, after a loss of power, finds it too."""
    state = reopen(disk).take_durable_state()
    disk.crash(random.Random(0))
    assert reopen(disk).take_durable_state() == state
    return state


def damage(disk: MemoryDisk, index: int, term: int = 1, at: int = 60) -> None:
    file = disk.open(snapshot_name(LogStart(index, term)))
    file.write_at(at, bytes([file.read_at(at, 1)[0] ^ 1]))
    file.sync()


# "If existing log entry has same index and term as snapshot's last included entry, retain log
# entries following it and reply" (Raft, Figure 13, step 6).


def test_entries_stay_if_the_log_holds_the_snapshots_last_one() -> None:
    disk, store = store_with(LogWrite(1, 2, NodeId(1), entries(1, 10)))
    take(store, 6)
    state = found(disk)
    assert state.snapshot == metadata(6)
    assert state.start == LogStart(0, 0)
    assert state.entries == entries(1, 10)
    assert (state.term, state.voted_for) == (2, NodeId(1))


def test_entries_stay_if_the_log_begins_right_behind_the_snapshot() -> None:
    disk, store = store_with(LogWrite(1, 1, None, entries(1, 10)))
    take(store, 6)
    save(store, LogWrite(2, 1, None, start=LogStart(6, 1)))
    state = found(disk)
    assert (state.log_start, state.start) == (None, LogStart(6, 1))
    assert state.entries == entries(7, 10)


# "Discard the entire log" (step 7).


def test_entries_go_if_the_log_ends_before_the_snapshot() -> None:
    disk, store = store_with(LogWrite(1, 2, NodeId(1), entries(1, 4)))
    take(store, 6)
    state = found(disk)
    assert state.start == LogStart(6, 1)
    assert state.entries == ()
    assert (state.term, state.voted_for) == (2, NodeId(1))


def test_entries_go_if_the_log_holds_another_entry_at_the_snapshots_end() -> None:
    disk, store = store_with(LogWrite(1, 3, None, entries(1, 10, term=1)))
    take(store, 6, term=3)
    state = found(disk)
    assert state.start == LogStart(6, 3)
    assert state.entries == ()


def test_a_snapshot_of_a_later_term_raises_the_term_and_takes_no_vote_along() -> None:
    """It was durable before the term that it came in; a vote in that term would be durable."""
    disk, store = store_with(LogWrite(1, 2, NodeId(1), entries(1, 4)))
    take(store, 6, term=5)
    state = found(disk)
    assert (state.term, state.voted_for) == (5, None)


def test_the_disk_says_so_before_the_store_is_open() -> None:
    """Whatever comes next: writes, or the loss of that very snapshot."""
    disk, store = store_with(LogWrite(1, 1, None, entries(1, 4)))
    take(store, 6)
    reopen(disk)
    damage(disk, 6)
    state = found(disk)
    assert state.snapshot_is_lost
    assert state.start == LogStart(6, 1)


def test_the_log_goes_on_behind_a_snapshot_that_replaced_it() -> None:
    disk, store = store_with(LogWrite(1, 1, None, entries(1, 4)))
    take(store, 6)
    save(reopen(disk), LogWrite(1, 1, None, entries(7, 9)))
    assert found(disk).entries == entries(7, 9)


# The newest snapshot is damaged.


def test_a_log_that_was_never_shortened_needs_no_snapshot() -> None:
    disk, store = store_with(LogWrite(1, 1, None, entries(1, 10)))
    take(store, 6)
    damage(disk, 6)
    store = reopen(disk)
    assert store.take_durable_state() == DurableState(
        1, None, SnapshotMetadata(0, 0, 0, Configuration(MEMBERS)), entries(1, 10)
    )
    assert store.snapshots.newest is None
    (warning,) = store.warnings
    assert f"{snapshot_name(LogStart(6, 1))} is damaged at byte" in warning
    take(store, 8)
    assert found(disk).snapshot == metadata(8)


def test_an_older_snapshot_will_do_if_the_log_reaches_it_and_holds_the_damaged_ones_end() -> None:
    disk, store = store_with(LogWrite(1, 1, None, entries(1, 10)))
    take(store, 3)
    save(store, LogWrite(2, 1, None, start=LogStart(2, 1)))
    disk.stop_after(4)  # it is not removed when the next one comes
    with pytest.raises(StoppedError):
        take(store, 8)
    disk.kill()
    damage(disk, 8)
    store = reopen(disk)
    assert store.snapshots.newest is not None
    assert store.snapshots.newest.metadata == metadata(3)
    assert "is used" in store.warnings[0]
    state = store.take_durable_state()
    assert state.snapshot == metadata(3)
    assert state.start == LogStart(2, 1)
    assert state.entries == entries(3, 10)
    assert found(disk) == state


def test_an_older_snapshot_will_not_do_if_the_damaged_one_went_further_than_the_log() -> None:
    """This node has vouched for everything up to entry 20, when it got the snapshot of it; it must
    not come back as one that ends with entry 10.
    """
    disk, store = store_with(LogWrite(1, 1, None, entries(1, 10)))
    take(store, 3)
    disk.stop_after(4)
    with pytest.raises(StoppedError):
        take(store, 20)
    disk.kill()
    damage(disk, 20)
    state = found(disk)
    assert state.snapshot_is_lost
    assert state.start == LogStart(20, 1)
    assert state.entries == ()


def test_the_log_will_do_if_older_snapshots_are_damaged_too() -> None:
    disk, store = store_with(LogWrite(1, 1, None, entries(1, 10)))
    take(store, 3)
    disk.stop_after(4)
    with pytest.raises(StoppedError):
        take(store, 8)
    disk.kill()
    damage(disk, 8)
    damage(disk, 3)
    store = reopen(disk)
    (warning,) = store.warnings
    assert snapshot_name(LogStart(3, 1)) in warning
    assert snapshot_name(LogStart(8, 1)) in warning
    assert store.take_durable_state().entries == entries(1, 10)


def lost_store() -> tuple[MemoryDisk, Store]:
    disk, store = store_with(LogWrite(1, 2, NodeId(2), entries(1, 10)))
    take(store, 6)
    save(store, LogWrite(2, 2, NodeId(2), start=LogStart(6, 1)))
    damage(disk, 6)
    return disk, reopen(disk)


def test_without_its_snapshot_a_node_comes_up_with_what_the_log_knows() -> None:
    disk, store = lost_store()
    assert store.snapshots.newest is None
    (warning,) = store.warnings
    assert "waits for a snapshot from the leader" in warning
    state = store.take_durable_state()
    assert state == DurableState(
        term=2,
        voted_for=NodeId(2),
        snapshot=SnapshotMetadata(6, 1, 0, Configuration(MEMBERS)),
        entries=entries(7, 10),
        snapshot_is_lost=True,
    )
    assert found(disk) == state


def test_a_snapshot_that_was_removed_is_as_lost_as_a_damaged_one() -> None:
    disk, store = lost_store()
    disk.remove(snapshot_name(LogStart(6, 1)))
    state = found(disk)
    assert state.snapshot_is_lost
    assert state.entries == entries(7, 10)
    store = reopen(disk)
    assert "there is no snapshot" in store.warnings[0]


def test_trailing_entries_do_not_make_up_for_the_snapshot() -> None:
    disk, store = store_with(LogWrite(1, 1, None, entries(1, 10)))
    take(store, 6)
    save(store, LogWrite(2, 1, None, start=LogStart(4, 1)))
    damage(disk, 6)
    state = found(disk)
    assert state.snapshot_is_lost
    assert state.start == LogStart(4, 1)
    assert state.entries == entries(5, 10)


@pytest.mark.parametrize("index", [6, 8, 30])
def test_a_snapshot_from_the_leader_makes_it_whole_again(index: int) -> None:
    disk, store = lost_store()
    leader = Snapshots(MemoryDisk(), None)
    stored = leader.write(SnapshotPart(metadata(index), (b"new",), is_first=True, is_last=True))
    assert stored is not None
    data = leader.read(index, 0, stored.size)
    assert data is not None
    assert store.snapshots.receive(metadata(index), stored.size, 0, data) == stored.size
    state = found(disk)
    assert not state.snapshot_is_lost
    assert state.snapshot == metadata(index)
    assert state.entries == (entries(7, 10) if index < 10 else ())
    assert len([name for name in disk.names() if name.endswith(".snapshot")]) == 1


def test_a_snapshot_that_contradicts_the_log_is_corruption() -> None:
    disk, store = store_with(LogWrite(1, 3, None, entries(1, 10)))
    take(store, 6)
    save(store, LogWrite(2, 3, None, start=LogStart(6, 1)))
    disk.rename(snapshot_name(LogStart(6, 1)), "old")
    snapshots = Snapshots(disk, None)
    snapshots.write(SnapshotPart(metadata(6, term=3), (b"state",), is_first=True, is_last=True))
    with pytest.raises(CorruptionError, match="ends with an entry of term 3, but the log begins"):
        reopen(disk)


def test_a_snapshot_under_the_name_of_another_is_damaged() -> None:
    disk, store = store_with(LogWrite(1, 1, None, entries(1, 10)))
    take(store, 6)
    disk.rename(snapshot_name(LogStart(6, 1)), snapshot_name(LogStart(7, 1)))
    assert "the snapshot ends with entry 6" in reopen(disk).warnings[0]


def test_a_snapshot_of_another_format_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    disk, store = store_with(LogWrite(1, 1, None, entries(1, 10)))
    take(store, 6)
    monkeypatch.setattr("quorate.storage.snapshot_file.FORMAT_VERSION", FORMAT_VERSION + 1)
    with pytest.raises(UnsupportedFormatError, match=f"has format version {FORMAT_VERSION}"):
        reopen(disk)


def test_with_a_damaged_log_nothing_is_touched() -> None:
    disk, store = store_with(LogWrite(1, 1, None, entries(1, 4)))
    take(store, 6)
    disk.open(segment_name(1)).write_at(10, b"\xff")
    disk.stop_after(0)  # any change would raise
    with pytest.raises(CorruptionError):
        reopen(disk)


# Every way to damage the file.


def snapshot_file() -> tuple[str, bytes]:
    store = store_with(LogWrite(1, 1, None, entries(1, 10)))[1]
    # Sections with a gap to the next sector, of several sectors, empty, and of zeros.
    sections = (b"a" * 400, b"b" * 1200, b"", bytes(700), b"c")
    stored = store.snapshots.write(SnapshotPart(metadata(6), sections, True, True))
    assert stored is not None
    data = store.snapshots.read(6, 0, stored.size)
    assert data is not None
    return snapshot_name(LogStart(6, 1)), data


NAME, DATA = snapshot_file()

HEADER = encode_snapshot_record(SnapshotHeader(FORMAT_VERSION, metadata(6)))
END = encode_snapshot_record(SnapshotEnd(0, 0))

DAMAGES: dict[str, Callable[[int], bytes]] = {
    "all bits": lambda at: DATA[:at] + bytes([DATA[at] ^ 0xFF]) + DATA[at + 1 :],
    "lowest bit": lambda at: DATA[:at] + bytes([DATA[at] ^ 1]) + DATA[at + 1 :],
    "cut off": lambda at: DATA[:at],
    "zero from here on": lambda at: DATA[:at] + bytes(len(DATA) - at),
    "a byte is missing": lambda at: DATA[:at] + DATA[at + 1 :],
    "a byte too many": lambda at: DATA[:at] + b"\0" + DATA[at:],
}


@pytest.mark.parametrize("kind", DAMAGES)
def test_any_damage_anywhere_is_found(kind: str) -> None:
    disk, store = store_with(LogWrite(1, 1, None, entries(1, 10)))
    take(store, 6)
    save(store, LogWrite(2, 1, None, start=LogStart(6, 1)))
    store.close()
    for at in range(0, len(DATA), 3):
        damaged = DAMAGES[kind](at)
        if damaged == DATA:
            continue
        file = disk.open(NAME)
        file.truncate(0)
        file.write_at(0, damaged)
        store = reopen(disk)
        assert store.take_durable_state().snapshot_is_lost
        assert NAME in store.warnings[0]


@pytest.mark.parametrize(
    ("frames", "reason"),
    [
        ([b"no header", END], "not the header of a snapshot"),
        ([HEADER, b"section"], "not the end of a snapshot"),
        ([HEADER], "the header of a frame does not match"),
        ([HEADER, b"section", encode_snapshot_record(SnapshotEnd(2, 0))], "2 sections should be"),
        ([HEADER, b"section", encode_snapshot_record(SnapshotEnd(1, 0))], "do not belong together"),
    ],
)
def test_frames_that_are_no_snapshot_are_damage(frames: list[bytes], reason: str) -> None:
    disk, _ = store_with(LogWrite(1, 1, None, entries(1, 10)))
    file = disk.create(NAME)
    for sequence, contents in enumerate(frames, start=1):
        offset = frame_offset(file.size)
        file.write_at(offset, encode_frame(contents, sequence=sequence, offset=offset))
    assert reason in reopen(disk).warnings[0]


def test_bytes_behind_the_end_are_damage() -> None:
    disk, store = store_with(LogWrite(1, 1, None, entries(1, 10)))
    take(store, 6)
    file = disk.open(NAME)
    file.write_at(file.size, b"\0")
    assert "damaged" in reopen(disk).warnings[0]


def test_damage_after_the_start_is_found_when_the_sections_are_read() -> None:
    disk, store = store_with(LogWrite(1, 1, None, entries(1, 10)))
    take(store, 6)
    store = reopen(disk)
    damage(disk, 6)
    with pytest.raises(CorruptionError, match="does not match its checksum"):
        list(store.snapshots.sections())


# Segments.


def long_log() -> tuple[MemoryDisk, Store]:
    """A log over many segments."""
    disk, store = store_with()
    save(store, *(LogWrite(n, 1, None, entries(n, n, length=200)) for n in range(1, 31)))
    assert len(segment_numbers(disk)) > 6
    return disk, store


def test_only_dead_segments_are_removed() -> None:
    disk, store = long_log()
    take(store, 30)
    for start in (3, 4, 11, 20, 29, 30):
        before = segment_numbers(disk)
        save(store, LogWrite(1, 1, None, start=LogStart(start, 1)))
        if store.needs_cleaning:
            store.remove_dead_segments()
        assert segment_numbers(disk) == before[-len(segment_numbers(disk)) :]
        assert found(disk).entries == entries(start + 1, 30, length=200)
        store = reopen(disk)
    assert len(segment_numbers(disk)) <= 2


def test_segments_whose_entries_were_all_overwritten_are_dead_too() -> None:
    disk, store = long_log()
    save(store, LogWrite(1, 2, None, entries(1, 1, term=2)))
    assert store.needs_cleaning
    store.remove_dead_segments()
    assert len(segment_numbers(disk)) <= 2
    assert found(disk).entries == entries(1, 1, term=2)


def test_a_start_that_is_not_synced_kills_no_segment() -> None:
    _, store = long_log()
    take(store, 30)
    store.append(LogWrite(1, 1, None, start=LogStart(30, 1)))
    assert not store.needs_cleaning
    store.sync()
    assert store.needs_cleaning


def test_a_restart_removes_the_dead_segments_that_are_left() -> None:
    disk, store = long_log()
    take(store, 30)
    save(store, LogWrite(1, 1, None, start=LogStart(28, 1)))
    assert len(segment_numbers(disk)) > 6
    assert not reopen(disk).needs_cleaning
    assert len(segment_numbers(disk)) <= 2


def test_a_crash_may_bring_any_of_the_removed_names_back() -> None:
    outcomes = set()
    for seed in range(40):
        disk, store = long_log()
        take(store, 30)
        save(store, LogWrite(1, 1, None, start=LogStart(28, 1)))
        store.remove_dead_segments()
        disk.crash(random.Random(seed))
        outcomes.add(tuple(segment_numbers(disk)))
        assert found(disk).entries == entries(29, 30, length=200)
    assert len(outcomes) > 10


def test_a_missing_segment_that_is_alive_is_corruption() -> None:
    disk, store = long_log()
    take(store, 30)
    save(store, LogWrite(1, 1, None, start=LogStart(12, 1)))
    store.remove_dead_segments()
    store.close()
    first = segment_numbers(disk)[0]
    assert first > 1
    disk.remove(segment_name(first))
    with pytest.raises(CorruptionError, match=r"missing; entries 13 to \d+ are lost") as info:
        reopen(disk)
    assert info.value.file == segment_name(first)


def test_frames_are_numbered_on_behind_removed_segments() -> None:
    """So that a segment of an older log is never taken for one of this."""
    disk, store = long_log()
    older = disk.open(segment_name(3)).read_all()
    take(store, 30)
    save(store, LogWrite(1, 1, None, start=LogStart(30, 1)))
    store.remove_dead_segments()
    last = segment_numbers(disk)[-1]
    save(store, LogWrite(1, 1, None, entries(31, 35, length=100)))
    disk.create(segment_name(last + len(segment_numbers(disk)))).write_at(0, older)
    with pytest.raises(CorruptionError, match=r"frame \d+ should be here"):
        reopen(disk)
