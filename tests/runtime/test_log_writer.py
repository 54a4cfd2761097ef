"""Writes on the event loop while the disk is quick, in a thread while it is not."""

from __future__ import annotations

import asyncio
import threading
from typing import TYPE_CHECKING, Self

import pytest

from quorate.raft.configuration import NodeId, configuration_of
from quorate.raft.entry import Entry, EntryKind
from quorate.raft.ready import LogWrite
from quorate.raft.snapshot import LogStart, SnapshotMetadata
from quorate.runtime.log_writer import (
    QUICK_WRITES,
    RETRY_PREPARATION_S,
    SLOW_SYNC_S,
    LogWriter,
)
from quorate.storage.errors import DiskFailedError, DiskFullError, StorageError
from quorate.storage.snapshots import SnapshotPart

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from tests.runtime.conftest import NewStore, SteppedLoop, WatchedDisk

    from quorate.storage.store import Store

    Run = Callable[[Callable[[], Awaitable[None]]], None]
    RunInSteps = Callable[[Callable[[SteppedLoop], Awaitable[None]]], None]

SEGMENT_SIZE = 8192
MORE_THAN_HALF = 5000
"""Bytes of an entry that fills more than half of a segment: the next one needs a new segment."""


class Stopwatch:
    """What measures the writes: it moves only when the test says so."""

    def __init__(self) -> None:
        self._seconds = 0.0

    def __call__(self) -> float:
        return self._seconds

    def add(self, seconds: float) -> None:
        self._seconds += seconds


class Writing:
    """A log writer whose stopwatch the test moves, and what it has told."""

    def __init__(self, store: Store) -> None:
        self.clock = Stopwatch()
        self.durable: asyncio.Queue[int] = asyncio.Queue()
        self.failures: asyncio.Queue[StorageError] = asyncio.Queue()
        self.warnings: asyncio.Queue[str] = asyncio.Queue()
        self.store = store
        self.log = LogWriter(
            store,
            asyncio.get_running_loop(),
            on_failure=self.failures.put_nowait,
            on_warning=self.warnings.put_nowait,
            clock=self.clock,
        )
        self.log.start(self.durable.put_nowait)
        self._number = 0
        self._start: LogStart | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.log.close()

    def write(self, size: int = 10) -> bool:
        """Writes the next entry; whether it is durable at once."""
        self._number += 1
        entry = Entry(self._number, 1, 0, EntryKind.DATA, b"x" * size)
        start, self._start = self._start, None
        return self.log.write(LogWrite(self._number, 1, NodeId(1), (entry,), start))

    def snapshot(self) -> None:
        """A snapshot covers all that is written by now: the next write tells the log."""
        metadata = SnapshotMetadata(self._number, 1, 0, configuration_of([1]))
        self.store.snapshots.write(SnapshotPart(metadata, (b"",), is_first=True, is_last=True))
        self._start = LogStart(self._number, 1)

    async def write_durably(self, size: int = 10) -> bool:
        """The same, waiting until it is durable; whether that was at once.

        Raises:
            StorageError: it has failed, be it on the loop or in the thread.
        """
        at_once = self.write(size)
        if not at_once:
            outcomes = [asyncio.create_task(q.get()) for q in (self.durable, self.failures)]
            done, _ = await asyncio.wait(outcomes, return_when=asyncio.FIRST_COMPLETED)
            for task in outcomes:
                task.cancel()
            (outcome,) = [task.result() for task in done]
            if isinstance(outcome, StorageError):
                raise outcome
            assert outcome == self._number
        return at_once


class Gate:
    """Where threads that belong to the log have to wait until the test opens it."""

    def __init__(self) -> None:
        self._opened = threading.Event()
        self.somebody_waits = threading.Event()

    def pass_through(self) -> None:
        """For a hook of the disk: whoever comes waits, but for the event loop itself."""
        if threading.current_thread() is not threading.main_thread():
            self.somebody_waits.set()
            self._opened.wait()

    def open(self) -> None:
        """Lets everybody through from now on."""
        self._opened.set()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.open()  # or a test that fails would wait for ever when the log is closed


async def until(condition: Callable[[], bool]) -> None:
    """Lets the event loop go on until something holds; the test's time limit is the limit."""
    while not condition():  # noqa: ASYNC110 - a thread brings it about and tells nobody
        await asyncio.sleep(0)


def test_a_write_to_a_quick_disk_is_durable_at_once(new_store: NewStore, run_on_loop: Run) -> None:
    async def test() -> None:
        store = new_store()
        with Writing(store) as writing:
            before = store.raft_state_bytes
            assert writing.write()
            assert writing.log.raft_state_bytes == store.raft_state_bytes > before
        assert writing.durable.empty()

    run_on_loop(test)


