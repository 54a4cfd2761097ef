"""Through which proxy each server reaches each other one, as the servers are told it."""

from pathlib import Path
from typing import Self

import msgspec

from quorate.raft.configuration import NodeId


class WayTable(msgspec.Struct, frozen=True):
    """All ways.

    Attributes:
        proxies: where each node has to connect, by its id and by the peer address that it wants.
    """

    proxies: dict[NodeId, dict[str, str]]

    @classmethod
    def load(cls, path: Path) -> Self:
        """What `save` has written there."""
        return msgspec.json.decode(path.read_bytes(), type=cls)

    def save(self, path: Path) -> None:
        """Writes it to a file."""
        path.write_bytes(msgspec.json.encode(self))

    def way_to(self, node: NodeId, address: str) -> str:
        """Where this node connects so as to reach the peer that listens on this address.

        Raises:
            KeyError: nobody does that is known; past the proxies there must be no way.
        """
        return self.proxies[node][address]
