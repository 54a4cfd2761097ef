"""The driver and snapshots: they are taken beside the clients' commands, and read at a start."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

import msgspec

from quorate.replica.snapshot_taker import SnapshotSettings
from quorate.runtime.snapshot_worker import SECTIONS_AT_A_TIME
from quorate.storage.errors import DiskFullError
from quorate.wire.resp_client import encode_command

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Awaitable, Callable

    from tests.runtime.conftest import LoopServer, NewServer, WatchedDisk

    Run = Callable[[Callable[[], Awaitable[None]]], None]

EAGER = SnapshotSettings(max_raft_state=20_000)
OFTEN = SnapshotSettings(max_raft_state=20_000, pause_us=0, retry_us=1)


class Client:
    """A client of a server, one command at a time."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer

    @classmethod
    async def of(cls, server: LoopServer) -> Client:
        return cls(*await server.connect())

    async def call(self, *arguments: bytes | str | int) -> bytes:
        self._writer.write(encode_command(*arguments))
        line = (await self._reader.readline()).rstrip()
        if not line.startswith(b"$"):
            return line
        return (await self._reader.readexactly(int(line[1:]) + 2))[:-2]

    async def last_applied(self) -> int:
        status = msgspec.json.decode(await self.call("QUORATE.STATUS"))
        return int(status["last_applied"])

    def close(self) -> None:
        self._writer.close()


def snapshots(disk: WatchedDisk) -> list[str]:
    return sorted(name for name in disk.names() if name.endswith(".snapshot"))


async def fill(server: LoopServer, *, keys: int, size: int) -> None:
    client = await Client.of(server)
    for key in range(keys):
        assert await client.call("SET", f"key-{key}", bytes(size)) == b"+OK"
    client.close()


def test_snapshots_take_the_place_of_the_log_while_commands_go_on(
    new_server: NewServer, disk: WatchedDisk, run_on_loop: Run
) -> None:
    async def write() -> None:
        async with new_server(snapshots=OFTEN, segment_size=8192) as server:
            seen = set()
            client = await Client.of(server)
            for number in range(300):
                value = b"%d" % number * 300
                assert await client.call("SET", f"key-{number % 10}", value) == b"+OK"
                seen |= set(snapshots(disk))
            client.close()
            assert len(seen) > 10
            assert sum(name.endswith(".wal") for name in disk.names()) < 20
            assert server.failure is None

    async def read() -> None:
        async with new_server(snapshots=OFTEN, segment_size=8192) as server:
            client = await Client.of(server)
            for number in range(290, 300):
                assert await client.call("GET", f"key-{number % 10}") == b"%d" % number * 300
            client.close()

    run_on_loop(write)
    run_on_loop(read)


def test_a_full_disk_costs_the_snapshot_and_nothing_else(
    new_server: NewServer, disk: WatchedDisk, run_on_loop: Run
) -> None:
    def full_for_snapshots() -> None:
        if threading.current_thread().name.startswith("snapshots"):
            raise DiskFullError("snapshot.own", "write to")

    async def test() -> None:
        async with new_server(snapshots=OFTEN) as server:
            disk.before_write = full_for_snapshots
            await fill(server, keys=100, size=1000)
            assert server.warnings
            assert all("no snapshot can be taken" in text for text in server.warnings)
            assert not snapshots(disk)
            disk.before_write = lambda: None
            await fill(server, keys=100, size=1000)
            assert snapshots(disk)
            assert server.failure is None

    run_on_loop(test)


def test_a_large_state_is_restored_by_and_by_while_the_node_goes_on(
    new_server: NewServer, run_on_loop: Run
) -> None:
    sections = 10 * SECTIONS_AT_A_TIME

    async def write() -> None:
        async with new_server(snapshots=EAGER) as server:
            await fill(server, keys=sections, size=64 * 1024)
            client = await Client.of(server)
            while await client.call("SET", "last", "value") == b"+OK":
                if server.node.raft.snapshot.index > sections:
                    break
            client.close()

    async def read() -> None:
        async with new_server(snapshots=EAGER) as server:
            client = await Client.of(server)
            answered = 0
            while not await client.last_applied():
                answered += 1
            assert answered > 5, "it was restored in one go"
            assert await client.call("GET", f"key-{sections - 1}") == bytes(64 * 1024)
            assert await client.call("GET", "last") == b"value"
            client.close()
            assert server.failure is None

    run_on_loop(write)
    run_on_loop(read)