def test_a_write_slower_than_the_limit_sends_the_next_to_the_thread(
    new_store: NewStore, disk: WatchedDisk, run_on_loop: Run
) -> None:
    async def test() -> None:
        with Writing(new_store()) as writing:
            disk.before_sync = lambda: writing.clock.add(0.9 * SLOW_SYNC_S)
            for _ in range(3):
                assert await writing.write_durably()
            disk.before_sync = lambda: writing.clock.add(1.1 * SLOW_SYNC_S)
            assert await writing.write_durably(), "who could know that it would be slow"
            assert not await writing.write_durably()

    run_on_loop(test)


def test_so_many_quick_writes_in_a_row_come_back_from_the_thread(
    new_store: NewStore, disk: WatchedDisk, run_on_loop: Run
) -> None:
    async def test() -> None:

        async def write_slowly() -> bool:
            disk.before_sync = lambda: writing.clock.add(2 * SLOW_SYNC_S)
            at_once = await writing.write_durably()
            disk.before_sync = lambda: writing.clock.add(SLOW_SYNC_S / 2)
            return at_once

        with Writing(new_store()) as writing:
            assert await write_slowly()
            for _ in range(QUICK_WRITES - 1):
                assert not await writing.write_durably()
            assert not await write_slowly(), "which begins the row anew"
            for _ in range(QUICK_WRITES):
                assert not await writing.write_durably()
            assert await writing.write_durably()

    run_on_loop(test)


def test_while_a_slow_disk_syncs_the_event_loop_goes_on(
    new_store: NewStore, disk: WatchedDisk, run_on_loop: Run
) -> None:
    async def test() -> None:
        gate = Gate()
        with Writing(new_store()) as writing, gate:
            disk.before_sync = lambda: writing.clock.add(2 * SLOW_SYNC_S)
            writing.write()
            disk.before_sync = gate.pass_through
            assert not writing.write()
            await until(gate.somebody_waits.is_set)
            assert writing.durable.empty()
            gate.open()
            assert await writing.durable.get() == 2

    run_on_loop(test)


def test_closing_waits_for_the_write_under_way(
    new_store: NewStore, disk: WatchedDisk, run_on_loop: Run
) -> None:
    async def test() -> None:
        gate = Gate()
        synced: list[str] = []

        def sync() -> None:
            gate.pass_through()
            synced.append("the second write")

        with Writing(new_store()) as writing:
            disk.before_sync = lambda: writing.clock.add(2 * SLOW_SYNC_S)
            writing.write()
            disk.before_sync = sync
            assert not writing.write()
            await until(gate.somebody_waits.is_set)
            assert not synced
            gate.open()
        assert synced
        await asyncio.sleep(0)
        assert writing.durable.empty(), "nobody is told any more"

    run_on_loop(test)


@pytest.mark.parametrize(
    "error", [DiskFailedError("wal", "sync", "I/O error"), DiskFullError("wal", "write to")]
)
def test_a_failure_on_the_loop_is_raised_and_nothing_is_written_any_more(
    new_store: NewStore, disk: WatchedDisk, run_on_loop: Run, error: StorageError
) -> None:
    def fail() -> None:
        raise error

    async def test() -> None:
        with Writing(new_store()) as writing:
            disk.before_sync = fail
            with pytest.raises(StorageError):
                writing.write()
            disk.before_sync = lambda: None
            with pytest.raises(StorageError):
                writing.write()
        assert writing.durable.empty()

    run_on_loop(test)


def test_a_failure_in_the_thread_is_reported_and_nothing_is_written_any_more(
    new_store: NewStore, disk: WatchedDisk, run_on_loop: Run
) -> None:
    def fail() -> None:
        raise DiskFailedError("wal", "sync", "I/O error")

    async def test() -> None:
        with Writing(new_store()) as writing:
            disk.before_sync = lambda: writing.clock.add(2 * SLOW_SYNC_S)
            writing.write()
            disk.before_sync = fail
            assert not writing.write()
            assert isinstance(await writing.failures.get(), DiskFailedError)
            disk.before_sync = lambda: None
            assert not writing.write()
            assert isinstance(await writing.failures.get(), DiskFailedError)
        assert writing.durable.empty()

    run_on_loop(test)


