"""The network between simulated servers, and between them and their clients.

The fault model:

1. A message between servers is lost, or comes twice, each with some probability; each copy takes
   a time of its own, so messages overtake each other; now and then one takes very long. A link can
   be slow: then each takes so much longer.
2. A link from one server to another can be cut, in that direction only. What is on its way when
   it is cut is lost, unless the link is mended before it arrives.
3. A client's connection is a stream: bytes arrive in order, now and then in two pieces, until it
   breaks. When it breaks, each side notices after a while, and what was on its way is lost.
"""

import random
from collections import Counter
from collections.abc import Callable, Iterable
from functools import partial
from typing import Protocol

import msgspec

from quorate.codec.peer import decode_message, encode_message
from quorate.raft.configuration import NodeId
from quorate.raft.messages import PeerMessage
from quorate.sim.scheduler import Scheduler
from quorate.sim.trace import Trace

Link = tuple[NodeId, NodeId]
"""From one server to another."""


class NetworkFaults(msgspec.Struct, frozen=True, kw_only=True):
    """How bad the network is.

    Attributes:
        loss: the probability that a message is lost.
        duplication: the probability that a message comes twice.
        latency_us: the longest usual time of a message.
        stray: the probability that a message takes up to 50 times as long.
        split: the probability that a stream's data comes in two pieces.
    """

    loss: float
    duplication: float
    latency_us: int
    stray: float
    split: float


class Copy(Protocol):
    """A copy of a message, for somebody who watches."""

    def arrived(self) -> None:
        """It has come to the other end."""

    def lost(self) -> None:
        """It is lost, as it is sent or later."""


class Watcher(Protocol):
    """Sees each copy of each message between servers."""

    def sent(
        self, sender: NodeId, to: NodeId, message: PeerMessage | None, *, is_twin: bool = False
    ) -> Copy:
        """It is sent; as a twin of the one before it if a message comes twice.

        None: a server says who it is.
        """


PERFECT = NetworkFaults(loss=0.0, duplication=0.0, latency_us=500, stray=0.0, split=0.0)


class Network:
    """Delivers messages between servers and bytes between servers and clients.

    Args:
        scheduler: virtual time.
        rng: for all that is left to chance.
        faults: how bad it is at first.
        trace: notes everything that is sent.
        watcher: sees it, if somebody is to.

    Attributes:
        faults: how bad it is.
        sent: messages between servers that were sent.
        lost: copies of them that were lost.
    """

    def __init__(
        self,
        scheduler: Scheduler,
        rng: random.Random,
        faults: NetworkFaults,
        trace: Trace,
        watcher: Watcher | None = None,
    ) -> None:
        self.faults = faults
        self.sent = 0
        self.lost = 0
        self._scheduler = scheduler
        self._rng = rng
        self._trace = trace
        self._watcher = watcher
        self._cuts: Counter[Link] = Counter()
        self._delays: dict[Link, int] = {}

    def send(
        self,
        sender: NodeId,
        to: NodeId,
        message: PeerMessage,
        deliver: Callable[[NodeId, PeerMessage], None],
    ) -> None:
        """Takes a message on its way; every copy that arrives is decoded anew."""
        data = encode_message(message)
        self.carry(sender, to, data, lambda: deliver(sender, decode_message(data)), message)

    def carry(
        self,
        sender: NodeId,
        to: NodeId,
        data: bytes,
        deliver: Callable[[], None],
        message: PeerMessage | None = None,
    ) -> None:
        """Takes what one server says to another on its way; calls `deliver` for each copy."""
        self.sent += 1
        self._trace.note(data)
        faults = self.faults
        if self._cuts[sender, to] or self._rng.random() < faults.loss:
            self.lost += 1
            if self._watcher is not None:
                self._watcher.sent(sender, to, message).lost()
            return

        def arrive(copy: Copy | None) -> None:
            is_cut = self._cuts[sender, to] > 0
            if copy is not None:
                (copy.lost if is_cut else copy.arrived)()
            if is_cut:
                self.lost += 1
            else:
                deliver()

        copy = None
        for is_twin in (False, True) if self._rng.random() < faults.duplication else (False,):
            if self._watcher is not None:
                copy = self._watcher.sent(sender, to, message, is_twin=is_twin)
            delay = self.latency() + self._delays.get((sender, to), 0)
            self._scheduler.after(delay, partial(arrive, copy))

    def latency(self) -> int:
        """The time that one message or one piece of a stream takes."""
        usual = 50 + self._rng.randrange(self.faults.latency_us)
        if self._rng.random() < self.faults.stray:
            return usual * (2 + self._rng.randrange(49))
        return usual

    def pieces(self, data: bytes) -> tuple[bytes, ...]:
        """How a stream's data comes apart on its way."""
        self._trace.note(data)
        if len(data) > 1 and self._rng.random() < self.faults.split:
            cut = self._rng.randrange(1, len(data))
            return data[:cut], data[cut:]
        return (data,)

    # ------------------------------------------------------------------ partitions

    def cut(self, links: Iterable[Link]) -> None:
        """From now on nothing gets through these links, until each is mended as often."""
        self._cuts.update(links)

    def mend(self, links: Iterable[Link]) -> None:
        """Undoes one `cut`; does nothing if all was healed since."""
        self._cuts.subtract(link for link in links if self._cuts[link])

    def slow_down(self, links: Iterable[Link], delay_us: int) -> None:
        """From now on each message takes so much longer on these links."""
        self._delays.update(dict.fromkeys(links, delay_us))

    def speed_up(self, links: Iterable[Link]) -> None:
        """Undoes `slow_down`."""
        for link in links:
            self._delays.pop(link, None)

    def heal(self) -> None:
        """Mends all links."""
        self._cuts.clear()
        self._delays.clear()


def links_between(side: set[NodeId], other: set[NodeId]) -> list[Link]:
    """All links from one group of servers to another and back."""
    pairs = [(one, another) for one in sorted(side) for another in sorted(other)]
    return pairs + [(another, one) for one, another in pairs]
