"""A server's parts on one event loop of the test, over real sockets and a real directory."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Self

import pytest
import uvloop

from quorate.node.limits import NodeLimits
from quorate.node.node import Node
from quorate.node.settings import NodeSettings
from quorate.raft.configuration import Member, NodeId
from quorate.raft.settings import Settings
from quorate.replica.snapshot_taker import SnapshotSettings
from quorate.runtime.client_server import ClientProtocol
from quorate.runtime.clock import monotonic_us
from quorate.runtime.disk import DirectoryDisk
from quorate.runtime.driver import Driver
from quorate.runtime.log_writer import LogWriter
from quorate.runtime.peer_links import PeerLinks
from quorate.runtime.snapshot_worker import SnapshotWorker
from quorate.storage.disk import Disk, File
from quorate.storage.store import Store
from quorate.wire.peer_hello import Hello

QUICK = Settings(election_timeout_us=100_000, heartbeat_interval_us=20_000)
ONLY = Member(NodeId(1))

NewStore = Callable[..., Store]
NewServer = Callable[..., "LoopServer"]


# --------------------------------------------------------------------- a disk to interfere with


class WatchedDisk:
    """A disk that asks the test before it syncs, writes, preallocates or removes a file.

    What it asks may take its time, or raise what a disk raises.
    """

    def __init__(self, disk: Disk) -> None:
        self.before_sync: Callable[[], None] = _do_nothing
        self.before_write: Callable[[], None] = _do_nothing
        self.before_preallocate: Callable[[], None] = _do_nothing
        self.before_remove: Callable[[str], None] = lambda _: None
        self._disk = disk

    def location(self, name: str) -> str:
        return self._disk.location(name)

    def names(self) -> list[str]:
        return self._disk.names()

    def create(self, name: str) -> File:
        return _WatchedFile(self, self._disk.create(name))

    def open(self, name: str) -> File:
        return _WatchedFile(self, self._disk.open(name))

    def rename(self, old: str, new: str) -> None:
        self._disk.rename(old, new)

    def remove(self, name: str) -> None:
        self.before_remove(name)
        self._disk.remove(name)

    def sync_directory(self) -> None:
        self._disk.sync_directory()


class _WatchedFile:
    def __init__(self, disk: WatchedDisk, file: File) -> None:
        self._disk = disk
        self._file = file

    @property
    def size(self) -> int:
        return self._file.size

    def read_all(self) -> bytes:
        return self._file.read_all()

    def read_at(self, offset: int, length: int) -> bytes:
        return self._file.read_at(offset, length)

    def write_at(self, offset: int, data: bytes) -> None:
        self._disk.before_write()
        self._file.write_at(offset, data)

    def truncate(self, size: int) -> None:
        self._file.truncate(size)

    def preallocate(self, size: int) -> None:
        self._disk.before_preallocate()
        self._file.preallocate(size)

    def sync(self) -> None:
        self._disk.before_sync()
        self._file.sync()

    def close(self) -> None:
        self._file.close()


def _do_nothing() -> None:
    pass


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[WatchedDisk]:
    """A new directory."""
    with DirectoryDisk(tmp_path / "data", create=True) as directory:
        yield WatchedDisk(directory)


@pytest.fixture
def new_store(disk: WatchedDisk) -> Iterator[NewStore]:
    """Opens the directory as that of the only node of a cluster; makes it that if it is new."""
    stores: list[Store] = []

    def new(*, segment_size: int = 1024 * 1024) -> Store:
        if not disk.names():
            Store.initialize(
                disk,
                cluster_id="c",
                node=ONLY.id,
                data_id="d",
                members=(ONLY,),
                segment_size=segment_size,
            )
        stores.append(Store.open(disk, segment_size=segment_size))
        return stores[-1]

    yield new
    for store in stores:
        store.close()


# --------------------------------------------------------------------- a server


class LoopServer:
    """A node on the event loop of the test, put together as `quorate.runtime.server` does it.

    Args:
        store: its data directory.
        limits: as in `NodeSettings`.
        snapshots: likewise.
        raft: likewise.
        peer_port: where it listens to others; None if there are none.

    Attributes:
        failure: what ended it, if something did.
        warnings: what an operator would see.
    """

    def __init__(
        self,
        store: Store,
        limits: NodeLimits,
        snapshots: SnapshotSettings,
        *,
        raft: Settings = QUICK,
        peer_port: int | None = None,
    ) -> None:
        self.failure: BaseException | None = None
        self.warnings: list[str] = []
        self._store = store
        self._limits = limits
        self._snapshot_settings = snapshots
        self._raft_settings = raft
        self._peer_port = peer_port

    async def __aenter__(self) -> Self:
        loop = asyncio.get_running_loop()
        loop.set_exception_handler(lambda _, context: self._fail(context["exception"]))
        identity = self._store.identity
        rng = random.Random(identity.node)
        self.node = Node(
            identity.node,
            boot=identity.boot,
            durable=self._store.take_durable_state(),
            rng=rng,
            now=monotonic_us(),
            settings=NodeSettings(
                raft=self._raft_settings,
                limits=self._limits,
                snapshots=self._snapshot_settings,
            ),
            raft_state_bytes=self._store.raft_state_bytes,
        )
        self._log = LogWriter(
            self._store, loop, on_failure=self._fail, on_warning=self.warnings.append
        )
        hello = Hello(
            cluster_id=identity.cluster_id,
            sender=identity.node,
            to=None,
            data_id=identity.data_id,
            boot=identity.boot,
            client_address="",
        )
        self._links = PeerLinks(hello, self.node.raft.membership, known=self._store, rng=rng)
        self._snapshots = SnapshotWorker(
            self._store.snapshots,
            loop,
            on_failure=self._fail,
            on_warning=self.warnings.append,
        )
        self._driver = Driver(
            self.node, loop, peers=self._links, log=self._log, snapshots=self._snapshots
        )
        self._log.start(self._driver.written)
        self._snapshots.start(self._driver)
        self._server = await loop.create_server(
            lambda: ClientProtocol(self._driver.clients), "127.0.0.1", 0
        )
        self.port: int = self._server.sockets[0].getsockname()[1]
        if self._peer_port is not None:
            self._peer_server = await loop.create_server(
                self._links.incoming_protocol, "127.0.0.1", self._peer_port
            )
            self._links.start(self._driver)
        self._driver.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        self._driver.stop()
        self._server.close()
        if self._peer_port is not None:
            self._peer_server.close()
            await self._links.close()
        self._log.close()
        self._snapshots.close()

    async def connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        return await asyncio.open_connection("127.0.0.1", self.port)

    def _fail(self, error: BaseException) -> None:
        if self.failure is None and not isinstance(error, ConnectionError):
            self.failure = error
            self._driver.stop()


@pytest.fixture
def new_server(new_store: NewStore) -> NewServer:
    """Makes the server of the directory, to be entered on the event loop of the test."""

    def new(
        *,
        limits: NodeLimits | None = None,
        snapshots: SnapshotSettings | None = None,
        segment_size: int = 1024 * 1024,
    ) -> LoopServer:
        return LoopServer(
            new_store(segment_size=segment_size),
            limits or NodeLimits(),
            snapshots or SnapshotSettings(),
        )

    return new


class SteppedLoop(asyncio.SelectorEventLoop):
    """An event loop whose clock stands still until the test moves it: timers without waiting.

    Sockets and threads work as ever.
    """

    def __init__(self) -> None:
        self._time_s = 0.0
        super().__init__()

    def time(self) -> float:
        return self._time_s

    def step(self, seconds: float) -> None:
        """Lets so much time pass; timers that are due then fire when the loop goes on."""
        self._time_s += seconds


@pytest.fixture
def run_in_steps() -> Callable[[Callable[[SteppedLoop], Awaitable[None]]], None]:
    """Runs a test's coroutine on a loop whose time the test decides."""

    def run(test: Callable[[SteppedLoop], Awaitable[None]]) -> None:
        loop = SteppedLoop()
        with asyncio.Runner(loop_factory=lambda: loop) as runner:
            runner.run(_awaited(test(loop)))

    return run


async def _awaited(test: Awaitable[None]) -> None:
    await test


@pytest.fixture
def run_on_loop() -> Callable[[Callable[[], Awaitable[None]]], None]:
    """Runs a test's coroutine on an event loop as production has it."""

    def run(test: Callable[[], Awaitable[None]]) -> None:
        async def in_time() -> None:
            await asyncio.wait_for(test(), 20)

        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(in_time())

    return run
