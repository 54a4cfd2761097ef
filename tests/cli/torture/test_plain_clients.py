"""redis-py as it is by default: what it sends again by itself is written down each time."""

import asyncio
import random
import threading
from collections.abc import Callable

import hiredis

from quorate.checker import Kind
from quorate.cli.torture.ledger import Fate, Ledger
from quorate.cli.torture.plain_clients import PlainClient

HELLO = b"%1\r\n$5\r\nproto\r\n:3\r\n"
ANSWERS = {b"GET": b"_\r\n", b"SET": b"+OK\r\n", b"APPEND": b":5\r\n", b"DEL": b":1\r\n"}
ENOUGH = 30


class Server:
    """Answers as the test wants; it knows no keys.

    Args:
        answer: to a command that reads or writes, by how many came before; None: it hangs up.
    """

    def __init__(self, answer: Callable[[int, bytes], bytes | None]) -> None:
        self._answer = answer
        self.commands: list[bytes] = []

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        parser = hiredis.Reader()
        while data := await reader.read(4096):
            parser.feed(data)
            while (command := parser.gets()) is not False:
                reply = self._reply(command[0])
                if reply is None:
                    writer.close()
                    return
                writer.write(reply)
        writer.close()

    def _reply(self, name: bytes) -> bytes | None:
        if name not in ANSWERS:
            return HELLO if name == b"HELLO" else b"+OK\r\n"
        self.commands.append(name)
        return self._answer(len(self.commands), name)


def use(answer: Callable[[int, bytes], bytes | None]) -> tuple[Server, Ledger]:
    """A client makes some calls to such a server."""
    server, ledger = Server(answer), Ledger(random.Random(1))

    async def run() -> None:
        listening = await asyncio.start_server(server.serve, "127.0.0.1", 0)
        port = listening.sockets[0].getsockname()[1]
        client = PlainClient([f"127.0.0.1:{port}"], "A", ledger, random.Random(1))
        stopping = threading.Event()
        work = asyncio.create_task(asyncio.to_thread(client.run, stopping))
        async with asyncio.timeout(30):
            while len(ledger.endings) < ENOUGH:  # noqa: ASYNC110 - another thread
                await asyncio.sleep(0.01)
        stopping.set()
        await work
        listening.close()

    asyncio.run(run())
    return server, ledger


def writes(ledger: Ledger) -> int:
    return sum(o.kind is not Kind.GET for h in ledger.histories for o in h.operations)


def test_each_sending_is_written_down_also_those_that_nobody_has_asked_for() -> None:
    server, ledger = use(lambda number, name: None if number % 3 == 1 else ANSWERS[name])
    assert {ending.fate for ending in ledger.endings} == {Fate.ACKNOWLEDGED}
    assert ledger.resent > ENOUGH // 3
    assert writes(ledger) == sum(name != b"GET" for name in server.commands)
    assert ledger.surprises == []


def test_errors_are_taken_at_their_word() -> None:
    errors = [b"-UNKNOWN x\r\n", b"-NOTEXECUTED x\r\n", b"-NOTLEADER x\r\n"]
    server, ledger = use(
        lambda number, name: b"-UNAVAILABLE x\r\n" if name == b"GET" else errors[number % 3]
    )
    assert {ending.fate for ending in ledger.endings} == {Fate.UNKNOWN, Fate.NOT_EXECUTED}
    assert len(server.commands) == len(ledger.endings)
    assert ledger.resent == 0
    assert ledger.surprises == []
    unknown = sum(e.fate is Fate.UNKNOWN and e.kind is not Kind.GET for e in ledger.endings)
    assert writes(ledger) == unknown


def test_an_answer_that_nobody_should_get_is_a_surprise() -> None:
    _, ledger = use(lambda _number, _name: b"-ERR something else\r\n")
    assert "A: something else" in ledger.surprises
