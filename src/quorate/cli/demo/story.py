"""What happens in the demo, step by step, in plain words."""

import asyncio
import contextlib
from collections.abc import AsyncIterator

import msgspec

from quorate.cli.demo.display import Display, NodeSample, Sample
from quorate.cli.demo.verification import Tally, total, verify
from quorate.cli.demo.workload import CLERKS, KEYS_PER_CLERK, Workload
from quorate.node.status import NodeStatus
from quorate.raft.configuration import NodeId
from quorate.runtime.ask import ask, leader_among
from quorate.runtime.local_cluster import LocalCluster

ENOUGH_APPENDS = 5_000
"""With fewer acknowledged, the demo has shown nothing."""

_WAIT_S = 10.0  # for anything that should happen soon
_SAMPLE_S = 0.25
_POLL_S = 0.02
_STEADY_S = 3.0
_ONE_DOWN_S = 2.0
_ALL_DOWN_S = 0.5
_AFTERWARDS_S = 2.0


class DemoFailedError(Exception):
    """Something that should happen soon did not."""


class Verdict(msgspec.Struct, frozen=True, kw_only=True):
    """What the verification has found.

    Attributes:
        acknowledged: appends that the Clerks were told to be executed.
        unknown: appends whose outcome the Clerks were told to be unknown.
        tallies: for each node, what its own copy of the data has wrong.
    """

    acknowledged: int
    unknown: int
    tallies: dict[NodeId, Tally]

    @property
    def lost(self) -> int:
        """In the worst copy."""
        return max(tally.lost for tally in self.tallies.values())

    @property
    def doubled(self) -> int:
        """In the worst copy."""
        return max(tally.doubled for tally in self.tallies.values())

    @property
    def misplaced(self) -> int:
        """Out of their client's order or never to be there, in the worst copy."""
        return max(tally.misplaced + tally.unexpected for tally in self.tallies.values())

    @property
    def has_passed(self) -> bool:
        """Whether enough was acknowledged and nothing is wrong."""
        is_clean = all(tally.is_clean for tally in self.tallies.values())
        return is_clean and self.acknowledged >= ENOUGH_APPENDS


