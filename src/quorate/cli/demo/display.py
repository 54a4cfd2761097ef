"""How the demo is shown, and the plain way for a file or a pipe: one line for each event."""

from collections.abc import Sequence
from types import TracebackType
from typing import Protocol, Self

import msgspec

from quorate.node.status import NodeStatus

_PLAIN_INTERVAL_S = 1.0


class NodeSample(msgspec.Struct, frozen=True):
    """One node at one moment.

    Attributes:
        id: which one.
        is_running: whether its process lives.
        status: what it says of itself; None if it does not answer.
    """

    id: int
    is_running: bool
    status: NodeStatus | None

    @property
    def state(self) -> str:
        """In a word: its role, or why there is none."""
        if not self.is_running:
            return "killed"
        return "starting" if self.status is None else self.status.role


class Sample(msgspec.Struct, frozen=True):
    """The cluster and its clients at one moment.

    Attributes:
        at_s: seconds since the demo began.
        acknowledged: appends so far.
        rate: appends acknowledged per second, since the sample before.
        nodes: in the order of their ids.
    """

    at_s: float
    acknowledged: int
    rate: float
    nodes: Sequence[NodeSample]


class Display(Protocol):
    """Where the demo tells its story; a context, within which it is shown."""

    def say(self, at_s: float, text: str) -> None:
        """One event of the story."""

    def show(self, sample: Sample) -> None:
        """How things stand."""

    def __enter__(self) -> Self: ...

    def __exit__(
        self,
        exception_type: type[BaseException] | None,
        exception: BaseException | None,
        traceback: TracebackType | None,
    ) -> None: ...


class PlainDisplay:
    """Lines, one event each, and once a second how things stand."""

    def __init__(self) -> None:
        self._next_sample_s = 0.0

    def say(self, at_s: float, text: str) -> None:
        """See `Display`."""
        print(f"{at_s:5.1f} s  {text}", flush=True)

    def show(self, sample: Sample) -> None:
        """See `Display`."""
        if sample.at_s >= self._next_sample_s:
            self._next_sample_s = sample.at_s + _PLAIN_INTERVAL_S
            nodes = "; ".join(map(_in_words, sample.nodes))
            counts = f"{sample.acknowledged:,} acknowledged, {sample.rate:,.0f}/s"
            print(f"{sample.at_s:5.1f} s    [{counts}; {nodes}]", flush=True)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        exception_type: type[BaseException] | None,
        exception: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Nothing to tidy up."""


def _in_words(node: NodeSample) -> str:
    words = f"node {node.id} {node.state}"
    if node.status is None:
        return words
    return f"{words}, term {node.status.term}, commit index {node.status.commit_index}"
