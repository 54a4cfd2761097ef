"""Several clients at work, each in a thread of its own."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    from collections.abc import Callable


class Crew:
    """They work until the context is left.

    Args:
        clients: what each does, with its number, until `stopping` is set.

    Attributes:
        stopping: they are to end.
    """

    def __init__(self, clients: list[Callable[[int], None]]) -> None:
        self.stopping = threading.Event()
        self._threads = [
            threading.Thread(target=work, args=(number,)) for number, work in enumerate(clients)
        ]

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stopping.set()
        for thread in self._threads:
            thread.join()
