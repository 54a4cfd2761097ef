"""All clients of a torture, of each kind some: AsyncClerks, Clerks, and plain redis-py."""

import asyncio
import random
import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

from quorate.cli.torture.clerks import run_async_clerk, run_clerk
from quorate.cli.torture.ledger import Ledger
from quorate.cli.torture.plain_clients import PlainClient

ASYNC_CLERKS = 3
TASKS = 6
"""So many tasks share an AsyncClerk."""
CLERKS = 2
PLAIN_CLIENTS = 4


class Clients:
    """They are at work until they are stopped.

    Args:
        servers: the nodes' client addresses.
        ledger: where all is written down.
        rng: for their choices.
    """

    def __init__(self, servers: Sequence[str], ledger: Ledger, rng: random.Random) -> None:
        self._servers = servers
        self._ledger = ledger
        self._rng = rng
        self._stopping = threading.Event()
        self._threads = ThreadPoolExecutor(CLERKS + PLAIN_CLIENTS, thread_name_prefix="client")
        self._work: list[asyncio.Future[None]] = []

    def start(self) -> None:
        """Begins."""
        for number in range(1, ASYNC_CLERKS + 1):
            work = run_async_clerk(
                self._servers,
                f"AsyncClerk-{number}",
                TASKS,
                self._ledger,
                self._new_rng(),
                self._stopping,
            )
            self._work.append(asyncio.create_task(work))
        loop = asyncio.get_running_loop()
        for number in range(1, CLERKS + 1):
            words = (self._servers, f"Clerk-{number}", self._ledger, self._new_rng())
            self._work.append(
                loop.run_in_executor(self._threads, run_clerk, *words, self._stopping)
            )
        for number in range(1, PLAIN_CLIENTS + 1):
            plain = PlainClient(self._servers, f"redis-py-{number}", self._ledger, self._new_rng())
            self._work.append(loop.run_in_executor(self._threads, plain.run, self._stopping))

    async def stop(self) -> None:
        """Begins nothing more, and waits for what is under way."""
        self._stopping.set()
        await asyncio.gather(*self._work)
        self._threads.shutdown()

    def cancel(self) -> None:
        """Ends as soon as possible; what was under way stays unrecorded."""
        self._stopping.set()
        for work in self._work:
            work.cancel()

    def _new_rng(self) -> random.Random:
        return random.Random(self._rng.random())
