"""Writes on the event loop while the disk is quick, in a thread while it is not."""

from __future__ import annotations

import asyncio
import threading
import time
from typing import TYPE_CHECKING, Self

import pytest

from quorate.raft.configuration import NodeId
from quorate.raft.entry import Entry, EntryKind
from quorate.raft.ready import LogWrite
from quorate.runtime.log_writer import QUICK_WRITES, SLOW_SYNC_S, LogWriter
from quorate.storage.errors import DiskFailedError, DiskFullError, StorageError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from tests.runtime.conftest import NewStore, WatchedDisk

    from quorate.storage.store import Store

    Run = Callable[[Callable[[], Awaitable[None]]], None]


class Writing:
    """A log writer, and what it has told."""

    def __init__(self, store: Store) -> None:
        self.durable: asyncio.Queue[int] = asyncio.Queue()
        self.failures: asyncio.Queue[StorageError] = asyncio.Queue()
        self.warnings: asyncio.Queue[str] = asyncio.Queue()
        self.store = store
        self.log = LogWriter(
            store,
            asyncio.get_running_loop(),
            on_failure=self.failures.put_nowait,
            on_warning=self.warnings.put_nowait,
        )
        self.log.start(self.durable.put_nowait)
        self._number = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.log.close()

    def write(self, size: int = 10) -> bool:
        """Writes the next entry; whether it is durable at once."""
        self._number += 1
        entry = Entry(self._number, 1, 0, EntryKind.DATA, b"x" * size)
        return self.log.write(LogWrite(self._number, 1, NodeId(1), (entry,)))

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


def take_long() -> None:
    time.sleep(2 * SLOW_SYNC_S)  # what a disk does that is slow


def test_a_write_to_a_quick_disk_is_durable_at_once(new_store: NewStore, run_on_loop: Run) -> None:
    async def test() -> None:
        store = new_store()
        with Writing(store) as writing:
            before = store.raft_state_bytes
            assert writing.write()
            assert writing.log.raft_state_bytes == store.raft_state_bytes > before
        assert writing.durable.empty()

    run_on_loop(test)


def test_a_slow_disk_is_written_to_in_a_thread_until_it_was_quick_for_a_while(
    new_store: NewStore, disk: WatchedDisk, run_on_loop: Run
) -> None:
    async def test() -> None:
        with Writing(new_store()) as writing:
            disk.before_sync = take_long
            assert await writing.write_durably(), "who could know that it would be slow"
            assert not await writing.write_durably()
            disk.before_sync = lambda: None
            in_thread = 0
            while not await writing.write_durably():
                in_thread += 1
            assert in_thread >= QUICK_WRITES

    run_on_loop(test)


def test_while_a_slow_disk_syncs_the_event_loop_goes_on(
    new_store: NewStore, disk: WatchedDisk, run_on_loop: Run
) -> None:
    async def test() -> None:
        with Writing(new_store()) as writing:
            disk.before_sync = take_long
            writing.write()
            disk.before_sync = lambda: time.sleep(0.4)
            assert not writing.write()
            began = time.perf_counter()
            await asyncio.sleep(0)
            assert time.perf_counter() - began < 0.3
            assert writing.durable.empty()
            await writing.durable.get()
            assert time.perf_counter() - began > 0.39

    run_on_loop(test)


def test_closing_waits_for_the_write_under_way(
    new_store: NewStore, disk: WatchedDisk, run_on_loop: Run
) -> None:
    synced: list[float] = []

    def sync_slowly() -> None:
        take_long()
        synced.append(time.perf_counter())

    async def test() -> None:
        with Writing(new_store()) as writing:
            disk.before_sync = sync_slowly
            writing.write()
            assert not writing.write()
        assert len(synced) == 2

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
            disk.before_sync = take_long
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


def test_segments_are_prepared_ahead_of_time_and_beside_the_writes(
    new_store: NewStore, disk: WatchedDisk, run_on_loop: Run
) -> None:
    preparers: list[threading.Thread] = []

    async def test() -> None:
        with Writing(new_store(segment_size=8192)) as writing:
            disk.before_preallocate = lambda: preparers.append(threading.current_thread())
            while len(preparers) < 3:
                await writing.write_durably()
                await asyncio.sleep(0)
        # Writes that outrun the preparation make their segment themselves, rightly.
        assert any(thread is not threading.main_thread() for thread in preparers)

    run_on_loop(test)
