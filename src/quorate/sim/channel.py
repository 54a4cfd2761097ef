"""A queue between tasks: whoever takes waits until there is something."""

from collections import deque
from typing import Generic, TypeVar

from quorate.sim.tasks import Future

T = TypeVar("T")


class Channel(Generic[T]):
    """Things in the order in which they were put; one task takes them."""

    def __init__(self) -> None:
        self._items: deque[T] = deque()
        self._arrival: Future[None] | None = None

    def put(self, item: T) -> None:
        """Adds something, without waiting."""
        self._items.append(item)
        if self._arrival is not None:
            self._arrival.set(None)
            self._arrival = None

    async def take(self) -> T:
        """The next thing, as soon as there is one."""
        while not self._items:
            self._arrival = Future()
            await self._arrival
        return self._items.popleft()
