"""The Raft paper (Ongaro and Ousterhout, extended version), sentence by sentence.

Each test quotes the rule that it shows. The servers run plain Figure 2; only §8 needs what
production adds. Where the core departs from the paper is in docs/raft.md and has its tests in
test_dissertation.py.
"""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING

import pytest

from quorate.raft.entry import Entry, EntryKind
from quorate.raft.messages import (
    AppendEntries,
    AppendEntriesAnswer,
    Forward,
    ForwardAnswer,
    PeerMessage,
    PreVoteAnswer,
    ReadIndex,
    ReadIndexAnswer,
    RequestVote,
    RequestVoteAnswer,
)
from quorate.raft.settings import Settings

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.raft.conftest import Cluster, Packet, Server

    from quorate.raft.ready import DurableState

    NewDisk = Callable[..., DurableState]

PLAIN = Settings(pre_vote=False, check_quorum=False, no_op=False)
TIMEOUT = PLAIN.election_timeout_us
HEARTBEAT = PLAIN.heartbeat_interval_us


def append_entries(
    *,
    term: int,
    after: tuple[int, int] = (0, 0),
    terms: tuple[int, ...] = (),
    commit: int = 0,
    request_id: int = 1,
) -> AppendEntries:
    """A request with entries of these terms, to go after the entry of this (index, term)."""
    previous, previous_term = after
    entries = tuple(
        Entry(previous + position, entry_term, 0, EntryKind.DATA, b"from the leader")
        for position, entry_term in enumerate(terms, start=1)
    )
    return AppendEntries(request_id, term, previous, previous_term, commit, entries)


def request_vote(*, term: int, last: tuple[int, int] = (0, 0), request_id: int = 1) -> RequestVote:
    """A candidate's request whose last entry has this (index, term)."""
    return RequestVote(request_id, term, last_log_index=last[0], last_log_term=last[1])


def matched(request: AppendEntries) -> AppendEntriesAnswer:
    """What a follower answers that has taken in everything."""
    match_index = request.prev_log_index + len(request.entries)
    return AppendEntriesAnswer(
        request.id,
        request.term,
        success=True,
        match_index=match_index,
        conflict_index=0,
        conflict_term=0,
    )


def data_of(server: Server) -> list[bytes]:
    """The entries that a server's disk holds."""
    return [entry.data for entry in server.disk.state.entries]


# ---------------------------------------------------------------------- Figure 2: state


def test_the_state_begins_at_zero(new_server: type[Server]) -> None:
    """Figure 2, State: "currentTerm: latest term server has seen (initialized to 0 on first
    boot, increases monotonically)"; "commitIndex: index of highest log entry known to be
    committed (initialized to 0, increases monotonically)".
    """
    raft = new_server().raft
    assert (raft.current_term, raft.commit_index, raft.last_index) == (0, 0, 0)


def test_servers_begin_as_followers_also_one_that_led_before(new_cluster: type[Cluster]) -> None:
    """§5.2: "When servers start up, they begin as followers." """
    cluster = new_cluster(3)
    assert [server.raft.role_name for server in cluster.up] == ["follower"] * 3
    cluster.elect(1)
    cluster.crash(1)
    cluster.restart(1)
    assert cluster[1].raft.role_name == "follower"
    assert cluster[1].raft.current_term == 1


def test_term_and_vote_are_durable_before_a_vote_is_given(
    new_server: type[Server], new_disk_state: NewDisk
) -> None:
    """Figure 2, Persistent state on all servers: "(Updated on stable storage before responding
    to RPCs)".
    """
    server = new_server(durable=new_disk_state(term=4), slow_disk=True)
    server.receive(2, request_vote(term=5))
    assert server.take(RequestVoteAnswer) == []
    server.complete_write()
    assert (server.disk.state.term, server.disk.state.voted_for) == (5, 2)
    assert server.take_one(RequestVoteAnswer, to=2).vote_granted


def test_entries_are_durable_before_they_are_acknowledged(
    new_server: type[Server], new_disk_state: NewDisk
) -> None:
    """Figure 2, Persistent state on all servers: "(Updated on stable storage before responding
    to RPCs)".
    """
    server = new_server(durable=new_disk_state(term=1, log=(1,)), slow_disk=True)
    server.receive(2, append_entries(term=1, after=(1, 1), terms=(1, 1)))
    assert server.take(AppendEntriesAnswer) == []
    server.complete_write()
    assert server.take_one(AppendEntriesAnswer, to=2).match_index == 3
    assert len(server.disk.state.entries) == 3


def test_a_newer_term_is_durable_before_even_a_refusal_tells_of_it(
    new_server: type[Server], new_disk_state: NewDisk
) -> None:
    """Figure 2, Persistent state on all servers: "(Updated on stable storage before responding
    to RPCs)".
    """
    server = new_server(durable=new_disk_state(term=1, log=(1,)), slow_disk=True)
    server.receive(2, append_entries(term=2, after=(5, 2)))
    server.receive(3, append_entries(term=1, after=(1, 1)))
    assert server.take(AppendEntriesAnswer) == []
    server.complete_write()
    assert [answer.success for answer in server.take(AppendEntriesAnswer)] == [False, False]
    assert server.disk.state.term == 2


def test_next_index_begins_after_the_leaders_last_entry(
    new_server: type[Server], new_disk_state: NewDisk
) -> None:
    """Figure 2, nextIndex[]: "initialized to leader last log index + 1". §5.3: "When a leader
    first comes to power, it initializes all nextIndex values to the index just after the last
    one in its log".
    """
    server = new_server(durable=new_disk_state(log=(1, 1, 2)))
    server.win_election()
    for peer in (2, 3):
        request = server.take_one(AppendEntries, to=peer)
        assert (request.prev_log_index, request.prev_log_term) == (3, 2)
        assert request.entries == ()


def test_match_index_begins_at_zero(new_server: type[Server], new_disk_state: NewDisk) -> None:
    """Figure 2, matchIndex[]: "index of highest log entry known to be replicated on server
    (initialized to 0, increases monotonically)".
    """
    server = new_server(durable=new_disk_state(log=(1, 1, 2)))
    server.win_election()
    server.propose()
    assert server.raft.commit_index == 0
    server.elapse(HEARTBEAT)
    heartbeats = [request for request in server.take(AppendEntries, to=2) if not request.entries]
    assert heartbeats[-1].prev_log_index == 0


