"""When an entry is committed (Raft §5.3, §5.4.2). This rule and nothing else."""

from collections.abc import Callable

from quorate.raft.configuration import Configuration, NodeId
from quorate.raft.log import RaftLog


def advanced_commit_index(
    *,
    commit_index: int,
    current_term: int,
    log: RaftLog,
    configuration: Configuration,
    match_index_of: Callable[[NodeId], int],
) -> int:
    """The leader's new commit index.

    "If there exists an N such that N > commitIndex, a majority of matchIndex[i] >= N, and
    log[N].term == currentTerm: set commitIndex = N" (Figure 2). Entries of earlier terms are
    never committed by counting, only by an entry of this term that follows them (§5.4.2,
    Figure 8).

    Args:
        commit_index: the present commit index.
        current_term: the leader's term.
        log: the leader's log.
        configuration: the servers whose majority counts.
        match_index_of: the index up to which a server's log is known to be durable and equal to
            the leader's; for the leader itself, up to which its own log is durable.

    Returns:
        The new commit index, never less than the present one.
    """
    on_majority = configuration.majority_value(match_index_of)
    if on_majority > commit_index and log.term_at(on_majority) == current_term:
        return on_majority
    return commit_index
