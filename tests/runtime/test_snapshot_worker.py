"""Snapshots go to the disk and come from it in a thread; the event loop hears what became of it."""

from __future__ import annotations

import asyncio
import threading
from typing import TYPE_CHECKING, Self

import pytest

from quorate.raft.configuration import NodeId, configuration_of
from quorate.raft.messages import InstallSnapshot
from quorate.raft.ready import ChunkToSend, Envelope, ReceivedChunk
from quorate.raft.snapshot import SnapshotMetadata
from quorate.runtime.snapshot_worker import (
    FULL_DISK_PERIOD_S,
    SECTIONS_AT_A_TIME,
    SnapshotWorker,
)
from quorate.storage.errors import CorruptionError, DiskFailedError, DiskFullError, StorageError
from quorate.storage.snapshot_file import SYNC_BYTES
from quorate.storage.snapshots import SnapshotPart, StoredSnapshot

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from tests.runtime.conftest import NewStore, SteppedLoop, WatchedDisk

    from quorate.storage.store import Store

    Run = Callable[[Callable[[], Awaitable[None]]], None]
    RunInSteps = Callable[[Callable[[SteppedLoop], Awaitable[None]]], None]

Event = tuple[object, ...]

LEADER = NodeId(2)


def metadata(index: int) -> SnapshotMetadata:
    return SnapshotMetadata(index, 1, 0, configuration_of([1]))


def part(index: int, *sections: bytes, first: bool = True, last: bool = True) -> SnapshotPart:
    return SnapshotPart(metadata(index), sections, is_first=first, is_last=last)


def piece(index: int, size: int, offset: int, data: bytes) -> ReceivedChunk:
    return ReceivedChunk(LEADER, InstallSnapshot(1, 1, metadata(index), size, offset, data))


class Working:
    """A worker, and what it has told, in order."""

    def __init__(self, store: Store) -> None:
        self.told: asyncio.Queue[Event] = asyncio.Queue()
        self.warnings: list[str] = []
        self.failures: asyncio.Queue[StorageError] = asyncio.Queue()
        self.goes_on = True
        self.worker = SnapshotWorker(
            store.snapshots,
            asyncio.get_running_loop(),
            on_failure=self.failures.put_nowait,
            on_warning=self.warnings.append,
        )
        self.worker.start(self)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.worker.close()

    def part_written(self, stored: StoredSnapshot | None) -> None:
        self._tell("written", stored.metadata.index if stored else None)

    def part_failed(self) -> None:
        self._tell("failed")

    def chunk_read(self, envelope: Envelope | None) -> None:
        self._tell("read", envelope)

    def snapshot_damaged(self, index: int) -> None:
        self._tell("damaged", index)

    def chunk_written(self, chunk: ReceivedChunk, next_offset: int) -> None:
        self._tell("received", chunk.request.offset, next_offset)

    def sections_read(self, sections: list[bytes]) -> bool:
        self._tell("sections", *sections)
        return self.goes_on and bool(sections)

    def _tell(self, *event: object) -> None:
        assert threading.current_thread() is threading.main_thread()
        self.told.put_nowait(event)

    async def restored(self) -> list[Event]:
        """What a restoration tells, to its end."""
        self.worker.restore()
        events = []
        while (event := await self.told.get()) != ("sections",):
            events.append(event)
        return events


def test_parts_are_written_one_after_the_other(new_store: NewStore, run_on_loop: Run) -> None:
    async def test() -> None:
        store = new_store()
        with Working(store) as working:
            working.worker.write(part(7, b"one", last=False))
            working.worker.write(part(7, b"two", first=False))
            assert await working.told.get() == ("written", None)
            assert await working.told.get() == ("written", 7)
            assert await working.restored() == [("sections", b"one", b"two")]

    run_on_loop(test)


