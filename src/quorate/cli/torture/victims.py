"""The tortured cluster: what can be done to its nodes, and how they are made well again."""

import asyncio
import contextlib
import os
import re
import shutil
import signal
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Self

from quorate.cli.torture.orders import OrderBook, Orders, Room
from quorate.cli.torture.processes import Holdings, holdings_of
from quorate.cli.torture.ways import Ways
from quorate.node.status import NodeStatus
from quorate.raft.configuration import NodeId
from quorate.runtime.ask import NoAnswerError, ask, leader_among
from quorate.runtime.local_cluster import QUORATE, LocalCluster

MAX_RAFT_STATE = "256KiB"
"""Small, so that nodes take snapshots all the time, and need them when they come back."""
BACK_WITHIN_S = 30.0
"""A node that was made well serves by then, if the others do."""
REJOIN_WITHIN_S = 40
_REJOIN_ATTEMPTS = 3
_POLL_S = 0.05
_ASK_TIMEOUT_S = 1.0
_ENDS_WITHIN_S = 20.0
_LAST_BREATH_S = 2.0
"""So long it is watched whether a node ends that may go on although its disk has failed it."""
_HANGS_AFTER_S = REJOIN_WITHIN_S + 20
"""The command that lets a node in again, and takes longer than this, hangs."""
# How a node ends that is told to, and one whose disk has failed.
_IN_ORDER = "exit status 0: "
_BY_ITS_DISK = "exit status 1: quorate: error: (no space left|the disk failed) to "


class NotBackError(Exception):
    """A node that should be well is not."""


