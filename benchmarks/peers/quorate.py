"""Quorate itself, with its default settings."""

import asyncio
import subprocess
import sys

from benchmarks.peers.system import System
from quorate.runtime.local_cluster import LocalCluster


class Quorate(System):
    """Three nodes as `quorate up` runs them."""

    name = "Quorate"

    def version(self) -> str:  # noqa: D102 - see System
        command = [sys.executable, "-m", "quorate.cli", "--version"]
        return subprocess.run(command, capture_output=True, check=True, text=True).stdout.split()[1]  # noqa: S603 - our own

    def start(self) -> None:  # noqa: D102 - see System
        self._cluster = LocalCluster.create(self.directory / "cluster")
        self._cluster.start()
        leader = asyncio.run(self._cluster.wait_until_serving())
        self._servers = sorted(self._cluster.servers, key=lambda s: s != leader.client_address)

    @property
    def servers(self) -> list[str]:  # noqa: D102 - see System
        return self._servers

    @property
    def pids(self) -> list[int]:  # noqa: D102 - see System
        return [self._cluster.pid(node) for node in self._cluster.running]

    def stop(self) -> None:  # noqa: D102 - see System
        self._cluster.stop()
