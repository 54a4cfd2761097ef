"""The driver: one node on an event loop, its clients on real sockets, its log on a real disk."""

from __future__ import annotations

import asyncio
import contextlib
import time
from typing import TYPE_CHECKING

import msgspec
import pytest

from quorate.node.limits import NodeLimits
from quorate.runtime import driver
from quorate.runtime.clients import SLICE_BYTES
from quorate.runtime.log_writer import SLOW_SYNC_S
from quorate.storage.errors import DiskFailedError, DiskFullError, StorageError
from quorate.wire.resp_client import encode_command

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from tests.runtime.conftest import LoopServer, NewServer, WatchedDisk

    Run = Callable[[Callable[[], Awaitable[None]]], None]

SET = encode_command("SET", "k", "v")


def take_long() -> None:
    time.sleep(2 * SLOW_SYNC_S)  # what a disk does that is slow


async def serving(server: LoopServer) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """A connection to a server that leads."""
    reader, writer = await server.connect()
    writer.write(SET)
    assert await reader.readline() == b"+OK\r\n"
    return reader, writer


# --------------------------------------------------------------------- the disk


def test_what_is_acknowledged_is_on_the_disk(new_server: NewServer, run_on_loop: Run) -> None:
    async def write() -> None:
        async with new_server() as server:
            reader, writer = await serving(server)
            writer.write(b"".join(encode_command("APPEND", "k", f"{n};") for n in range(500)))
            writer.write(encode_command("GET", "k"))
            for _ in range(500):
                await reader.readline()
            await reader.readline()
            assert await reader.readline() == b"v%b\r\n" % expected
            writer.close()

    async def read() -> None:
        async with new_server() as server:
            reader, writer = await server.connect()
            writer.write(encode_command("GET", "k"))
            await reader.readline()
            assert await reader.readline() == b"v%b\r\n" % expected
            writer.close()

    expected = b"".join(b"%d;" % n for n in range(500))
    run_on_loop(write)
    run_on_loop(read)


def test_a_slow_disk_holds_up_writes_but_nothing_else_and_quick_ones_follow(
    new_server: NewServer, disk: WatchedDisk, run_on_loop: Run
) -> None:
    async def test() -> None:
        async with new_server() as server:
            reader, writer = await serving(server)
            disk.before_sync = take_long
            writer.write(SET)
            assert await reader.readline() == b"+OK\r\n"  # this one was slow on the loop
            disk.before_sync = lambda: time.sleep(0.5)
            began = time.perf_counter()
            writer.write(SET)
            other_reader, other_writer = await server.connect()
            other_writer.write(b"PING\r\n")
            assert await other_reader.readline() == b"+PONG\r\n"
            assert time.perf_counter() - began < 0.4
            assert await reader.readline() == b"+OK\r\n"
            assert time.perf_counter() - began > 0.49
            disk.before_sync = lambda: None
            for _ in range(100):
                writer.write(SET)
                assert await reader.readline() == b"+OK\r\n"
            writer.close()
            other_writer.close()
            assert server.failure is None

    run_on_loop(test)


@pytest.mark.parametrize("is_slow", [False, True], ids=["on the loop", "in the thread"])
@pytest.mark.parametrize(
    "error",
    [DiskFailedError("0000000001.wal", "sync", "I/O error"), DiskFullError("wal", "write to")],
    ids=["failed sync", "full disk"],
)
def test_what_could_not_be_written_is_not_acknowledged(
    new_server: NewServer,
    disk: WatchedDisk,
    run_on_loop: Run,
    error: StorageError,
    is_slow: bool,  # noqa: FBT001 - a parameter of pytest
) -> None:
    def fail() -> None:
        raise error

    async def test() -> None:
        async with new_server() as server:
            reader, writer = await serving(server)
            if is_slow:
                disk.before_sync = take_long
                writer.write(SET)
                assert await reader.readline() == b"+OK\r\n"
            if isinstance(error, DiskFullError):
                disk.before_write = fail
            else:
                disk.before_sync = fail
            writer.write(SET)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(0.2):
                    assert await reader.readline() == b"", "acknowledged"
            assert server.failure is error
            writer.close()

    run_on_loop(test)


# --------------------------------------------------------------------- clients


def test_half_a_connection_gets_its_replies_and_then_its_end(
    new_server: NewServer, run_on_loop: Run
) -> None:
    async def test() -> None:
        async with new_server() as server:
            reader, writer = await serving(server)
            writer.write(SET * 100 + encode_command("GET", "k"))
            writer.write_eof()
            assert await reader.read() == b"+OK\r\n" * 100 + b"$1\r\nv\r\n"
            writer.close()

    run_on_loop(test)


def test_an_error_of_the_protocol_is_sent_before_the_connection_ends(
    new_server: NewServer, run_on_loop: Run
) -> None:
    async def test() -> None:
        async with new_server() as server:
            reader, writer = await serving(server)
            writer.write(SET + b"*1\r\n$x\r\n" + SET)
            replies = await reader.read()
            assert replies == b"+OK\r\n-ERR Protocol error: invalid bulk length\r\n"
            writer.close()

    run_on_loop(test)


