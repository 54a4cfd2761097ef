"""Tells the log of a node who leads, as this node sees it, whenever that changes."""

import logging

from quorate.raft.configuration import NodeId
from quorate.raft.core import Raft

log = logging.getLogger("quorate")


class LeadershipLog:
    """Compares who leads with what it last told.

    Args:
        raft: the consensus core of the node.
    """

    def __init__(self, raft: Raft) -> None:
        self._raft = raft
        self._me = raft.me
        self._told_term = raft.current_term
        self._told_leader: NodeId | None = None

    def note(self) -> None:
        """Tells what has changed since the last time; cheap if that is nothing."""
        term, leader = self._raft.current_term, self._raft.leader
        if leader == self._told_leader and (leader is None or term == self._told_term):
            return
        if self._told_leader == self._me:
            log.warning("node %d lost the leadership of term %d", self._me, self._told_term)
        if leader == self._me:
            log.info("node %d became leader of term %d", self._me, term)
        elif leader is not None:
            log.info("node %d follows node %d, the leader of term %d", self._me, leader, term)
        elif self._told_leader != self._me:
            log.info("node %d hears no leader any more", self._me)
        self._told_term, self._told_leader = term, leader
