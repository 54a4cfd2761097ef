"""A torture from its beginning to its end: the cluster, its clients, the faults, the judgement."""

import asyncio
import math
import random
from collections.abc import Awaitable, Callable, Sequence
from typing import TypeVar

from quorate.cli.torture.clients import Clients
from quorate.cli.torture.figures import figures_of
from quorate.cli.torture.findings import Findings, Plan
from quorate.cli.torture.judgement import FinalRead, judge
from quorate.cli.torture.ledger import Ledger
from quorate.cli.torture.machine_faults import MachineFaults
from quorate.cli.torture.nemesis import Mark, Nemesis
from quorate.cli.torture.network_faults import NetworkFaults
from quorate.cli.torture.pulse import Pulse
from quorate.cli.torture.victims import NotBackError, Victims
from quorate.node.status import NodeStatus
from quorate.runtime.ask import NoAnswerError, ask
from quorate.runtime.clock import monotonic_us

T = TypeVar("T")

SERVED_WITHIN_S = 15.0
"""When all is well again, every client has had a write acknowledged by then."""
AT_PEACE_S = 4.0
"""So long the clients go on after that: longer than a node tries what nobody waits for any more."""
AGREED_WITHIN_S = 15.0
"""When the clients have stopped, all nodes have the same state by then."""
_ANSWER_TIMEOUT_S = 10.0
_KEYS_AT_A_TIME = 100
_POLL_S = 0.1


class Torture:
    """One torture.

    Args:
        plan: what is to be done.
        say: is told each event, with the time since the beginning in seconds.
    """

    def __init__(self, plan: Plan, say: Callable[[float, str], None]) -> None:
        self._plan = plan
        self._say_at = say
        self._created = monotonic_us()
        self._victims = Victims.create(plan.directory, nodes=plan.nodes, program=plan.program)
        rng = random.Random(plan.seed)
        self._ledger = Ledger(random.Random(rng.random()))
        self._clients = Clients(
            self._victims.cluster.servers, self._ledger, random.Random(rng.random())
        )
        self._marks: list[Mark] = []
        self._troubles: list[str] = []
        machines = MachineFaults(self._victims, random.Random(rng.random()))
        network = NetworkFaults(self._victims, random.Random(rng.random()))
        self._nemeses = [
            Nemesis(kinds, random.Random(rng.random()), self._marks, self._say)
            for kinds in (machines.kinds, network.kinds)
        ]

    async def run(self) -> Findings:
        """All of it.

        Raises:
            LocalClusterError: the nodes could not be started.
        """
        with self._victims.cluster:
            await self._victims.start()
            self._say(f"{self._plan.nodes} servers serve, in {self._plan.directory}")
            try:
                async with Pulse() as pulse:
                    return await self._inflict_and_judge(pulse)
            finally:
                self._clients.cancel()
                await self._victims.ways.close()

    async def _inflict_and_judge(self, pulse: Pulse) -> Findings:
        begun = monotonic_us()
        self._clients.start()
        until = begun + int(self._plan.seconds * 1e6)
        await asyncio.gather(*(nemesis.rage(until) for nemesis in self._nemeses))
        self._say("no more faults: all that is broken is made whole")
        recovered_s = await self._unless_in_vain(self._heal(), math.inf)
        ended, stood_still_s = monotonic_us(), pulse.longest_s
        await self._clients.stop()
        reads = await self._unless_in_vain(self._read_all(), [])
        await asyncio.gather(*map(self._victims.terminate, self._victims.nodes))
        self._victims.look_after()
        self._say(f"the histories of {len(self._ledger.histories)} keys are judged")
        return Findings(
            plan=self._plan,
            begun=begun,
            figures=figures_of(self._ledger.endings, self._marks, begun, ended),
            marks=tuple(self._marks),
            judgement=await asyncio.to_thread(judge, self._ledger.histories, reads),
            resent=self._ledger.resent,
            recovered_s=recovered_s,
            stood_still_s=stood_still_s,
            holdings=tuple(map(self._victims.holdings.__getitem__, sorted(self._victims.holdings))),
            troubles=(*self._troubles, *self._victims.troubles, *self._ledger.surprises),
        )

    async def _unless_in_vain(self, work: Awaitable[T], otherwise: T) -> T:
        """The result of what the cluster has to do; if it cannot, that is a trouble."""
        try:
            return await work
        except (NotBackError, NoAnswerError) as error:
            self._troubles.append(str(error))
            self._say(str(error))
            return otherwise

    # ------------------------------------------------------------------ in the end

    async def _heal(self) -> float:
        """Makes everything well, and leaves the clients at it; returns how long it took."""
        begun = monotonic_us()
        await self._victims.heal()
        recovered_s = (monotonic_us() - begun) / 1e6
        self._say(f"all nodes are back, {recovered_s:.1f} s later")
        await self._serve_all(monotonic_us())
        await asyncio.sleep(AT_PEACE_S)
        return recovered_s

    async def _serve_all(self, since: int) -> None:
        """Waits until each client has had a write acknowledged that began after this time."""
        until = since + int(SERVED_WITHIN_S * 1e6)
        while missing := self._clients.names - self._ledger.writers_since(since):
            if monotonic_us() > until:
                raise NotBackError(
                    f"{', '.join(sorted(missing))}: no write was acknowledged within "
                    f"{SERVED_WITHIN_S:g} s after all nodes were back"
                )
            await asyncio.sleep(_POLL_S)

    async def _agree(self) -> list[NodeStatus]:
        """Waits until all nodes have applied the same log; returns what they say."""
        try:
            async with asyncio.timeout(AGREED_WITHIN_S):
                statuses = await self._victims.cluster.statuses()
                while not _is_agreed(statuses):
                    await asyncio.sleep(_POLL_S)
                    statuses = await self._victims.cluster.statuses()
        except TimeoutError as error:
            raise NotBackError(
                f"the nodes have not the same state after {AGREED_WITHIN_S:g} s"
            ) from error
        return [status for status in statuses if status is not None]

    async def _read_all(self) -> list[FinalRead]:
        """What each node answers, from its own copy, once all have the same."""
        statuses = await self._agree()
        keys = [history.key for history in self._ledger.histories]
        reads = []
        for status in statuses:
            called = monotonic_us()
            values: list[object] = []
            for first in range(0, len(keys), _KEYS_AT_A_TIME):
                some = keys[first : first + _KEYS_AT_A_TIME]
                reply = await ask(
                    status.client_address, b"MGET", *some, timeout_s=_ANSWER_TIMEOUT_S
                )
                if not isinstance(reply, list):
                    raise NotBackError(f"node {status.id} does not answer reads: {reply!r}")
                values += reply
            told = {
                key: value if isinstance(value, bytes) else None
                for key, value in zip(keys, values, strict=True)
            }
            reads.append(FinalRead(told, called, monotonic_us()))
        return reads

    def _say(self, text: str) -> None:
        self._say_at((monotonic_us() - self._created) / 1e6, text)


def _is_agreed(statuses: Sequence[NodeStatus | None]) -> bool:
    told = [status for status in statuses if status is not None]
    states = {(status.last_applied, status.commit_index, status.leader) for status in told}
    are_voters = all(len(s.members) == len(statuses) for s in told) and all(
        member.votes for status in told for member in status.members
    )
    return len(told) == len(statuses) and len(states) == 1 and are_voters