# ---------------------------------------------------------------------- Figure 2: AppendEntries


def test_append_entries_1_a_stale_term_is_refused(
    new_server: type[Server], new_disk_state: NewDisk
) -> None:
    """Figure 2, AppendEntries receiver: "1. Reply false if term < currentTerm (§5.1)"."""
    server = new_server(durable=new_disk_state(term=3, log=(1,)))
    server.receive(2, append_entries(term=2, after=(1, 1), terms=(2,), commit=1))
    answer = server.take_one(AppendEntriesAnswer, to=2)
    assert not answer.success
    assert answer.term == 3
    assert server.terms == [1]
    assert server.raft.commit_index == 0
    assert server.raft.leader is None


def test_append_entries_2_a_gap_is_refused(
    new_server: type[Server], new_disk_state: NewDisk
) -> None:
    """Figure 2, AppendEntries receiver: "2. Reply false if log doesn't contain an entry at
    prevLogIndex whose term matches prevLogTerm (§5.3)".
    """
    server = new_server(durable=new_disk_state(term=1, log=(1, 1)))
    server.receive(2, append_entries(term=1, after=(3, 1), terms=(1,)))
    answer = server.take_one(AppendEntriesAnswer, to=2)
    assert not answer.success
    assert answer.conflict_index == 3
    assert server.terms == [1, 1]


def test_append_entries_2_another_term_before_is_refused(
    new_server: type[Server], new_disk_state: NewDisk
) -> None:
    """Figure 2, AppendEntries receiver: "2. Reply false if log doesn't contain an entry at
    prevLogIndex whose term matches prevLogTerm (§5.3)". And §5.3: "when rejecting an
    AppendEntries request, the follower can include the term of the conflicting entry and the
    first index it stores for that term".
    """
    server = new_server(durable=new_disk_state(term=4, log=(1, 2, 2, 2)))
    server.receive(2, append_entries(term=4, after=(4, 3), terms=(4,)))
    answer = server.take_one(AppendEntriesAnswer, to=2)
    assert not answer.success
    assert (answer.conflict_term, answer.conflict_index) == (2, 2)
    assert server.terms == [1, 2, 2, 2]


def test_append_entries_3_a_conflicting_entry_goes_with_all_that_follow(
    new_server: type[Server], new_disk_state: NewDisk
) -> None:
    """Figure 2, AppendEntries receiver: "3. If an existing entry conflicts with a new one (same
    index but different terms), delete the existing entry and all that follow it (§5.3)".
    """
    server = new_server(durable=new_disk_state(log=(1, 2, 2, 2)))
    server.receive(2, append_entries(term=3, after=(1, 1), terms=(3,)))
    assert server.take_one(AppendEntriesAnswer).match_index == 2
    assert server.terms == [1, 3]
    assert [entry.term for entry in server.disk.state.entries] == [1, 3]


def test_append_entries_3_nothing_is_deleted_without_a_conflict(
    new_server: type[Server], new_disk_state: NewDisk
) -> None:
    """Figure 2, AppendEntries receiver: "3. *If* an existing entry conflicts with a new one". A
    request that was overtaken by later ones must not take back what those have brought.
    """
    server = new_server(durable=new_disk_state(log=(1, 1, 1, 1)))
    for late in (
        append_entries(term=1, after=(1, 1), terms=(1,)),
        append_entries(term=1, after=(2, 1)),
    ):
        server.receive(2, late)
        assert server.take_one(AppendEntriesAnswer).match_index == 2
    assert server.terms == [1, 1, 1, 1]


def test_append_entries_4_only_new_entries_are_appended(
    new_server: type[Server], new_disk_state: NewDisk
) -> None:
    """Figure 2, AppendEntries receiver: "4. Append any new entries not already in the log"."""
    server = new_server(durable=new_disk_state(log=(1, 1)), slow_disk=True)
    server.receive(2, append_entries(term=1, after=(0, 0), terms=(1, 1, 1)))
    assert server.disk.pending is not None
    assert [entry.index for entry in server.disk.pending.entries] == [3]
    server.complete_write()
    assert data_of(server) == [b"1 of term 1", b"2 of term 1", b"from the leader"]


@pytest.mark.parametrize(
    ("leader_commit", "expected"),
    [(0, 0), (1, 1), (2, 2), (3, 3), (4, 3), (9, 3)],
)
def test_append_entries_5_the_commit_index_follows_as_far_as_the_new_entries(
    leader_commit: int, expected: int, new_server: type[Server], new_disk_state: NewDisk
) -> None:
    """Figure 2, AppendEntries receiver: "5. If leaderCommit > commitIndex, set commitIndex =
    min(leaderCommit, index of last new entry)". What the log holds beyond the last new entry may
    be another leader's.
    """
    server = new_server(durable=new_disk_state(log=(1, 1, 1, 1, 1)))
    request = append_entries(term=2, after=(1, 1), terms=(1, 1), commit=leader_commit)
    server.receive(2, request)
    assert server.raft.commit_index == expected


def test_append_entries_5_the_commit_index_never_goes_back(
    new_server: type[Server], new_disk_state: NewDisk
) -> None:
    """Figure 2, AppendEntries receiver: "5. *If leaderCommit > commitIndex*"."""
    server = new_server(durable=new_disk_state(log=(1, 1, 1)))
    server.receive(2, append_entries(term=1, after=(3, 1), commit=3))
    server.receive(2, append_entries(term=1, after=(3, 1), commit=1))
    server.receive(2, append_entries(term=1, after=(1, 1), commit=3))
    assert server.raft.commit_index == 3


# ---------------------------------------------------------------------- Figure 2: RequestVote


def test_request_vote_1_a_stale_term_is_refused(
    new_server: type[Server], new_disk_state: NewDisk
) -> None:
    """Figure 2, RequestVote receiver: "1. Reply false if term < currentTerm (§5.1)"."""
    server = new_server(durable=new_disk_state(term=3))
    server.receive(2, request_vote(term=2, last=(9, 2)))
    answer = server.take_one(RequestVoteAnswer, to=2)
    assert not answer.vote_granted
    assert answer.term == 3