def test_no_space_for_a_segment_ahead_of_time_is_a_warning_until_it_is_needed(
    new_store: NewStore, disk: WatchedDisk, run_on_loop: Run
) -> None:
    def refuse() -> None:
        raise DiskFullError("wal.spare", "preallocate")

    async def test() -> None:
        with Writing(new_store(segment_size=8192)) as writing:
            disk.before_preallocate = refuse
            await writing.write_durably(5000)
            await writing.write_durably()  # the segment is half full
            assert "no space left" in await writing.warnings.get()
            await writing.write_durably()
            with pytest.raises(DiskFullError):
                await writing.write_durably(5000)

    run_on_loop(test)


def test_after_a_full_disk_preparing_is_tried_again_after_a_time(
    new_store: NewStore, disk: WatchedDisk, run_in_steps: RunInSteps
) -> None:
    attempts: list[float] = []

    async def test(loop: SteppedLoop) -> None:
        def refuse() -> None:
            attempts.append(loop.time())
            raise DiskFullError("wal.spare", "preallocate")

        store = new_store(segment_size=SEGMENT_SIZE)
        with Writing(store) as writing:
            disk.before_preallocate = refuse
            await writing.write_durably(MORE_THAN_HALF)
            await writing.warnings.get()
            await writing.write_durably()
            loop.step(0.9 * RETRY_PREPARATION_S)
            await writing.write_durably()
            loop.step(0.2 * RETRY_PREPARATION_S)
            await writing.warnings.get()
            disk.before_preallocate = lambda: None
            loop.step(1.1 * RETRY_PREPARATION_S)
            await until(lambda: not store.needs_next_segment)
        assert attempts == pytest.approx([0, 1.1 * RETRY_PREPARATION_S])
        assert writing.warnings.empty()

    run_in_steps(test)


# --------------------------------------------------------------------- segments ahead of time


class Preparers:
    """Who preallocates segments, and a gate that holds up those who are not the event loop."""

    def __init__(self, disk: WatchedDisk) -> None:
        self.gate = Gate()
        self._disk = disk
        self._threads: list[threading.Thread] = []

    @property
    def on_loop(self) -> list[bool]:
        """For each segment: whether a write on the event loop had to make it."""
        return [thread is threading.main_thread() for thread in self._threads]

    def __enter__(self) -> Self:
        self._disk.before_preallocate = self._preallocating
        return self

    def __exit__(self, *_: object) -> None:
        self.gate.open()

    def _preallocating(self) -> None:
        self._threads.append(threading.current_thread())
        self.gate.pass_through()


@pytest.mark.parametrize("is_slow", [False, True], ids=["on the loop", "in the thread"])
def test_the_write_that_fills_half_a_segment_has_the_next_one_prepared(
    new_store: NewStore,
    disk: WatchedDisk,
    run_on_loop: Run,
    is_slow: bool,  # noqa: FBT001 - a parameter of pytest
) -> None:
    async def test() -> None:
        store = new_store(segment_size=SEGMENT_SIZE)
        with Writing(store) as writing, Preparers(disk) as preparers:
            preparers.gate.open()
            if is_slow:
                disk.before_sync = lambda: writing.clock.add(2 * SLOW_SYNC_S)
            await writing.write_durably()
            assert preparers.on_loop == []
            for count in range(1, 6):
                assert await writing.write_durably(MORE_THAN_HALF) is not is_slow
                await until(lambda: not store.needs_next_segment)  # without another write
                assert preparers.on_loop == [False] * count

    run_on_loop(test)


def test_a_log_that_is_found_half_full_has_the_next_segment_prepared(
    new_store: NewStore, disk: WatchedDisk, run_on_loop: Run
) -> None:
    async def fill() -> None:
        with Writing(new_store(segment_size=SEGMENT_SIZE)) as writing, Preparers(disk) as preparers:
            writing.write(MORE_THAN_HALF)
            await until(preparers.gate.somebody_waits.is_set)

    async def test() -> None:
        store = new_store(segment_size=SEGMENT_SIZE)
        with Preparers(disk) as preparers, Writing(store):
            preparers.gate.open()
            await until(lambda: not store.needs_next_segment)
            assert preparers.on_loop == [False]

    run_on_loop(fill)
    run_on_loop(test)


def test_while_a_segment_is_prepared_writes_go_on(
    new_store: NewStore, disk: WatchedDisk, run_on_loop: Run
) -> None:
    async def test() -> None:
        store = new_store(segment_size=SEGMENT_SIZE)
        with Writing(store) as writing, Preparers(disk) as preparers:
            assert writing.write(MORE_THAN_HALF)
            await until(preparers.gate.somebody_waits.is_set)
            for _ in range(10):
                assert writing.write()
            assert preparers.on_loop == [False]

    run_on_loop(test)


