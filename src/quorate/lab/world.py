"""Where one test of the lab takes place: its time, its network, its chances, its report."""

import random
from collections.abc import Callable

from quorate.checker import Operation
from quorate.lab.costs import Costs
from quorate.lab.edition import Edition
from quorate.lab.errors import CheckFailedError
from quorate.lab.network import LabNetwork
from quorate.lab.results import SECOND_US, Lab, Result
from quorate.sim.tasks import Tasks

TIME_LIMIT_US = 120 * SECOND_US
"""For one test, from the creation of its cluster; looked at when a part of it ends."""


class World:
    """Everything that a test needs and that is not its cluster.

    Args:
        tasks: its coroutines, and the time.
        seed: decides all that is left to chance.
        costs: what things cost in virtual time.
        edition: of the course.
        report: takes the lines that the course prints.
        takes_snapshots: whether servers take one as often as they can.

    Attributes:
        tasks: likewise.
        rng: for the chances that the test takes.
        network: between all its servers and clients.
        costs: likewise.
        edition: likewise.
        results: of the parts that have passed.
        histories: what clients have done, to be checked for linearizability after the test.
        takes_snapshots: likewise.
    """

    def __init__(
        self,
        tasks: Tasks,
        *,
        seed: int,
        costs: Costs,
        edition: Edition,
        report: Callable[[str], None],
        takes_snapshots: bool = False,
    ) -> None:
        self.tasks = tasks
        self.costs = costs
        self.edition = edition
        self.results: list[Result] = []
        self.histories: list[list[Operation]] = []
        self.takes_snapshots = takes_snapshots
        self._report = report
        self._seeds = random.Random(seed)
        self.rng = self.new_rng()
        self.network = LabNetwork(tasks, self.new_rng(), costs)
        self._title = ""
        self._began_at = 0
        self._calls_before = 0
        self._bytes_before = 0

    def new_rng(self) -> random.Random:
        """Chances of their own, for a server, say."""
        return random.Random(self._seeds.getrandbits(64))

    async def sleep(self, milliseconds: int) -> None:
        """Waits; the course counts in milliseconds."""
        await self.tasks.sleep(milliseconds * 1_000)

    def begin(self, title: str) -> None:
        """A part of the test begins, and what is measured with it."""
        self._report(f"{title} ...")
        self._title = title
        self._began_at = self.tasks.now
        self._calls_before = self.network.total_count
        self._bytes_before = self.network.total_bytes

    def end(self, lab: Lab, *, servers: int, operations: int) -> None:
        """A part of the test has passed.

        Raises:
            CheckFailedError: it took too long.
        """
        self.check_time()
        result = Result(
            title=self._title,
            duration_us=self.tasks.now - self._began_at,
            servers=servers,
            calls=self.network.total_count - self._calls_before,
            bytes=self.network.total_bytes - self._bytes_before,
            operations=operations,
        )
        self.results.append(result)
        self._report(result.line(lab, self.edition))

    def check_time(self) -> None:
        """Fails if the test has taken longer than the course allows."""
        if self.tasks.now > TIME_LIMIT_US:
            raise CheckFailedError("test took longer than 120 seconds")