def test_request_vote_2_whoever_asks_first_gets_the_vote(new_server: type[Server]) -> None:
    """Figure 2, RequestVote receiver: "2. If votedFor is null or candidateId, ... grant vote".
    §5.2: "Each server will vote for at most one candidate in a given term, on a
    first-come-first-served basis".
    """
    server = new_server()
    server.receive(2, request_vote(term=1))
    server.receive(3, request_vote(term=1))
    server.receive(2, request_vote(term=1, request_id=2))
    assert [answer.vote_granted for answer in server.take(RequestVoteAnswer, to=2)] == [True, True]
    assert not server.take_one(RequestVoteAnswer, to=3).vote_granted


def test_request_vote_2_a_vote_is_remembered_through_a_crash(new_cluster: type[Cluster]) -> None:
    """Figure 2, votedFor: "candidateId that received vote in current term", persistent."""
    cluster = new_cluster(3)
    cluster[1].receive(2, request_vote(term=1))
    cluster.crash(1)
    cluster.restart(1)
    cluster[1].receive(3, request_vote(term=1))
    cluster[1].receive(2, request_vote(term=1, request_id=2))
    assert not cluster[1].take_one(RequestVoteAnswer, to=3).vote_granted
    assert cluster[1].take_one(RequestVoteAnswer, to=2).vote_granted


def test_request_vote_2_a_new_term_has_a_new_vote(
    new_server: type[Server], new_disk_state: NewDisk
) -> None:
    """Figure 2, RequestVote receiver, 2: votedFor is that of the "current term"."""
    server = new_server(durable=new_disk_state(term=1, voted_for=2))
    server.receive(3, request_vote(term=2))
    assert server.take_one(RequestVoteAnswer, to=3).vote_granted


# ---------------------------------------------------------------------- Figure 2: all servers


def test_committed_entries_are_applied_once_and_in_order(
    new_server: type[Server], new_disk_state: NewDisk
) -> None:
    """Figure 2, All servers: "If commitIndex > lastApplied: increment lastApplied, apply
    log[lastApplied] to state machine (§5.3)".
    """
    server = new_server(durable=new_disk_state(log=(1, 1, 1, 1)))
    for commit in (1, 1, 3, 4):
        server.receive(2, append_entries(term=1, after=(4, 1), commit=commit))
        assert [entry.index for entry in server.committed] == list(range(1, commit + 1))


NEWER_REQUESTS: list[PeerMessage] = [
    append_entries(term=7),
    request_vote(term=7),
    ReadIndex(1, 7),
    Forward(1, 7, b"x"),
]
NEWER_ANSWERS: list[PeerMessage] = [
    matched(append_entries(term=7)),
    RequestVoteAnswer(1, 7, vote_granted=False),
    PreVoteAnswer(1, 7, vote_granted=False),
    ReadIndexAnswer(1, 7, None),
    ForwardAnswer(1, 7, None),
]


@pytest.mark.parametrize("role", ["follower", "candidate", "leader"])
@pytest.mark.parametrize("message", NEWER_REQUESTS + NEWER_ANSWERS, ids=lambda m: type(m).__name__)
def test_a_newer_term_in_any_message_is_adopted(
    message: PeerMessage, role: str, new_server: type[Server]
) -> None:
    """Figure 2, All servers: "If RPC request or response contains term T > currentTerm: set
    currentTerm = T, convert to follower (§5.1)". §5.1: "If a candidate or leader discovers that
    its term is out of date, it immediately reverts to follower state."
    """
    server = new_server()
    if role == "candidate":
        server.time_out()
    elif role == "leader":
        server.win_election()
    assert server.raft.role_name == role
    server.receive(2, message)
    assert server.raft.role_name == "follower"
    assert server.raft.current_term == 7
    assert server.disk.state.term == 7


STALE_REQUESTS: list[tuple[PeerMessage, type[AppendEntriesAnswer | RequestVoteAnswer]]] = [
    (append_entries(term=4, terms=(4,)), AppendEntriesAnswer),
    (request_vote(term=4, last=(9, 4)), RequestVoteAnswer),
]


@pytest.mark.parametrize(("request_", "answer_kind"), STALE_REQUESTS)
@pytest.mark.parametrize("role", ["follower", "candidate", "leader"])
def test_a_request_of_a_stale_term_is_rejected_by_every_role(
    request_: PeerMessage,
    answer_kind: type[AppendEntriesAnswer | RequestVoteAnswer],
    role: str,
    new_server: type[Server],
    new_disk_state: NewDisk,
) -> None:
    """§5.1: "If a server receives a request with a stale term number, it rejects the request." """
    server = new_server(durable=new_disk_state(term=5))
    if role == "candidate":
        server.time_out()
    elif role == "leader":
        server.win_election()
    server.receive(2, request_)
    assert server.take_one(answer_kind).term >= 5
    assert server.raft.role_name == role
    assert server.terms == []


def test_an_answer_of_a_stale_term_counts_for_nothing(new_server: type[Server]) -> None:
    """§5.1: terms "allow servers to detect obsolete information such as stale leaders". Here a
    leader lost its term and won another one, and a follower's answer is late.
    """
    server = new_server()
    server.win_election()
    server.propose()
    server.receive(2, matched(server.take(AppendEntries, to=2)[-1]))
    server.propose()
    server.propose()
    late = server.take(AppendEntries, to=2)[-1]
    assert matched(late).match_index == 3
    server.receive(3, append_entries(term=2, after=(1, 1), terms=(2,)))
    server.win_election()
    server.propose()
    assert server.terms == [1, 2, 3]
    server.receive(2, matched(late))
    assert server.raft.commit_index == 1


# ---------------------------------------------------------------------- Figure 2: followers


def test_followers_answer_candidates_and_leaders(new_server: type[Server]) -> None:
    """Figure 2, Followers: "Respond to RPCs from candidates and leaders"."""
    server = new_server()
    server.receive(2, request_vote(term=1, request_id=41))
    server.receive(2, append_entries(term=1, request_id=42))
    assert server.take_one(RequestVoteAnswer, to=2).id == 41
    assert server.take_one(AppendEntriesAnswer, to=2).id == 42


@pytest.mark.parametrize("seed", range(20))
def test_a_follower_that_hears_nobody_becomes_a_candidate(
    seed: int, new_server: type[Server]
) -> None:
    """Figure 2, Followers: "If election timeout elapses without receiving AppendEntries RPC from
    current leader or granting vote to candidate: convert to candidate". §5.2: "election timeouts
    are chosen randomly from a fixed interval".
    """
    server = new_server(seed=seed)
    server.elapse(TIMEOUT - 1)
    assert server.raft.role_name == "follower"
    server.elapse(TIMEOUT + 1)
    assert server.raft.role_name == "candidate"


