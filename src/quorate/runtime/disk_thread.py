"""A thread for work on the disk: one piece after another, results back on the event loop."""

import asyncio
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

from quorate.storage.errors import StorageError

ResultT = TypeVar("ResultT")


class DiskThread:
    """One thread.

    Args:
        loop: where results are given back.
        name: of the thread.
        on_failure: called with what the storage raised. Nothing may be acknowledged after that.
    """

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        name: str,
        *,
        on_failure: Callable[[StorageError], None],
    ) -> None:
        self._loop = loop
        self._executor = ThreadPoolExecutor(1, thread_name_prefix=name)
        self._on_failure = on_failure
        self._is_closed = False

    def do(self, work: Callable[[], ResultT], then: Callable[[ResultT], None]) -> None:
        """Does the work when what came before it is done; `then` gets the result, on the loop."""
        future = self._executor.submit(work)
        future.add_done_callback(lambda done: self._call_soon(done, then))

    def close(self) -> None:
        """Waits for what is on its way, without telling anybody."""
        self._is_closed = True
        self._executor.shutdown()

    def _call_soon(self, done: "Future[ResultT]", then: Callable[[ResultT], None]) -> None:
        if not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._finish, done, then)

    def _finish(self, done: "Future[ResultT]", then: Callable[[ResultT], None]) -> None:
        if self._is_closed:
            return
        try:
            result = done.result()
        except StorageError as error:
            self._on_failure(error)
        else:
            then(result)
