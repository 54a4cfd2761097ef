"""The course's Raft interface, call by call, on clusters of one and of three."""

import random
from collections.abc import Coroutine
from typing import Any

from quorate.lab.costs import VIRTUAL
from quorate.lab.network import LabNetwork, LabServer
from quorate.lab.persister import Persister
from quorate.lab.raft_server import ApplyCommand, Command, RaftServer
from quorate.lab.raft_suite import PRODUCTION
from quorate.sim.scheduler import Scheduler
from quorate.sim.tasks import Tasks

SECOND_US = 1_000_000


class Cluster:
    """Servers that are all connected, on a virtual clock."""

    def __init__(self, servers: int) -> None:
        self.tasks = Tasks(Scheduler())
        self.network = LabNetwork(self.tasks, random.Random(1), VIRTUAL)
        self.size = servers
        self.lives = 0
        self.persisters = [Persister() for _ in range(servers)]
        self.rafts = [self.make(server) for server in range(servers)]

    def make(self, server: int) -> RaftServer:
        self.lives += 1
        ends = []
        for other in range(self.size):
            name = (self.lives, other)
            ends.append(self.network.make_end(name))
            self.network.connect(name, other)
            self.network.enable(name, enabled=True)
        raft = RaftServer(
            self.tasks,
            ends,
            server,
            self.persisters[server],
            settings=PRODUCTION,
            rng=random.Random(server),
            costs=VIRTUAL,
        )
        self.network.add_server(server, LabServer({"Raft": raft}))
        return raft

    def run(self, story: Coroutine[Any, Any, Any]) -> Any:
        try:
            return self.tasks.run(story)
        finally:
            self.tasks.cancel_all()

    async def leader(self) -> RaftServer:
        while not any(raft.get_state().is_leader for raft in self.rafts):
            await self.tasks.sleep(10_000)
        return next(raft for raft in self.rafts if raft.get_state().is_leader)


def test_a_new_server_does_not_lead_and_accepts_nothing() -> None:
    cluster = Cluster(3)
    for raft in cluster.rafts:
        assert not raft.get_state().is_leader
        assert not raft.start(1).is_leader


def test_the_first_command_gets_index_1_and_all_servers_apply_all_in_order() -> None:
    cluster = Cluster(3)

    async def story() -> None:
        leader = await cluster.leader()
        commands: list[Command] = [17, "text", 2**62]
        results = [leader.start(command) for command in commands]
        assert [result.index for result in results] == [1, 2, 3]
        assert {result.term for result in results} == {leader.get_state().term}
        for raft in cluster.rafts:
            for index, command in enumerate(commands, 1):
                assert await raft.apply_channel.take() == ApplyCommand(command, index)

    cluster.run(story())


def test_what_one_turn_accepts_goes_out_in_one_call_to_each_follower() -> None:
    cluster = Cluster(3)

    async def story() -> None:
        leader = await cluster.leader()
        await cluster.tasks.sleep(150_000)
        before = cluster.network.total_count
        for command in range(50):
            leader.start(command)
        await cluster.tasks.sleep(2_000)
        assert cluster.network.total_count - before == 2

    cluster.run(story())


def test_a_killed_server_accepts_nothing_says_nothing_and_writes_nothing() -> None:
    cluster = Cluster(1)

    async def story() -> None:
        raft = await cluster.leader()
        raft.start(1)
        raft.kill()
        before = cluster.persisters[0].read_raft_state()
        assert not raft.start(2).is_leader
        await cluster.tasks.sleep(SECOND_US)
        assert cluster.persisters[0].read_raft_state() == before
        assert await raft.handle("RequestVote", b"") == b""

    cluster.run(story())


def test_a_write_that_a_crash_interrupts_never_was() -> None:
    cluster = Cluster(1)

    async def story() -> list[int]:
        raft = await cluster.leader()
        raft.start(1)
        await raft.apply_channel.take()
        raft.start(2)
        await cluster.tasks.sleep(VIRTUAL.write_us // 2)
        raft.kill()
        cluster.persisters[0] = cluster.persisters[0].copy()
        cluster.rafts[0] = cluster.make(0)
        raft = await cluster.leader()
        return [raft.start(3).index]

    assert cluster.run(story()) == [2]


def test_a_restarted_server_applies_everything_again() -> None:
    cluster = Cluster(3)

    async def story() -> None:
        leader = await cluster.leader()
        for command in (1, 2):
            leader.start(command)
        await cluster.tasks.sleep(SECOND_US)
        number = (cluster.rafts.index(leader) + 1) % 3
        cluster.rafts[number].kill()
        cluster.rafts[number] = cluster.make(number)
        for index in (1, 2):
            message = await cluster.rafts[number].apply_channel.take()
            assert message == ApplyCommand(index, index)

    cluster.run(story())
