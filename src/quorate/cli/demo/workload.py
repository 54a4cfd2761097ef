"""The clients of the demo: Clerks that append all the time, and write down what they are told."""

import asyncio
from collections.abc import Sequence

from quorate.clerk.errors import NotExecutedError, OutcomeUnknownError
from quorate.cli.demo.verification import KeyRecord
from quorate.runtime.async_clerk import AsyncClerk

CLERKS = 6
KEYS_PER_CLERK = 8
APPEND_TIMEOUT_S = 15.0
"""Longer than any pause that the demo causes: a Clerk does not give up, it repeats."""


class Workload:
    """Several Clerks, each appending to keys of its own; one append at a time for each key.

    At 20,000 appends a second, 48 keys reach the limit of 1 MiB for a value after three minutes.

    Args:
        servers: the client addresses of the cluster.
    """

    def __init__(self, servers: Sequence[str]) -> None:
        self._servers = servers
        self._records = {
            clerk: [KeyRecord(b"c%d.k%d" % (clerk, key)) for key in range(1, KEYS_PER_CLERK + 1)]
            for clerk in range(1, CLERKS + 1)
        }
        self._acknowledged = 0
        self._last_at = 0.0
        self._longest_pause_s = 0.0
        self._is_stopping = False
        self._tasks: list[asyncio.Task[None]] = []

    @property
    def records(self) -> list[KeyRecord]:
        """What is known of each key."""
        return [record for records in self._records.values() for record in records]

    @property
    def acknowledged(self) -> int:
        """How many appends were acknowledged."""
        return self._acknowledged

    def start(self) -> None:
        """Begins to append."""
        self._tasks = [
            asyncio.create_task(self._run_clerk(records)) for records in self._records.values()
        ]

    async def stop(self) -> None:
        """Begins no more appends, and waits for those under way."""
        self._is_stopping = True
        await asyncio.gather(*self._tasks)

    def cancel(self) -> None:
        """Ends at once; what was under way stays unrecorded."""
        for task in self._tasks:
            task.cancel()

    # ------------------------------------------------------------------ pauses

    def watch_pause(self) -> None:
        """Begins to measure the longest time without an acknowledgement."""
        self._last_at = asyncio.get_running_loop().time()
        self._longest_pause_s = 0.0

    @property
    def longest_pause_s(self) -> float:
        """The longest time since `watch_pause` in which no Clerk got any acknowledgement."""
        return self._longest_pause_s

    def _note_acknowledged(self) -> None:
        now = asyncio.get_running_loop().time()
        self._longest_pause_s = max(self._longest_pause_s, now - self._last_at)
        self._last_at = now
        self._acknowledged += 1

    # ------------------------------------------------------------------ the Clerks

    async def _run_clerk(self, records: list[KeyRecord]) -> None:
        async with AsyncClerk(self._servers) as clerk:
            await asyncio.gather(*(self._append_all_the_time(clerk, record) for record in records))

    async def _append_all_the_time(self, clerk: AsyncClerk, record: KeyRecord) -> None:
        while not self._is_stopping:
            record.sent += 1
            number = record.sent
            try:
                await clerk.append(record.key, record.element(number), timeout=APPEND_TIMEOUT_S)
            except NotExecutedError:
                record.refused.append(number)
            except OutcomeUnknownError:
                record.unknown.append(number)
            else:
                record.acknowledged.append(number)
                self._note_acknowledged()
