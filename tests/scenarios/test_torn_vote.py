"""11. hashicorp/raft#661: a vote of which one half is on the disk.

Term and vote were two records. A server that died between the two started again with the new term
and the vote of an older one, for another candidate: so it could vote twice in a term, and two
leaders of one term are two histories.

Here term and vote are one record with one checksum, and what depends on it is sent when it is
synced. Power goes while such records are written, at all places of a sector and across its end, so
that some are lost, torn or kept: the server has the old pair then, or the new one.
"""

from __future__ import annotations

import pytest
from tests.scenarios.cluster import MS, Cluster, settings

from quorate.raft.configuration import NodeId
from quorate.raft.messages import RequestVote
from quorate.storage.store import Store

VOTER = NodeId(3)
SETTINGS = settings(segment_size=4_096)
TERMS = 45
"""Their records fill several sectors."""

Pair = tuple[int, NodeId | None]
"""A term, and the vote in it."""


class Elections:
    """One server of three, and candidates that ask it for its vote; nobody is ever elected.

    Anywhere in the simulator it is an error that a server gives two votes in a term, or one that
    its disk does not know of, and that a restart finds another pair than was written.
    """

    def __init__(self, seed: int) -> None:
        self.cluster = Cluster(settings=SETTINGS, seed=seed, starts=False)
        self.voter = self.cluster.servers[VOTER]
        self.voter.start()

    def ask(self, candidate: NodeId, term: int) -> None:
        """A candidate asks for its vote, and has its answer if it is to have one."""
        request = RequestVote(term, term, last_log_index=0, last_log_term=0)
        self.voter.received(candidate, request)
        self.cluster.run(2 * MS)

    def restart(self) -> Pair:
        """It loses its power, unless it has done so, and starts again; what is on its disk then."""
        self.voter.kill(power=True)
        store = Store.open(self.voter.disk, segment_size=SETTINGS.segment_size)
        state = store.take_durable_state()
        self.voter.start()
        return state.term, state.voted_for


@pytest.mark.parametrize("seed", range(2))
def test_of_a_vote_that_was_being_written_there_is_all_or_nothing(seed: int) -> None:
    elections = Elections(seed)
    before: Pair = (0, None)
    all_of_it = 0
    for term in range(1, TERMS + 1):
        one, other = NodeId(1 + term % 2), NodeId(2 - term % 2)
        elections.voter.disk.stop_at_sync()
        elections.ask(one, term)
        assert not elections.voter.is_up, "its power went when it had written its vote"
        found = elections.restart()
        assert found in (before, (term, one)), "a torn vote"
        elections.ask(other, term)
        before = elections.restart()
        assert before == (found if found[0] == term else (term, other)), "a second vote"
        all_of_it += found[0] == term
    assert 0 < all_of_it < TERMS
