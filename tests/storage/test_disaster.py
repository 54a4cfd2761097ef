"""A new cluster from one survivor's data: what it is made of, when it is refused, and crashes."""

import contextlib
import itertools
import random
from collections.abc import Callable

import msgspec
import pytest

from quorate.raft.configuration import Configuration, Member, NodeId
from quorate.raft.core import Raft
from quorate.raft.entry import Entry, EntryKind
from quorate.raft.ready import LogWrite
from quorate.raft.settings import Settings
from quorate.raft.snapshot import LogStart, SnapshotMetadata
from quorate.storage.disaster import Survivor, examine_survivor, make_new_cluster
from quorate.storage.disk import Disk
from quorate.storage.errors import IdentityError, RecoveryError
from quorate.storage.identity import load_identity, save_identity
from quorate.storage.memory_disk import MemoryDisk, StoppedError
from quorate.storage.snapshots import SnapshotPart
from quorate.storage.store import Store

SEGMENT_SIZE = 1024
ME = NodeId(2)
OLD = tuple(
    Member(NodeId(node), f"peer:{node}", f"client:{node}", f"data-{node}") for node in (1, 2, 3)
)
NEW = Member(ME, "peer:9", "client:9", "data-9")


def entry(index: int, term: int = 3, size: int = 20) -> Entry:
    return Entry(index, term, 100 * index, EntryKind.DATA, b"x" * size)


def survivor(disk: Disk) -> Store:
    """Node 2 of the old cluster, with six entries; it knows its peers, and has voted for one."""
    Store.initialize(
        disk,
        cluster_id="old",
        node=ME,
        data_id="data-2",
        members=OLD,
        segment_size=SEGMENT_SIZE,
    )
    store = Store.open(disk, segment_size=SEGMENT_SIZE)
    store.remember_peer(NodeId(1), "data-1")
    store.remember_peer(NodeId(3), "data-3")
    configuration = Configuration(OLD, removed=("data-0",))
    store.append(LogWrite(1, 3, None, tuple(entry(index, 1) for index in range(1, 5))))
    store.sync()
    store.append(
        LogWrite(
            2,
            4,
            NodeId(3),
            (
                msgspec.structs.replace(
                    entry(5), kind=EntryKind.CONFIGURATION, data=b"", configuration=configuration
                ),
                entry(6),
            ),
        )
    )
    store.sync()
    return store


def snapshot(store: Store, index: int, term: int) -> None:
    metadata = SnapshotMetadata(index, term, 100 * index, Configuration(OLD))
    store.snapshots.write(SnapshotPart(metadata, (b"state",), is_first=True, is_last=True))


def recover(disk: Disk) -> None:
    make_new_cluster(disk, cluster_id="new", member=NEW)


def started(disk: Disk) -> Store:
    return Store.open(disk, segment_size=SEGMENT_SIZE)


# --------------------------------------------------------------------- what there is to see


def test_a_survivor_is_shown_without_a_write() -> None:
    disk = MemoryDisk()
    survivor(disk).close()
    disk.stop_after(0)  # any write would raise
    assert examine_survivor(disk, ME) == Survivor(
        identity=load_identity(disk),
        last_index=6,
        last_term=3,
        configuration=Configuration(OLD, removed=("data-0",)),
        warnings=(),
    )


def test_of_a_log_that_a_snapshot_has_replaced_the_snapshot_is_the_end(disk: Disk) -> None:
    store = survivor(disk)
    snapshot(store, 9, 4)
    store.close()
    seen = examine_survivor(disk, ME)
    assert (seen.last_index, seen.last_term, seen.configuration) == (9, 4, Configuration(OLD))


# --------------------------------------------------------------------- what is made of it


def test_the_new_node_has_all_that_the_old_one_had_and_is_alone(disk: Disk) -> None:
    store = survivor(disk)
    entries = store.take_durable_state().entries
    store.close()
    before = load_identity(disk)
    recover(disk)
    store = started(disk)
    state, identity = store.take_durable_state(), store.identity
    store.close()
    assert (identity.cluster_id, identity.node, identity.data_id) == ("new", ME, "data-9")
    assert (identity.members, identity.peer_data_ids) == ((NEW,), {})
    assert identity.boot > before.boot, "ids of requests are made of it, and none may come again"
    *kept, founding = state.entries
    assert len(kept) == 6
    assert tuple(kept[: len(entries)]) == entries
    assert (state.term, state.voted_for) == (5, None)
    assert founding == Entry(
        7,
        5,
        600,
        EntryKind.CONFIGURATION,
        configuration=Configuration((NEW,), removed=("data-0", "data-1", "data-2", "data-3")),
    )


