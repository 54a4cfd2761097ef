"""Whether a cluster whose members change can do without what is on the disk of one server.

"With 2f+1 servers, any f may be dead": but which those servers are changes, and more than one
configuration may be in force at a time, on servers and on disks. One server at a time may lose what
it has, and only if in each of these configurations the others are a majority.
"""

from collections.abc import Iterator, Sequence

from quorate.raft.configuration import Configuration
from quorate.sim.configurations import CommittedConfigurations
from quorate.sim.operator import Operator
from quorate.sim.server import SimulatedServer


class Tolerance:
    """Judges what may be lost.

    Args:
        servers: all that were started.
        committed: the configurations that were committed.
        operator: who changes them.
    """

    def __init__(
        self,
        servers: Sequence[SimulatedServer],
        committed: CommittedConfigurations,
        operator: Operator,
    ) -> None:
        self._servers = servers
        self._committed = committed
        self._operator = operator

    def can_spare(self, server: SimulatedServer) -> bool:
        """Whether this server may lose what is on its disk."""
        if server.lacks_its_snapshot:
            return False
        if not self._operator.is_calm:
            return False  # there might soon be a configuration that nobody knows of yet
        return all(self._is_enough(server, possible) for possible in self._possible())

    def _is_enough(self, gone: SimulatedServer, configuration: Configuration) -> bool:
        voters = [server for server in self._servers if configuration.is_voter(server.id)]
        if any(server.lacks_its_snapshot or self._is_lost(server) for server in voters):
            return False
        return gone not in voters or len(voters) - 1 > len(configuration.voters) // 2

    def _is_lost(self, server: SimulatedServer) -> bool:
        """Whether it has lost its data, and is a member by the data that it had."""
        member = self._committed.latest.member(server.id)
        if member is None or not member.data_id:
            return member is not None and not server.founders
        return member.data_id != server.data_id

    def _possible(self) -> Iterator[Configuration]:
        """All configurations that may be in force, now or after a start or a promotion."""
        for configuration in (self._committed.latest, *self._uncommitted()):
            yield configuration
            for node in configuration.promoting:
                yield configuration.with_voter(node)

    def _uncommitted(self) -> Iterator[Configuration]:
        index = self._committed.latest_index
        for server in self._servers:
            yield from server.record.configurations_behind(index)
            if server.node is not None and server.node.raft.membership.index > index:
                yield server.node.raft.configuration
