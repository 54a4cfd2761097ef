"""Crashes of every kind at every moment, against a twin that is a list.

Whatever happens: a write that was synced is there, one that was not is there entirely or not at
all, and what a restart has reported once is still there at the next one.
"""

import contextlib
import random

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule

from quorate.raft.configuration import Member, NodeId
from quorate.raft.entry import Entry, EntryKind
from quorate.raft.ready import LogWrite
from quorate.raft.snapshot import LogStart
from quorate.storage.errors import DiskFailedError, DiskFullError, IdentityError
from quorate.storage.memory_disk import MemoryDisk, StoppedError
from quorate.storage.recovery import recover_log
from quorate.storage.replay import LogContents
from quorate.storage.store import Store
from quorate.storage.wal import WriteAheadLog

SEGMENT_SIZE = 1024
MEMBERS = (Member(NodeId(1)), Member(NodeId(2)), Member(NodeId(3)))

State = tuple[int, NodeId | None, tuple[Entry, ...]]
EMPTY: State = (0, None, ())


def initialize_store(disk: MemoryDisk) -> None:
    Store.initialize(
        disk,
        cluster_id="cluster",
        node=NodeId(1),
        data_id="data",
        members=MEMBERS,
        segment_size=SEGMENT_SIZE,
    )


def initialized_disk() -> MemoryDisk:
    disk = MemoryDisk()
    initialize_store(disk)
    return disk


def open_store(disk: MemoryDisk) -> Store:
    return Store.open(disk, segment_size=SEGMENT_SIZE)


def state_of(store: Store) -> State:
    state = store.take_durable_state()
    return state.term, state.voted_for, state.entries


def after(state: State, write: LogWrite) -> State:
    """The twin: what a write does to the state."""
    _, _, entries = state
    if write.entries:
        entries = tuple(old for old in entries if old.index < write.entries[0].index)
    return write.term, write.voted_for, entries + write.entries


def next_write(
    state: State, *, term_step: int, vote: int | None, overwrite: int, lengths: list[int]
) -> LogWrite:
    """A write that Raft could ask for in this state; entries are large, small, or zeros."""
    term, _, entries = state
    term += term_step
    kept = len(entries) - min(overwrite, len(entries)) if lengths else 0
    new = tuple(
        Entry(
            kept + position,
            term,
            0,
            EntryKind.DATA,
            bytes(length) if length % 3 == 0 else bytes([term % 255 + 1]) * length,
        )
        for position, length in enumerate(lengths, start=1)
    )
    return LogWrite(0, term, None if vote is None else NodeId(vote), new)


def random_write(state: State, rng: random.Random) -> LogWrite:
    return next_write(
        state,
        term_step=rng.choice((0, 0, 1)),
        vote=rng.choice((None, 1, 2)),
        overwrite=rng.choice((0, 0, 0, 1, 3)),
        lengths=[rng.choice((0, 3, 40, 300, 900, 2500)) for _ in range(rng.randint(0, 3))],
    )


def live(disk: MemoryDisk, rng: random.Random, possible: list[State], writes: int) -> None:
    """One life of a node: it must find one of the possible states, and leaves others.

    `possible` holds the synced state, and behind it the one with the write in flight.
    """
    store = open_store(disk)
    found = state_of(store)
    assert found in possible
    possible[:] = [found]
    for _ in range(writes):
        write = random_write(possible[0], rng)
        possible.append(after(possible[0], write))
        store.append(write)
        store.sync()
        del possible[0]
        if rng.random() < 0.3:
            store.prepare_next_segment()
    store.close()


def operations_of(seed: int) -> int:
    """How many operations that change the disk a life of ten writes takes."""
    low, high = 0, 1000
    while low < high:
        middle = (low + high) // 2
        disk = initialized_disk()
        disk.stop_after(middle)
        try:
            live(disk, random.Random(seed), [EMPTY], writes=10)
        except StoppedError:
            low = middle + 1
        else:
            high = middle
    return low


@pytest.mark.parametrize("seed", range(8))
def test_power_may_go_at_any_operation(seed: int) -> None:
    for operations in range(operations_of(seed) + 1):
        disk = initialized_disk()
        rng = random.Random(seed)
        possible = [EMPTY]
        disk.stop_after(operations)
        with contextlib.suppress(StoppedError):
            live(disk, rng, possible, writes=10)
        disk.crash(random.Random(seed * 1000 + operations))
        live(disk, rng, possible, writes=3)
        live(disk, rng, possible, writes=0)


@pytest.mark.parametrize("seed", range(60))
def test_power_or_process_may_go_again_and_again(seed: int) -> None:
    """Also while a log is being mended."""
    rng = random.Random(seed)
    disk = initialized_disk()
    possible = [EMPTY]
    for _ in range(25):
        disk.stop_after(rng.randint(0, 40))
        with contextlib.suppress(StoppedError):
            live(disk, rng, possible, writes=12)
        if rng.random() < 0.6:
            disk.crash(rng)
        else:
            disk.kill()
    live(disk, rng, possible, writes=0)


@pytest.mark.parametrize("seed", range(8))
def test_power_may_go_at_any_operation_of_initialisation(seed: int) -> None:
    """Afterwards the directory is initialised, or can be."""
    for operations in range(30):
        disk = MemoryDisk()
        disk.stop_after(operations)
        with contextlib.suppress(StoppedError):
            initialize_store(disk)
        disk.crash(random.Random(seed * 1000 + operations))
        try:
            store = open_store(disk)
        except IdentityError:
            initialize_store(disk)
            store = open_store(disk)
        assert state_of(store) == EMPTY
        assert store.identity.boot == 1