def test_the_new_node_elects_itself_and_commits_everything(disk: Disk) -> None:
    survivor(disk).close()
    recover(disk)
    store = started(disk)
    raft = Raft(
        ME,
        durable=store.take_durable_state(),
        settings=Settings(),
        rng=random.Random(1),
        now=0,
    )
    now = raft.deadline()
    assert now is not None
    raft.wake(now)
    for _ in range(5):
        ready = raft.take_ready(now)
        assert not ready.messages, "there is nobody to ask"
        if ready.write is not None:
            store.append(ready.write)
            store.sync()
            raft.persisted(ready.write.number, now)
    assert raft.is_leader
    assert raft.commit_index == 8
    assert raft.configuration.voter_ids == (ME,)
    store.close()


def test_a_snapshot_goes_along(disk: Disk) -> None:
    store = survivor(disk)
    snapshot(store, 5, 3)
    store.append(LogWrite(3, 4, NodeId(3), start=LogStart(5, 3)))
    store.sync()
    store.close()
    recover(disk)
    store = started(disk)
    state = store.take_durable_state()
    assert state.snapshot.index == 5
    assert [each.index for each in state.entries] == [6, 7]
    assert list(store.snapshots.sections()) == [b"state"]
    store.close()


def test_so_does_one_that_the_log_has_still_to_begin_behind(disk: Disk) -> None:
    store = survivor(disk)
    snapshot(store, 9, 4)
    store.close()
    recover(disk)
    store = started(disk)
    state = store.take_durable_state()
    assert (state.snapshot.index, state.start) == (9, LogStart(9, 4))
    assert [(each.index, each.term, each.time_ms) for each in state.entries] == [(10, 5, 900)]
    store.close()


def test_later_starts_add_nothing(disk: Disk) -> None:
    survivor(disk).close()
    recover(disk)
    for _ in range(3):
        store = started(disk)
        assert store.take_durable_state().entries[-1].index == 7
        store.close()


# --------------------------------------------------------------------- when it is refused


def unchanged(disk: MemoryDisk, message: str, act: Callable[[], object]) -> None:
    disk.stop_after(0)  # any write would raise
    with pytest.raises(RecoveryError, match=message):
        act()


def test_a_node_whose_snapshot_is_damaged_is_refused() -> None:
    disk = MemoryDisk()
    store = survivor(disk)
    snapshot(store, 5, 3)
    store.append(LogWrite(3, 4, NodeId(3), start=LogStart(5, 3)))
    store.sync()
    (name,) = (name for name in disk.names() if name.endswith(".snapshot"))
    disk.open(name).write_at(40, b"\xff\xff")
    unchanged(disk, "Take another survivor", lambda: examine_survivor(disk, ME))
    unchanged(disk, "Take another survivor", lambda: recover(disk))


def test_an_empty_log_is_refused() -> None:
    disk = MemoryDisk()
    Store.initialize(disk, cluster_id="old", node=ME, data_id="data-2", members=())
    unchanged(disk, "is empty, so there is nothing to save", lambda: recover(disk))


def test_a_second_recovery_elsewhere_is_refused_and_so_is_a_look_at_it() -> None:
    disk = MemoryDisk()
    survivor(disk)
    recover(disk)
    other = msgspec.structs.replace(NEW, peer_address="127.0.0.1:1", data_id="data-10")
    for act in (
        lambda: make_new_cluster(disk, cluster_id="new", member=other),
        lambda: examine_survivor(disk, ME, cluster_id="new", member=other),
    ):
        unchanged(disk, "a recovery with the addresses", act)
    assert examine_survivor(disk, ME, cluster_id="new", member=NEW).last_index == 7


def test_another_nodes_directory_is_refused() -> None:
    disk = MemoryDisk()
    survivor(disk)
    other = msgspec.structs.replace(NEW, id=NodeId(1))
    unchanged(
        disk,
        "of node 2, not of node 1",
        lambda: make_new_cluster(disk, cluster_id="new", member=other),
    )


def test_an_empty_directory_is_refused(disk: Disk) -> None:
    with pytest.raises(IdentityError, match="not the data directory of a node"):
        recover(disk)


def test_the_old_clusters_id_is_refused() -> None:
    disk = MemoryDisk()
    survivor(disk)
    unchanged(
        disk,
        "give the new one another",
        lambda: make_new_cluster(disk, cluster_id="old", member=NEW),
    )


