"""Quorate itself."""

import asyncio
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from benchmarks.peers.system import System

from quorate.node.status import NodeStatus
from quorate.runtime.local_cluster import LocalCluster


class Quorate(System):
    """Nodes as `quorate up` runs them.

    Args:
        directory: where everything is kept while it runs.
        nodes: how many.
        serve_options: further options of `quorate serve`; by default they have default settings.
    """

    name = "Quorate"

    def __init__(
        self, directory: Path, nodes: int = 3, *, serve_options: Sequence[str] = ()
    ) -> None:
        super().__init__(directory)
        self._nodes = nodes
        self._serve_options = serve_options

    def version(self) -> str:  # noqa: D102 - see System
        command = [sys.executable, "-m", "quorate.cli", "--version"]
        return subprocess.run(command, capture_output=True, check=True, text=True).stdout.split()[1]

    def start(self) -> None:  # noqa: D102 - see System
        self._cluster = LocalCluster.create(
            self.directory / "cluster", nodes=self._nodes, serve_options=self._serve_options
        )
        self._cluster.start()
        leader = asyncio.run(self._cluster.wait_until_serving())
        self._servers = sorted(self._cluster.servers, key=lambda s: s != leader.client_address)

    @property
    def servers(self) -> list[str]:  # noqa: D102 - see System
        return self._servers

    @property
    def pids(self) -> list[int]:  # noqa: D102 - see System
        return [self._cluster.pid(node) for node in self._cluster.running]

    async def statuses(self) -> list[NodeStatus]:
        """What the nodes say of themselves."""
        return [status for status in await self._cluster.statuses() if status is not None]

    @property
    def leader_pid(self) -> int:
        """The process of the node that leads."""
        (leader,) = [
            member.id for member in self._cluster.members if member.client == self._servers[0]
        ]
        return self._cluster.pid(leader)

    def stop(self) -> None:  # noqa: D102 - see System
        self._cluster.stop()
