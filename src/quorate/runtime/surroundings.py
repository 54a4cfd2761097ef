"""What a server finds around it: its disk, and the ways to the others.

The one seam where a tortured server (`quorate torture`) differs from a real one: its disk fails
when it is told to, and its connections lead through proxies that can be cut.
"""

from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Protocol

import msgspec

from quorate.raft.configuration import NodeId
from quorate.runtime.disk import DirectoryDisk
from quorate.storage.disk import Disk


class OpenDisk(Protocol):
    """Opens a data directory, for this process alone, until the context is left."""

    def __call__(self, path: str, *, create: bool) -> AbstractContextManager[Disk]:
        """Opens it; makes it first if there is none and `create` is set."""
        ...


def _straight(_node: NodeId, address: str) -> str:
    return address


class Surroundings(msgspec.Struct, frozen=True, kw_only=True):
    """Those of a server; by default the real ones.

    Attributes:
        open_disk: opens its data directory.
        way_to: where a node, the one that is named first, has to connect so as to reach the peer
            that listens on this address, `HOST:PORT`.
    """

    open_disk: OpenDisk = DirectoryDisk
    way_to: Callable[[NodeId, str], str] = _straight
