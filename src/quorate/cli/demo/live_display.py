"""How the demo looks on a terminal: the events, and below them a table that changes in place."""

from types import TracebackType
from typing import Self

from rich.console import Console, Group
from rich.live import Live
from rich.table import Column, Table
from rich.text import Text

from quorate.cli.demo.display import NodeSample, Sample

_STYLES = {"leader": "bold green", "killed": "bold red", "starting": "yellow"}


class LiveDisplay:
    """A `Display` for people who watch."""

    def __init__(self) -> None:
        self._console = Console(highlight=False)
        self._live = Live(console=self._console, auto_refresh=False)

    def say(self, at_s: float, text: str) -> None:
        """See `Display`."""
        self._console.print(Text(f"{at_s:5.1f} s  {text}"))

    def show(self, sample: Sample) -> None:
        """See `Display`."""
        headings = ("node", "state", "term", "commit index", "last applied", "process")
        table = Table(*[Column(heading, overflow="fold") for heading in headings])
        for node in sample.nodes:
            table.add_row(*_cells(node), style=_STYLES.get(node.state))
        counts = f"{sample.acknowledged:,} appends acknowledged, {sample.rate:,.0f} per second"
        self._live.update(Group(table, Text(counts, style="bold")), refresh=True)

    def __enter__(self) -> Self:
        self._live.start()
        return self

    def __exit__(
        self,
        exception_type: type[BaseException] | None,
        exception: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._live.stop()


def _cells(node: NodeSample) -> list[str]:
    status = node.status
    if status is None:
        return [str(node.id), node.state]
    numbers = (status.term, status.commit_index, status.last_applied, status.pid)
    return [str(node.id), node.state, *map(str, numbers)]
