"""A steady load of appends by all three kinds of clients, with what each call took and became.

Clerks and AsyncClerks do what they do by themselves. A plain redis-py client is written as a
careful user would: it repeats nothing but what a node refused, or did not answer before it closed
the connection: a node that is stopped answers what it has read first. Then it goes to another node.
"""

from __future__ import annotations

import asyncio
import itertools
import time
from collections import Counter
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, NamedTuple

import redis
import redis.exceptions
from redis.backoff import NoBackoff
from redis.retry import Retry
from tests.integration.crew import Crew

from quorate.clerk.errors import ClerkError, OutcomeUnknownError
from quorate.runtime.async_clerk import AsyncClerk
from quorate.runtime.clerk import Clerk

if TYPE_CHECKING:
    from tests.integration.conftest import Ledger
    from tests.integration.machine_stalls import MachineStalls

KEYS = 4
OF_EACH_KIND = 3
PAUSE_S = 0.004
"""Between a client's calls: the load is steady, not all that the machine can bear."""
CALL_TIMEOUT_S = 20.0


class Call(NamedTuple):
    """An append: which kind of client made it, when, and for how long it waited."""

    kind: str
    began: float
    seconds: float


class SteadyLoad(Crew):
    """Clients that append to a few common keys until the context is left.

    Args:
        servers: the addresses of all nodes that there will ever be.
        ledger: told what became of each append.
        prefix: of the keys.

    Attributes:
        calls: those that were acknowledged.
        failures: errors that a client's caller got to see.
        repeated: why plain clients sent a command again, and how often.
    """

    def __init__(self, servers: list[str], ledger: Ledger, prefix: str) -> None:
        self.keys = [f"{prefix}-{number}" for number in range(KEYS)]
        self.calls: list[Call] = []
        self.failures: list[str] = []
        self.repeated: Counter[str] = Counter()
        self._servers = servers
        self._ledger = ledger
        super().__init__([self._clerk, self._async_clerks, self._plain] * OF_EACH_KIND)

    # ------------------------------------------------------------------ what it was like

    @property
    def count(self) -> int:
        """How many appends were acknowledged so far."""
        return len(self.calls)

    def percentile(self, kind: str, share: float) -> float:
        """So many of the calls of this kind of client took no longer than this, in seconds."""
        seconds = sorted(call.seconds for call in self.calls if call.kind == kind)
        return seconds[min(len(seconds) - 1, int(share * len(seconds)))]

    @property
    def longest_gap_s(self) -> float:
        """For how long no append of any client was acknowledged."""
        return max(later - earlier for earlier, later in self._gaps())

    def longest_gap_beyond_s(self, stalls: MachineStalls) -> float:
        """The same without the time for which the machine was stalled."""
        return max(
            later - earlier - stalls.within(earlier, later) for earlier, later in self._gaps()
        )

    def _gaps(self) -> Iterator[tuple[float, float]]:
        return itertools.pairwise(sorted(call.began + call.seconds for call in self.calls))

    def report(self) -> str:
        kinds = sorted({call.kind for call in self.calls})
        latencies = "; ".join(
            f"{kind}: p50 {self.percentile(kind, 0.5) * 1000:.1f}, "
            f"p99 {self.percentile(kind, 0.99) * 1000:.1f}, "
            f"max {self.percentile(kind, 1) * 1000:.1f} ms"
            for kind in kinds
        )
        return (
            f"{self.count} appends; {latencies}; longest gap {self.longest_gap_s * 1000:.0f} ms; "
            f"failed: {dict(Counter(self.failures))}; plain clients repeated {dict(self.repeated)}"
        )

    # ------------------------------------------------------------------ the clients

    def _acknowledged(self, kind: str, client: int, number: int, began: float) -> None:
        self._ledger.acknowledge(client, number)
        self.calls.append(Call(kind, began, time.perf_counter() - began))

    def _failed(self, client: int, number: int, error: Exception) -> None:
        self.failures.append(f"{type(error).__name__}: {error}")
        if isinstance(error, OutcomeUnknownError | redis.exceptions.RedisError):
            self._ledger.leave_open(client, number)

    def _clerk(self, client: int) -> None:
        number = 0
        with Clerk(self._servers) as clerk:
            while not self.stopping.wait(PAUSE_S):
                began = time.perf_counter()
                element = self._ledger.element(client, number)
                try:
                    clerk.append(self.keys[number % KEYS], element, timeout=CALL_TIMEOUT_S)
                except ClerkError as error:
                    self._failed(client, number, error)
                else:
                    self._acknowledged("Clerk", client, number, began)
                number += 1

    def _async_clerks(self, client: int) -> None:
        asyncio.run(self._async_clerk(client))

    async def _async_clerk(self, client: int) -> None:
        number = 0
        async with AsyncClerk(self._servers) as clerk:
            while not self.stopping.is_set():
                began = time.perf_counter()
                element = self._ledger.element(client, number)
                try:
                    await clerk.append(self.keys[number % KEYS], element, timeout=CALL_TIMEOUT_S)
                except ClerkError as error:
                    self._failed(client, number, error)
                else:
                    self._acknowledged("AsyncClerk", client, number, began)
                number += 1
                await asyncio.sleep(PAUSE_S)

    def _plain(self, client: int) -> None:
        number = 0
        plain = PlainClient(
            self._servers,
            first=client // OF_EACH_KIND,
            repeated=self.repeated,
            pause=lambda: self.stopping.wait(PAUSE_S),
        )
        while not self.stopping.wait(PAUSE_S):
            began = time.perf_counter()
            element = self._ledger.element(client, number)
            try:
                plain.append(self.keys[number % KEYS], element, until=began + CALL_TIMEOUT_S)
            except redis.exceptions.RedisError as error:
                self._failed(client, number, error)
            else:
                self._acknowledged("redis-py", client, number, began)
            number += 1
        plain.close()


class PlainClient:
    """redis-py with one connection, which goes to the next node when that is closed."""

    def __init__(
        self,
        servers: list[str],
        *,
        first: int,
        repeated: Counter[str],
        pause: Callable[[], object],
    ) -> None:
        self._servers = servers
        self._next = first % len(servers)
        self._repeated = repeated
        self._pause = pause
        self._redis = self._connect()

    def append(self, key: str, element: bytes, *, until: float) -> None:
        while True:
            try:
                self._redis.append(key, element)
            except redis.exceptions.TimeoutError:
                raise
            except redis.exceptions.ConnectionError as error:
                # Refused, or closed by a node that stops; which has answered what it has read.
                self._repeat("refused" if "refused" in str(error) else "closed", until, error)
                self._move()
            except redis.exceptions.ResponseError as error:
                code = str(error).split(" ")[0]
                if code not in {"NOTEXECUTED", "NOTLEADER"}:
                    raise
                self._repeat(code, until, error)
                self._move()
            else:
                return

    def close(self) -> None:
        self._redis.close()

    def _repeat(self, why: str, until: float, error: Exception) -> None:
        if time.perf_counter() >= until:
            raise error
        self._repeated[why] += 1
        self._pause()

    def _move(self) -> None:
        self._redis.close()
        self._next = (self._next + 1) % len(self._servers)
        self._redis = self._connect()

    def _connect(self) -> redis.Redis:
        host, _, port = self._servers[self._next].rpartition(":")
        return redis.Redis(host, int(port), retry=Retry(NoBackoff(), 0))


def await_appends(load: SteadyLoad, more: int, eventually: Callable[..., object]) -> None:
    """Until so many more appends were acknowledged."""
    goal = load.count + more
    eventually(lambda: load.count >= goal, f"{more} more appends")