def test_a_client_is_not_read_from_while_it_has_too_much_unanswered(
    new_server: NewServer, disk: WatchedDisk, run_on_loop: Run
) -> None:
    # Nothing is answered as long as the disk syncs; so nothing more is taken in.
    limits = NodeLimits(connection_pending=100)

    async def test() -> None:
        async with new_server(limits=limits) as server:
            reader, writer = await serving(server)
            disk.before_sync = take_long
            writer.write(SET)
            await reader.readline()
            disk.before_sync = lambda: time.sleep(0.3)
            writer.write(SET)
            sent = 0
            request = encode_command("SET", "k", b"v" * 10_000)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(0.2):
                    while True:
                        writer.write(request * 10)
                        sent += 10
                        await writer.drain()
            assert writer.transport.get_write_buffer_size() > 0, "everything was taken"
            disk.before_sync = lambda: None
            for _ in range(sent + 1):
                assert await reader.readline() == b"+OK\r\n"
            writer.close()

    run_on_loop(test)


def test_a_client_that_does_not_read_gets_all_its_replies_when_it_does(
    new_server: NewServer, run_on_loop: Run
) -> None:
    async def test() -> None:
        async with new_server() as server:
            reader, writer = await serving(server)
            value = b"x" * 100_000
            writer.write(encode_command("SET", "large", value))
            await reader.readline()
            # The stream's buffer fills up, and then the kernel's.
            sending = asyncio.ensure_future(send(writer, encode_command("GET", "large") * 500))
            # Another client is served meanwhile.
            other_reader, other_writer = await server.connect()
            for _ in range(50):
                other_writer.write(SET)
                assert await other_reader.readline() == b"+OK\r\n"
            for _ in range(500):
                assert await reader.readline() == b"$100000\r\n"
                assert await reader.readexactly(100_002) == value + b"\r\n"
            await sending
            writer.close()
            other_writer.close()

    run_on_loop(test)


async def send(writer: asyncio.StreamWriter, data: bytes) -> None:
    writer.write(data)
    await writer.drain()


def test_floods_of_requests_are_taken_in_by_turns(new_server: NewServer, run_on_loop: Run) -> None:
    # All together they keep the node busy for many turns.
    async def test() -> None:
        async with new_server() as server:
            request = b"PING\r\n"
            count = 30 * SLICE_BYTES // len(request)
            floods = [await server.connect() for _ in range(10)]
            reader, writer = await serving(server)
            flood_began = time.perf_counter()
            for _, flood in floods:
                flood.write(request * count)
            slowest = 0.0
            for _ in range(20):
                began = time.perf_counter()
                writer.write(SET)
                assert await reader.readline() == b"+OK\r\n"
                slowest = max(slowest, time.perf_counter() - began)
            for flood_reader, flood in floods:
                assert await flood_reader.readexactly(7 * count) == b"+PONG\r\n" * count
                flood.close()
            assert slowest < (time.perf_counter() - flood_began) / 4
            writer.close()

    run_on_loop(test)


@pytest.mark.parametrize("ends", [False, True])
def test_long_replies_that_wait_for_their_turn_come_in_order_and_before_the_end(
    new_server: NewServer, run_on_loop: Run, monkeypatch: pytest.MonkeyPatch, *, ends: bool
) -> None:
    """All at once they kept a node from its peers for a third of a second."""
    monkeypatch.setattr("quorate.runtime.clients.REPLY_TIME_US", 0)
    turns = 0
    turn = driver.Driver._turn  # noqa: SLF001

    def counted(self: driver.Driver, *, submits: bool) -> None:
        nonlocal turns
        turns += 1
        turn(self, submits=submits)

    async def test() -> None:
        async with new_server() as server:
            value = b"x" * 100_000
            clients = [await serving(server) for _ in range(10)]
            _, writer = clients[0]
            writer.write(encode_command("SET", "large", value))
            await clients[0][0].readline()
            requests = encode_command("GET", "large") + b"PING\r\n" + encode_command("GET", "k")
            monkeypatch.setattr(driver.Driver, "_turn", counted)
            for _, writer in clients:
                writer.write(requests * 3)
                if ends:
                    writer.write(b"QUIT\r\n")
            expected = (b"$100000\r\n%b\r\n+PONG\r\n$1\r\nv\r\n" % value) * 3
            for reader, writer in clients:
                assert await reader.readexactly(len(expected)) == expected
                if ends:
                    assert await reader.read() == b"+OK\r\n"
                writer.close()
            assert turns > len(clients), "no turn sends more than one when its time is over"

    run_on_loop(test)


def test_a_request_of_many_slices_is_understood(new_server: NewServer, run_on_loop: Run) -> None:
    async def test() -> None:
        async with new_server() as server:
            reader, writer = await serving(server)
            value = bytes(range(256)) * 4 * 1024
            writer.write(encode_command("SET", "large", value) + encode_command("GET", "large"))
            assert await reader.readline() == b"+OK\r\n"
            assert await reader.readline() == b"$%d\r\n" % len(value)
            assert await reader.readexactly(len(value)) == value
            writer.close()

    run_on_loop(test)


def test_a_client_that_vanishes_leaves_nothing_behind(
    new_server: NewServer, run_on_loop: Run
) -> None:
    async def test() -> None:
        async with new_server() as server:
            reader, writer = await serving(server)
            for _ in range(20):
                _, flood = await server.connect()
                flood.write(SET * 10_000)
                await asyncio.sleep(0)
                flood.transport.abort()
            connections = 21
            while connections > 1:
                writer.write(encode_command("QUORATE.STATUS"))
                await reader.readline()
                connections = msgspec.json.decode(await reader.readline())["connections"]
            assert server.failure is None
            writer.close()

    run_on_loop(test)
