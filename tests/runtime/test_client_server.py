"""What a server keeps for clients on real sockets: replies not taken in, requests not looked at."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import tracemalloc
from typing import TYPE_CHECKING

import pytest

from quorate.node.limits import NodeLimits
from quorate.runtime.clients import MAX_UNTAKEN_BYTES, READ_BYTES, SLICE_BYTES
from quorate.wire.resp_client import encode_command

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Iterator

    from tests.runtime.conftest import LoopServer, NewServer

    Run = Callable[[Callable[[], Awaitable[None]]], None]

MIB = 1024 * 1024
GET_LARGE = encode_command("GET", "large")
LARGE_REPLY = b"$%d\r\n%b\r\n" % (MIB, b"v" * MIB)


@pytest.fixture
def traced() -> Iterator[Callable[[], int]]:
    """The memory that Python objects of this process have, in bytes."""
    tracemalloc.start()
    yield lambda: tracemalloc.get_traced_memory()[0]
    tracemalloc.stop()


async def set_large(server: LoopServer) -> None:
    """Gives `large` a value of 1 MiB."""
    reader, writer = await server.connect()
    writer.write(encode_command("SET", "large", b"v" * MIB))
    assert await reader.readline() == b"+OK\r\n"
    writer.close()


async def until_at_rest(server: LoopServer) -> None:
    """Until the server has done all that it can for the others: it answers at once, often."""
    reader, writer = await server.connect()
    await ping_often(reader, writer)
    writer.close()


async def ping_often(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    for _ in range(300):
        writer.write(encode_command("PING"))
        assert await reader.readline() == b"+PONG\r\n"
        await asyncio.sleep(0.001)


@contextlib.asynccontextmanager
async def raw_client(server: LoopServer) -> AsyncIterator[socket.socket]:
    """A socket of which nothing is read unless the test reads."""
    with socket.socket() as client:
        client.setblocking(False)
        await asyncio.get_running_loop().sock_connect(client, ("127.0.0.1", server.port))
        yield client


async def read_to_the_end(client: socket.socket) -> bytes:
    loop = asyncio.get_running_loop()
    data = bytearray()
    while received := await loop.sock_recv(client, MIB):
        data += received
    return bytes(data)


# --------------------------------------------------------------------- replies


def test_of_a_reply_that_was_taken_in_but_for_its_end_only_the_end_is_kept(
    new_server: NewServer, run_on_loop: Run, traced: Callable[[], int]
) -> None:
    # A transport keeps the whole of what it was given. Here the systems' buffers take all but
    # some of most replies, so the node would keep a megabyte for each client, and count far less.
    limits = NodeLimits(node_output_bytes=6 * MIB, stalled_client_us=100_000_000)

    async def test() -> None:
        async with new_server(limits=limits) as server, contextlib.AsyncExitStack() as stack:
            await set_large(server)
            clients = [await stack.enter_async_context(raw_client(server)) for _ in range(20)]
            await until_at_rest(server)
            before = traced()
            for client in clients:
                client.send(GET_LARGE * 50)
            await until_at_rest(server)
            # One reply may be made when there is a byte of room.
            assert traced() - before < 8 * MIB

    run_on_loop(test)


@pytest.mark.parametrize(
    ("last", "answer"),
    [
        (encode_command("QUIT"), b"+OK\r\n"),
        (b"*1\r\n:5\r\n" + b"x" * 1000, b"-ERR Protocol error: expected '$', got ':'\r\n"),
    ],
    ids=["quit", "error"],
)
def test_replies_that_wait_are_sent_before_the_connection_ends(
    new_server: NewServer, run_on_loop: Run, last: bytes, answer: bytes
) -> None:
    async def test() -> None:
        async with new_server() as server, raw_client(server) as client:
            await set_large(server)
            client.send(GET_LARGE * 20 + last)
            await until_at_rest(server)
            assert await read_to_the_end(client) == LARGE_REPLY * 20 + answer
            assert server.failure is None

    run_on_loop(test)


def test_who_broke_the_protocol_and_sends_no_more_gets_the_replies_that_wait(
    new_server: NewServer, run_on_loop: Run
) -> None:
    # The node sees that he sends no more when it has ended the connection, but not sent all.
    async def test() -> None:
        async with new_server() as server, raw_client(server) as client:
            await set_large(server)
            client.send(encode_command("MGET", *["large"] * 16) + b"*1\r\n:5\r\n")
            client.shutdown(socket.SHUT_WR)
            await until_at_rest(server)
            replies = await read_to_the_end(client)
            expected = b"*16\r\n" + LARGE_REPLY * 16
            expected += b"-ERR Protocol error: expected '$', got ':'\r\n"
            assert len(replies) == len(expected)
            assert replies == expected
            assert server.failure is None

    run_on_loop(test)


def test_who_leaves_without_reading_leaves_nothing_behind(
    new_server: NewServer, run_on_loop: Run, traced: Callable[[], int]
) -> None:
    async def come_and_go(server: LoopServer) -> int:
        async with contextlib.AsyncExitStack() as stack:
            clients = [await stack.enter_async_context(raw_client(server)) for _ in range(5)]
            for client in clients:
                client.send(GET_LARGE * 20)
            await until_at_rest(server)
        await until_at_rest(server)
        return traced()

    async def test() -> None:
        async with new_server() as server:
            await set_large(server)
            before = await come_and_go(server)
            assert await come_and_go(server) < before + MIB // 2
            assert server.failure is None

    run_on_loop(test)


def test_who_leaves_makes_room_at_once_for_those_who_wait(
    new_server: NewServer, run_on_loop: Run
) -> None:
    limits = NodeLimits(node_output_bytes=MIB, stalled_client_us=100_000_000)

    async def test() -> None:
        async with new_server(limits=limits) as server:
            await set_large(server)
            reader, writer = await server.connect()
            other_reader, other_writer = await server.connect()  # to the end: a close is a turn
            async with raw_client(server) as client:
                client.send(encode_command("MGET", *["large"] * 16))
                await ping_often(other_reader, other_writer)
                writer.write(encode_command("GET", "small"))
                await ping_often(other_reader, other_writer)
            assert await reader.readline() == b"$-1\r\n"
            writer.close()
            other_writer.close()

    run_on_loop(test)


# --------------------------------------------------------------------- requests


def test_what_was_read_and_not_taken_in_is_bounded_for_all_clients_together(
    new_server: NewServer, run_on_loop: Run, traced: Callable[[], int]
) -> None:
    limits = NodeLimits(connection_pending=10, node_output_bytes=MIB, stalled_client_us=100_000_000)

    async def test() -> None:
        async with new_server(limits=limits) as server, contextlib.AsyncExitStack() as stack:
            await set_large(server)
            clients = [await stack.enter_async_context(raw_client(server)) for _ in range(250)]
            await until_at_rest(server)
            before = traced()
            for _ in range(3):
                for client in clients:
                    with contextlib.suppress(BlockingIOError):
                        client.send(GET_LARGE * (READ_BYTES // len(GET_LARGE)))
                await until_at_rest(server)
            # Besides, each has the requests of a slice, about seven times as large when parsed.
            parsed = len(clients) * 10 * SLICE_BYTES
            assert MAX_UNTAKEN_BYTES < traced() - before < MAX_UNTAKEN_BYTES + parsed
            # Others are read from all the same, and what is long comes by small pieces.
            reader, writer = await server.connect()
            writer.write(encode_command("SET", "k", b"v" * (MIB - 1)))
            writer.write(encode_command("APPEND", "k", b"v"))
            assert await reader.readline() == b"+OK\r\n"
            assert await reader.readline() == b":%d\r\n" % MIB
            writer.close()

    run_on_loop(test)
