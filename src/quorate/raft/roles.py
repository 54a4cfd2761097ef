"""What a server remembers only while it is a follower or a candidate.

A leader's state has a module of its own. Each role's state lives in that role's object, so that,
for instance, a leader without votes or a follower with a `next_index` cannot be written down.
"""

from quorate.raft.configuration import NodeId


class Follower:
    """Listens to a leader, or waits for one.

    Attributes:
        election_deadline: when it stands for election if it hears of no leader by then.
        leader: the leader of the current term, once known.
        heard_leader_at: when the leader last sent AppendEntries, in microseconds.
    """

    def __init__(self, *, election_deadline: int, leader: NodeId | None = None) -> None:
        self.election_deadline = election_deadline
        self.leader = leader
        self.heard_leader_at: int | None = None


class PreCandidate:
    """Asks whether it would win, without raising its term (dissertation §9.6).

    Attributes:
        election_deadline: when it asks again if there is no result by then.
        request_ids: the request that each server was asked with.
        votes: who would vote for it, itself included.
    """

    def __init__(self, *, election_deadline: int) -> None:
        self.election_deadline = election_deadline
        self.request_ids: dict[NodeId, int] = {}
        self.votes: set[NodeId] = set()


class Candidate:
    """Asks for votes in its own new term (Raft §5.2). Fields as in `PreCandidate`.

    Its own vote counts, and the requests go out, only when term and vote are durable: else it
    could win a term twice, once before and once after a crash that forgot the term.

    Attributes:
        is_transfer: the leader of the term before has told it to stand.
    """

    def __init__(self, *, election_deadline: int, is_transfer: bool) -> None:
        self.election_deadline = election_deadline
        self.is_transfer = is_transfer
        self.request_ids: dict[NodeId, int] = {}
        self.votes: set[NodeId] = set()
