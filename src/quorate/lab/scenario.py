"""One test of the course, as a record: what it is called and what it does."""

from collections.abc import Callable, Coroutine
from typing import Any

import msgspec

from quorate.lab.world import World


class Scenario(msgspec.Struct, frozen=True, kw_only=True):
    """A test.

    Attributes:
        name: of the course's test function, such as `TestBasicAgree2B`.
        part: the part of the lab that it grades: `2A` to `2D`, `3A`, `3B`.
        variant: what it runs on, where a test runs on more than one thing, such as `figure2`.
        run: does it; raises `CheckFailedError` where the course's test fails.
        takes_snapshots: whether its servers take one as often as they can.
    """

    name: str
    part: str
    variant: str
    run: Callable[[World], Coroutine[Any, Any, None]]
    takes_snapshots: bool = False
