"""Coroutines on a scheduler: what has to wait in the middle is written from top to bottom.

Deterministic: whenever something has happened, those that it made ready go on, in the order in
which they became ready, until all wait; then the next thing happens. An exception in a task
that nobody awaits when it happens ends the run: it comes out of the scheduler.
"""

from collections import deque
from collections.abc import Callable, Coroutine, Generator
from typing import Any, Generic, TypeVar

from quorate.sim.errors import LivenessError
from quorate.sim.scheduler import MAX_AT_ONCE, Scheduler

T = TypeVar("T")


class Future(Generic[T]):
    """A value that comes once; any number may wait for it, before and after."""

    __slots__ = ("_callbacks", "_error", "_value", "is_done")

    def __init__(self) -> None:
        self.is_done = False
        self._value: T
        self._error: BaseException | None = None
        self._callbacks: list[Callable[[], None]] = []

    def set(self, value: T) -> None:
        """The value is there; those who wait go on."""
        self._value = value
        self._finish()

    @property
    def value(self) -> T:
        """What has come; raises what has come instead of it."""
        assert self.is_done
        if self._error is not None:
            raise self._error
        return self._value

    def when_done(self, callback: Callable[[], None]) -> None:
        """Calls this as soon as the value is there, which may be now."""
        if self.is_done:
            callback()
        else:
            self._callbacks.append(callback)

    def wait(self, task: "Task[Any]") -> None:
        """Lets the task go on when the value is there."""
        self._callbacks.append(task.make_ready)

    def __await__(self) -> Generator["Future[Any]", None, T]:
        if not self.is_done:
            yield self
        return self.value

    def _finish(self) -> None:
        assert not self.is_done, "a future is set once"
        self.is_done = True
        callbacks, self._callbacks = self._callbacks, []
        for callback in callbacks:
            callback()


class Task(Future[T]):
    """A coroutine that runs by itself; awaiting it gives its result, or raises its exception."""

    __slots__ = ("_coroutine", "_tasks")

    def __init__(self, tasks: "Tasks", coroutine: Coroutine[Any, Any, T]) -> None:
        super().__init__()
        self._tasks = tasks
        self._coroutine = coroutine

    def step(self) -> None:
        """Lets it run up to where it waits next."""
        try:
            awaited = self._coroutine.send(None)
        except StopIteration as end:
            self._tasks.forget(self)
            self.set(end.value)
        except BaseException as error:
            self._tasks.forget(self)
            if not self._callbacks:
                raise
            self._error = error
            self._finish()
        else:
            awaited.wait(self)

    def make_ready(self) -> None:
        """Lets it go on: behind all that are ready already."""
        self._tasks.ready.append(self)

    def close(self) -> None:
        """Ends it where it waits; `finally` clauses run now."""
        self._coroutine.close()


class _Sleep:
    """Makes whoever awaits it wait for a time."""

    __slots__ = ("_scheduler", "_until")

    def __init__(self, scheduler: Scheduler, until: int) -> None:
        self._scheduler = scheduler
        self._until = until

    def __await__(self) -> Generator["_Sleep", None, None]:
        yield self

    def wait(self, task: Task[Any]) -> None:
        """Lets the task go on when the time has come."""
        self._scheduler.at(self._until, task.make_ready)


class Tasks:
    """All tasks of one run.

    Args:
        scheduler: tells the time, and wakes those who sleep.

    Attributes:
        scheduler: likewise.
        ready: the tasks that go on next, in order.
    """

    def __init__(self, scheduler: Scheduler) -> None:
        self.scheduler = scheduler
        self.ready: deque[Task[Any]] = deque()
        self._alive: dict[Task[Any], None] = {}

    @property
    def now(self) -> int:
        """The time in microseconds since the start."""
        return self.scheduler.now

    def spawn(self, coroutine: Coroutine[Any, Any, T]) -> Task[T]:
        """Lets a coroutine run by itself; it begins soon, not yet."""
        task = Task(self, coroutine)
        self._alive[task] = None
        self.ready.append(task)
        return task

    def sleep(self, duration_us: int) -> _Sleep:
        """To be awaited: so much time passes."""
        return _Sleep(self.scheduler, self.scheduler.now + duration_us)

    def run(self, coroutine: Coroutine[Any, Any, T]) -> T:
        """Lets a coroutine run to its end, and everything else as long.

        Raises:
            LivenessError: it waits for what never comes, or somebody never waits.
            BaseException: whatever it, or a task that nobody awaits, has raised.
        """
        task = self.spawn(coroutine)
        steps = 0
        while not task.is_done:
            if self.ready:
                self.ready.popleft().step()
                steps += 1
                if steps > MAX_AT_ONCE:
                    raise LivenessError(f"more than {MAX_AT_ONCE} steps of tasks at {self.now} us")
            else:
                steps = 0
                self.scheduler.step()
        return task.value

    def cancel_all(self) -> None:
        """No task goes on."""
        self.ready.clear()
        while self._alive:
            task, _ = self._alive.popitem()
            task.close()

    def forget(self, task: Task[Any]) -> None:
        """A task has ended."""
        del self._alive[task]
