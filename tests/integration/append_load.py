"""A load whose outcome can be checked: Clerks that append elements of which there is only one."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.integration.crew import Crew

from quorate.clerk.errors import OutcomeUnknownError
from quorate.runtime.clerk import Clerk

if TYPE_CHECKING:
    from tests.integration.conftest import Ledger

CLERKS = 8
KEYS = 4


class AppendLoad(Crew):
    """Clerks that append to a few common keys, each in a thread of its own."""

    def __init__(self, servers: list[str], ledger: Ledger, prefix: str) -> None:
        self.keys = [f"{prefix}-{number}" for number in range(KEYS)]
        self.done = 0
        self._servers = servers
        self._ledger = ledger
        super().__init__([self._run] * CLERKS)

    def _run(self, client: int) -> None:
        number = 0
        with Clerk(self._servers) as clerk:
            while not self.stopping.is_set():
                key = self.keys[number % KEYS]
                try:
                    clerk.append(key, self._ledger.element(client, number), timeout=60)
                    self._ledger.acknowledge(client, number)
                except OutcomeUnknownError:
                    self._ledger.leave_open(client, number)
                number += 1
                self.done += 1  # only told how things go: a lost count does no harm
