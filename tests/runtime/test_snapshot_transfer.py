"""A snapshot on its way to a follower over a real socket, which breaks and is made again."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec
import pytest
from tests.runtime.conftest import LoopServer

from quorate.node.limits import NodeLimits
from quorate.raft.configuration import Member, NodeId
from quorate.raft.settings import Settings
from quorate.replica.snapshot_taker import SnapshotSettings
from quorate.runtime.disk import DirectoryDisk
from quorate.runtime.local_ports import free_ports
from quorate.storage.snapshots import RECEIVED
from quorate.storage.store import Store
from quorate.wire.resp_client import encode_command

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    Run = Callable[[Callable[[], Awaitable[None]]], None]

KIB = 1024
SETTINGS = SnapshotSettings(max_raft_state=256 * KIB)
KEYS = 64
VALUE = bytes(range(256)) * 4 * 64
"""64 KiB, so all of them make a snapshot of 4 MiB: eight pieces."""


class Gateway:
    """Passes on what is sent to a port, and breaks when so much has passed as it is told.

    Attributes:
        is_blocked: nobody gets through; who tries is sent away.
    """

    def __init__(self, to: int) -> None:
        self._to = to
        self._writers: list[asyncio.StreamWriter] = []
        self._break_at: int | None = None
        self._passed = 0
        self.is_blocked = False
        self.broken = asyncio.Event()

    @contextlib.asynccontextmanager
    async def listening(self, port: int) -> AsyncIterator[None]:
        server = await asyncio.start_server(self._serve, "127.0.0.1", port)
        try:
            yield
        finally:
            server.close()
            self._break()

    def break_after(self, size: int) -> None:
        """Breaks all connections when so much more has passed, and lets nobody in."""
        self._break_at = self._passed + size

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._writers.append(writer)
        if self.is_blocked:
            writer.transport.abort()
            return
        try:
            onward_reader, onward_writer = await asyncio.open_connection("127.0.0.1", self._to)
        except OSError:
            writer.transport.abort()
            return
        self._writers.append(onward_writer)
        back = asyncio.create_task(self._pass_on(onward_reader, writer, counts=False))
        await self._pass_on(reader, onward_writer, counts=True)
        await back

    async def _pass_on(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *, counts: bool
    ) -> None:
        with contextlib.suppress(OSError):
            while data := await reader.read(64 * KIB):
                writer.write(data)
                await writer.drain()
                if counts:
                    self._passed += len(data)
                if self._break_at is not None and self._passed >= self._break_at:
                    self._break()
        writer.transport.abort()

    def _break(self) -> None:
        self._break_at = None
        self.is_blocked = True
        for writer in self._writers:
            writer.transport.abort()
        self._writers.clear()
        self.broken.set()


class Trio:
    """Three nodes, the third of which the others reach through a gateway."""

    def __init__(self, directory: Path) -> None:
        ports = free_ports(4)
        self._peer_ports = dict(zip((NodeId(1), NodeId(2), NodeId(3)), ports[:3], strict=True))
        self._gateway_port = ports[3]
        self.gateway = Gateway(ports[2])
        self.members = tuple(
            Member(node, f"127.0.0.1:{self._gateway_port if node == 3 else port}", "")
            for node, port in self._peer_ports.items()
        )
        self._directory = directory

    @contextlib.asynccontextmanager
    async def gateway_open(self) -> AsyncIterator[None]:
        async with self.gateway.listening(self._gateway_port):
            yield

    @contextlib.contextmanager
    def _store(self, node: NodeId) -> Iterator[Store]:
        with DirectoryDisk(str(self._directory / f"node-{node}"), create=True) as disk:
            Store.initialize(
                disk, cluster_id="c", node=node, data_id=f"d{node}", members=self.members
            )
            with contextlib.closing(Store.open(disk)) as store:
                yield store

    def received(self, node: int) -> int:
        """The bytes that a node has of a snapshot that it is being sent."""
        try:
            return (self._directory / f"node-{node}" / RECEIVED).stat().st_size
        except FileNotFoundError:  # a thread gives it its final name at any moment
            return 0

    def damage_snapshot(self, node: int) -> str:
        """Some bytes of a node's newest snapshot are others from now on; returns its path."""
        path = max((self._directory / f"node-{node}").glob("*.snapshot"))
        with path.open("r+b") as file:
            file.seek(len(VALUE))
            file.write(b"damage")
        return str(path)

    @contextlib.asynccontextmanager
    async def node(self, number: int) -> AsyncIterator[LoopServer]:
        node = NodeId(number)
        with self._store(node) as store:
            async with LoopServer(
                store,
                NodeLimits(),
                SETTINGS,
                raft=Settings(),
                peer_port=self._peer_ports[node],
            ) as server:
                yield server
                assert server.failure is None


