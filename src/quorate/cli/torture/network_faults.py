"""What is done to the network between the nodes, each kind of fault from beginning to end."""

import asyncio
import random
from collections.abc import Sequence

from quorate.cli.torture.fault import Fault, Tell, named
from quorate.cli.torture.victims import Victims
from quorate.cli.torture.ways import Way
from quorate.raft.configuration import NodeId

_FLAP_S = 0.2
_DELAY_S = (0.005, 0.15)
_SLOW_BYTES_PER_S = (5_000.0, 100_000.0)


class NetworkFaults:
    """Faults of the network between the nodes.

    Args:
        victims: whom they strike.
        rng: for what is left to chance.
    """

    def __init__(self, victims: Victims, rng: random.Random) -> None:
        self._victims = victims
        self._ways = victims.ways
        self._rng = rng

    @property
    def kinds(self) -> dict[str, Fault]:
        """All of them, by their names."""
        return {
            "isolated leader": self._isolate_leader,
            "isolated node": self._isolate_one,
            "partition": self._split,
            "one-way cut": self._cut_one_way,
            "flapping network": self._flap,
            "delays": self._delay,
            "slow link": self._slow_down,
            "broken connections": self._break_off,
        }

    async def _isolate_leader(self, seconds: float, tell: Tell) -> None:
        node = await self._victims.leader() or self._any()
        await self._isolate(node, seconds, tell)

    async def _isolate_one(self, seconds: float, tell: Tell) -> None:
        await self._isolate(self._any(), seconds, tell)

    async def _isolate(self, node: NodeId, seconds: float, tell: Tell) -> None:
        tell(f"node {node} is cut off from the others")
        await self._cut(self._ways.between([node], self._victims.nodes), seconds)

    async def _split(self, seconds: float, tell: Tell) -> None:
        nodes = self._victims.nodes
        some = self._rng.sample(nodes, self._rng.randint(1, (len(nodes) - 1) // 2))
        tell(f"{named(some)} cannot reach the others, nor be reached")
        others = [node for node in nodes if node not in some]
        await self._cut(self._ways.between(some, others), seconds)

    async def _cut_one_way(self, seconds: float, tell: Tell) -> None:
        node = self._any()
        if self._rng.random() < 0.5:
            tell(f"node {node} does not reach the others, but hears them")
            ways = self._ways.one_way([node], self._victims.nodes)
        else:
            tell(f"node {node} does not hear the others, but reaches them")
            ways = self._ways.one_way(self._victims.nodes, [node])
        await self._cut(ways, seconds)

    async def _flap(self, seconds: float, tell: Tell) -> None:
        node = self._any()
        tell(f"node {node} is cut off and back, again and again")
        ways = self._ways.between([node], self._victims.nodes)
        for _ in range(max(1, round(seconds / (4 * _FLAP_S)))):
            await self._cut(ways, self._rng.uniform(_FLAP_S, 3 * _FLAP_S))
            await asyncio.sleep(self._rng.uniform(_FLAP_S, 3 * _FLAP_S))

    async def _cut(self, ways: Sequence[Way], seconds: float) -> None:
        """What was held back comes late in the end, or is lost with its connection."""
        for way in ways:
            way.cut()
        await asyncio.sleep(seconds)
        is_lost = self._rng.random() < 0.5
        for way in ways:
            if is_lost:
                way.break_off()
            way.mend()

    async def _delay(self, seconds: float, tell: Tell) -> None:
        delay_s = self._rng.uniform(*_DELAY_S)
        tell(f"each message between nodes takes up to {delay_s * 1000:.0f} ms")
        for way in self._ways.all:
            way.delay_s = self._rng.uniform(0, delay_s)
        await asyncio.sleep(seconds)
        for way in self._ways.all:
            way.mend()

    async def _slow_down(self, seconds: float, tell: Tell) -> None:
        node = self._any()
        bytes_per_s = self._rng.uniform(*_SLOW_BYTES_PER_S)
        tell(f"node {node} has a link of {bytes_per_s / 1000:.0f} kB/s")
        ways = self._ways.between([node], self._victims.nodes)
        for way in ways:
            way.bytes_per_s = bytes_per_s
        await asyncio.sleep(seconds)
        for way in ways:
            way.mend()

    async def _break_off(self, seconds: float, tell: Tell) -> None:
        tell("connections between nodes break, now these, now those")
        for _ in range(max(1, round(seconds / _FLAP_S))):
            for way in self._ways.all:
                if self._rng.random() < 0.3:
                    way.break_off()
            await asyncio.sleep(_FLAP_S)

    def _any(self) -> NodeId:
        return self._rng.choice(self._victims.nodes)
