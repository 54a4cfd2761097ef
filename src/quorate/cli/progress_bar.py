"""How a long run looks on a terminal while it lasts: a bar."""

from types import TracebackType
from typing import Self

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)


class ProgressBar:
    """Shows how many of the runs are done, and how many of them have failed.

    Args:
        total: how many runs there are.
    """

    def __init__(self, total: int) -> None:
        self._progress = Progress(
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TextColumn("left:"),
            TimeRemainingColumn(),
            TextColumn("{task.fields[failed]} failed; {task.fields[last]}"),
            console=Console(stderr=True),
        )
        self._failed = 0
        self._task = self._progress.add_task("", total=total, failed=0, last="")

    def advance(self, name: str, *, failed: bool) -> None:
        """One more is done."""
        self._failed += failed
        self._progress.update(self._task, advance=1, failed=self._failed, last=name)

    def __enter__(self) -> Self:
        self._progress.start()
        return self

    def __exit__(
        self,
        exception_type: type[BaseException] | None,
        exception: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._progress.stop()
