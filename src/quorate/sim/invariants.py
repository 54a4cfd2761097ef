"""What must be true of a cluster after each thing that happens to it.

The properties of Figure 3 of the Raft paper, as far as they can be seen from outside; that what is
committed is on the disks of a majority of the members; that members change one by one; that
snapshots cover what was committed, and nothing else; and that servers which have applied as much
have the same state.
"""

from collections.abc import Iterator, Sequence
from itertools import islice
from typing import NamedTuple

import google_crc32c
import msgspec

from quorate.node.node import Node
from quorate.raft.configuration import Configuration, NodeId
from quorate.raft.core import Raft
from quorate.raft.snapshot import LogStart, SnapshotMetadata
from quorate.sim.configurations import CommittedConfigurations
from quorate.sim.errors import InvariantError
from quorate.sim.server import SimulatedServer
from quorate.sim.snapshot_work import StateSeen

_SAMPLED = 32
"""As of one entry in so many the states of all servers are compared, if they pause there."""


class _Committed(msgspec.Struct, frozen=True):
    """A committed entry.

    Attributes:
        term: of the entry.
        time_ms: its cluster time.
        checksum: of its data and its members.
        known_in: the term of the server that was the first to know; it was committed then or
            earlier.
    """

    term: int
    time_ms: int
    checksum: int
    known_in: int


class _Seen(NamedTuple):
    """What one life of a server was when it was last looked at."""

    node: Node
    term: int
    commit_index: int
    last_applied: int
    log_start: LogStart
    is_leader: bool
    configuration_index: int
    last_index: int
    last_term: int


