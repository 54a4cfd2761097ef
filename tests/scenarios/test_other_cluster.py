"""13. openziti/fabric#576, apple/foundationdb#5375: a node started with another cluster's data.

Nodes took each other for members by address or number alone. So one with the data of another
cluster was one more member: "It assumes that indices that it already has are the same", and the
nodes had different data from then on (on hashicorp/raft); or it threw away what it had, as of no
use to the cluster that it had come to (FoundationDB).

Here the cluster's name is in the data directory, nodes tell it before anything else, and whoever
belongs elsewhere is refused on both sides, with a line that says so. It counts for nothing and
changes nothing, its own data neither; on the right data it is a member again.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from tests.integration.conftest import Connection
from tests.integration.test_who_is_who import await_log, serves

from quorate.runtime.local_ports import LOOPBACK
from quorate.wire.resp_reply import ErrorReply

if TYPE_CHECKING:
    from tests.integration.machines import Machine, Machines

pytestmark = pytest.mark.processes


def is_not_served(machine: Machine) -> bool:
    with Connection((LOOPBACK, machine.port)) as connection:
        reply = connection.call("GET", "k")
    return isinstance(reply, ErrorReply) and reply.code == "UNAVAILABLE"


def test_a_node_with_another_clusters_data_counts_for_nothing(machines: Machines) -> None:
    founders = machines.found(3, cluster_id="right", options=["--command-timeout-s=0.5"])
    one, two, three = founders
    serves(one, "k")
    three.stop()
    right_data = three.data_dir.rename(three.directory / "right")
    members = [f"--member={m.node}={m.peer},{m.client}" for m in founders]
    three.start("--initialize=wrong", "--command-timeout-s=0.5", *members)
    for machine in founders:
        await_log(machine, "belongs to cluster", "'wrong'", "'right'")
    serves(one, "k")
    assert is_not_served(three), "it has no cluster"
    # It is not the majority that the others lack, nor are they its.
    two.stop()
    assert is_not_served(one)
    assert is_not_served(three)
    # With the data that it had it is a member as before, and needed.
    three.stop()
    three.data_dir.rename(three.directory / "wrong")
    right_data.rename(three.data_dir)
    three.start()
    machines.wait_until_following(three)
    serves(three, "k")
