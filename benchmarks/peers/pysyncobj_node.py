"""A node of a PySyncObj cluster that speaks RESP: `SET`, and `PING` to ask who leads.

    python pysyncobj_node.py OWN_PEER OTHER_PEER,OTHER_PEER CLIENT_PORT

It runs in an environment of its own, with PySyncObj in it, and imports nothing of Quorate.
PySyncObj does not sync its journal, so it runs without one. Its periods are as short as they help.
"""

import asyncio
import sys

import hiredis
import uvloop
from pysyncobj import SyncObj, SyncObjConf, replicated

PERIOD_S = 0.001


class Store(SyncObj):
    """The replicated state."""

    def __init__(self, me: str, others: list[str]) -> None:
        settings = SyncObjConf(autoTickPeriod=PERIOD_S, appendEntriesPeriod=PERIOD_S)
        super().__init__(me, others, settings)
        self._values: dict[bytes, bytes] = {}

    @replicated
    def set(self, key: bytes, value: bytes) -> None:
        """Writes a value."""
        self._values[key] = value


class Client(asyncio.Protocol):
    """A connection."""

    def __init__(self, store: Store, loop: asyncio.AbstractEventLoop) -> None:
        self._store = store
        self._loop = loop
        self._reader = hiredis.Reader()

    def connection_made(self, transport: asyncio.Transport) -> None:
        """See asyncio."""
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        """See asyncio."""
        self._reader.feed(data)
        while (command := self._reader.gets()) is not False:
            match command:
                case [b"SET", key, value]:
                    self._store.set(key, value, callback=self._answer)
                case [b"PING"]:
                    leads = self._store._isLeader()  # noqa: SLF001 - there is no other way to ask
                    self._transport.write(b"+leader\r\n" if leads else b"+follower\r\n")
                case _:
                    self._transport.write(b"*0\r\n")

    def _answer(self, _result: None, failure: int) -> None:
        # In the thread in which PySyncObj waits for its sockets.
        reply = b"-ERR %d\r\n" % failure if failure else b"+OK\r\n"
        self._loop.call_soon_threadsafe(self._transport.write, reply)


async def main(me: str, others: str, port: str) -> None:
    """Serves for ever."""
    store = Store(me, others.split(","))
    loop = asyncio.get_running_loop()
    await loop.create_server(lambda: Client(store, loop), "127.0.0.1", int(port))
    await asyncio.Event().wait()


if __name__ == "__main__":
    uvloop.run(main(*sys.argv[1:]))