def test_the_event_loop_waits_for_no_part(
    new_store: NewStore, disk: WatchedDisk, run_on_loop: Run
) -> None:
    async def test() -> None:
        with Working(new_store()) as working:
            waits, opened = threading.Event(), threading.Event()

            def wait() -> None:
                waits.set()
                opened.wait()

            disk.before_write = wait
            working.worker.write(part(7, b"state"))
            while not waits.is_set():  # noqa: ASYNC110 - a thread brings it about
                await asyncio.sleep(0)
            assert working.told.empty()
            opened.set()
            assert await working.told.get() == ("written", 7)

    run_on_loop(test)


def test_a_snapshot_is_passed_on_piece_by_piece(new_store: NewStore, run_on_loop: Run) -> None:
    async def test() -> None:
        store = new_store()
        with Working(store) as working:
            working.worker.write(part(7, b"state" * 100))
            await working.told.get()
            assert store.snapshots.newest is not None
            size = store.snapshots.newest.size
            data = b""
            for offset, length in ((0, 300), (300, size - 300)):
                request = InstallSnapshot(1, 1, metadata(7), size, offset, b"")
                working.worker.read(ChunkToSend(NodeId(3), request, length))
                read, envelope = await working.told.get()
                assert read == "read"
                assert isinstance(envelope, Envelope)
                assert isinstance(envelope.message, InstallSnapshot)
                assert (envelope.to, envelope.message.offset) == (NodeId(3), offset)
                data += envelope.message.data
            gone = InstallSnapshot(1, 1, metadata(6), size, 0, b"")
            working.worker.read(ChunkToSend(NodeId(3), gone, 10))
            assert await working.told.get() == ("read", None)
            # The same bytes, as those of a later one would not do: it is verified.
            working.worker.receive(piece(8, size, 0, data[:300]))
            working.worker.receive(piece(8, size, 300, data[300:]))
            assert await working.told.get() == ("received", 0, 300)
            assert await working.told.get() == ("received", 300, 0)
            assert not working.warnings

    run_on_loop(test)


def test_a_doubted_snapshot_is_checked_before_it_is_sent(
    new_store: NewStore, disk: WatchedDisk, run_on_loop: Run
) -> None:
    async def test() -> None:
        with Working(new_store()) as working:
            working.worker.write(part(7, b"state" * 100))
            await working.told.get()
            request = InstallSnapshot(1, 1, metadata(7), 700, 0, b"")
            doubted = ChunkToSend(NodeId(3), request, 100, is_doubted=True)
            working.worker.read(doubted)
            read, envelope = await working.told.get()
            assert read == "read"
            assert isinstance(envelope, Envelope)
            (name,) = [name for name in disk.names() if name.endswith(".snapshot")]
            disk.open(name).write_at(300, b"damage")
            working.worker.read(doubted)
            assert await working.told.get() == ("damaged", 7)
            (warning,) = working.warnings
            assert warning.startswith(f"{disk.location(name)} is damaged at byte ")
            assert "another snapshot is taken in its place" in warning
            assert working.failures.empty()

    run_on_loop(test)


def test_sections_are_read_a_few_at_a_time(new_store: NewStore, run_on_loop: Run) -> None:
    async def test() -> None:
        with Working(new_store()) as working:
            sections = [b"%d" % n for n in range(2 * SECTIONS_AT_A_TIME + 1)]
            working.worker.write(part(7, *sections))
            await working.told.get()
            first, second, third = await working.restored()
            assert first == ("sections", *sections[:SECTIONS_AT_A_TIME])
            assert second == ("sections", *sections[SECTIONS_AT_A_TIME:-1])
            assert third == ("sections", sections[-1])

    run_on_loop(test)


def test_who_wants_no_more_sections_gets_none(new_store: NewStore, run_on_loop: Run) -> None:
    async def test() -> None:
        with Working(new_store()) as working:
            working.worker.write(part(7, *[b"state"] * 3 * SECTIONS_AT_A_TIME))
            await working.told.get()
            working.goes_on = False
            working.worker.restore()
            await working.told.get()
            working.worker.write(part(8, b"state"))
            assert await working.told.get() == ("written", 8)

    run_on_loop(test)