def test_only_writes_that_outrun_the_preparation_make_their_segment_themselves(
    new_store: NewStore, disk: WatchedDisk, run_on_loop: Run
) -> None:
    async def test() -> None:
        store = new_store(segment_size=SEGMENT_SIZE)
        with Writing(store) as writing, Preparers(disk) as preparers:
            assert writing.write(MORE_THAN_HALF)
            await until(preparers.gate.somebody_waits.is_set)
            assert writing.write(MORE_THAN_HALF)
            assert preparers.on_loop == [False, True]
            preparers.gate.open()
            await until(lambda: not store.needs_next_segment)
            assert writing.write(MORE_THAN_HALF)  # into the one that was late
            await until(lambda: not store.needs_next_segment)
            assert preparers.on_loop == [False, True, False]

    run_on_loop(test)


def test_a_prepared_segment_may_be_filled_before_the_event_loop_hears_of_it(
    new_store: NewStore, disk: WatchedDisk, run_on_loop: Run
) -> None:
    # 1. The thread has prepared a segment; that it has waits for the event loop's next turn.
    # 2. In the present turn that segment is taken into use and half of it filled. The next one is
    #    not begun: for all that the event loop knows, a preparation is under way.
    # 3. The next turn hears of the first preparation. No write follows, and yet the segment after
    #    it must be begun now, not when the next write comes: that one may need it.
    async def test() -> None:
        store = new_store(segment_size=SEGMENT_SIZE)
        with Writing(store) as writing, Preparers(disk) as preparers:
            preparers.gate.open()
            assert writing.write(MORE_THAN_HALF)
            while store.needs_next_segment:
                pass  # the thread works, the loop stands still
            assert writing.write(MORE_THAN_HALF)
            assert store.needs_next_segment
            await until(lambda: not store.needs_next_segment)
            assert preparers.on_loop == [False, False]

    run_on_loop(test)


# --------------------------------------------------------------------- segments of the past


def segments(disk: WatchedDisk) -> list[str]:
    return sorted(name for name in disk.names() if name.endswith(".wal"))


@pytest.mark.parametrize("is_slow", [False, True], ids=["on the loop", "in the thread"])
def test_segments_that_a_snapshot_has_made_useless_are_removed_in_a_thread(
    new_store: NewStore,
    disk: WatchedDisk,
    run_on_loop: Run,
    is_slow: bool,  # noqa: FBT001 - a parameter of pytest
) -> None:
    async def test() -> None:
        store = new_store(segment_size=SEGMENT_SIZE)
        with Writing(store) as writing:
            removers = set()
            disk.before_remove = lambda _: removers.add(threading.current_thread())
            if is_slow:
                disk.before_sync = lambda: writing.clock.add(2 * SLOW_SYNC_S)
            for _ in range(4):
                await writing.write_durably(MORE_THAN_HALF)
            full = segments(disk)[:3]
            writing.snapshot()
            assert set(full) <= set(segments(disk)), "the log does not know of it yet"
            await writing.write_durably()
            await until(lambda: not set(full) & set(segments(disk)))
            assert removers
            assert threading.main_thread() not in removers
            assert writing.failures.empty()

    run_on_loop(test)


def test_while_segments_are_removed_writes_go_on_and_make_further_ones_useless(
    new_store: NewStore, disk: WatchedDisk, run_on_loop: Run
) -> None:
    async def test() -> None:
        store = new_store(segment_size=SEGMENT_SIZE)
        with Writing(store) as writing, Gate() as gate:
            for _ in range(4):
                assert writing.write(MORE_THAN_HALF)
                await until(lambda: not store.needs_next_segment)
            writing.snapshot()
            disk.before_remove = lambda _: gate.pass_through()
            assert writing.write()
            await until(gate.somebody_waits.is_set)
            for _ in range(4):
                assert writing.write(MORE_THAN_HALF)
            useless = segments(disk)[:-2]
            disk.before_remove = lambda _: None
            writing.snapshot()
            assert writing.write()
            assert set(useless) <= set(segments(disk))
            gate.open()
            await until(lambda: not set(useless) & set(segments(disk)))  # without another write

    run_on_loop(test)


def test_a_segment_that_cannot_be_removed_ends_the_node(
    new_store: NewStore, disk: WatchedDisk, run_on_loop: Run
) -> None:
    async def test() -> None:
        error = DiskFailedError("0000000001.wal", "remove", "I/O error")

        def fail(_: str) -> None:
            raise error

        with Writing(new_store(segment_size=SEGMENT_SIZE)) as writing:
            for _ in range(3):
                await writing.write_durably(MORE_THAN_HALF)
            writing.snapshot()
            disk.before_remove = fail
            await writing.write_durably()
            assert await writing.failures.get() is error

    run_on_loop(test)
