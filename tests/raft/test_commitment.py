"""The commit rule alone, compared with a search over all majorities."""

from __future__ import annotations

import itertools

from hypothesis import given
from hypothesis import strategies as st

from quorate.raft.commitment import advanced_commit_index
from quorate.raft.configuration import NodeId, configuration_of
from quorate.raft.entry import Entry, EntryKind
from quorate.raft.log import RaftLog
from quorate.raft.snapshot import LogStart, SnapshotMetadata


def log_of(terms: list[int], base: int = 0) -> RaftLog:
    configuration = configuration_of([1])
    metadata = SnapshotMetadata(base, terms[0] if base and terms else 0, 0, configuration)
    entries = [
        Entry(base + position, term, 0, EntryKind.DATA, b"")
        for position, term in enumerate(terms, start=1)
    ]
    return RaftLog(LogStart(base, metadata.term), metadata, entries)


def by_figure_2(commit_index: int, term: int, log: RaftLog, match_index: dict[NodeId, int]) -> int:
    """Figure 2, word by word: the greatest N for which some majority has reached it."""
    majority = len(match_index) // 2 + 1
    for candidate in range(log.last_index, commit_index, -1):
        on_a_majority = any(
            all(match_index[node] >= candidate for node in nodes)
            for nodes in itertools.combinations(match_index, majority)
        )
        if on_a_majority and log.term_at(candidate) == term:
            return candidate
    return commit_index


@given(st.data())
def test_the_commit_index_is_that_of_figure_2(data: st.DataObject) -> None:
    base = data.draw(st.sampled_from([0, 10]))
    terms = sorted(data.draw(st.lists(st.integers(1, 4), max_size=8)))
    log = log_of(terms, base)
    term = data.draw(st.integers(max([1, *terms]), 5))
    index = st.integers(0, log.last_index)
    match_index = {
        NodeId(node): data.draw(index) for node in range(1, data.draw(st.integers(1, 6)) + 1)
    }
    commit_index = data.draw(st.integers(base, log.last_index))
    advanced = advanced_commit_index(
        commit_index=commit_index,
        current_term=term,
        log=log,
        configuration=configuration_of(match_index),
        match_index_of=match_index.__getitem__,
    )
    assert advanced == by_figure_2(commit_index, term, log, match_index)


def test_an_old_entry_on_all_servers_is_not_committed_by_counting() -> None:
    """§5.4.2, Figure 8."""
    advanced = advanced_commit_index(
        commit_index=0,
        current_term=4,
        log=log_of([1, 2]),
        configuration=configuration_of([1, 2, 3]),
        match_index_of=lambda _: 2,
    )
    assert advanced == 0
