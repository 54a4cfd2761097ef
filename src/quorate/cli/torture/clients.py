"""All clients of a torture, of each kind some: AsyncClerks, Clerks, and plain redis-py."""

import asyncio
import contextlib
import random
import threading
from collections.abc import Callable, Sequence
from functools import partial

from quorate.cli.torture.clerks import run_async_clerk, run_clerk
from quorate.cli.torture.ledger import Ledger
from quorate.cli.torture.plain_clients import PlainClient

ASYNC_CLERKS = 3
TASKS = 6
"""So many tasks share an AsyncClerk."""
CLERKS = 2
PLAIN_CLIENTS = 4
_ENDS_WITHIN_S = 60.0
"""When they are to stop, each has ended by then; a single call has at most 5 s."""


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
        self._work: dict[str, asyncio.Future[None]] = {}

    @property
    def names(self) -> set[str]:
        """Of those that have begun."""
        return set(self._work)

    def start(self) -> None:
        """Begins."""
        for number in range(1, ASYNC_CLERKS + 1):
            name = f"AsyncClerk-{number}"
            words = (self._servers, name, TASKS, self._ledger, self._new_rng(), self._stopping)
            self._work[name] = asyncio.create_task(run_async_clerk(*words))
        for number in range(1, CLERKS + 1):
            name = f"Clerk-{number}"
            work = partial(run_clerk, self._servers, name, self._ledger, self._new_rng())
            self._work[name] = _in_thread(partial(work, self._stopping))
        for number in range(1, PLAIN_CLIENTS + 1):
            name = f"redis-py-{number}"
            plain = PlainClient(self._servers, name, self._ledger, self._new_rng())
            self._work[name] = _in_thread(partial(plain.run, self._stopping))

    async def stop(self) -> None:
        """Begins nothing more, and waits for what is under way; who does not end is a surprise."""
        self._stopping.set()
        await asyncio.wait(self._work.values(), timeout=_ENDS_WITHIN_S)
        for name, work in self._work.items():
            if not work.done():
                self._ledger.surprise(
                    f"{name} has not ended {_ENDS_WITHIN_S:g} s after it was to stop"
                )
            elif (error := work.exception()) is not None:
                self._ledger.surprise(f"{name} has died: {error!r}")

    def cancel(self) -> None:
        """Ends as soon as possible; what was under way stays unrecorded."""
        self._stopping.set()
        for work in self._work.values():
            work.cancel()

    def _new_rng(self) -> random.Random:
        return random.Random(self._rng.random())


def _in_thread(work: Callable[[], None]) -> asyncio.Future[None]:
    """Works in a thread that nobody waits for when the program ends."""
    loop = asyncio.get_running_loop()
    done = loop.create_future()

    def tell(error: BaseException | None) -> None:
        if done.cancelled():
            return
        if error is None:
            done.set_result(None)
        else:
            done.set_exception(error)

    def run() -> None:
        error: BaseException | None = None
        try:
            work()
        except Exception as raised:  # noqa: BLE001 - whoever waits for it is told
            error = raised
        with contextlib.suppress(RuntimeError):  # nobody waits any more
            loop.call_soon_threadsafe(tell, error)

    threading.Thread(target=run, daemon=True).start()
    return done
