"""The ways between servers: real connections through real proxies."""

import asyncio
import contextlib
from collections.abc import AsyncIterator

import pytest

from quorate.clerk.addresses import parse_address
from quorate.cli.torture.ways import Way, Ways
from quorate.raft.configuration import NodeId
from quorate.runtime.cluster_file import ClusterFile

ONE, TWO, THREE = map(NodeId, (1, 2, 3))


async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while data := await reader.read(64 * 1024):
        writer.write(data)
    writer.close()


@contextlib.asynccontextmanager
async def way_to_echo() -> AsyncIterator[Way]:
    server = await asyncio.start_server(echo, "127.0.0.1", 0)
    way = Way(f"127.0.0.1:{server.sockets[0].getsockname()[1]}")
    await way.open()
    try:
        yield way
    finally:
        await way.close()
        server.close()


class Caller:
    """Who sends something on a way and waits for the echo."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    @classmethod
    async def on(cls, way: Way) -> "Caller":
        return cls(*await asyncio.open_connection(*parse_address(way.address)))

    async def hears(self, data: bytes) -> None:
        assert await asyncio.wait_for(self.reader.readexactly(len(data)), 10) == data

    async def hears_nothing(self) -> None:
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(self.reader.read(1), 0.1)

    async def is_cut_off(self) -> None:
        with contextlib.suppress(ConnectionResetError):
            assert await asyncio.wait_for(self.reader.read(1), 10) == b""


def test_what_is_sent_arrives_and_what_is_answered_comes_back() -> None:
    async def test() -> None:
        async with way_to_echo() as way:
            caller = await Caller.on(way)
            data = bytes(range(256)) * 4000
            caller.writer.write(data)
            await caller.hears(data)
            caller.writer.write_eof()
            assert await caller.reader.read() == b""

    asyncio.run(test())


def test_what_was_sent_before_the_end_arrives_before_it() -> None:
    async def test() -> None:
        received: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()

        async def take(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            received.set_result(await reader.read(-1))
            writer.close()

        server = await asyncio.start_server(take, "127.0.0.1", 0)
        way = Way(f"127.0.0.1:{server.sockets[0].getsockname()[1]}")
        await way.open()
        way.delay_s = 0.1
        caller = await Caller.on(way)
        caller.writer.write(b"good-bye")
        caller.writer.close()
        assert await asyncio.wait_for(received, 10) == b"good-bye"
        await way.close()
        server.close()

    asyncio.run(test())


def test_a_way_that_is_cut_holds_everything_back_until_it_is_mended() -> None:
    async def test() -> None:
        async with way_to_echo() as way:
            before = await Caller.on(way)
            way.cut()
            during = await Caller.on(way)  # as far as it can tell it is connected
            for caller in (before, during):
                caller.writer.write(b"hello")
                await caller.hears_nothing()
            way.mend()
            for caller in (before, during):
                await caller.hears(b"hello")

    asyncio.run(test())


def test_connections_that_are_broken_off_end_and_others_can_be_made() -> None:
    async def test() -> None:
        async with way_to_echo() as way:
            caller = await Caller.on(way)
            caller.writer.write(b"hello")
            await caller.hears(b"hello")
            way.break_off()
            await caller.is_cut_off()
            again = await Caller.on(way)
            again.writer.write(b"hello")
            await again.hears(b"hello")

    asyncio.run(test())


def test_a_caller_of_nobody_is_hung_up_on() -> None:
    async def test() -> None:
        (port,) = [m.peer for m in ClusterFile.of_ports([1], [2]).members]
        way = Way(port)
        await way.open()
        await (await Caller.on(way)).is_cut_off()
        await way.close()

    asyncio.run(test())


def test_with_a_delay_each_direction_takes_so_much_longer() -> None:
    async def test() -> None:
        loop = asyncio.get_running_loop()
        async with way_to_echo() as way:
            way.delay_s = 0.1
            caller = await Caller.on(way)
            began = loop.time()
            caller.writer.write(b"hello")
            await caller.hears(b"hello")
            assert loop.time() - began >= 0.2

    asyncio.run(test())


def test_a_slow_way_takes_its_time_for_what_comes_next() -> None:
    async def test() -> None:
        loop = asyncio.get_running_loop()
        async with way_to_echo() as way:
            way.bytes_per_s = 100_000
            caller = await Caller.on(way)
            began = loop.time()
            caller.writer.write(bytes(20_000))
            await caller.hears(bytes(20_000))
            caller.writer.write(b"hello")
            await caller.hears(b"hello")
            assert loop.time() - began >= 0.2

    asyncio.run(test())


def test_each_direction_of_each_pair_has_a_way_of_its_own() -> None:
    async def test() -> None:
        members = ClusterFile.of_ports([11, 12, 13], [21, 22, 23]).members
        ways = Ways(members)
        table = await ways.open()
        assert len(ways.all) == 6
        assert len({way.address for way in ways.all}) == 6
        assert table.way_to(ONE, "127.0.0.1:22") != table.way_to(THREE, "127.0.0.1:22")
        with pytest.raises(KeyError):
            table.way_to(ONE, "127.0.0.1:99")
        (there,) = ways.one_way([ONE], [TWO])
        assert there.address == table.way_to(ONE, "127.0.0.1:22")
        assert set(ways.between([ONE], [ONE, TWO, THREE])) == {
            *ways.one_way([ONE], [TWO, THREE]),
            *ways.one_way([TWO, THREE], [ONE]),
        }
        await ways.close()

    asyncio.run(test())
