"""How long this very process stood still: it carries all that the servers send each other.

Where the machine is overloaded, gaps in the service say as much of it as of the servers.
"""

import asyncio
from typing import Self

from quorate.runtime.clock import monotonic_us

_BEAT_S = 0.02


class Pulse:
    """Beats as long as its context lasts.

    Attributes:
        longest_s: for how long the event loop did not get to run, at most.
    """

    def __init__(self) -> None:
        self.longest_s = 0.0
        self._task: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        self._task = asyncio.create_task(self._beat())
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._task is not None
        self._task.cancel()

    async def _beat(self) -> None:
        while True:
            before = monotonic_us()
            await asyncio.sleep(_BEAT_S)
            self.longest_s = max(self.longest_s, (monotonic_us() - before) / 1e6 - _BEAT_S)
