"""Resident memory of each node over the number of keys.

python -m benchmarks.memory [--keys 0 10000 100000 1000000] [--value-bytes 64]
"""

import argparse
import tempfile
from pathlib import Path

from benchmarks.cluster_watch import resident_mib
from benchmarks.write_load import WriteLoad, run

from quorate.runtime.local_cluster import LocalCluster


async def measure(keys: int, value_bytes: int) -> list[float]:
    """The resident memory of each node of a new cluster with so many keys, in MiB."""
    with (
        tempfile.TemporaryDirectory() as directory,
        LocalCluster.create(Path(directory) / "cluster") as cluster,
    ):
        cluster.start()
        leader = await cluster.wait_until_serving()
        if keys:
            load = WriteLoad(leader.client_address, keys=keys, value_bytes=value_bytes)
            await load.fill()
        return [resident_mib(cluster.pid(node)) for node in cluster.running]


async def main() -> None:
    """Runs it."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--keys", type=int, nargs="*", default=[0, 10_000, 100_000, 1_000_000])
    parser.add_argument("--value-bytes", type=int, default=64)
    arguments = parser.parse_args()
    for keys in arguments.keys:
        nodes = await measure(keys, arguments.value_bytes)
        print(f"{keys:9,} keys: {', '.join(f'{mib:.1f}' for mib in nodes)} MiB")


if __name__ == "__main__":
    run(main())