def test_election_timeouts_differ(new_server: type[Server]) -> None:
    """§5.2: "Raft uses randomized election timeouts to ensure that split votes are rare"."""
    deadlines = {new_server(seed=seed).raft.deadline() for seed in range(20)}
    assert len(deadlines) > 15


def test_a_follower_that_hears_its_leader_stays_one(
    new_server: type[Server], new_disk_state: NewDisk
) -> None:
    """§5.2: "A server remains in follower state as long as it receives valid RPCs from a leader
    or candidate." Also if the logs do not match yet.
    """
    server = new_server(durable=new_disk_state(log=(1,)))
    for request_id in range(50):
        after = (1, 1) if request_id % 2 else (7, 1)
        server.receive(2, append_entries(term=1, after=after, request_id=request_id))
        server.elapse(TIMEOUT - 1)
    assert server.raft.role_name == "follower"
    assert server.raft.current_term == 1


def test_granting_a_vote_puts_the_election_off(
    new_server: type[Server], new_disk_state: NewDisk
) -> None:
    """Figure 2, Followers: "... without ... granting vote to candidate"."""
    server = new_server(durable=new_disk_state(term=1))
    before = server.raft.deadline()
    assert before is not None
    server.now = before - 1
    server.receive(2, request_vote(term=1))
    after = server.raft.deadline()
    assert after is not None
    assert after >= server.now + TIMEOUT


@pytest.mark.parametrize(
    "message",
    [
        append_entries(term=2, terms=(2,)),
        request_vote(term=3, last=(9, 2)),
        request_vote(term=9, last=(1, 3)),
        ReadIndex(1, 9),
        RequestVoteAnswer(1, 9, vote_granted=False),
    ],
    ids=[
        "AppendEntries of a deposed leader",
        "a second candidate of the term",
        "a candidate that lacks entries",
        "a newer term alone",
        "a newer term in an answer",
    ],
)
def test_nothing_else_puts_the_election_off(
    message: PeerMessage, new_server: type[Server], new_disk_state: NewDisk
) -> None:
    """Figure 2, Followers: "If election timeout elapses without receiving AppendEntries RPC from
    *current* leader or *granting* vote to candidate: convert to candidate".

    The story: once every message of a newer term began the wait anew. So a server with an
    outdated log, which nobody may vote for, kept those that could win from standing.
    """
    server = new_server(durable=new_disk_state(term=3, voted_for=3, log=(3, 3)))
    before = server.raft.deadline()
    assert before is not None
    server.now = before - 1
    server.receive(2, message)
    assert server.raft.deadline() == before


# ---------------------------------------------------------------------- Figure 2: candidates


def test_a_candidate_starts_an_election(new_server: type[Server], new_disk_state: NewDisk) -> None:
    """Figure 2, Candidates: "On conversion to candidate, start election: Increment currentTerm.
    Vote for self. Reset election timer. Send RequestVote RPCs to all other servers".
    """
    server = new_server(durable=new_disk_state(members=5, term=3, log=(1, 3)))
    server.time_out()
    assert server.raft.role_name == "candidate"
    assert (server.disk.state.term, server.disk.state.voted_for) == (4, 1)
    deadline = server.raft.deadline()
    assert deadline is not None
    assert deadline >= server.now + TIMEOUT
    for peer in (2, 3, 4, 5):
        request = server.take_one(RequestVote, to=peer)
        assert (request.term, request.last_log_index, request.last_log_term) == (4, 2, 3)
    assert server.sent == []


@pytest.mark.parametrize(("members", "votes_needed"), [(1, 0), (2, 1), (3, 1), (4, 2), (5, 2)])
def test_a_candidate_with_the_votes_of_a_majority_leads(
    members: int, votes_needed: int, new_server: type[Server], new_disk_state: NewDisk
) -> None:
    """Figure 2, Candidates: "If votes received from majority of servers: become leader"."""
    server = new_server(durable=new_disk_state(members=members))
    server.time_out()
    for voter in range(2, 2 + votes_needed):
        assert server.raft.role_name == "candidate"
        request = server.take_one(RequestVote, to=voter)
        server.receive(voter, RequestVoteAnswer(request.id, request.term, vote_granted=True))
    assert server.raft.is_leader


def test_refusals_and_repetitions_are_no_votes(
    new_server: type[Server], new_disk_state: NewDisk
) -> None:
    """§5.2: "A candidate wins an election if it receives votes from a majority of the servers in
    the full cluster for the same term."
    """
    server = new_server(durable=new_disk_state(members=5))
    server.time_out()
    two = server.take_one(RequestVote, to=2)
    three = server.take_one(RequestVote, to=3)
    server.receive(2, RequestVoteAnswer(two.id, 1, vote_granted=True))
    server.receive(2, RequestVoteAnswer(two.id, 1, vote_granted=True))
    server.receive(3, RequestVoteAnswer(three.id, 1, vote_granted=False))
    server.receive(9, RequestVoteAnswer(three.id, 1, vote_granted=True))
    assert server.raft.role_name == "candidate"


def test_a_candidate_that_hears_of_a_new_leader_follows_it(new_server: type[Server]) -> None:
    """Figure 2, Candidates: "If AppendEntries RPC received from new leader: convert to follower".
    §5.2: "If the leader's term (included in its RPC) is at least as large as the candidate's
    current term, then the candidate recognizes the leader as legitimate".
    """
    server = new_server()
    server.time_out()
    server.receive(3, append_entries(term=1))
    assert server.raft.role_name == "follower"
    assert server.raft.leader == 3
    assert server.take_one(AppendEntriesAnswer, to=3).success


def test_a_candidate_that_hears_of_an_old_leader_goes_on(
    new_server: type[Server], new_disk_state: NewDisk
) -> None:
    """§5.2: "If the term in the RPC is smaller than the candidate's current term, then the
    candidate rejects the RPC and continues in candidate state."
    """
    server = new_server(durable=new_disk_state(term=1))
    server.time_out()
    server.receive(3, append_entries(term=1))
    assert server.raft.role_name == "candidate"
    assert not server.take_one(AppendEntriesAnswer, to=3).success


