"""The disks that a store works on: the one in memory, which can fail, and a real directory."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from quorate.runtime.disk import DirectoryDisk
from quorate.storage.disk import Disk
from quorate.storage.memory_disk import MemoryDisk


@pytest.fixture(params=["memory", "directory"])
def disk(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Disk]:
    if request.param == "memory":
        yield MemoryDisk()
    else:
        with DirectoryDisk(tmp_path) as directory:
            yield directory
