"""How far a long run has come, for whoever looks at the terminal."""

import contextlib
import sys
from collections.abc import Iterator
from typing import Protocol


class Advance(Protocol):
    """Tells that one more is done."""

    def __call__(self, name: str, *, failed: bool) -> None:
        """`name` says which."""


@contextlib.contextmanager
def progress(total: int) -> Iterator[Advance]:
    """A bar on a terminal; nothing in a pipe."""
    if not sys.stderr.isatty():
        yield lambda name, *, failed: None  # noqa: ARG005 - nobody watches
        return
    # What draws bars takes a tenth of a second to import, which only people's eyes are worth.
    from quorate.cli.progress_bar import ProgressBar  # noqa: PLC0415

    with ProgressBar(total) as bar:
        yield bar.advance
