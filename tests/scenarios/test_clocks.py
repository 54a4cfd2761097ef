"""14. valkey-io/valkey#2651, etcd-io/etcd#6700 and #12291: a clock that jumps.

Keys and leases expired by the wall clock. Somebody set it, or an NTP server did, and all of them
were over at once: "the system clock jumps forwards a year, the key expires", and with it the locks.

Here no server reads a wall clock but for the lines of its log. Sessions, the one thing that
expires, live by cluster time, which is in the log's entries and grows with the leader's monotonic
clock since its election; and a leader whose monotonic clock jumps steps down before it stamps
anything, for it has been asleep.
"""

from __future__ import annotations

import ast
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from tests.scenarios.cluster import MS, SECOND, Cluster

import quorate

if TYPE_CHECKING:
    from collections.abc import Iterator

SOURCE = Path(quorate.__file__).parent
YEAR_US = 365 * 24 * 3_600 * SECOND
OTHER_CLOCKS = {"monotonic", "monotonic_ns", "perf_counter", "perf_counter_ns", "process_time"}


def jump(*, is_leader: bool) -> None:
    """The one clock that a simulated server has jumps a year ahead."""
    cluster = Cluster()
    servers = list(cluster.servers.values())
    session = cluster.ask(servers[0], "QUORATE.SESSION")
    assert isinstance(session, int)
    for number in range(1, 10):
        call = ("ONCE", session, number, number - 1, "APPEND", "k", "x")
        assert cluster.ask(servers[0], *call) == number
        server = cluster.leader if is_leader else cluster.followers[0]
        server.jump_ahead(YEAR_US)
        for other in servers:
            assert cluster.ask(other, *call) == number, "its session has expired"
        cluster.run(100 * MS)
    cluster.run(3 * SECOND)
    cluster.agree()


@pytest.mark.parametrize("is_leader", [True, False])
def test_nothing_expires_when_even_the_monotonic_clock_jumps_a_year_ahead(
    is_leader: bool,  # noqa: FBT001  # one of two cases
) -> None:
    jump(is_leader=is_leader)


def clocks_read() -> Iterator[tuple[str, str]]:
    """Each module, with what it takes from the modules that know the time."""
    for path in SOURCE.rglob("*.py"):
        name = str(path.relative_to(SOURCE))
        for node in ast.walk(ast.parse(path.read_text())):
            match node:
                case ast.Attribute(value=ast.Name(id="time"), attr=attribute):
                    yield name, attribute
                case ast.ImportFrom(module="time" | "datetime" as module):
                    yield name, f"from {module}"
                case ast.Import(names=names) if any(n.name == "datetime" for n in names):
                    yield name, "datetime"
                case _:
                    pass


def test_no_module_reads_the_wall_clock() -> None:
    # But for the time in front of a line of a log, and the one at which a torture began.
    read = {(name, what) for name, what in clocks_read() if what not in {*OTHER_CLOCKS, "sleep"}}
    assert read == {("cli/serve.py", "gmtime"), ("cli/torture/command.py", "from datetime")}