def test_of_a_snapshot_that_was_overtaken_while_it_is_read_no_further_section_comes(
    new_store: NewStore, run_on_loop: Run
) -> None:
    # 1. A node takes in the sections of a snapshot. 2. A newer one has come from the leader, which
    # begins a new state. 3. Sections of the old one that were read already must not get into it.
    async def test() -> None:
        with Working(new_store()) as working:
            working.worker.write(part(7, *[b"old"] * 3 * SECTIONS_AT_A_TIME))
            await working.told.get()
            working.worker.restore()
            await working.told.get()
            working.worker.write(part(8, b"new"))
            while (await working.told.get()) != ("written", 8):
                pass
            while not working.told.empty():  # sections that came before the newer one is wanted
                working.told.get_nowait()
            assert await working.restored() == [("sections", b"new")]
            assert working.told.empty()

    run_on_loop(test)


# --------------------------------------------------------------------- a disk that is full or fails


def full() -> None:
    raise DiskFullError("snapshot", "write to")


def test_a_full_disk_costs_a_snapshot_and_is_warned_of(
    new_store: NewStore, disk: WatchedDisk, run_on_loop: Run
) -> None:
    async def test() -> None:
        with Working(new_store()) as working:
            working.worker.write(part(7, b"one", last=False))
            await working.told.get()
            disk.before_write = full
            working.worker.write(part(7, b"two", first=False))
            assert await working.told.get() == ("failed",)
            (warning,) = working.warnings
            assert "no snapshot can be taken" in warning
            disk.before_write = lambda: None
            working.worker.write(part(8, b"state"))
            assert await working.told.get() == ("written", 8)
            assert working.failures.empty()

    run_on_loop(test)


def test_a_leaders_snapshot_that_finds_no_room_is_warned_of_now_and_then(
    new_store: NewStore, disk: WatchedDisk, run_in_steps: RunInSteps
) -> None:
    async def test(loop: SteppedLoop) -> None:
        with Working(new_store()) as working:
            disk.before_write = full
            for _ in range(3):
                working.worker.receive(piece(7, 1000, 0, bytes(500)))
                assert await working.told.get() == ("received", 0, 0)
            (warning,) = working.warnings
            assert "the leader's snapshot cannot be taken in" in warning
            loop.step(FULL_DISK_PERIOD_S)
            working.worker.receive(piece(7, 1000, 0, bytes(500)))
            assert await working.told.get() == ("received", 0, 0)
            assert len(working.warnings) == 2
            disk.before_write = lambda: None
            working.worker.receive(piece(7, 1000, 0, bytes(500)))
            assert await working.told.get() == ("received", 0, 500)
            assert working.failures.empty()

    run_in_steps(test)


@pytest.mark.parametrize("is_own", [True, False], ids=["taken", "received"])
def test_a_failed_sync_ends_the_node(
    new_store: NewStore,
    disk: WatchedDisk,
    run_on_loop: Run,
    is_own: bool,  # noqa: FBT001 - a parameter of pytest
) -> None:
    async def test() -> None:
        with Working(new_store()) as working:
            error = DiskFailedError("snapshot", "sync", "I/O error")

            def fail() -> None:
                raise error

            disk.before_sync = fail
            if is_own:
                working.worker.write(part(8, b"state"))
            else:
                working.worker.receive(piece(8, 2 * SYNC_BYTES, 0, bytes(SYNC_BYTES)))
            assert await working.failures.get() is error
            assert working.told.empty()

    run_on_loop(test)


def test_a_snapshot_that_is_damaged_while_the_node_runs_ends_it(
    new_store: NewStore, disk: WatchedDisk, run_on_loop: Run
) -> None:
    async def test() -> None:
        with Working(new_store()) as working:
            working.worker.write(part(7, b"state" * 100))
            await working.told.get()
            (name,) = [name for name in disk.names() if name.endswith(".snapshot")]
            disk.open(name).write_at(200, b"damage")
            working.worker.restore()
            assert isinstance(await working.failures.get(), CorruptionError)
            assert working.told.empty()

    run_on_loop(test)
