"""Brings log writes to the disk: on the event loop while the disk is quick, else in a thread.

Handing a write to a thread and back costs two wake-ups, which is more than a quick fdatasync
takes. But a sync on the loop holds up everything else, so as soon as one was slow the next go to
a thread, until the disk has been quick again for a while. What arrives while a write is on its
way goes into the next one: that is group commit.

Segments are preallocated, and those that a snapshot has made useless removed, in a thread of
their own, beside the writes. From half a segment on, the next one is prepared or being prepared,
however few writes follow: only writes that fill the other half before that is done make their
segment themselves.
"""

import asyncio
import time
from collections.abc import Callable
from functools import partial

from quorate.raft.ready import LogWrite
from quorate.runtime.disk_thread import DiskThread
from quorate.storage.errors import DiskFullError, StorageError
from quorate.storage.store import Store

SLOW_SYNC_S = 0.010
"""A write that took longer sends the next ones to the thread."""
QUICK_WRITES = 64
"""So many quick writes in the thread bring them back to the loop."""

RETRY_PREPARATION_S = 5.0
"""After the disk was full, preparing a segment is tried again after so long."""


class LogWriter:
    """Writes for one store; at most one write is on its way.

    Args:
        store: the open data directory.
        loop: where everything here is called, and calls back.
        on_failure: called with what the storage raised in a thread. Nothing may be acknowledged
            after that.
        on_warning: called with what an operator should know though nothing has failed yet.
        clock: in seconds; measures how long writes take. Called in a thread too.
    """

    def __init__(
        self,
        store: Store,
        loop: asyncio.AbstractEventLoop,
        *,
        on_failure: Callable[[StorageError], None],
        on_warning: Callable[[str], None],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._store = store
        self._loop = loop
        self._clock = clock
        self._on_durable: Callable[[int], None] | None = None
        self._on_warning = on_warning
        self._syncs = DiskThread(loop, "log-sync", on_failure=on_failure)
        self._preparations = DiskThread(loop, "log-prepare", on_failure=on_failure)
        self._preparing = False
        self._cleaning = False
        self._retry: asyncio.TimerHandle | None = None
        self._quick_writes = QUICK_WRITES

    @property
    def raft_state_bytes(self) -> int:
        """How much Raft state the disk holds."""
        return self._store.raft_state_bytes

    def start(self, on_durable: Callable[[int], None]) -> None:
        """Begins to take writes.

        Args:
            on_durable: called with the number of a write that did not become durable at once,
                when it has.
        """
        self._on_durable = on_durable
        self._prepare_next_segment()

    def write(self, write: LogWrite) -> bool:
        """Writes; returns whether it is durable already. If not, `on_durable` follows.

        Raises:
            StorageError: nothing may be acknowledged after that.
        """
        if self._quick_writes < QUICK_WRITES:
            self._syncs.do(partial(self._append_and_sync, write), partial(self._written, write))
            return False
        self._note_write(self._append_and_sync(write))
        return True

    def close(self) -> None:
        """Waits for what is on its way, without telling anybody."""
        if self._retry is not None:
            self._retry.cancel()
        self._syncs.close()
        self._preparations.close()

    # ------------------------------------------------------------------ writes

    def _append_and_sync(self, write: LogWrite) -> float:
        begun = self._clock()
        self._store.append(write)
        self._store.sync()
        return self._clock() - begun

    def _note_write(self, seconds: float) -> None:
        self._quick_writes = 0 if seconds > SLOW_SYNC_S else self._quick_writes + 1
        self._prepare_next_segment()
        self._clean()

    def _written(self, write: LogWrite, seconds: float) -> None:
        self._note_write(seconds)
        assert self._on_durable is not None
        self._on_durable(write.number)

    # ------------------------------------------------------------------ segments ahead of time

    def _prepare_next_segment(self) -> None:
        """Begins to prepare the next segment if it is time and nobody does so already.

        Called whenever it may have become time: at the start, after each write, and after each
        preparation, for meanwhile writes may have taken that segment and filled half of it.
        """
        if self._preparing or not self._store.needs_next_segment:
            return
        self._preparing = True
        self._preparations.do(self._store.prepare_next_segment, self._prepared)

    def _prepared(self, shortage: DiskFullError | None) -> None:
        if shortage is None:
            self._prepare_again()
        else:
            # Only a write that really needs the space fails.
            self._on_warning(str(shortage))
            self._retry = self._loop.call_later(RETRY_PREPARATION_S, self._prepare_again)

    def _prepare_again(self) -> None:
        self._preparing = False
        self._prepare_next_segment()

    # ------------------------------------------------------------------ segments of the past

    def _clean(self) -> None:
        """Begins to remove the segments that a snapshot has made useless, if there are any."""
        if not self._cleaning and self._store.needs_cleaning:
            self._cleaning = True
            self._preparations.do(self._store.remove_dead_segments, self._cleaned)

    def _cleaned(self, _: None) -> None:
        self._cleaning = False
        self._clean()