def test_a_candidate_without_a_result_starts_a_new_election(new_server: type[Server]) -> None:
    """Figure 2, Candidates: "If election timeout elapses: start new election"."""
    server = new_server()
    server.time_out()
    first = server.take_one(RequestVote, to=2)
    server.time_out()
    assert server.raft.current_term == 2
    assert server.take_one(RequestVote, to=2).term == 2
    server.receive(2, RequestVoteAnswer(first.id, 1, vote_granted=True))
    assert server.raft.role_name == "candidate"


# ---------------------------------------------------------------------- Figure 2: leaders


def test_a_new_leader_sends_heartbeats_at_once_and_goes_on(new_server: type[Server]) -> None:
    """Figure 2, Leaders: "Upon election: send initial empty AppendEntries RPCs (heartbeat) to
    each server; repeat during idle periods to prevent election timeouts (§5.2)".
    """
    server = new_server()
    server.win_election()
    for _ in range(10):
        for peer in (2, 3):
            heartbeat = server.take_one(AppendEntries, to=peer)
            assert heartbeat.entries == ()
            server.receive(peer, matched(heartbeat))
        server.elapse(HEARTBEAT)


def test_a_command_is_appended_and_answered_after_it_is_applied(new_server: type[Server]) -> None:
    """Figure 2, Leaders: "If command received from client: append entry to local log, respond
    after entry applied to state machine (§5.3)".
    """
    server = new_server()
    assert server.propose() is None, "only a leader takes commands"
    server.win_election()
    server.take(AppendEntries)
    entry = server.propose(b"command")
    assert entry is not None
    assert (entry.index, entry.term, entry.data) == (1, 1, b"command")
    assert server.committed == []
    server.receive(2, matched(server.take_one(AppendEntries, to=2)))
    assert server.committed == [entry]


def test_what_a_follower_lacks_is_sent(new_server: type[Server]) -> None:
    """Figure 2, Leaders: "If last log index ≥ nextIndex for a follower: send AppendEntries RPC
    with log entries starting at nextIndex".
    """
    server = new_server()
    server.win_election()
    server.take(AppendEntries)
    entry = server.propose(b"command")
    for peer in (2, 3):
        request = server.take_one(AppendEntries, to=peer)
        assert (request.prev_log_index, request.prev_log_term) == (0, 0)
        assert request.entries == (entry,)


def test_a_success_moves_next_index_and_match_index(new_server: type[Server]) -> None:
    """Figure 2, Leaders: "If successful: update nextIndex and matchIndex for follower (§5.3)"."""
    server = new_server()
    server.win_election()
    server.take(AppendEntries)
    server.propose(b"one")
    server.receive(2, matched(server.take_one(AppendEntries, to=2)))
    two = server.propose(b"two")
    request = server.take_one(AppendEntries, to=2)
    assert request.prev_log_index == 1, "nextIndex is 2"
    assert request.entries == (two,)
    assert server.raft.commit_index == 1, "matchIndex is 1"


def test_after_an_inconsistency_the_leader_tries_earlier(
    new_server: type[Server], new_disk_state: NewDisk
) -> None:
    """Figure 2, Leaders: "If AppendEntries fails because of log inconsistency: decrement
    nextIndex and retry (§5.3)".
    """
    server = new_server(durable=new_disk_state(log=(1, 1, 2, 2)))
    server.win_election()
    request = server.take_one(AppendEntries, to=2)
    assert request.prev_log_index == 4
    refusal = AppendEntriesAnswer(
        request.id, 3, success=False, match_index=0, conflict_index=2, conflict_term=0
    )
    server.receive(2, refusal)
    request = server.take_one(AppendEntries, to=2)
    assert request.prev_log_index == 1
    assert [entry.index for entry in request.entries] == [2, 3, 4]


@pytest.mark.parametrize(
    ("conflict", "expected"),
    [
        pytest.param((4, 2), 3, id="the leader has the term: after its last entry of it"),
        pytest.param((3, 2), 1, id="it does not: before the follower's first entry of it"),
        pytest.param((6, 4), 3, id="nor one so new: before the follower's first entry of it"),
    ],
)
def test_a_conflicting_term_is_skipped_as_a_whole(
    conflict: tuple[int, int],
    expected: int,
    new_server: type[Server],
    new_disk_state: NewDisk,
) -> None:
    """§5.3: "With this information, the leader can decrement nextIndex to bypass all of the
    conflicting entries in that term".
    """
    server = new_server(durable=new_disk_state(term=6, log=(1, 4, 4, 5, 5, 5)))
    server.win_election()
    request = server.take_one(AppendEntries, to=2)
    conflict_term, conflict_index = conflict
    refusal = AppendEntriesAnswer(
        request.id,
        7,
        success=False,
        match_index=0,
        conflict_index=conflict_index,
        conflict_term=conflict_term,
    )
    server.receive(2, refusal)
    assert server.take_one(AppendEntries, to=2).prev_log_index == expected


def test_the_leader_retries_for_ever(new_server: type[Server]) -> None:
    """§5.3: "If followers crash or run slowly, or if network packets are lost, the leader retries
    AppendEntries RPCs indefinitely (even after it has responded to the client) until all
    followers eventually store all log entries."
    """
    server = new_server()
    server.win_election()
    entry = server.propose(b"command")
    server.receive(2, matched(server.take(AppendEntries, to=2)[-1]))
    assert server.committed == [entry]
    for _ in range(5):
        server.take(AppendEntries)
        server.elapse(PLAIN.append_timeout_us)
        retries = [request for request in server.take(AppendEntries, to=3) if request.entries]
        assert retries[-1].entries == (entry,)


def test_a_follower_catches_up_though_nothing_new_is_proposed(
    new_cluster: type[Cluster], new_disk_state: NewDisk
) -> None:
    """§5.3: "... until all followers eventually store all log entries."

    The story: a leader without a no-op had no entry to send, so it sent heartbeats only. Those go
    on from what is known to match, which was nothing; so they always succeeded, and a follower
    that lacked entries stayed behind until somebody proposed something.
    """
    disks = {node: new_disk_state(term=2, log=(1, 2) if node < 3 else ()) for node in range(1, 4)}
    cluster = new_cluster(3, disks=disks)
    cluster.elect(1)
    cluster.run(2 * PLAIN.append_timeout_us)
    assert cluster[3].terms == [1, 2]


