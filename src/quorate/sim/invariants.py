"""What must be true of a cluster after each thing that happens to it.

The properties of Figure 3 of the Raft paper, as far as they can be seen from outside.
"""

from collections.abc import Iterable

import google_crc32c

from quorate.raft.configuration import NodeId
from quorate.sim.server import SimulatedServer


class InvariantError(AssertionError):
    """Raft's safety was violated; the text says how."""


class Invariants:
    """Watches all servers of one world through all their lives."""

    def __init__(self) -> None:
        self._leader_of_term: dict[int, NodeId] = {}
        self._committed: list[tuple[int, int]] = []
        self._seen: dict[NodeId, tuple[object, int, int]] = {}

    @property
    def leaders(self) -> int:
        """In how many terms there was a leader."""
        return len(self._leader_of_term)

    @property
    def committed(self) -> int:
        """How many entries were ever committed."""
        return len(self._committed)

    def check(self, servers: Iterable[SimulatedServer]) -> None:
        """Checks every server that is up.

        Raises:
            InvariantError: a property is violated.
        """
        for server in servers:
            if server.node is not None:
                self._check(server)

    def _check(self, server: SimulatedServer) -> None:
        assert server.node is not None
        raft = server.node.raft
        term, commit_index = raft.current_term, raft.commit_index
        seen_node, seen_term, seen_commit = self._seen.get(server.id, (None, 0, 0))
        if seen_node is not server.node:
            seen_commit = 0
        elif term < seen_term or commit_index < seen_commit:
            raise InvariantError(
                f"node {server.id} went from term {seen_term}, commit index {seen_commit} "
                f"back to {term}, {commit_index}"
            )
        if raft.is_leader:
            self._check_leader(server.id, term)
        if commit_index > seen_commit:
            self._check_committed(server, seen_commit, commit_index)
        self._seen[server.id] = (server.node, term, commit_index)

    def _check_leader(self, node: NodeId, term: int) -> None:
        # Election Safety: "at most one leader can be elected in a given term".
        leader = self._leader_of_term.setdefault(term, node)
        if leader != node:
            raise InvariantError(f"nodes {leader} and {node} both lead term {term}")

    def _check_committed(self, server: SimulatedServer, since: int, commit_index: int) -> None:
        # "State Machine Safety: if a server has applied a log entry at a given index to its state
        # machine, no other server will ever apply a different log entry for the same index."
        assert server.node is not None
        for index in range(since + 1, commit_index + 1):
            entry = server.node.raft.committed_entry(index)
            found = (entry.term, google_crc32c.value(entry.data))
            if index <= len(self._committed):
                known = self._committed[index - 1]
                if found != known:
                    raise InvariantError(
                        f"node {server.id} has committed another entry at index {index} than was "
                        f"committed before: one of term {found[0]}, not of term {known[0]}"
                    )
            else:
                self._committed.append(found)
