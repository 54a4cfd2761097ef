"""What is done to the nodes of a cluster, and that they get well again."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from quorate.cli.torture.node import PROGRAM
from quorate.cli.torture.orders import Orders, Room
from quorate.cli.torture.processes import holdings_of
from quorate.cli.torture.victims import Victims
from quorate.node.status import NodeStatus
from quorate.raft.configuration import NodeId

pytestmark = pytest.mark.processes

ONE, TWO, THREE = map(NodeId, (1, 2, 3))

Test = Callable[[Victims], Awaitable[None]]


@pytest.fixture
def torment(tmp_path: Path) -> Callable[[Test], None]:
    """Runs a test on three nodes that serve."""

    async def run(test: Test) -> None:
        victims = Victims.create(tmp_path, nodes=3, program=PROGRAM)
        with victims.cluster:
            await victims.start()
            try:
                await test(victims)
            finally:
                await victims.ways.close()

    return lambda test: asyncio.run(run(test))


async def status(victims: Victims, node: NodeId) -> NodeStatus:
    found = (await victims.cluster.statuses())[victims.nodes.index(node)]
    assert found is not None
    return found


def test_a_node_that_has_lost_its_data_is_let_in_again(torment: Callable[[Test], None]) -> None:
    async def test(victims: Victims) -> None:
        before = await status(victims, TWO)
        victims.wipe(TWO)
        assert victims.wiped == [TWO]
        await victims.bring_back(TWO)
        after = await status(victims, TWO)
        assert after.data_id != before.data_id
        assert all(member.votes for member in after.members)
        assert victims.wiped == []
        assert victims.troubles == []

    torment(test)


def test_nodes_whose_disks_fail_end_until_these_are_well(torment: Callable[[Test], None]) -> None:
    async def test(victims: Victims) -> None:
        for orders in (Orders(syncs_fail=True), Orders(room=Room.NONE)):
            leader = await victims.leader()
            assert leader is not None
            victims.order(leader, orders)
            victims.kill([leader])
            victims.start_node(leader)  # which is counted on its disk
            assert await victims.until_it_ends(leader, 10)
            await victims.heal_disk(leader)
            await victims.heal()
        assert victims.troubles == []

    torment(test)


def test_a_node_that_ends_though_nobody_has_told_it_to_is_noted(
    torment: Callable[[Test], None],
) -> None:
    async def test(victims: Victims) -> None:
        await victims.terminate(TWO)
        assert victims.troubles == []
        os.kill(victims.cluster.pid(ONE), signal.SIGTERM)
        assert await victims.until_it_ends(ONE, 10)
        (trouble,) = victims.troubles
        assert trouble.startswith("node 1 has ended by itself: exit status 0")

    torment(test)


def test_what_a_process_holds() -> None:
    holdings = holdings_of(ONE, os.getpid())
    if holdings is None:
        pytest.skip("this system does not tell")
    assert holdings.is_bounded
    assert holdings.memory_bytes > 2**20
    assert holdings.files >= 3