def open_log(disk: MemoryDisk) -> tuple[WriteAheadLog, LogContents]:
    found = recover_log(disk)
    return WriteAheadLog.open(disk, found, segment_size=SEGMENT_SIZE), found.contents


def create_log(disk: MemoryDisk) -> None:
    WriteAheadLog.create(disk, segment_size=SEGMENT_SIZE)


@pytest.mark.parametrize("seed", range(5))
def test_what_a_log_says_when_it_is_opened_is_durable(seed: int) -> None:
    """The log alone, without what else a store syncs: a kill, a restart, and a power loss."""
    for operations in range(60):
        disk = MemoryDisk()
        create_log(disk)
        log, _ = open_log(disk)
        disk.stop_after(operations)
        rng = random.Random(seed)
        state = EMPTY
        with contextlib.suppress(StoppedError):
            for _ in range(10):
                write = random_write(state, rng)
                log.append(write)
                log.sync()
                state = after(state, write)
        disk.kill()
        found = open_log(disk)[1]
        disk.crash(rng)
        assert open_log(disk)[1] == found


@pytest.mark.parametrize("seed", range(5))
def test_a_creation_that_took_over_another_is_durable(seed: int) -> None:
    for operations in range(10):
        disk = MemoryDisk()
        disk.stop_after(operations)
        with contextlib.suppress(StoppedError):
            create_log(disk)
        disk.kill()
        create_log(disk)
        disk.crash(random.Random(seed))
        assert open_log(disk)[1] == LogContents(0, None, LogStart(0, 0))


class Life(RuleBasedStateMachine):
    """Any sequence of writes and faults; the twin is a list of the states that may be found."""

    def __init__(self) -> None:
        super().__init__()
        self.disk = initialized_disk()
        self.store: Store | None = None
        self.possible = [EMPTY]

    @initialize()
    def start(self) -> None:
        self.restart()

    @precondition(lambda self: self.store is None)
    @rule()
    def restart(self) -> None:
        self.disk.limit_capacity(None)
        try:
            self.store = open_store(self.disk)
        except DiskFailedError:
            return  # a sync that was to fail came only now; the next start may succeed
        found = state_of(self.store)
        assert found in self.possible
        self.possible = [found]

    @precondition(lambda self: self.store is not None)
    @rule(
        term_step=st.integers(0, 2),
        vote=st.none() | st.integers(1, 3),
        overwrite=st.integers(0, 4),
        lengths=st.lists(st.integers(0, 2000), max_size=3),
        fault=st.sampled_from(["none"] * 6 + ["full", "failed sync", "no sync"]),
    )
    def write(
        self,
        term_step: int,
        vote: int | None,
        overwrite: int,
        lengths: list[int],
        fault: str,
    ) -> None:
        assert self.store is not None
        write = next_write(
            self.possible[0],
            term_step=term_step,
            vote=vote,
            overwrite=overwrite,
            lengths=lengths,
        )
        self.possible.append(after(self.possible[0], write))
        if fault == "full":
            self.disk.limit_capacity(0)
        if fault == "failed sync":
            self.disk.fail_next_sync()
        try:
            self.store.append(write)
            if fault == "no sync":
                self.store = None
                return
            self.store.sync()
        except (DiskFullError, DiskFailedError):
            self.store = None
        else:
            del self.possible[0]

    @precondition(lambda self: self.store is not None)
    @rule()
    def prepare(self) -> None:
        assert self.store is not None
        self.store.prepare_next_segment()

    @rule(seed=st.integers(0, 2**32))
    def lose_power(self, seed: int) -> None:
        self.disk.crash(random.Random(seed))
        self.store = None

    @rule()
    def kill_the_process(self) -> None:
        self.disk.kill()
        self.store = None


Life.TestCase.settings = settings(max_examples=120, stateful_step_count=30, deadline=None)
TestLife = Life.TestCase


def test_what_a_failed_sync_left_readable_is_durable_once_a_restart_reported_it() -> None:
    """The page cache still shows the frame, clean; without a rewrite a power loss takes it."""
    for seed in range(40):
        disk = initialized_disk()
        store = open_store(disk)
        store.append(LogWrite(1, 5, NodeId(2)))
        disk.fail_next_sync()
        with pytest.raises(DiskFailedError):
            store.sync()
        assert state_of(open_store(disk)) == (5, NodeId(2), ())
        disk.crash(random.Random(seed))
        assert state_of(open_store(disk)) == (5, NodeId(2), ())


def test_bytes_of_a_torn_frame_never_come_back() -> None:
    """The frame of the first life is torn; the second life writes other, smaller frames."""
    torn = 0
    for seed in range(200):
        rng = random.Random(seed)
        disk = initialized_disk()
        store = open_store(disk)
        store.append(LogWrite(1, 1, None, (Entry(1, 1, 0, EntryKind.DATA, b"old" * 200),)))
        disk.crash(rng)
        before = state_of(open_store(disk))
        torn += before == EMPTY
        possible = [before]
        for _ in range(4):
            disk.stop_after(rng.randint(0, 12))
            with contextlib.suppress(StoppedError):
                live(disk, rng, possible, writes=5)
            disk.crash(rng)
        live(disk, rng, possible, writes=0)
    assert 20 < torn < 180