class Story:
    """The demo on one cluster of which nothing runs yet.

    Args:
        cluster: three nodes.
        display: where it is told.
    """

    def __init__(self, cluster: LocalCluster, display: Display) -> None:
        self._cluster = cluster
        self._display = display
        self._workload = Workload(cluster.servers)
        self._loop = asyncio.get_running_loop()
        self._begun_at = self._loop.time()
        self._sampled_at = self._begun_at
        self._sampled_acknowledged = 0

    async def tell(self) -> Verdict:
        """The whole of it.

        Raises:
            DemoFailedError: a step did not come to its end in time.
            LocalClusterError: the nodes could not be started.
            NoAnswerError: a node did not let its copy be read.
        """
        async with self._sampling():
            await self._start_cluster()
            await self._begin_to_append()
            killed = await self._kill_the_leader()
            await self._restart(killed)
            await self._kill_all()
            self._say("the Clerks stop, after the appends under way")
            await self._workload.stop()
        await self._show_sample()
        return await self._verify()

    # ------------------------------------------------------------------ the steps

    async def _start_cluster(self) -> None:
        self._cluster.start()
        pids = ", ".join(str(self._cluster.pid(member.id)) for member in self._cluster.members)
        self._say(
            f"three servers start as processes {pids}, with data in {self._cluster.directory}"
        )
        leader = await self._cluster.wait_until_serving(_WAIT_S)
        self._say(f"they have elected node {leader.id} and answer reads and writes")

    async def _begin_to_append(self) -> None:
        self._workload.start()
        self._say(
            f"{CLERKS} Clerks begin to append to {CLERKS * KEYS_PER_CLERK} keys, without a pause. "
            "Every append has a number of its own, and every acknowledgement is written down here"
        )
        await asyncio.sleep(_STEADY_S)

    async def _kill_the_leader(self) -> NodeId:
        leader = await self._leader()
        self._workload.watch_pause()
        pid = self._cluster.pid(NodeId(leader.id))
        self._cluster.kill(NodeId(leader.id))
        self._say(f"kill -9 of process {pid}: node {leader.id}, the leader, is dead")
        successor = await self._leader(after_term=leader.term)
        self._say(f"node {successor.id} was elected for term {successor.term}")
        await asyncio.sleep(_ONE_DOWN_S)
        self._say(
            f"service paused for {self._workload.longest_pause_s:.2f} s: the longest time since "
            "the kill in which no Clerk got any acknowledgement. Two of three go on"
        )
        return NodeId(leader.id)

    async def _restart(self, node: NodeId) -> None:
        leader = await self._leader()
        begun_at = self._loop.time()
        self._cluster.start_node(node)
        self._say(
            f"node {node} is started again; the cluster has committed the log up to index "
            f"{leader.commit_index:,} meanwhile"
        )
        status = await self._applied(node, leader.commit_index)
        self._say(
            f"node {node} has caught up: it has applied the log up to index "
            f"{status.last_applied:,}, {self._loop.time() - begun_at:.2f} s after its start, while "
            "the appends went on"
        )
        await asyncio.sleep(_AFTERWARDS_S)

    async def _kill_all(self) -> None:
        self._workload.watch_pause()
        acknowledged = self._workload.acknowledged
        self._cluster.kill(*self._cluster.running)
        self._say(
            f"kill -9 of all three at once, in the middle of the appends; {acknowledged:,} were "
            "acknowledged. What is left is what their disks hold"
        )
        await asyncio.sleep(_ALL_DOWN_S)
        acknowledged = self._workload.acknowledged
        self._cluster.start()
        self._say("all three are started again; the Clerks have been trying all the while")
        await self._until_acknowledged(more_than=acknowledged)
        leader = await self._leader()
        self._say(
            f"appends are acknowledged again, {self._workload.longest_pause_s:.2f} s after the "
            f"kill; node {leader.id} leads term {leader.term}"
        )
        await asyncio.sleep(_AFTERWARDS_S)

    async def _verify(self) -> Verdict:
        records = self._workload.records
        self._say(f"each node is asked for all {len(records)} keys, and answers from its own copy")
        tallies: dict[NodeId, Tally] = {}
        for member in self._cluster.members:
            tallies[member.id] = total(
                [verify(record, await self._value(member.client, record.key)) for record in records]
            )
        return Verdict(
            acknowledged=self._workload.acknowledged,
            unknown=sum(len(record.unknown) for record in records),
            tallies=tallies,
        )

    # ------------------------------------------------------------------ waiting

    async def _leader(self, *, after_term: int = 0) -> NodeStatus:
        """The leader, as soon as there is one of a term after this one."""
        async with self._soon("a leader"):
            while True:
                leader = leader_among(await self._cluster.statuses())
                if leader is not None and leader.term > after_term:
                    return leader
                await asyncio.sleep(_POLL_S)

    async def _applied(self, node: NodeId, index: int) -> NodeStatus:
        """The status of the node, as soon as it has applied the log up to this index."""
        async with self._soon(f"node {node} to catch up"):
            while True:
                for status in await self._cluster.statuses():
                    if status is not None and status.id == node and status.last_applied >= index:
                        return status
                await asyncio.sleep(_POLL_S)

    async def _until_acknowledged(self, *, more_than: int) -> None:
        async with self._soon("an acknowledgement"):
            while self._workload.acknowledged <= more_than:  # noqa: ASYNC110 - counted elsewhere
                await asyncio.sleep(_POLL_S)

    @contextlib.asynccontextmanager
    async def _soon(self, what: str) -> AsyncIterator[None]:
        try:
            async with asyncio.timeout(_WAIT_S):
                yield
        except TimeoutError as error:
            raise DemoFailedError(f"waited {_WAIT_S:g} s for {what}, in vain") from error

    # ------------------------------------------------------------------ looking

    async def _value(self, server: str, key: bytes) -> bytes:
        reply = await ask(server, b"GET", key, timeout_s=_WAIT_S)
        if not isinstance(reply, bytes):
            raise DemoFailedError(f"{server} did not answer GET {key.decode()}: {reply}")
        return reply

    @contextlib.asynccontextmanager
    async def _sampling(self) -> AsyncIterator[None]:
        """Shows all the time how things stand; ends the Clerks if the story breaks off."""
        sampler = asyncio.create_task(self._sample())
        try:
            yield
        finally:
            sampler.cancel()
            self._workload.cancel()

    async def _sample(self) -> None:
        while True:
            await self._show_sample()
            await asyncio.sleep(_SAMPLE_S)

    async def _show_sample(self) -> None:
        statuses = await self._cluster.statuses()
        now, acknowledged = self._loop.time(), self._workload.acknowledged
        new = acknowledged - self._sampled_acknowledged
        rate = new / max(now - self._sampled_at, _POLL_S)
        self._sampled_at, self._sampled_acknowledged = now, acknowledged
        running = self._cluster.running
        nodes = [
            NodeSample(member.id, member.id in running, status)
            for member, status in zip(self._cluster.members, statuses, strict=True)
        ]
        self._display.show(Sample(now - self._begun_at, acknowledged, rate, nodes))

    def _say(self, text: str) -> None:
        self._display.say(self._loop.time() - self._begun_at, text)
