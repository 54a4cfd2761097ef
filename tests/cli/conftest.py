"""Runs the real command as a real process."""

import asyncio
import os
import subprocess
import sys
from collections.abc import Callable, Iterator

import pytest

from quorate.runtime.local_cluster import LocalCluster

Quorate = Callable[..., subprocess.CompletedProcess[bytes]]


@pytest.fixture(scope="session")
def quorate() -> Quorate:
    """`quorate ARGUMENTS...`, to its end."""

    def run(
        *arguments: object, stdin: bytes = b"", env: dict[str, str] | None = None
    ) -> subprocess.CompletedProcess[bytes]:
        return subprocess.run(
            [sys.executable, "-m", "quorate.cli", *map(str, arguments)],
            input=stdin,
            capture_output=True,
            timeout=60,
            check=False,
            env=os.environ | (env or {}),
        )

    return run


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalCluster]:
    """Three nodes that serve; tests leave them so."""
    with LocalCluster.create(tmp_path_factory.mktemp("cluster")) as cluster:
        cluster.start()
        asyncio.run(cluster.wait_until_serving())
        yield cluster


@pytest.fixture
def servers(cluster: LocalCluster) -> str:
    """The option that names the cluster's servers."""
    return f"--servers={','.join(cluster.servers)}"