def test_the_question_whether_the_logs_match_is_repeated_until_it_is_answered(
    new_cluster: type[Cluster], new_disk_state: NewDisk
) -> None:
    """§5.3: "... if network packets are lost, the leader retries AppendEntries RPCs
    indefinitely".
    """
    disks = {node: new_disk_state(term=2, log=(1, 2) if node < 3 else ()) for node in range(1, 4)}
    cluster = new_cluster(3, disks=disks)
    cluster.cut.add((1, 3))
    cluster.elect(1)
    cluster.run(3 * PLAIN.append_timeout_us // 2)
    cluster.heal()
    cluster.run(PLAIN.append_timeout_us)
    assert cluster[3].terms == [1, 2]


@pytest.mark.parametrize("acknowledged", list(itertools.product([0, 1, 2, 3], repeat=4)))
def test_the_commit_index_is_what_a_majority_has_of_this_term(
    acknowledged: tuple[int, ...], new_server: type[Server], new_disk_state: NewDisk
) -> None:
    """Figure 2, Leaders: "If there exists an N such that N > commitIndex, a majority of
    matchIndex[i] ≥ N, and log[N].term == currentTerm: set commitIndex = N (§5.3, §5.4)".
    """
    server = new_server(
        durable=new_disk_state(members=5, log=(1,)),
        settings=Settings(pre_vote=False, check_quorum=False, no_op=False, max_append_bytes=1),
    )
    server.win_election()
    for peer in (2, 3, 4, 5):
        server.receive(peer, matched(server.take(AppendEntries, to=peer)[-1]))
    server.propose(b"index 2")
    server.propose(b"index 3")
    assert server.raft.commit_index == 0, "index 1 is of an earlier term"
    for peer, last in zip((2, 3, 4, 5), acknowledged, strict=True):
        for request in server.take(AppendEntries, to=peer):
            if request.prev_log_index + len(request.entries) <= last:
                server.receive(peer, matched(request))
    on_majority = sorted((*acknowledged, 3), reverse=True)[2]
    assert server.raft.commit_index == (on_majority if on_majority >= 2 else 0)


def test_a_leader_never_deletes_its_own_entries(new_server: type[Server]) -> None:
    """§5.3: "A leader never overwrites or deletes entries in its own log (the Leader Append-Only
    Property in Figure 3)." Whatever its followers answer.
    """
    server = new_server()
    server.win_election()
    for _ in range(3):
        server.propose()
    for _ in range(5):
        for request in server.take(AppendEntries, to=2):
            refusal = AppendEntriesAnswer(
                request.id, 1, success=False, match_index=0, conflict_index=1, conflict_term=0
            )
            server.receive(2, refusal)
    assert server.terms == [1, 1, 1]


def test_followers_learn_what_is_committed_from_heartbeats(new_cluster: type[Cluster]) -> None:
    """§5.3: "The leader keeps track of the highest index it knows to be committed, and it
    includes that index in future AppendEntries RPCs (including heartbeats) so that the other
    servers eventually find out."
    """
    cluster = new_cluster(3)
    cluster.elect(1)
    cluster.propose(1)
    cluster.deliver()
    assert cluster[1].raft.commit_index == 1
    assert cluster[2].raft.commit_index == 0
    cluster.run(2 * HEARTBEAT)
    assert [server.raft.commit_index for server in cluster.up] == [1, 1, 1]


def test_requests_may_come_twice(new_server: type[Server]) -> None:
    """§5.5: "Raft RPCs are idempotent, so this causes no harm. For example, if a follower
    receives an AppendEntries request that includes log entries already present in its log, it
    ignores those entries in the new request."
    """
    server = new_server()
    for _ in range(2):
        server.receive(2, request_vote(term=1))
        assert server.take_one(RequestVoteAnswer, to=2).vote_granted
    for _ in range(2):
        server.receive(2, append_entries(term=1, terms=(1, 1), commit=1))
        assert server.take_one(AppendEntriesAnswer, to=2).match_index == 2
    assert server.terms == [1, 1]
    assert len(server.committed) == 1


# ---------------------------------------------------------------------- §5.3: repairing logs

FIGURE_7_LEADER = (1, 1, 1, 4, 4, 5, 5, 6, 6, 6)
FIGURE_7_FOLLOWERS = {
    "a": (1, 1, 1, 4, 4, 5, 5, 6, 6),
    "b": (1, 1, 1, 4),
    "c": (1, 1, 1, 4, 4, 5, 5, 6, 6, 6, 6),
    "d": (1, 1, 1, 4, 4, 5, 5, 6, 6, 6, 7, 7),
    "e": (1, 1, 1, 4, 4, 4, 4),
    "f": (1, 1, 1, 2, 2, 2, 3, 3, 3, 3, 3),
}


def test_figure_7_all_logs_become_the_leaders(
    new_cluster: type[Cluster], new_disk_state: NewDisk
) -> None:
    """Figure 7: "When the leader at the top comes to power, it is possible that any of scenarios
    (a-f) could occur in follower logs." §5.3: "the leader handles inconsistencies by forcing the
    followers' logs to duplicate its own."
    """
    logs = [FIGURE_7_LEADER, *FIGURE_7_FOLLOWERS.values()]
    disks = {
        node: new_disk_state(members=7, term=7, log=log) for node, log in enumerate(logs, start=1)
    }
    cluster = new_cluster(7, disks=disks)
    cluster.elect(1)
    assert cluster[1].raft.current_term == 8
    cluster.propose(1)
    cluster.deliver()
    for server in cluster.up:
        assert tuple(server.terms) == (*FIGURE_7_LEADER, 8)
        assert tuple(entry.term for entry in server.disk.state.entries) == (*FIGURE_7_LEADER, 8)


@pytest.mark.parametrize("follower", FIGURE_7_FOLLOWERS)
def test_figure_7_one_refusal_skips_a_whole_term(
    follower: str, new_cluster: type[Cluster], new_disk_state: NewDisk
) -> None:
    """§5.3: "With this information, the leader can decrement nextIndex to bypass all of the
    conflicting entries in that term; one AppendEntries RPC will be required for each term with
    conflicting entries, rather than one RPC per entry."
    """
    log = FIGURE_7_FOLLOWERS[follower]
    disks = {
        1: new_disk_state(members=3, term=7, log=FIGURE_7_LEADER),
        2: new_disk_state(members=3, term=7, log=FIGURE_7_LEADER),
        3: new_disk_state(members=3, term=7, log=log),
    }
    cluster = new_cluster(3, disks=disks)
    cluster.cut.add((1, 3))
    cluster.elect(1)
    cluster.heal()
    cluster.advance(PLAIN.append_timeout_us)
    cluster.wake()
    refusals = 0
    while cluster.network:
        packet = cluster.network.pop(0)
        if isinstance(packet.message, AppendEntriesAnswer) and not packet.message.success:
            refusals += 1
        cluster.hand_over(packet)
    pairs = itertools.zip_longest(log, FIGURE_7_LEADER)
    conflicting = {term for term, leaders_term in pairs if term not in (leaders_term, None)}
    lacking = len(log) < len(FIGURE_7_LEADER)
    assert refusals <= len(conflicting) + lacking
    assert tuple(cluster[3].terms[:10]) == FIGURE_7_LEADER


# ---------------------------------------------------------------------- §5.4.1


@pytest.mark.parametrize(
    ("voter", "candidate", "granted"),
    [
        pytest.param((1, 1), (2, 1), True, id="both empty but for the term"),
        pytest.param((3, 2), (1, 3), True, id="the later term wins, though shorter"),
        pytest.param((1, 3), (3, 2), False, id="the earlier term loses, though longer"),
        pytest.param((2, 3), (3, 3), True, id="same term: the longer wins"),
        pytest.param((3, 3), (3, 3), True, id="equal logs are up-to-date"),
        pytest.param((3, 3), (2, 3), False, id="same term: the shorter loses"),
        pytest.param((1, 1), (0, 0), False, id="an empty log loses"),
    ],
)
def test_votes_only_go_to_logs_that_are_up_to_date(
    voter: tuple[int, int],
    candidate: tuple[int, int],
    granted: bool,  # noqa: FBT001  # a column of the table above
    new_server: type[Server],
    new_disk_state: NewDisk,
) -> None:
    """§5.4.1: "If the logs have last entries with different terms, then the log with the later
    term is more up-to-date. If the logs end with the same term, then whichever log is longer is
    more up-to-date." And: "the voter denies its vote if its own log is more up-to-date than that
    of the candidate."
    """
    length, term = voter
    server = new_server(durable=new_disk_state(log=(term,) * length))
    server.receive(2, request_vote(term=4, last=candidate))
    assert server.take_one(RequestVoteAnswer).vote_granted == granted


def test_a_log_that_is_all_snapshot_is_compared_by_it(
    new_server: type[Server], new_disk_state: NewDisk
) -> None:
    """§5.4.1, for a log whose last entry is within a snapshot (§7)."""
    server = new_server(durable=new_disk_state(term=3, snapshot=(10, 3)))
    server.receive(2, request_vote(term=4, last=(9, 3)))
    server.receive(3, request_vote(term=4, last=(10, 3)))
    assert not server.take_one(RequestVoteAnswer, to=2).vote_granted
    assert server.take_one(RequestVoteAnswer, to=3).vote_granted


# ---------------------------------------------------------------------- §5.4.2


def figure_8_up_to_c(new_cluster: type[Cluster], new_disk_state: NewDisk) -> Cluster:
    """Figure 8, (a) to (c): five servers, S1 to S5, which all have the entry of term 1."""
    cluster = new_cluster(
        5,
        settings=PLAIN,
        disks={node: new_disk_state(members=5, log=(1,)) for node in range(1, 6)},
    )

    def logs() -> list[list[int]]:
        return [server.terms for server in cluster.servers.values()]

    # Figure 8: "In (a) S1 is leader and partially replicates the log entry at index 2."
    cluster.elect(1)
    cluster.propose(1)
    cluster.deliver(lambda packet: {packet.sender, packet.to} == {1, 2})
    cluster.drop()
    assert logs() == [[1, 2], [1, 2], [1], [1], [1]]

    # "In (b) S1 crashes; S5 is elected leader for term 3 with votes from S3, S4, and itself, and
    # accepts a different entry at log index 2."
    cluster.crash(1)
    cluster.elect(5)
    assert cluster[5].raft.current_term == 3
    cluster.propose(5)
    cluster.drop()
    assert logs() == [[1, 2], [1, 2], [1], [1], [1, 3]]

    # "In (c) S5 crashes; S1 restarts, is elected leader, and continues replication. At this
    # point, the log entry from term 2 has been replicated on a majority of the servers, but it
    # is not committed."
    cluster.crash(5)
    cluster.restart(1)
    cluster.isolate(4)
    cluster.time_out(1)
    cluster.deliver()
    cluster.elect(1)
    assert cluster[1].raft.current_term == 4
    cluster.propose(1)
    cluster.drop(lambda packet: isinstance(packet.message, AppendEntries))
    assert logs() == [[1, 2, 4], [1, 2], [1, 2], [1], [1, 3]]
    assert [server.raft.commit_index for server in cluster.up] == [0, 0, 0, 0]
    return cluster


def test_figure_8_d_an_old_entry_on_a_majority_may_still_be_overwritten(
    new_cluster: type[Cluster], new_disk_state: NewDisk
) -> None:
    """Figure 8: "If S1 crashes as in (d), S5 could be elected leader (with votes from S2, S3, and
    S4) and overwrite the entry with its own entry from term 3."
    """
    cluster = figure_8_up_to_c(new_cluster, new_disk_state)
    cluster.crash(1)
    cluster.heal()
    cluster.restart(5)
    cluster.time_out(5)
    cluster.deliver()
    cluster.elect(5)
    cluster.run(2 * PLAIN.append_timeout_us)
    assert [cluster[node].terms for node in (2, 3, 4, 5)] == [[1, 3]] * 4
    assert all(entry.term != 2 for server in cluster.up for entry in server.committed)


def test_figure_8_e_an_entry_of_the_leaders_own_term_commits_all_before_it(
    new_cluster: type[Cluster], new_disk_state: NewDisk
) -> None:
    """Figure 8: "However, if S1 replicates an entry from its current term on a majority of the
    servers before crashing, as in (e), then this entry is committed (S5 cannot win an election).
    At this point all preceding entries in the log are committed as well."
    """
    cluster = figure_8_up_to_c(new_cluster, new_disk_state)
    cluster.run(2 * PLAIN.append_timeout_us)
    assert [cluster[node].terms for node in (1, 2, 3)] == [[1, 2, 4]] * 3
    assert [entry.term for entry in cluster[1].committed] == [1, 2, 4]
    cluster.crash(1)
    cluster.heal()
    cluster.restart(5)
    for _ in range(5):
        cluster.time_out(5)
        cluster.deliver()
        assert not cluster[5].raft.is_leader
    cluster.run(10 * TIMEOUT)
    assert cluster.leader.me in (2, 3)
    assert [entry.term for entry in cluster.leader.disk.state.entries][:3] == [1, 2, 4]


def test_entries_of_earlier_terms_are_never_committed_by_counting(
    new_cluster: type[Cluster], new_disk_state: NewDisk
) -> None:
    """§5.4.2: "Raft never commits log entries from previous terms by counting replicas." Not even
    when they are on every server.
    """
    disks = {node: new_disk_state(log=(1, 1, 2)) for node in (1, 2, 3)}
    cluster = new_cluster(3, disks=disks)
    cluster.elect(1)
    cluster.run(5 * TIMEOUT)
    assert cluster[1].raft.is_leader
    assert [server.raft.commit_index for server in cluster.up] == [0, 0, 0]


def test_earlier_entries_are_committed_indirectly(
    new_cluster: type[Cluster], new_disk_state: NewDisk
) -> None:
    """§5.4.2: "once an entry from the current term has been committed in this way, then all prior
    entries are committed indirectly because of the Log Matching Property."
    """
    disks = {node: new_disk_state(log=(1, 1, 2)) for node in (1, 2, 3)}
    cluster = new_cluster(3, disks=disks)
    cluster.elect(1)
    cluster.propose(1)
    cluster.deliver()
    assert [entry.term for entry in cluster[1].committed] == [1, 1, 2, 3]


def test_entries_retain_their_terms(new_cluster: type[Cluster], new_disk_state: NewDisk) -> None:
    """§5.4.2: "log entries retain their original term numbers when a leader replicates entries
    from previous terms."
    """
    disks = {1: new_disk_state(log=(1, 2)), 2: new_disk_state(log=(1, 2))}
    cluster = new_cluster(3, disks=disks)
    cluster.elect(1)
    cluster.propose(1)
    cluster.deliver()
    assert cluster[3].terms == [1, 2, 3]
    assert cluster[3].disk.state.entries[:2] == cluster[1].disk.state.entries[:2]


# ---------------------------------------------------------------------- §8


def test_a_leader_begins_its_term_with_a_no_op(
    new_server: type[Server], new_disk_state: NewDisk
) -> None:
    """§8: "Raft handles this by having each leader commit a blank no-op entry into the log at the
    start of its term."
    """
    server = new_server(durable=new_disk_state(log=(1, 2)), settings=Settings())
    server.win_election()
    (no_op,) = server.take_one(AppendEntries, to=2).entries
    assert (no_op.index, no_op.term, no_op.kind, no_op.data) == (3, 3, EntryKind.NO_OP, b"")


def test_the_no_op_tells_a_new_leader_what_is_committed(
    new_cluster: type[Cluster], new_disk_state: NewDisk
) -> None:
    """§8: "The Leader Completeness Property guarantees that a leader has all committed entries,
    but at the start of its term, it may not know which those are. To find out, it needs to commit
    an entry from its term."
    """
    disks = {node: new_disk_state(log=(1, 2)) for node in (1, 2, 3)}
    cluster = new_cluster(3, settings=Settings(), disks=disks)
    cluster.elect(1)
    assert [entry.term for entry in cluster[1].committed] == [1, 2, 3]
    assert cluster[1].raft.has_committed_in_term


def test_no_read_is_served_before_the_no_op_is_committed(new_cluster: type[Cluster]) -> None:
    """§8: "First, a leader must have the latest information on which entries are committed."

    Server 1 acknowledged a write, and server 2 does not know yet that it is committed when it
    becomes leader; heartbeats reach its followers, but entries do not.
    """
    cluster = new_cluster(3, settings=Settings())
    cluster.elect(1)
    cluster.propose(1)
    cluster.deliver()
    assert cluster[1].raft.commit_index == 2
    cluster.crash(1)
    cluster.advance(Settings().election_timeout_us)
    cluster.time_out(2)
    cluster.deliver(lambda packet: not isinstance(packet.message, AppendEntries))
    assert cluster[2].raft.is_leader
    assert cluster[2].raft.commit_index < 2
    cluster.read(2, 77)

    def is_heartbeat(packet: Packet) -> bool:
        message = packet.message
        return not (isinstance(message, AppendEntries) and message.entries)

    for _ in range(3):
        cluster.advance(HEARTBEAT)
        cluster[2].wake()
        cluster.collect()
        cluster.deliver(is_heartbeat)
    assert cluster[2].reads == []
    cluster.deliver()
    (read,) = cluster[2].reads
    assert (read.ticket, read.index) == (77, 3)


def test_a_leader_asks_a_majority_before_it_serves_a_read(new_cluster: type[Cluster]) -> None:
    """§8: "Second, a leader must check whether it has been deposed before processing a read-only
    request ... Raft handles this by having the leader exchange heartbeat messages with a majority
    of the cluster before responding to read-only requests."
    """
    cluster = new_cluster(3, settings=Settings())
    cluster.elect(1)
    cluster.isolate(1)
    cluster.read(1, 5)
    cluster.deliver()
    assert cluster[1].reads == []
    cluster.heal()
    cluster.run(2 * HEARTBEAT)
    assert [read.ticket for read in cluster[1].reads] == [5]


def test_a_deposed_leader_serves_no_read(new_cluster: type[Cluster]) -> None:
    """§8: "its information may be stale if a more recent leader has been elected". It finds out
    whether or not it steps down by itself, so CheckQuorum is off here.
    """
    cluster = new_cluster(3, settings=Settings(check_quorum=False, pre_vote=False))
    cluster.elect(1)
    cluster.isolate(1)
    cluster.elect(2)
    cluster.propose(2)
    cluster.deliver()
    assert cluster[1].raft.is_leader
    committed = cluster[2].raft.commit_index
    cluster.read(1, 5)
    cluster.deliver()
    assert cluster[1].reads == []
    cluster.heal()
    cluster.run(10 * TIMEOUT)
    (read,) = cluster[1].reads
    assert read.index >= committed
