"""Which server to try next, and when.

The Clerk stays where it is served. When it has to go, it goes where the leader is said to be, or
else to the next server of its list; any server will do, the leader is only the shortest way. A
server may well name an address that this client cannot reach (a container's own, say): such an
address is not tried again until the servers name another.

The list is what the servers say themselves, of several answers the newest. Those that the Clerk
was given are the last resort: they come in when none of the list can be reached, and then any
answer replaces the list, since that may be of a cluster that is no more; and when all of the list
were tried in vain. Whoever could not be reached last time comes last.
"""

import random
from collections.abc import Sequence

from quorate.clerk.backoff import Backoff
from quorate.clerk.settings import ClerkSettings


class ServerChoice:
    """Goes round the servers, prefers the leader, and never hurries after failures.

    Args:
        seeds: the addresses that the Clerk was given, at least one; the first is tried first.
        rng: for the jitter of the waits.
        settings: for their bounds.
    """

    def __init__(self, seeds: Sequence[str], rng: random.Random, settings: ClerkSettings) -> None:
        assert seeds, "parse_servers refuses an empty list"
        self._seeds = tuple(seeds)
        self._learned: tuple[str, ...] = ()
        self._learned_as_of = 0
        # The last one that was tried; those that were in the present round, in which each has its
        # turn once; and those of the seeds and learned ones that could not be reached last time.
        self._last = ""
        self._tried: set[str] = set()
        self._unreachable: set[str] = set()
        self._leader: str | None = None
        self._unreachable_leader: str | None = None
        self._may_hurry = True
        self._backoff = Backoff(
            minimum_us=settings.backoff_min_us, maximum_us=settings.backoff_max_us, rng=rng
        )

    # ------------------------------------------------------------------ what servers say

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

    def heard_servers(self, servers: tuple[str, ...], *, as_of: int, at: str) -> bool:
        """A server has said which servers there are, if it knows.

        Args:
            servers: their addresses, those to be preferred first; empty if it does not know.
            as_of: grows with each change of the members.
            at: the server that was asked.

        Returns:
            Whether to leave that server: it was one of them, and is none any more.
        """
        is_newer = as_of > self._learned_as_of or not self._is_in_reach(self._learned)
        if not servers or not is_newer:
            return False
        is_removed = at in self._learned and at not in servers
        self._learned, self._learned_as_of = servers, as_of
        self._unreachable &= {*servers, *self._seeds}
        return is_removed

    # ------------------------------------------------------------------ how it went with them

    def reached(self, server: str) -> None:
        """The server has answered, whatever it was."""
        self._unreachable.discard(server)

    def is_unreachable(self, server: str) -> None:
        """No connection came about to the server, or no answer over it."""
        if server in self._learned or server in self._seeds:
            self._unreachable.add(server)

    def leader_is_unreachable(self, server: str) -> None:
        """No connection came about to this server, which was named as the leader."""
        self._unreachable_leader = server

    def served(self) -> None:
        """The server last taken has done something for us."""
        self._may_hurry = True
        self._backoff.reset()
        if len(self._tried) > 1:
            self._tried = {self._last}

    # ------------------------------------------------------------------ where to go, and when

    def take_next(self) -> tuple[str, bool]:
        """The server to connect to now, and whether it was named as the leader."""
        leader, self._leader = self._leader, None
        server = self._next_in_turn() if leader is None else leader
        self._tried.add(server)
        self._last = server
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

    def _next_in_turn(self) -> str:
        servers = self._learned
        # Those that have all had their turn may be reached and yet serve nobody any more.
        if not self._is_in_reach(servers) or self._tried.issuperset(servers):
            servers = tuple(dict.fromkeys(servers + self._seeds))
        if self._last in servers:
            behind = servers.index(self._last) + 1
            servers = servers[behind:] + servers[:behind]
        if self._tried.issuperset(servers):
            self._tried.clear()
        left = [server for server in servers if server not in self._tried]
        return next((server for server in left if server not in self._unreachable), left[0])

    def _is_in_reach(self, servers: tuple[str, ...]) -> bool:
        return not self._unreachable.issuperset(servers)
