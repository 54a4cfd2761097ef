"""Which server to try next, and when.

The Clerk stays where it is served. When it has to go, it goes where the leader is said to be, or
else to the next server of its list; any server will do, the leader is only the shortest way. A
server may well name an address that this client cannot reach (a container's own, say): such an
address is not tried again until the servers name another.
"""

import random
from collections.abc import Sequence

from quorate.clerk.backoff import Backoff
from quorate.clerk.settings import ClerkSettings


class ServerChoice:
    """Goes round the servers, prefers the leader, and never hurries after failures.

    Args:
        servers: their addresses, at least one; the first is tried first.
        rng: for the jitter of the waits.
        settings: for their bounds.
    """

    def __init__(self, servers: Sequence[str], rng: random.Random, settings: ClerkSettings) -> None:
        assert servers, "parse_servers refuses an empty list"
        self._servers = tuple(servers)
        self._next = 0
        self._leader: str | None = None
        self._unreachable_leader: str | None = None
        self._may_hurry = True
        self._backoff = Backoff(
            minimum_us=settings.backoff_min_us, maximum_us=settings.backoff_max_us, rng=rng
        )

    def heard_leader(self, leader: str | None, *, at: str) -> bool:
        """A server has said who leads, if it knows.

        Args:
            leader: the address named.
            at: the server that was asked.

        Returns:
            Whether to go there: then that address is the next.
        """
        if leader is None or (leader == self._unreachable_leader and leader != at):
            return False
        self._unreachable_leader = None
        if leader == at:
            return False
        self._leader = leader
        return True

    def take_next(self) -> tuple[str, bool]:
        """The server to connect to now, and whether it was named as the leader."""
        leader, self._leader = self._leader, None
        server = self._servers[self._next] if leader is None else leader
        if server in self._servers:
            self._next = (self._servers.index(server) + 1) % len(self._servers)
        return server, leader is not None

    def wait_us(self) -> int:
        """How long to wait before the next connection.

        Nothing on the way to the leader, once: servers that name each other in turn must not
        make the Clerk run to and fro between them.
        """
        if self._leader is not None and self._may_hurry:
            self._may_hurry = False
            return 0
        return self._backoff.next_us()

    def leader_is_unreachable(self, server: str) -> None:
        """No connection came about to this server, which was named as the leader."""
        self._unreachable_leader = server

    def served(self) -> None:
        """A server has done something for us."""
        self._may_hurry = True
        self._backoff.reset()