def test_a_second_disaster_needs_another_id() -> None:
    disk = MemoryDisk()
    survivor(disk)
    recover(disk)
    store = started(disk)
    store.append(LogWrite(1, 6, ME, (entry(8, 6),)))
    store.sync()
    unchanged(disk, "a node has run on it since", lambda: recover(disk))
    disk.stop_after(1_000_000)
    make_new_cluster(disk, cluster_id="newer", member=msgspec.structs.replace(NEW, data_id="x"))
    state = started(disk).take_durable_state()
    configuration = state.entries[-1].configuration
    assert configuration is not None
    assert state.entries[-1].index == 9
    assert configuration.removed == ("data-0", "data-1", "data-2", "data-3", "data-9")


@pytest.mark.parametrize("loses_power", [True, False])
def test_another_id_after_an_interruption_makes_a_cluster_with_one_name(
    *, loses_power: bool
) -> None:
    """The log must not name the data id of the first attempt and the identity that of the second.

    The entry of the first attempt was appended when the second one opened the log, so that its own
    was taken for written; the node never led.
    """
    again = msgspec.structs.replace(NEW, data_id="data-10")
    for operations in itertools.count():
        disk = MemoryDisk()
        survivor(disk).close()
        disk.stop_after(operations)
        is_interrupted = True
        with contextlib.suppress(StoppedError):
            recover(disk)
            is_interrupted = False
        if loses_power:
            disk.crash(random.Random(operations))
        else:
            disk.kill()
        make_new_cluster(disk, cluster_id="newer", member=again)
        disk.crash(random.Random(operations))
        store = started(disk)
        last = store.take_durable_state().entries[-1]
        assert last.configuration is not None
        assert last.configuration.voters == (again,)
        assert (store.identity.cluster_id, store.identity.data_id) == ("newer", "data-10")
        disk.kill()
        if not is_interrupted:
            break


def test_a_repetition_with_other_addresses_is_refused() -> None:
    disk = MemoryDisk()
    survivor(disk)
    recover(disk)
    other = msgspec.structs.replace(NEW, client_address="client:10")
    unchanged(
        disk,
        "give the same ones",
        lambda: make_new_cluster(disk, cluster_id="new", member=other),
    )


def test_a_log_that_is_not_the_one_it_was_made_from_is_refused() -> None:
    """Somebody has put an older copy of the log there, under the new identity."""
    copy, disk = MemoryDisk(), MemoryDisk()
    survivor(disk)
    recover(disk)
    Store.initialize(copy, cluster_id="old", node=ME, data_id="data-2", members=OLD)
    save_identity(copy, load_identity(disk))
    copy.stop_after(0)
    with pytest.raises(IdentityError, match="put that log back"):
        started(copy)


# --------------------------------------------------------------------- crashes


def unsynced(store: Store) -> None:
    """The process died with a write on the way to the disk, larger than what is left there."""
    store.append(LogWrite(3, 4, NodeId(3), (entry(7), entry(8, size=700))))


def ahead(store: Store) -> None:
    snapshot(store, 9, 4)


def at_peace(store: Store) -> None:
    del store


@pytest.mark.parametrize("end", [at_peace, unsynced, ahead])
@pytest.mark.parametrize("starts_in_between", [True, False])
@pytest.mark.parametrize("loses_power", [True, False])
def test_a_crash_leaves_the_old_node_or_the_new_one_and_a_repetition_completes_it(
    end: Callable[[Store], None], *, starts_in_between: bool, loses_power: bool
) -> None:
    seen = set()
    for step in itertools.count():
        operations, seed = divmod(step, 4)
        disk = MemoryDisk()
        store = survivor(disk)
        end(store)
        disk.kill()
        before = examine_survivor(disk, ME).last_index
        disk.stop_after(operations)
        is_interrupted = True
        with contextlib.suppress(StoppedError):
            recover(disk)
            is_interrupted = False
        if loses_power:
            disk.crash(random.Random(operations * 100 + seed))
        else:
            disk.kill()
        if starts_in_between:
            store = started(disk)
            state = store.take_durable_state()
            last = state.entries[-1] if state.entries else None
            seen.add(store.identity.cluster_id)
            if store.identity.cluster_id == "old":
                assert store.identity.data_id == "data-2"
                assert state.term == 4
                assert last is None or last.index <= before
                assert is_interrupted
            else:
                assert last is not None
                assert (last.index, last.term) == (before + 1, 5)
                assert last.configuration is not None
                assert last.configuration.voters == (NEW,)
            disk.kill()
        recover(disk)
        disk.crash(random.Random(seed))
        store = started(disk)
        last = store.take_durable_state().entries[-1]
        assert store.identity.cluster_id == "new"
        assert last.configuration is not None
        assert last.configuration.voters == (NEW,)
        assert 7 <= last.index <= before + 1
        disk.kill()
        if not is_interrupted and seed == 3:
            break
    assert not starts_in_between or seen == {"old", "new"}
