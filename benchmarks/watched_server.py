"""`quorate serve` that notes whenever its event loop stood still: for benchmarks alone.

    python benchmarks/watched_server.py serve --id 1 --data-dir node-1/data ...

A timer of the event loop goes off every millisecond. Each time that it is late by more than
`NOTED_S`, a line is added to the file `stalls` beside the data directory: when, how late, for how
much of that time the process was at work, and how long it collected garbage. The rest of the time
it waited: for the disk, or for the processor, which other processes had.
"""

import asyncio
import gc
import sys
import time
from pathlib import Path

import uvloop

from quorate.cli.main import main

PERIOD_S = 0.001
NOTED_S = 0.003


class StallWatch:
    """Watches one event loop, for as long as it runs."""

    def __init__(self, loop: asyncio.AbstractEventLoop, path: Path) -> None:
        self._loop = loop
        self._file = path.open("a", buffering=1)
        self._due = float("inf")  # nobody waits for a node that is still starting
        self._work = time.process_time()
        self._collecting_since = 0.0
        self._collecting = 0.0
        gc.callbacks.append(self._note_collection)
        loop.call_later(PERIOD_S, self._beat)

    def _note_collection(self, phase: str, _: dict[str, int]) -> None:
        if phase == "start":
            self._collecting_since = time.perf_counter()
        else:
            self._collecting += time.perf_counter() - self._collecting_since

    def _beat(self) -> None:
        now, work = time.perf_counter(), time.process_time()
        if now - self._due > NOTED_S:
            fields = (now, now - self._due, work - self._work, self._collecting)
            self._file.write(" ".join(f"{field:.6f}" for field in fields) + "\n")
        self._due, self._work, self._collecting = now + PERIOD_S, work, 0.0
        self._loop.call_later(PERIOD_S, self._beat)


def _watched_loop(path: Path) -> uvloop.Loop:
    loop = new_loop()
    loop.call_soon(StallWatch, loop, path)
    return loop


if __name__ == "__main__":
    new_loop = uvloop.new_event_loop
    stalls = Path(sys.argv[sys.argv.index("--data-dir") + 1]).parent / "stalls"
    uvloop.new_event_loop = lambda: _watched_loop(stalls)
    main()
