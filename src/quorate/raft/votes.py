"""What servers say to each other in an election (Raft §5.2, §5.4.1; dissertation §9.6).

Who is asked, what is answered, which answers count. When a server stands for election and what
it is before and after is the core's business.
"""

from collections.abc import Iterable

from quorate.raft.configuration import NodeId
from quorate.raft.messages import PreVote, PreVoteAnswer, RequestVote, RequestVoteAnswer
from quorate.raft.outbox import Outbox
from quorate.raft.persistence import Persistence
from quorate.raft.roles import Candidate, PreCandidate


class Votes:
    """Asks for votes, and gives this server's own.

    Args:
        persistence: term, vote and log, on which a vote depends.
        outbox: where questions and answers go.
    """

    def __init__(self, persistence: Persistence, outbox: Outbox) -> None:
        self._persistence = persistence
        self._outbox = outbox

    def ask_for_pre_votes(self, role: PreCandidate, peers: Iterable[NodeId]) -> None:
        """Asks whether they would vote for this server in the next term."""
        log = self._persistence.log
        for peer in peers:
            role.request_ids[peer] = self._outbox.take_id()
            question = PreVote(
                id=role.request_ids[peer],
                term=self._persistence.current_term + 1,
                last_log_index=log.last_index,
                last_log_term=log.last_term,
            )
            self._outbox.send(peer, question)

    def ask_for_votes(self, role: Candidate, peers: Iterable[NodeId]) -> None:
        """Asks for votes in the current term, as soon as this server's own is durable."""
        log = self._persistence.log
        for peer in peers:
            role.request_ids[peer] = self._outbox.take_id()
            request = RequestVote(
                id=role.request_ids[peer],
                term=self._persistence.current_term,
                last_log_index=log.last_index,
                last_log_term=log.last_term,
                is_transfer=role.is_transfer,
            )
            self._outbox.send_after(self._persistence.promise_of_vote(), peer, request)

    def answer_pre_vote(self, sender: NodeId, question: PreVote, *, hears_a_leader: bool) -> None:
        """Says whether this server would give its vote; that changes nothing."""
        granted = (
            question.term > self._persistence.current_term
            and not hears_a_leader
            and self._persistence.log.is_up_to_date(
                last_log_index=question.last_log_index, last_log_term=question.last_log_term
            )
        )
        answer = PreVoteAnswer(question.id, self._persistence.current_term, granted)
        self._outbox.send_after(self._persistence.promise_of_vote(), sender, answer)

    def grants(self, sender: NodeId, request: RequestVote) -> bool:
        """Whether this server may give its vote."""
        # "1. Reply false if term < currentTerm. 2. If votedFor is null or candidateId, and
        # candidate's log is at least as up-to-date as receiver's log, grant vote" (Figure 2).
        return (
            request.term == self._persistence.current_term
            and self._persistence.voted_for in (None, sender)
            and self._persistence.log.is_up_to_date(
                last_log_index=request.last_log_index, last_log_term=request.last_log_term
            )
        )

    def answer(self, sender: NodeId, request: RequestVote, *, granted: bool) -> None:
        """Gives the vote, or refuses it; term and vote are durable before that is said."""
        if granted:
            self._persistence.vote(sender)
        answer = RequestVoteAnswer(request.id, self._persistence.current_term, granted)
        self._outbox.send_after(self._persistence.promise_of_vote(), sender, answer)

    def disregard(self, sender: NodeId, request: RequestVote) -> None:
        """Refuses without even looking at the term (dissertation §4.2.3)."""
        self._outbox.send(
            sender, RequestVoteAnswer(request.id, self._persistence.current_term, False)
        )


def is_vote_for(
    role: PreCandidate | Candidate, voter: NodeId, answer: RequestVoteAnswer | PreVoteAnswer
) -> bool:
    """Whether this is a vote for the present candidacy: an answer to the question it asked."""
    match role, answer:
        case (PreCandidate(), PreVoteAnswer()) | (Candidate(), RequestVoteAnswer()):
            return answer.vote_granted and role.request_ids.get(voter) == answer.id
        case _:
            return False
