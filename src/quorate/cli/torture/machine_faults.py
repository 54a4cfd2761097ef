"""What is done to processes and disks, each kind of fault from its beginning to its end."""

import asyncio
import random
from collections.abc import Sequence

from quorate.cli.torture.fault import Fault, Tell, named
from quorate.cli.torture.orders import Orders, Room
from quorate.cli.torture.victims import Victims
from quorate.raft.configuration import NodeId

_FOR_EVER_S = 60.0
"""Longer than any fault; and a server whose torture is gone ends then."""
_SLOW_DISK_S = (0.02, 0.3)
_ENDS_WITHIN_S = 5.0
_LET_IN_S = (0.3, 2.0)
_TRANSFER_EACH_S = 0.5


class MachineFaults:
    """Faults of processes and disks.

    Args:
        victims: whom they strike.
        rng: for what is left to chance.
    """

    def __init__(self, victims: Victims, rng: random.Random) -> None:
        self._victims = victims
        self._rng = rng

    @property
    def kinds(self) -> dict[str, Fault]:
        """All of them, by their names."""
        return {
            "kill -9": self._kill_some,
            "kill -9 of the leader": self._kill_leader,
            "kill -9 of all": self._kill_all,
            "pause": self._pause_one,
            "pause of the leader": self._pause_leader,
            "restart": self._restart_one,
            "rolling restart": self._rolling_restart,
            "stalled disk": self._stall,
            "slow disk": self._slow_down,
            "failing sync": self._fail_sync,
            "full disk": self._fill_disk,
            "lost data": self._lose_data,
            "transfers": self._transfer,
        }

    # ------------------------------------------------------------------ processes

    async def _kill_some(self, seconds: float, tell: Tell) -> None:
        nodes = self._victims.nodes
        count = self._rng.randint(1, (len(nodes) - 1) // 2)
        await self._kill(self._rng.sample(nodes, count), seconds, tell)

    async def _kill_leader(self, seconds: float, tell: Tell) -> None:
        await self._kill([await self._leader()], seconds, tell)

    async def _kill_all(self, seconds: float, tell: Tell) -> None:
        await self._kill(self._victims.nodes, seconds / 2, tell)

    async def _kill(self, nodes: Sequence[NodeId], seconds: float, tell: Tell) -> None:
        tell(f"kill -9 of {named(nodes)}")
        self._victims.kill(nodes)
        await asyncio.sleep(seconds)
        for node in nodes:
            self._victims.start_node(node)
        await self._bring_back(nodes)

    async def _pause_one(self, seconds: float, tell: Tell) -> None:
        await self._pause(self._any(), seconds, tell)

    async def _pause_leader(self, seconds: float, tell: Tell) -> None:
        await self._pause(await self._leader(), seconds, tell)

    async def _pause(self, node: NodeId, seconds: float, tell: Tell) -> None:
        tell(f"SIGSTOP to node {node}")
        self._victims.pause([node])
        await asyncio.sleep(seconds)
        self._victims.resume()
        await self._bring_back([node])

    async def _restart_one(self, seconds: float, tell: Tell) -> None:
        node = self._any()
        tell(f"SIGTERM to node {node}")
        await self._victims.terminate(node)
        await asyncio.sleep(seconds / 2)
        await self._bring_back([node])

    async def _rolling_restart(self, _seconds: float, tell: Tell) -> None:
        tell("each node is stopped and started again, one after the other")
        for node in self._victims.nodes:
            await self._victims.terminate(node)
            await self._bring_back([node])

    async def _lose_data(self, seconds: float, tell: Tell) -> None:
        await self._bring_back(self._victims.wiped)  # never two at a time
        node = self._any()
        tell(f"node {node} is killed and loses all its data")
        self._victims.wipe(node)
        await asyncio.sleep(seconds / 2)
        if self._rng.random() < 0.5:
            await self._bring_back([node])
        else:
            await asyncio.gather(self._bring_back([node]), self._strike_again(node, tell))

    async def _strike_again(self, node: NodeId, tell: Tell) -> None:
        """While it is let in."""
        await asyncio.sleep(self._rng.uniform(*_LET_IN_S))
        tell(f"kill -9 of node {node}, while it is let in or soon after")
        self._victims.kill([node])
        self._victims.start_node(node)

    async def _transfer(self, seconds: float, tell: Tell) -> None:
        tell("leadership is handed over, again and again")
        count = max(1, round(seconds / _TRANSFER_EACH_S))
        done = 0
        for _ in range(count):
            done += await self._victims.hand_leadership_over()
            await asyncio.sleep(_TRANSFER_EACH_S)
        tell(f"{done} of {count} times")

    # ------------------------------------------------------------------ disks

    async def _stall(self, seconds: float, tell: Tell) -> None:
        await self._slow(Orders(stall_s=_FOR_EVER_S), "no sync comes to an end", seconds, tell)

    async def _slow_down(self, seconds: float, tell: Tell) -> None:
        stall_s = self._rng.uniform(*_SLOW_DISK_S)
        text = f"each sync takes {stall_s * 1000:.0f} ms longer"
        await self._slow(Orders(stall_s=stall_s), text, seconds, tell)

    async def _slow(self, orders: Orders, text: str, seconds: float, tell: Tell) -> None:
        node = await self._leader_or_any()
        tell(f"disk of node {node}: {text}")
        self._victims.order(node, orders)
        await asyncio.sleep(seconds)
        await self._victims.heal_disk(node)
        await self._bring_back([node])

    async def _fail_sync(self, seconds: float, tell: Tell) -> None:
        node = await self._leader_or_any()
        tell(f"disk of node {node}: syncs fail")
        await self._fail_disk(node, Orders(syncs_fail=True), seconds, tell)

    async def _fill_disk(self, seconds: float, tell: Tell) -> None:
        node = await self._leader_or_any()
        room = self._rng.choice((Room.NO_MORE, Room.NONE))
        what = "for files to grow" if room is Room.NO_MORE else "at all"
        tell(f"disk of node {node}: no room {what}")
        if room is Room.NONE:
            await self._fail_disk(node, Orders(room=room), seconds, tell)
            return
        # It goes on as long as its log need not grow; what it cannot do is take snapshots.
        self._victims.order(node, Orders(room=room))
        await asyncio.sleep(seconds)
        await self._victims.heal_disk(node)
        await self._bring_back([node])

    async def _fail_disk(self, node: NodeId, orders: Orders, seconds: float, tell: Tell) -> None:
        """Until the node has ended, and once more when it is started too early.

        One that has nothing to write, for it is cut off, does not notice.
        """
        self._victims.order(node, orders)
        if await self._victims.until_it_ends(node, _ENDS_WITHIN_S):
            tell(f"node {node} has ended; it is started again, too early")
            self._victims.start_node(node)
            await self._victims.until_it_ends(node, _ENDS_WITHIN_S)
            await asyncio.sleep(seconds / 2)
        await self._victims.heal_disk(node)
        await self._bring_back([node])

    # ------------------------------------------------------------------ whom

    async def _bring_back(self, nodes: Sequence[NodeId]) -> None:
        for node in nodes:
            await self._victims.bring_back(node)

    def _any(self) -> NodeId:
        return self._rng.choice(self._victims.nodes)

    async def _leader(self) -> NodeId:
        return await self._victims.leader() or self._any()

    async def _leader_or_any(self) -> NodeId:
        return await self._leader() if self._rng.random() < 0.5 else self._any()
