"""Finding the leader, giving it orders, and waiting for what comes of them.

An order is answered when it is in the leader's log, and may be lost with that leader. So what
counts is what the leader's own status says afterwards: an order is repeated until that is as
wanted.
"""

import asyncio
from collections.abc import Callable, Sequence

from quorate.cli.errors import CommandFailure, ExitStatus
from quorate.cli.one_cluster import cluster_of, of_cluster
from quorate.node.status import MemberStatus, NodeStatus
from quorate.runtime.ask import NoAnswerError, ask, ask_status, ask_statuses, leader_among
from quorate.wire.resp_reply import ErrorReply

_ANSWER_TIMEOUT_S = 2.0
_PAUSE_S = 0.1
_FOR_NOW = {"NOTLEADER", "TRYAGAIN"}
"""Refusals that say that the same order may be taken a moment later."""


class LeaderClient:
    """Talks to whoever leads.

    Args:
        servers: client addresses of some of the cluster's nodes.
        timeout_s: seconds for all that is to be done.
    """

    def __init__(self, servers: Sequence[str], *, timeout_s: float) -> None:
        self._given = tuple(servers)
        self._servers = list(servers)  # the given ones come first
        self._cluster_id: str | None = None
        self._leader: str | None = None
        self._timeout_s = timeout_s
        self._give_up_at = asyncio.get_running_loop().time() + timeout_s

    async def status(self, *, complaint: str = "") -> NodeStatus:
        """The leader's status, as soon as there is a leader.

        Args:
            complaint: what to say if the time is over, and it is not known what has become of an
                order; by default, that there is no leader.

        Raises:
            CommandFailure: none is found in time, or the servers belong to several clusters.
        """
        while True:
            statuses = await self._statuses()
            self._learn_of(statuses)  # also of a leader's: it may be gone at the next step
            leader = leader_among(statuses)
            if leader is not None:
                self._leader = leader.client_address
                return leader
            if complaint:
                await self.pause(complaint, ExitStatus.OUTCOME_UNKNOWN)
            else:
                nobody = f"no leader was found among {', '.join(self._servers)}"
                await self.pause(f"{nobody}: `quorate explain` says why")

    async def status_of(self, server: str) -> NodeStatus | None:
        """What one server says of itself; None if it does not answer soon."""
        return await ask_status(server, timeout_s=self._patience_s)

    async def _statuses(self) -> list[NodeStatus]:
        """Of the last known leader alone, as long as it leads: all others may hang."""
        if self._leader is not None:
            alone = of_cluster(self._cluster_id, [await self.status_of(self._leader)])
            if leader_among(alone) is not None:
                return alone
            self._leader = None
        statuses = await ask_statuses(self._servers, timeout_s=self._patience_s)
        self._cluster_id = cluster_of(statuses[: len(self._given)]) or self._cluster_id
        return of_cluster(self._cluster_id, statuses)

    async def order(
        self,
        words: Sequence[str | int],
        is_done: Callable[[NodeStatus], bool],
        watch: Callable[[NodeStatus], None] = lambda _status: None,
    ) -> NodeStatus:
        """Gives the order until it has been obeyed.

        Args:
            words: of the command, behind `QUORATE.MEMBER`.
            is_done: whether the leader's status is as wanted.
            watch: shown each status until then.

        Returns:
            The status that is as wanted.

        Raises:
            CommandFailure: the leader refuses, or it takes too long.
        """
        is_taken = False
        complaint = (
            f"{' '.join(map(str, words))} was not done within {self._timeout_s:g} s; it may yet "
            "be: see `quorate member list`"
        )
        while True:
            status = await self.status(complaint=complaint if is_taken else "")
            watch(status)
            if is_done(status):
                return status
            # What was taken may have been lost with its leader; then it is not under way any more.
            if not is_taken or status.configuration_is_committed:
                is_taken = await self._give(status.client_address, words) or is_taken
            await self.pause(complaint, ExitStatus.OUTCOME_UNKNOWN)

    async def pause(self, complaint: str, status: ExitStatus = ExitStatus.FAILED) -> None:
        """Waits a little before the next question.

        Raises:
            CommandFailure: the time is over; it says so with this complaint and status.
        """
        await asyncio.sleep(min(_PAUSE_S, self._remaining_s))
        if self._remaining_s == 0:
            raise CommandFailure(complaint, status)

    async def _give(self, leader: str, words: Sequence[str | int]) -> bool:
        encoded = [str(word).encode() for word in words]
        try:
            reply = await ask(leader, b"QUORATE.MEMBER", *encoded, timeout_s=self._patience_s)
        except NoAnswerError:
            return False
        if not isinstance(reply, ErrorReply):
            return True
        if reply.code not in _FOR_NOW:
            raise CommandFailure(reply.text, ExitStatus.NOT_EXECUTED)
        return False

    def _learn_of(self, statuses: Sequence[NodeStatus]) -> None:
        for status in statuses:
            for member in status.members:
                if member.client_address and member.client_address not in self._servers:
                    self._servers.append(member.client_address)

    @property
    def _remaining_s(self) -> float:
        return max(0.0, self._give_up_at - asyncio.get_running_loop().time())

    @property
    def _patience_s(self) -> float:
        """How long to wait for one answer, so that some time is left if there is none."""
        return min(_ANSWER_TIMEOUT_S, self._remaining_s / 2)


def member_of(status: NodeStatus, node: int) -> MemberStatus | None:
    """The member with this id, if there is one."""
    return next((member for member in status.members if member.id == node), None)