class Invariants:
    """Watches all servers of one world through all their lives.

    Args:
        servers: all of them that there are; more may join.

    Attributes:
        configurations: those that were committed.
    """

    def __init__(self, servers: Sequence[SimulatedServer]) -> None:
        self.configurations = CommittedConfigurations(Configuration(servers[0].founders))
        self._servers = servers
        self._founders = {server.id: server.data_id for server in servers}
        self._leader_of_term: dict[int, tuple[NodeId, str]] = {}
        self._committed: list[_Committed] = []
        self._entries: dict[tuple[int, int], tuple[int, int | None]] = {}
        self._seen: dict[NodeId, _Seen] = {}
        self._snapshots: dict[NodeId, SnapshotMetadata] = {}
        self._states: dict[int, tuple[NodeId, bytes]] = {}

    @property
    def leaders(self) -> int:
        """In how many terms there was a leader."""
        return len(self._leader_of_term)

    @property
    def committed(self) -> int:
        """How many entries were ever committed."""
        return len(self._committed)

    def check(self) -> bool:
        """Checks every server that has done anything since it was last checked.

        Returns:
            Whether there was one.

        Raises:
            InvariantError: a property is violated.
        """
        have_acted = False
        for server in self._servers:
            if not server.has_acted:
                continue
            server.has_acted = False
            have_acted = True
            if server.node is not None:
                self._check(server)
                for state in server.take_states_seen():
                    self.check_state(server.id, state)
            self._check_snapshot(server)
        return have_acted

    def check_state(self, node: NodeId, state: StateSeen) -> None:
        """Checks that all servers have the same state once they have applied as much.

        Raises:
            InvariantError: another one had another state.
        """
        other, digest = self._states.setdefault(state.last_applied, (node, state.digest))
        if digest != state.digest:
            raise InvariantError(
                f"nodes {other} and {node} have different states as of entry {state.last_applied}"
            )

    def _check(self, server: SimulatedServer) -> None:
        node = server.node
        assert node is not None
        raft, seen = node.raft, self._seen.get(server.id)
        is_leader = raft.is_leader
        now = _Seen(
            node,
            raft.current_term,
            raft.commit_index,
            node.state.last_applied,
            raft.log_start,
            is_leader,
            raft.membership.index if is_leader else 0,
            raft.last_index,
            raft.last_term,
        )
        if now == seen:
            return
        if seen is None or seen.node is not node:
            seen = _Seen(node, 0, 0, 0, LogStart(0, 0), False, 0, 0, 0)
        if (
            now.term < seen.term
            or now.commit_index < seen.commit_index
            or now.last_applied < seen.last_applied
        ):
            raise InvariantError(
                f"node {server.id} went from term {seen.term}, commit index {seen.commit_index}, "
                f"last applied {seen.last_applied} back to {now.term}, {now.commit_index}, "
                f"{now.last_applied}"
            )
        leader = (server.id, server.data_id)
        if now.is_leader and self._leader_of_term.get(now.term) != leader:
            self._check_new_leader(leader, raft)
        if now.commit_index > seen.commit_index:
            self._check_committed(server.id, raft, seen.commit_index)
            if now.is_leader and seen.is_leader and now.term == seen.term:
                self._check_rule(server.id, raft)
        if now.is_leader and seen.is_leader and now.term == seen.term:
            self._check_change(server.id, raft, seen)
        if (now.last_index, now.last_term) != (seen.last_index, seen.last_term):
            self._check_log(server.id, raft)
        if now.last_applied != seen.last_applied and now.last_applied % _SAMPLED == 0:
            state = node.state
            self.check_state(server.id, StateSeen(state.last_applied, state.digest()))
        if now.log_start != seen.log_start:
            self._check_committed_end(server.id, "log begins after", now.log_start)
        self._seen[server.id] = now

    def _check_log(self, node: NodeId, raft: Raft) -> None:
        # Log Matching: "if two logs contain an entry with the same index and term, then the logs
        # are identical in all entries up through the given index". Each was compared as it came,
        # with the term of the one before it: so one that is known ends the comparison.
        for index in range(raft.last_index, raft.log_start.index, -1):
            entry = raft.entry_at(index)
            written = (google_crc32c.value(entry.data), raft.term_at(index - 1))
            known = self._entries.setdefault((index, entry.term), written)
            if known is written:
                continue
            if known != written:
                raise InvariantError(
                    f"node {node} has another entry of index {index} and term {entry.term} in its "
                    "log than another server"
                )
            return

    def _check_new_leader(self, server: tuple[NodeId, str], raft: Raft) -> None:
        node, term = server[0], raft.current_term
        # Election Safety: "at most one leader can be elected in a given term". A server that has
        # lost its data is another one.
        leader = self._leader_of_term.setdefault(term, server)
        if leader != server:
            raise InvariantError(f"nodes {leader} and {server} both lead term {term}")
        # Leader Completeness: "if a log entry is committed in a given term, then that entry will
        # be present in the logs of the leaders for all higher-numbered terms".
        # What is in front of its log is in a snapshot of committed entries: see there.
        for index, committed in self._committed_behind(raft.log_start.index):
            if committed.known_in < term and raft.term_at(index) != committed.term:
                raise InvariantError(
                    f"node {node} leads term {term} without entry {index} of term "
                    f"{committed.term}, which was committed in term {committed.known_in} or before"
                )

    def _check_committed(self, node: NodeId, raft: Raft, since: int) -> None:
        # "State Machine Safety: if a server has applied a log entry at a given index to its state
        # machine, no other server will ever apply a different log entry for the same index."
        for index in range(max(since, raft.log_start.index) + 1, raft.commit_index + 1):
            entry = raft.committed_entry(index)
            checksum = google_crc32c.value(entry.data)
            if entry.configuration is not None:
                members = msgspec.msgpack.encode(entry.configuration)
                checksum = google_crc32c.extend(checksum, members)
            if index <= len(self._committed):
                known = self._committed[index - 1]
                if (entry.term, checksum) != (known.term, known.checksum):
                    raise InvariantError(
                        f"node {node} has committed another entry at index {index} than was "
                        f"committed before: one of term {entry.term}, not of term {known.term}"
                    )
            else:
                assert index == len(self._committed) + 1, "each is seen when it is committed"
                self._check_durable(node, index, entry.term, raft.configuration)
                if entry.configuration is not None:
                    self.configurations.committed(index, entry.configuration)
                self._committed.append(
                    _Committed(entry.term, entry.time_ms, checksum, raft.current_term)
                )

    def _committed_behind(self, index: int) -> Iterator[tuple[int, _Committed]]:
        return enumerate(islice(self._committed, index, None), index + 1)

    def _check_snapshot(self, server: SimulatedServer) -> None:
        snapshot = server.record.snapshot
        if snapshot is None or self._snapshots.get(server.id) is snapshot:
            return
        self._snapshots[server.id] = snapshot
        end = LogStart(snapshot.index, snapshot.term)
        last = self._check_committed_end(server.id, "snapshot ends with", end)
        if snapshot.configuration != self.configurations.at(end.index):
            raise InvariantError(
                f"node {server.id}: its snapshot says that the members as of entry {end.index} are "
                f"{snapshot.configuration}, but they are {self.configurations.at(end.index)}"
            )
        if snapshot.time_ms != last.time_ms:
            raise InvariantError(
                f"node {server.id}: its snapshot says that the time of entry {end.index} is "
                f"{snapshot.time_ms}, but it is {last.time_ms}"
            )

    def _check_committed_end(self, node: NodeId, what: str, end: LogStart) -> _Committed:
        """Checks that everything up to an entry is committed."""
        last = self._committed[end.index - 1] if end.index <= len(self._committed) else None
        if last is None or last.term != end.term:
            raise InvariantError(
                f"node {node}: its {what} entry {end.index} of term {end.term}, which is not "
                f"committed: {last}"
            )
        return last

    def _check_rule(self, node: NodeId, raft: Raft) -> None:
        # "only log entries from the leader's current term are committed by counting replicas"
        # (§5.4.2). Here because the loss that it prevents takes five unlikely events in a row.
        term = raft.term_at(raft.commit_index)
        if term != raft.current_term:
            raise InvariantError(
                f"node {node}, which leads term {raft.current_term}, has committed entry "
                f"{raft.commit_index} of term {term} by counting"
            )

    def _check_change(self, node: NodeId, raft: Raft, seen: _Seen) -> None:
        # Likewise. One change at a time (dissertation §4.1), and none before the leader has
        # committed an entry of its term (Ongaro 2015, "bug in single-server membership changes").
        index = raft.membership.index
        if index == seen.configuration_index or index <= raft.snapshot.index:
            return  # the same, or the same in a snapshot
        if seen.configuration_index > raft.commit_index:
            raise InvariantError(
                f"node {node} has changed the members with entry {index}, but the change of entry "
                f"{seen.configuration_index} is not committed"
            )
        if not raft.has_committed_in_term:
            raise InvariantError(
                f"node {node} has changed the members with entry {index}, but has committed "
                f"nothing in its term {raft.current_term}"
            )

    def _check_durable(
        self, node: NodeId, index: int, term: int, configuration: Configuration
    ) -> None:
        # The configuration that the leader goes by is the latest in its log, committed or not.
        # The first that knows of a commit is the leader.
        holders = [
            server.id for server in self._servers if self._holds(server, configuration, index, term)
        ]
        # Counted here anew, for what is judged may count wrongly.
        if len(holders) <= len(configuration.voters) // 2:
            raise InvariantError(
                f"node {node} has committed entry {index} of term {term}, which is on the disks "
                f"of {holders} alone, of the voters {configuration.voter_ids}"
            )

    def _holds(
        self, server: SimulatedServer, configuration: Configuration, index: int, term: int
    ) -> bool:
        """Whether it votes, and has the entry on the disk by which it is a member.

        Or had it there when it lost that disk: what it said before was true then.
        """
        member = configuration.member(server.id)
        if member is None or not configuration.is_voter(server.id):
            return False
        record = server.record_of(member.data_id or self._founders[server.id])
        return record is not None and record.holds(index, term)
