"""When the machine under the nodes stands still: its disk, or its processors are busy elsewhere.

The nodes sync before they answer, so that while the disk stands still nobody is served. How long
it does is no property of theirs: other programs use it too, and the processors.
"""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING

from tests.integration.crew import Crew

if TYPE_CHECKING:
    from pathlib import Path

PAUSE_S = 0.005
STALL_S = 0.02
"""A wait for the processor and the disk that is longer is a stall; a tenth of it is usual."""


class MachineStalls(Crew):
    """Writes and syncs a file of its own again and again until the context is left.

    Args:
        path: of the file, on the disk of the nodes; there must be none yet.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._stalls: list[tuple[float, float]] = []
        super().__init__([self._sync_again_and_again])

    def within(self, began: float, ended: float) -> float:
        """For how long of that time, in seconds of `time.perf_counter`, the machine was stalled."""
        return sum(
            max(0.0, min(ended, stall_ended) - max(began, stall_began))
            for stall_began, stall_ended in self._stalls
        )

    def _sync_again_and_again(self, _number: int) -> None:
        with self._path.open("xb", buffering=0) as file:
            ended = time.perf_counter()
            while not self.stopping.wait(PAUSE_S):
                due = ended + PAUSE_S
                file.write(bytes(64))
                os.fdatasync(file.fileno())
                ended = time.perf_counter()
                if ended - due > STALL_S:
                    self._stalls.append((due, ended))
