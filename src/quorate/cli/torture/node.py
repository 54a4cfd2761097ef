"""What a tortured server runs: `quorate serve`, on a disk that obeys and through proxies.

    python -m quorate.cli.torture.node WAYS serve ...

WAYS is the file that says through which proxies it reaches the others.
"""

import sys
from pathlib import Path
from typing import NoReturn

from quorate.cli.main import main
from quorate.cli.torture.obedient_disk import ObedientDisk
from quorate.cli.torture.orders import OrderBook
from quorate.cli.torture.way_table import WayTable
from quorate.runtime.disk import DirectoryDisk
from quorate.runtime.surroundings import Surroundings

PROGRAM = (sys.executable, "-P", "-m", "quorate.cli.torture.node")
"""What to run in place of the `quorate` command; the file comes behind it."""


def _open_disk(path: str, *, create: bool) -> ObedientDisk:
    return ObedientDisk(DirectoryDisk(path, create=create), OrderBook(Path(path).absolute()))


def run() -> NoReturn:
    """Runs the server of the command line."""
    ways = WayTable.load(Path(sys.argv.pop(1)))
    main(Surroundings(open_disk=_open_disk, way_to=ways.way_to))


if __name__ == "__main__":
    run()