async def call(server: LoopServer, *arguments: bytes | str) -> bytes:
    reader, writer = await server.connect()
    writer.write(encode_command(*arguments))
    line = (await reader.readline()).rstrip()
    if line.startswith(b"$"):
        line = (await reader.readexactly(int(line[1:]) + 2))[:-2]
    writer.close()
    return line


async def last_applied(server: LoopServer) -> int:
    status = msgspec.json.decode(await call(server, "QUORATE.STATUS"))
    return int(status["last_applied"])


@pytest.fixture
def trio(tmp_path: Path) -> Trio:
    return Trio(tmp_path)


def test_a_transfer_goes_on_where_its_link_has_broken(trio: Trio, run_on_loop: Run) -> None:
    async def test() -> None:
        async with trio.node(1) as one, trio.node(2):
            for number in range(KEYS):
                assert await call(one, "SET", f"key-{number}", VALUE) == b"+OK"
            while one.node.status().raft_state_bytes > SETTINGS.max_raft_state:
                await call(one, "PING")
            async with trio.gateway_open(), trio.node(3) as three:
                trio.gateway.break_after(KEYS * len(VALUE) // 2)
                await trio.gateway.broken.wait()
                assert not three.node.raft.snapshot.index
                assert await call(one, "SET", "meanwhile", "value") == b"+OK"
                snapshot = one.node.raft.snapshot
                sizes = [trio.received(3)]
                trio.gateway.is_blocked = False
                goal = await last_applied(one)
                while await last_applied(three) < goal:
                    sizes.append(trio.received(3) or sizes[-1])
                assert three.node.raft.snapshot == snapshot, "a newer one came between"
                assert sizes[0] > KEYS * len(VALUE) // 4
                assert sizes == sorted(sizes), "it began anew"
                for key in ("key-0", f"key-{KEYS - 1}"):
                    assert await call(three, "GET", key) == VALUE

    run_on_loop(test)


def test_a_snapshot_that_is_damaged_on_the_leaders_disk_is_replaced(
    trio: Trio, run_on_loop: Run
) -> None:
    async def test() -> None:
        async with trio.node(1) as one, trio.node(2) as two:
            for number in range(KEYS):
                assert await call(one, "SET", f"key-{number}", VALUE) == b"+OK"
            for server in (one, two):
                while server.node.status().raft_state_bytes > SETTINGS.max_raft_state:
                    await call(server, "PING")
            leader, number = (one, 1) if one.node.raft.is_leader else (two, 2)
            path = trio.damage_snapshot(number)
            damaged = leader.node.raft.snapshot.index
            async with trio.gateway_open(), trio.node(3) as three:
                goal = await last_applied(one)
                while await last_applied(three) < goal:
                    await call(three, "PING")
                assert await call(three, "GET", "key-0") == VALUE
            assert leader.node.raft.snapshot.index > damaged
            (warning,) = leader.warnings
            assert warning.startswith(f"{path} is damaged at byte ")

    run_on_loop(test)