class Victims:
    """The nodes of one cluster, their disks and the ways between them.

    Args:
        cluster: the nodes; nothing runs yet.
        ways: between them.

    Attributes:
        troubles: what no node should have done, as texts: such as ending by itself.
        holdings: what each node's processes held at most, as far as that was looked at: before
            each was ended.
    """

    def __init__(self, cluster: LocalCluster, ways: Ways) -> None:
        self.cluster = cluster
        self.ways = ways
        self.troubles: list[str] = []
        self.holdings: dict[NodeId, Holdings] = {}
        self._books = {node: OrderBook(cluster.data_dir(node)) for node in self.nodes}
        self._to_end: dict[NodeId, str] = {}
        self._paused: set[NodeId] = set()
        self._wiped: set[NodeId] = set()

    @classmethod
    def create(cls, directory: Path, *, nodes: int, program: Sequence[str]) -> Self:
        """New ones; nothing runs yet."""
        table = directory / "ways.json"
        cluster = LocalCluster.create(
            directory,
            nodes=nodes,
            serve_options=("--max-raft-state", MAX_RAFT_STATE),
            program=(*program, str(table)),
        )
        return cls(cluster, Ways(cluster.members))

    async def start(self) -> None:
        """Starts all, and waits until they serve."""
        table = await self.ways.open()
        table.save(self.cluster.directory / "ways.json")
        self.cluster.start()
        await self.cluster.wait_until_serving(BACK_WITHIN_S)

    @property
    def nodes(self) -> list[NodeId]:
        """All of them."""
        return [member.id for member in self.cluster.members]

    @property
    def wiped(self) -> list[NodeId]:
        """Those that have lost their data and were not let in again yet."""
        return sorted(self._wiped)

    async def leader(self) -> NodeId | None:
        """Who leads, as far as anybody says."""
        status = leader_among(await self.cluster.statuses())
        return None if status is None else NodeId(status.id)

    # ------------------------------------------------------------------ what is done to them

    def kill(self, nodes: Iterable[NodeId]) -> None:
        """Kill -9 of those that run, at the same moment."""
        self.look_after()
        victims = [node for node in nodes if node in self.cluster.running]
        for node in victims:
            self._note_holdings(node)
        self.cluster.kill(*victims)
        self._paused -= set(victims)

    def pause(self, nodes: Iterable[NodeId]) -> None:
        """SIGSTOP: they keep all that they have and do nothing."""
        for node in nodes:
            if node in self.cluster.running:
                os.kill(self.cluster.pid(node), signal.SIGSTOP)
                self._paused.add(node)

    def resume(self) -> None:
        """SIGCONT to all that were paused."""
        for node in self._paused:
            if node in self.cluster.running:
                os.kill(self.cluster.pid(node), signal.SIGCONT)
        self._paused.clear()

    async def terminate(self, node: NodeId) -> None:
        """SIGTERM, and waits until it has ended in order."""
        if node in self.cluster.running:
            self._note_holdings(node)
            self._to_end[node] = _IN_ORDER
            os.kill(self.cluster.pid(node), signal.SIGTERM)
            if not await self.until_it_ends(node, _ENDS_WITHIN_S):
                self.troubles.append(f"node {node} runs {_ENDS_WITHIN_S:g} s after SIGTERM")
                self.kill([node])
            del self._to_end[node]

    def order(self, node: NodeId, orders: Orders) -> None:
        """Tells the disk of a node what to do."""
        self._books[node].give(orders)
        if orders.syncs_fail or orders.room is not Room.ENOUGH:
            self._to_end[node] = _BY_ITS_DISK

    async def until_it_ends(self, node: NodeId, within_s: float) -> bool:
        """Waits until a node has ended by itself; returns whether it did in time."""
        try:
            async with asyncio.timeout(within_s):
                while node in self.cluster.running:  # noqa: ASYNC110 - another process
                    await asyncio.sleep(_POLL_S)
        except TimeoutError:
            return False
        self.look_after()
        return True

    def wipe(self, node: NodeId) -> None:
        """Kills a node and takes all its data."""
        self.kill([node])
        shutil.rmtree(self.cluster.data_dir(node))
        self._wiped.add(node)

    async def hand_leadership_over(self) -> bool:
        """Asks the leader to let another node lead; returns whether it has agreed."""
        leader = leader_among(await self.cluster.statuses())
        if leader is None:
            return False
        words = (b"QUORATE.MEMBER", b"TRANSFER")
        with contextlib.suppress(NoAnswerError):
            reply = await ask(leader.client_address, *words, timeout_s=_ASK_TIMEOUT_S)
            return reply == b"OK"
        return False

    def _note_holdings(self, node: NodeId) -> None:
        now = holdings_of(node, self.cluster.pid(node))
        if now is not None:
            self.holdings[node] = now.most(self.holdings.get(node, now))

    # ------------------------------------------------------------------ how they get well

    def start_node(self, node: NodeId) -> None:
        """Starts it, if it does not run."""
        self.look_after()
        if node not in self.cluster.running:
            book = self._books[node]
            book.forget_strike()
            if book.orders == Orders():
                self._to_end.pop(node, None)
            self.cluster.start_node(node, join=node in self._wiped)

    async def bring_back(self, node: NodeId) -> None:
        """Starts a node if need be, and waits until it follows a leader; lets it in if it is new.

        Raises:
            NotBackError: it does not in time.
        """
        self.start_node(node)
        if node in self._wiped:
            await self._let_in(node)
            self._wiped.discard(node)
        await self._until(node, _is_well)

    async def heal_disk(self, node: NodeId) -> None:
        """Its disk is as good as new; a node that it has failed has to end.

        But where files could not grow it may go on: it lacks no more than a snapshot, or the
        space for what comes later.
        """
        book = self._books[node]
        orders, was_struck = book.orders, book.has_struck
        book.give(Orders())
        if not was_struck:
            return
        if orders.room is Room.NO_MORE:
            await self.until_it_ends(node, _LAST_BREATH_S)
        elif not await self.until_it_ends(node, _ENDS_WITHIN_S):
            self.troubles.append(f"node {node} goes on, though its disk has failed it")

    async def heal(self) -> None:
        """Makes everything well, and waits until all nodes are.

        Raises:
            NotBackError: some are not in time.
        """
        for way in self.ways.all:
            way.mend()
        for node in self.nodes:
            await self.heal_disk(node)
        self.resume()
        for node in self.nodes:
            self.start_node(node)
        for node in self.nodes:
            await self.bring_back(node)

    def look_after(self) -> None:
        """Notes who has ended by himself."""
        for node_exit in self.cluster.take_exits():
            expected = self._to_end.get(node_exit.node)
            if expected is None or not re.match(expected, node_exit.reason):
                self.troubles.append(
                    f"node {node_exit.node} has ended by itself: {node_exit.reason}"
                )

    async def _until(self, node: NodeId, is_so: Callable[[NodeStatus | None], bool]) -> None:
        """Starts a node as often as need be, until its status is as wanted."""
        try:
            async with asyncio.timeout(BACK_WITHIN_S):
                while not is_so(await self._status(node)):
                    self.start_node(node)
                    await asyncio.sleep(_POLL_S)
        except TimeoutError as error:
            raise NotBackError(f"node {node} did not come back in {BACK_WITHIN_S:g} s") from error

    async def _let_in(self, node: NodeId) -> None:
        """As an operator does: once the node answers, and again if it did not work."""
        for attempt in range(1, _REJOIN_ATTEMPTS + 1):
            await self._until(node, lambda status: status is not None)
            try:
                await self._rejoin(node)
            except NotBackError:
                if attempt == _REJOIN_ATTEMPTS:
                    raise
            else:
                return

    async def _rejoin(self, node: NodeId) -> None:
        """`quorate member rejoin`."""
        client = self.cluster.servers[self.nodes.index(node)]
        others = [server for server in self.cluster.servers if server != client]
        command = [*QUORATE, "member", "rejoin", client, "--servers", ",".join(others)]
        process = await asyncio.create_subprocess_exec(
            *command,
            "--timeout",
            str(REJOIN_WITHIN_S),
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )
        try:
            async with asyncio.timeout(_HANGS_AFTER_S):
                output, _ = await process.communicate()
        except TimeoutError:
            process.kill()
            hangs = f"`quorate member rejoin` of node {node} has not ended in {_HANGS_AFTER_S} s"
            self.troubles.append(hangs)
            raise NotBackError(hangs) from None
        if process.returncode != 0:
            raise NotBackError(f"node {node} was not let in again: {output.decode().strip()}")

    async def _status(self, node: NodeId) -> NodeStatus | None:
        return (await self.cluster.statuses())[self.nodes.index(node)]


def _is_well(status: NodeStatus | None) -> bool:
    if status is None or status.leader is None or status.snapshot_is_lost:
        return False
    return any(member.id == status.id and member.votes for member in status.members)
