"""What the core does beyond Figure 2: Ongaro's dissertation, and our own rules (docs/raft.md).

All servers run production settings here, unless a test says otherwise.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec
import pytest

from quorate.raft.configuration import NodeId
from quorate.raft.entry import ENTRY_HEADER_BYTES, Entry, EntryKind
from quorate.raft.messages import (
    AppendEntries,
    AppendEntriesAnswer,
    Forward,
    ForwardAnswer,
    PreVote,
    PreVoteAnswer,
    ReadIndex,
    ReadIndexAnswer,
    RequestVote,
    RequestVoteAnswer,
)
from quorate.raft.ready import ForwardAnswered, ForwardLost, ForwardRefused, ReadyRead
from quorate.raft.settings import Settings

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.raft.conftest import Cluster, Packet, Server

    from quorate.raft.ready import DurableState

    NewDisk = Callable[..., DurableState]

PRODUCTION = Settings()
PLAIN = Settings(pre_vote=False, check_quorum=False, no_op=False)
TIMEOUT = PRODUCTION.election_timeout_us
HEARTBEAT = PRODUCTION.heartbeat_interval_us
RETRY = PRODUCTION.append_timeout_us


def heartbeat(term: int, *, request_id: int = 1) -> AppendEntries:
    """A request that vouches for nothing."""
    return AppendEntries(request_id, term, 0, 0, 0, ())


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


def answer_all(server: Server, *peers: int) -> None:
    """These followers take in all that the leader has sent and will send now."""
    for peer in peers:
        while requests := server.take(AppendEntries, to=peer):
            for request in requests:
                server.receive(peer, matched(request))


def led_by(server: Server, leader: int, *, term: int = 1) -> Server:
    """The server, once it has heard from its leader."""
    server.receive(leader, heartbeat(term))
    server.take(AppendEntriesAnswer)
    return server


# ---------------------------------------------------------------------- §9.6: PreVote


def test_who_gets_no_answer_never_raises_its_term(
    new_server: type[Server], new_disk_state: NewDisk
) -> None:
    """§9.6: "In the Pre-Vote algorithm, a candidate only increments its term if it first learns
    from a majority of the cluster that they would be willing to grant the candidate their votes".
    """
    server = new_server(durable=new_disk_state(term=3, voted_for=2), settings=PRODUCTION)
    server.elapse(20 * TIMEOUT)
    assert server.raft.role_name == "pre-candidate"
    assert server.raft.current_term == 3
    assert (server.disk.state.term, server.disk.state.voted_for) == (3, 2)
    assert {question.term for question in server.take(PreVote)} == {4}
    assert server.take(RequestVote) == []


def test_a_majority_of_pre_votes_makes_a_candidate(
    new_server: type[Server], new_disk_state: NewDisk
) -> None:
    """§9.6, as above: only then the term grows."""
    server = new_server(durable=new_disk_state(members=5, term=3), settings=PRODUCTION)
    server.time_out()
    two, three = server.take_one(PreVote, to=2), server.take_one(PreVote, to=3)
    server.receive(2, PreVoteAnswer(two.id, 3, vote_granted=True))
    server.receive(2, PreVoteAnswer(two.id, 3, vote_granted=True))
    assert server.raft.role_name == "pre-candidate"
    server.receive(3, PreVoteAnswer(three.id, 2, vote_granted=True))
    assert server.raft.role_name == "candidate"
    assert server.raft.current_term == 4
    assert server.disk.state.voted_for == 1


@pytest.mark.parametrize(
    ("last", "granted"), [((3, 2), True), ((2, 3), True), ((2, 2), False), ((9, 1), False)]
)
def test_a_pre_vote_needs_an_up_to_date_log(
    last: tuple[int, int],
    granted: bool,  # noqa: FBT001  # a column of the table above
    new_server: type[Server],
    new_disk_state: NewDisk,
) -> None:
    """§9.6: "... (if the candidate's log is sufficiently up-to-date ...)"."""
    server = new_server(durable=new_disk_state(term=3, log=(1, 2, 2)), settings=PRODUCTION)
    server.receive(2, PreVote(1, 4, last_log_index=last[0], last_log_term=last[1]))
    assert server.take_one(PreVoteAnswer, to=2).vote_granted == granted


def test_a_pre_vote_needs_a_newer_term_and_tells_the_present_one(
    new_server: type[Server], new_disk_state: NewDisk
) -> None:
    """Who would stand in a term that is past learns of the present one and asks anew."""
    server = new_server(durable=new_disk_state(term=3), settings=PRODUCTION)
    server.receive(2, PreVote(1, 3, last_log_index=9, last_log_term=2))
    answer = server.take_one(PreVoteAnswer, to=2)
    assert not answer.vote_granted
    asker = new_server(2, durable=new_disk_state(term=2), settings=PRODUCTION)
    asker.time_out()
    asker.receive(1, PreVoteAnswer(asker.take_one(PreVote, to=1).id, answer.term, False))
    assert (asker.raft.role_name, asker.raft.current_term) == ("follower", 3)
    asker.time_out()
    assert asker.take_one(PreVote, to=1).term == 4


def test_no_pre_vote_while_a_leader_is_heard(new_server: type[Server]) -> None:
    """§9.6: "... and the voters have not received heartbeats from a valid leader for at least a
    baseline election timeout".
    """
    server = led_by(new_server(settings=PRODUCTION), 3)
    for waited, granted in [(0, False), (TIMEOUT - 1, False), (TIMEOUT, True)]:
        server.now = waited
        server.receive(2, PreVote(1, 2, last_log_index=0, last_log_term=0))
        assert server.take_one(PreVoteAnswer, to=2).vote_granted == granted


def test_a_leader_gives_no_pre_vote(new_server: type[Server]) -> None:
    """A leader hears a leader: itself. If it has lost its majority, it steps down (§6.2)."""
    server = new_server(settings=PRODUCTION)
    server.win_election()
    server.receive(2, PreVote(1, 9, last_log_index=9, last_log_term=9))
    assert not server.take_one(PreVoteAnswer, to=2).vote_granted
    assert server.raft.is_leader


def test_a_pre_vote_changes_nothing_at_the_voter(
    new_server: type[Server], new_disk_state: NewDisk
) -> None:
    """§9.6: it is no vote; so several may have it, and neither term, vote nor timer change."""
    server = new_server(durable=new_disk_state(term=3), settings=PRODUCTION)
    deadline = server.raft.deadline()
    for sender in (2, 3):
        server.receive(sender, PreVote(1, 9, last_log_index=0, last_log_term=0))
        assert server.take_one(PreVoteAnswer, to=sender).vote_granted
    assert server.raft.deadline() == deadline
    assert (server.disk.state.term, server.disk.state.voted_for) == (3, None)


def test_a_pre_candidate_that_votes_for_another_gives_way(
    new_server: type[Server], new_disk_state: NewDisk
) -> None:
    """Figure 2, Followers, for a pre-candidate: having granted a vote it waits for a result.

    The story: it used to keep collecting pre-votes, and then stood against the candidate that it
    had just voted for.
    """
    server = new_server(durable=new_disk_state(term=3), settings=PRODUCTION)
    server.time_out()
    question = server.take_one(PreVote, to=3)
    server.receive(2, RequestVote(1, 3, last_log_index=0, last_log_term=0))
    assert server.take_one(RequestVoteAnswer, to=2).vote_granted
    server.receive(3, PreVoteAnswer(question.id, 3, vote_granted=True))
    assert (server.raft.role_name, server.raft.current_term) == ("follower", 3)
    deadline = server.raft.deadline()
    assert deadline is not None
    assert deadline >= server.now + TIMEOUT


def test_a_server_that_comes_back_disturbs_nobody(new_cluster: type[Cluster]) -> None:
    """§9.6: the problem was that a partitioned server's "larger term number will propagate to the
    rest of the cluster".
    """
    cluster = new_cluster(3, settings=PRODUCTION)
    cluster.elect(1)
    cluster.isolate(3)
    cluster.run(10 * TIMEOUT)
    cluster.heal()
    cluster.run(5 * TIMEOUT)
    assert cluster[1].raft.is_leader
    assert [server.raft.current_term for server in cluster.up] == [1, 1, 1]


def test_a_server_whose_term_is_ahead_comes_back_in(
    new_cluster: type[Cluster], new_disk_state: NewDisk
) -> None:
    """A known trap of CheckQuorum (etcd-io/etcd#5468): a candidate that lost touch after it had
    raised its term hears a leader of a lower term, and nobody votes for it. Its refusals must
    carry its term, so that the leader gives way once.
    """
    disks = {3: new_disk_state(term=9, voted_for=3)}
    cluster = new_cluster(3, settings=PRODUCTION, disks=disks)
    cluster.isolate(3)
    cluster.elect(1)
    cluster.run(TIMEOUT)
    cluster.heal()
    cluster.run(10 * TIMEOUT)
    assert cluster.leader.raft.current_term >= 10
    assert {server.raft.leader for server in cluster.up} == {cluster.leader.me}
    assert cluster[3].terms == cluster[1].terms


@pytest.mark.parametrize(
    ("one", "two", "leader"),
    [
        pytest.param((5, (1, 5)), (1, (1,)), 1, id="etcd-io/etcd#8243: an old term and log"),
        pytest.param((9, (1,)), (2, (1, 2)), 2, id="etcd-io/etcd#8501: an old term, a newer log"),
    ],
)
@pytest.mark.parametrize("seed", range(5))
def test_pre_votes_between_different_terms_come_to_a_result(
    one: tuple[int, tuple[int, ...]],
    two: tuple[int, tuple[int, ...]],
    leader: int,
    seed: int,
    new_cluster: type[Cluster],
    new_disk_state: NewDisk,
) -> None:
    """Known traps of PreVote: the third server is dead, and the two that are left differ in their
    terms, so that neither may ignore what the other says.
    """
    disks = {
        1: new_disk_state(term=one[0], log=one[1]),
        2: new_disk_state(term=two[0], log=two[1]),
    }
    cluster = new_cluster(3, settings=PRODUCTION, disks=disks, seed=seed)
    cluster.crash(3)
    cluster.run(20 * TIMEOUT)
    assert cluster[leader].raft.is_leader
    assert cluster[1].terms == cluster[2].terms


# ---------------------------------------------------------------------- §6.2: CheckQuorum


def test_a_leader_without_a_majority_steps_down(new_server: type[Server]) -> None:
    """§6.2: "a leader in Raft steps down if an election timeout elapses without a successful
    round of heartbeats to a majority of its cluster".
    """
    server = new_server(settings=PRODUCTION)
    server.win_election()
    server.elapse(TIMEOUT - 1)
    assert server.raft.is_leader
    server.elapse(HEARTBEAT)
    assert server.raft.role_name == "follower"
    assert server.propose() is None


def test_a_majority_is_enough_to_go_on(new_server: type[Server], new_disk_state: NewDisk) -> None:
    """§6.2: "... to a majority of its cluster": two of the five may be dead."""
    server = new_server(durable=new_disk_state(members=5), settings=PRODUCTION)
    server.win_election()
    for _ in range(30):
        answer_all(server, 2, 3)
        server.elapse(HEARTBEAT)
    assert server.raft.is_leader
    for _ in range(10):
        answer_all(server, 2)
        server.elapse(HEARTBEAT)
    assert not server.raft.is_leader


def test_a_leader_that_is_heard_but_hears_nobody_steps_down(new_cluster: type[Cluster]) -> None:
    """An asymmetric partition: the leader's messages keep the others from standing."""
    cluster = new_cluster(3, settings=PRODUCTION)
    cluster.elect(1)
    cluster.cut |= {(2, 1), (3, 1)}
    cluster.run(5 * TIMEOUT)
    assert cluster.leader.me in (2, 3)
    assert not cluster[1].raft.is_leader


def test_a_leader_without_followers_needs_nobody(
    new_server: type[Server], new_disk_state: NewDisk
) -> None:
    """A cluster of one has its majority always, and no timers."""
    server = new_server(durable=new_disk_state(members=1), settings=PRODUCTION)
    server.win_election()
    assert server.raft.deadline() is None
    server.now += 100 * TIMEOUT
    server.wake()
    assert server.raft.is_leader
    server.propose(b"x")
    server.read(7)
    assert [entry.kind for entry in server.committed] == [EntryKind.NO_OP, EntryKind.DATA]
    assert server.reads == [ReadyRead(7, 2)]


# ---------------------------------------------------------------------- §4.2.3: votes disregarded


def test_a_vote_is_disregarded_while_a_leader_is_heard(new_server: type[Server]) -> None:
    """§4.2.3: "if a server receives a RequestVote request within the minimum election timeout of
    hearing from a current leader, it does not update its term or grant its vote".
    """
    server = led_by(new_server(settings=PRODUCTION), 3)
    server.now = TIMEOUT - 1
    server.receive(2, RequestVote(1, 9, last_log_index=9, last_log_term=9))
    answer = server.take_one(RequestVoteAnswer, to=2)
    assert (answer.vote_granted, answer.term) == (False, 1)
    assert (server.raft.current_term, server.raft.leader) == (1, 3)
    server.now = TIMEOUT
    server.receive(2, RequestVote(2, 9, last_log_index=9, last_log_term=9))
    assert server.take_one(RequestVoteAnswer, to=2).vote_granted
    assert server.raft.current_term == 9


def test_a_leader_disregards_votes(new_server: type[Server]) -> None:
    """§4.2.3: so a server that does not hear the leader cannot depose it."""
    server = new_server(settings=PRODUCTION)
    server.win_election()
    server.receive(2, RequestVote(1, 9, last_log_index=9, last_log_term=9))
    assert not server.take_one(RequestVoteAnswer, to=2).vote_granted
    assert (server.raft.is_leader, server.raft.current_term) == (True, 1)


def test_plain_raft_disregards_no_vote(new_server: type[Server]) -> None:
    """Without CheckQuorum the rule is off: else a leader that lost its majority stayed for ever."""
    server = led_by(new_server(settings=PLAIN), 3)
    server.receive(2, RequestVote(1, 9, last_log_index=9, last_log_term=9))
    assert server.take_one(RequestVoteAnswer, to=2).vote_granted


# ---------------------------------------------------------------------- §6.4: reads at the leader


def test_reads_wait_until_an_entry_of_the_term_is_committed(new_server: type[Server]) -> None:
    """§6.4, 1: "If the leader has not yet marked an entry from its current term committed, it
    waits until it has done so."
    """
    server = new_server(settings=PRODUCTION)
    server.win_election()
    no_op = server.take_one(AppendEntries, to=2)
    server.read(5)
    server.elapse(HEARTBEAT)
    server.receive(2, matched(server.take(AppendEntries, to=2)[-1]))
    assert server.reads == []
    server.receive(2, matched(no_op))
    answer_all(server, 2)
    assert server.reads == [ReadyRead(5, 1)]


def test_a_read_is_served_at_the_commit_index_of_its_round(new_server: type[Server]) -> None:
    """§6.4, 2: "The leader saves its current commit index in a local variable readIndex." """
    server = new_server(settings=PRODUCTION)
    server.win_election()
    answer_all(server, 2, 3)
    server.read(5)
    confirmation = server.take_one(AppendEntries, to=2)
    server.propose(b"later")
    answer_all(server, 3)
    assert server.raft.commit_index == 2
    assert server.reads == [ReadyRead(5, 1)]
    server.receive(2, matched(confirmation))
    assert len(server.reads) == 1


def test_answers_to_older_requests_confirm_nothing(new_server: type[Server]) -> None:
    """§6.4, 3: "It issues a *new* round of heartbeats and waits for their acknowledgments from a
    majority of the cluster." An answer may have been under way since before a new leader came.
    """
    server = new_server(settings=PRODUCTION)
    server.win_election()
    answer_all(server, 2, 3)
    server.elapse(HEARTBEAT)
    older = {peer: server.take_one(AppendEntries, to=peer) for peer in (2, 3)}
    server.read(5)
    for peer in (2, 3):
        server.receive(peer, matched(older[peer]))
    assert server.reads == []
    answer_all(server, 2)
    assert server.reads == [ReadyRead(5, 1)]


def test_a_minority_confirms_nothing(new_server: type[Server], new_disk_state: NewDisk) -> None:
    """§6.4, 3: "... from a majority of the cluster"."""
    server = new_server(durable=new_disk_state(members=5), settings=PRODUCTION)
    server.win_election()
    answer_all(server, 2, 3, 4, 5)
    server.read(5)
    answer_all(server, 2)
    answer_all(server, 2)
    assert server.reads == []
    answer_all(server, 3)
    assert server.reads == [ReadyRead(5, 1)]


def test_one_round_serves_all_reads_that_wait(new_server: type[Server]) -> None:
    """§6.4: the leader "can use a single round of heartbeats for any number of read-only queries
    that it has accumulated". Those that come during a round have the next.
    """
    server = new_server(settings=PRODUCTION)
    server.win_election()
    answer_all(server, 2, 3)
    for ticket in range(100):
        server.raft.read(ticket, server.now)
    server.settle()
    first_round = server.take_one(AppendEntries, to=2)
    server.take(AppendEntries, to=3)
    server.read(100)
    server.read(101)
    assert server.sent == [], "the next round begins when this one is over"
    server.receive(2, matched(first_round))
    assert [read.ticket for read in server.reads] == list(range(100))
    answer_all(server, 2)
    assert [read.ticket for read in server.reads] == list(range(102))


def test_entries_confirm_a_round_as_well_as_heartbeats(new_server: type[Server]) -> None:
    """Any AppendEntries of the term that was sent in the round shows who leads; none is sent just
    for the reads if there is something to send anyway.
    """
    server = new_server(settings=PRODUCTION)
    server.win_election()
    answer_all(server, 2, 3)
    server.raft.read(5, server.now)
    server.raft.propose(b"x", server.now)
    server.settle()
    request = server.take_one(AppendEntries, to=2)
    assert len(request.entries) == 1
    refusal = AppendEntriesAnswer(
        request.id, 1, success=False, match_index=0, conflict_index=2, conflict_term=0
    )
    server.receive(2, refusal)
    assert server.reads == [ReadyRead(5, 1)]


def test_who_does_not_answer_is_not_asked_for_each_round(new_server: type[Server]) -> None:
    """The next heartbeat asks it anyway, and its answer then counts as any other."""
    server = new_server(settings=PRODUCTION)
    server.win_election()
    answer_all(server, 2, 3)
    for _ in range(3):
        server.elapse(HEARTBEAT)
        answer_all(server, 2)
    server.take(AppendEntries, to=3)
    server.read(5)
    server.take_one(AppendEntries, to=2)
    assert server.take(AppendEntries, to=3) == []
    server.elapse(HEARTBEAT)
    answer_all(server, 3)
    assert server.reads == [ReadyRead(5, 1)]


def test_no_more_are_asked_than_a_majority_needs(
    new_server: type[Server], new_disk_state: NewDisk
) -> None:
    """§6.4 asks all. Whose answer is not needed for the majority need not be woken for each round;
    those are asked who answer soonest, and the others if that takes long.
    """
    server = new_server(durable=new_disk_state(members=5), settings=PRODUCTION)
    server.win_election()
    answer_all(server, 2, 3, 4, 5)
    server.elapse(HEARTBEAT)
    answer_all(server, 2, 4)
    server.elapse(1)
    answer_all(server, 3, 5)
    server.read(5)
    assert {envelope.to for envelope in server.sent} == {2, 4}
    assert server.raft.deadline() == server.now + HEARTBEAT // 10
    answer_all(server, 4)
    server.elapse(HEARTBEAT // 10 - 1)
    assert {envelope.to for envelope in server.sent} == {2}
    server.elapse(1)
    assert {envelope.to for envelope in server.sent} == {2, 3, 5}
    deadline = server.raft.deadline()
    assert deadline is not None
    assert deadline > server.now, "once in each round"
    answer_all(server, 5)
    assert server.reads == [ReadyRead(5, 1)]


def test_who_is_cut_off_is_not_waited_for(new_server: type[Server]) -> None:
    """Another one is asked in its place as soon as the link is lost, in the same round."""
    server = new_server(settings=PRODUCTION)
    server.win_election()
    answer_all(server, 2, 3)
    server.read(5)
    server.take_one(AppendEntries, to=2)
    assert server.sent == []
    server.raft.link_changed(NodeId(2), up=False, now=server.now)
    server.settle()
    answer_all(server, 3)
    assert server.reads == [ReadyRead(5, 1)]


def test_a_round_whose_heartbeats_were_lost_is_confirmed_by_later_ones(
    new_server: type[Server],
) -> None:
    """A round is named by its first request; whatever was sent since then may confirm it, and
    nothing from before, however late it comes.
    """
    server = new_server(settings=PRODUCTION)
    server.win_election()
    answer_all(server, 2, 3)
    server.elapse(HEARTBEAT)
    before_the_round = server.take_one(AppendEntries, to=2)
    server.read(5)
    server.take(AppendEntries)
    server.elapse(HEARTBEAT)
    server.receive(2, matched(before_the_round))
    assert server.reads == []
    answer_all(server, 2)
    assert server.reads == [ReadyRead(5, 1)]


def test_no_round_survives_a_pause(new_server: type[Server]) -> None:
    """The confirmations had queued up while the process was stopped; by now another may lead. The
    read waits for whoever does.
    """
    server = new_server(settings=PRODUCTION)
    server.win_election()
    answer_all(server, 2, 3)
    server.read(5)
    confirmation = server.take_one(AppendEntries, to=2)
    server.now += 10 * TIMEOUT
    server.receive(2, matched(confirmation))
    assert server.reads == []
    server.receive(3, heartbeat(2))
    question = server.take_one(ReadIndex, to=3)
    server.receive(3, ReadIndexAnswer(question.id, 2, 8))
    assert server.reads == [ReadyRead(5, 8)]


def test_a_round_is_not_continued_in_another_term_of_the_same_leader(
    new_server: type[Server],
) -> None:
    """A round names its term: what was sent in an earlier one counts for nothing."""
    server = new_server(settings=PRODUCTION)
    server.win_election()
    answer_all(server, 2, 3)
    server.read(5)
    confirmation = server.take_one(AppendEntries, to=2)
    server.receive(3, heartbeat(2))
    server.win_election()
    assert server.raft.current_term == 3
    server.receive(2, matched(confirmation))
    assert server.reads == []
    answer_all(server, 2)
    assert server.reads == [ReadyRead(5, 2)]


# ---------------------------------------------------------------------- §6.4: reads at a follower


def test_a_follower_asks_the_leader_for_the_read_index(new_cluster: type[Cluster]) -> None:
    """§6.4: a follower "could issue a request to the leader that just asked for a current
    readIndex (the leader would execute steps 1-3 above)".
    """
    cluster = new_cluster(3, settings=PRODUCTION)
    cluster.elect(1)
    cluster.propose(1)
    cluster.deliver()
    cluster.read(3, 5)
    cluster.deliver(lambda packet: isinstance(packet.message, ReadIndex))
    assert cluster[3].reads == []
    cluster.deliver()
    assert cluster[3].reads == [ReadyRead(5, 2)]


def test_a_followers_request_is_its_own_confirmation(
    new_server: type[Server], new_disk_state: NewDisk
) -> None:
    """It was sent after its reads began, by a server that had voted in no newer term by then: of
    three voters that and the leader are a majority. Of five they are not.
    """
    server = new_server(settings=PRODUCTION)
    server.win_election()
    answer_all(server, 2, 3)
    server.receive(2, ReadIndex(9, 1))
    assert server.take_one(ReadIndexAnswer, to=2).read_index == 1
    assert {envelope.to for envelope in server.sent} == {2}, "nobody else is asked"

    one_of_five = new_server(durable=new_disk_state(members=5), settings=PRODUCTION)
    one_of_five.win_election()
    answer_all(one_of_five, 2, 3, 4, 5)
    one_of_five.receive(2, ReadIndex(9, 1))
    assert one_of_five.take(ReadIndexAnswer) == []
    answer_all(one_of_five, 2, 3)
    assert one_of_five.take_one(ReadIndexAnswer, to=2).read_index == 1


def test_a_follower_that_reads_is_told_at_once_what_is_committed(new_server: type[Server]) -> None:
    """It serves the read when it has applied the read index. It would wait for that until the next
    entries or the next heartbeat, if it was not told as soon as its log is known to reach it.
    """
    server = new_server(settings=PRODUCTION)
    server.win_election()
    answer_all(server, 2, 3)
    server.propose(b"x")
    answer_all(server, 3)
    entry = server.take_one(AppendEntries, to=2)
    server.receive(2, ReadIndex(9, 1))
    assert server.take_one(ReadIndexAnswer, to=2).read_index == 2
    assert server.sent == [], "nothing would be taken over yet"
    server.raft.receive(NodeId(2), matched(entry), server.now)
    assert server.raft.has_ready
    server.settle()
    assert server.take_one(AppendEntries, to=2).leader_commit == 2
    server.receive(2, ReadIndex(10, 1))
    server.take_one(ReadIndexAnswer, to=2)
    assert server.sent == [], "once is enough"
    server.raft.link_changed(NodeId(2), up=True, now=server.now)
    server.settle()
    assert server.take_one(AppendEntries, to=2).leader_commit == 2, "it may have been lost"


def test_entries_tell_a_follower_that_reads_what_is_committed(new_server: type[Server]) -> None:
    server = new_server(settings=PRODUCTION)
    server.win_election()
    answer_all(server, 2, 3)
    server.propose(b"x")
    answer_all(server, 2, 3)
    server.propose(b"y")
    server.take(AppendEntries)
    server.receive(3, ReadIndex(9, 1))
    assert server.take_one(ReadIndexAnswer, to=3).read_index == 2
    assert server.sent == []


def test_who_has_not_answered_this_leader_yet_confirms_nothing(new_server: type[Server]) -> None:
    """The request may be of a predecessor under the same id, which had other data."""
    server = new_server(settings=PRODUCTION)
    server.win_election()
    answer_all(server, 2)
    server.receive(3, ReadIndex(9, 1))
    assert server.take(ReadIndexAnswer) == []
    answer_all(server, 2)
    assert server.take_one(ReadIndexAnswer, to=3).read_index == 1


def test_a_stranger_confirms_nothing(new_server: type[Server]) -> None:
    """Only voters count: whoever leads now may have been elected without the others."""
    server = new_server(settings=PRODUCTION)
    server.win_election()
    answer_all(server, 2, 3)
    server.receive(4, ReadIndex(9, 1))
    assert server.take(ReadIndexAnswer) == []
    answer_all(server, 2)
    assert server.take_one(ReadIndexAnswer, to=4).read_index == 1


def test_reads_of_a_follower_share_a_request_but_not_one_already_sent(
    new_server: type[Server],
) -> None:
    """§6.4: "... for any number of accumulated read-only queries". A read that came after the
    request was sent may have to see what was committed since, so it needs another.
    """
    server = led_by(new_server(settings=PRODUCTION), 3)
    server.raft.read(1, server.now)
    server.raft.read(2, server.now)
    server.settle()
    first = server.take_one(ReadIndex, to=3)
    server.read(3)
    assert server.take(ReadIndex) == []
    server.receive(3, ReadIndexAnswer(first.id, 1, 10))
    assert server.reads == [ReadyRead(1, 10), ReadyRead(2, 10)]
    second = server.take_one(ReadIndex, to=3)
    server.receive(3, ReadIndexAnswer(first.id, 1, 10))
    server.receive(3, ReadIndexAnswer(second.id, 1, 12))
    assert server.reads[2:] == [ReadyRead(3, 12)]


def test_an_answer_to_a_request_that_was_given_up_counts_for_nothing(
    new_server: type[Server],
) -> None:
    """After the time-out the reads are asked for again under a new id, with those that have come
    since; the late answer knows nothing of them.
    """
    server = led_by(new_server(settings=PRODUCTION), 3)
    server.read(1)
    first = server.take_one(ReadIndex)
    server.read(2)
    server.elapse(RETRY)
    second = server.take_one(ReadIndex)
    assert second.id != first.id
    server.receive(3, ReadIndexAnswer(first.id, 1, 10))
    assert server.reads == []
    server.receive(3, ReadIndexAnswer(second.id, 1, 12))
    assert server.reads == [ReadyRead(1, 12), ReadyRead(2, 12)]


def test_who_does_not_lead_tells_no_read_index(new_server: type[Server]) -> None:
    """Every request has an answer; who asked tries again."""
    server = led_by(new_server(settings=PRODUCTION), 3)
    server.receive(2, ReadIndex(9, 1))
    assert server.take_one(ReadIndexAnswer, to=2).read_index is None
    server.read(1)
    question = server.take_one(ReadIndex, to=3)
    server.receive(3, ReadIndexAnswer(question.id, 1, None))
    assert server.reads == []
    server.elapse(RETRY)
    assert server.take_one(ReadIndex, to=3).id != question.id


def test_a_leader_that_is_deposed_gives_up_the_reads_of_others(new_server: type[Server]) -> None:
    """Their servers hear so at once and ask the new leader."""
    server = new_server(settings=PRODUCTION)
    server.win_election()
    server.receive(2, ReadIndex(9, 1))
    assert server.take(ReadIndexAnswer) == []
    server.receive(3, heartbeat(2))
    answer = server.take_one(ReadIndexAnswer, to=2)
    assert (answer.id, answer.read_index) == (9, None)


def test_reads_go_to_the_new_leader_at_once(new_server: type[Server]) -> None:
    """A request to a leader that has been replaced is not waited for."""
    server = led_by(new_server(settings=PRODUCTION), 3)
    server.read(1)
    server.take_one(ReadIndex, to=3)
    server.receive(2, heartbeat(2))
    question = server.take_one(ReadIndex, to=2)
    server.receive(2, ReadIndexAnswer(question.id, 2, 4))
    assert server.reads == [ReadyRead(1, 4)]


def test_reads_wait_for_a_leader(new_server: type[Server]) -> None:
    """A read that comes during an election waits; and a server that is elected serves its own."""
    server = new_server(settings=PRODUCTION)
    server.read(1)
    assert server.sent == []
    server.win_election()
    answer_all(server, 2, 3)
    assert server.reads == [ReadyRead(1, 1)]


def test_reads_without_a_leader_do_not_spin_the_driver(new_server: type[Server]) -> None:
    """A deadline lies in the future once `wake` has been called.

    The story: a follower's read was under way when its leader died. The timer to ask again stayed
    due, there was nobody to ask, and the driver was told to wake at once, over and over, until
    there was a leader: a busy loop in production, an endless one in virtual time.
    """
    server = led_by(new_server(settings=PRODUCTION), 3)
    server.read(1)
    for _ in range(50):
        deadline = server.raft.deadline()
        assert deadline is not None
        assert deadline > server.now
        server.now = deadline
        server.wake()
    assert server.raft.role_name == "pre-candidate"
    server.receive(2, heartbeat(2))
    assert len(server.take(ReadIndex, to=2)) == 1


# ---------------------------------------------------------------------- §10.2.2: pipelining


SMALL = Settings(max_appends_in_flight=3, max_append_bytes=3 * (ENTRY_HEADER_BYTES + 3))


def small_leader(new_server: type[Server]) -> Server:
    """A leader of three whose followers have all it has."""
    server = new_server(settings=SMALL)
    server.win_election()
    answer_all(server, 2, 3)
    return server


def test_entries_are_sent_without_waiting_for_answers(new_server: type[Server]) -> None:
    """§10.2.2: "the leader treats the next index for each follower optimistically; it updates the
    next index to send immediately after sending the previous entry".
    """
    server = small_leader(new_server)
    for _ in range(3):
        server.propose(b"x")
    requests = server.take(AppendEntries, to=2)
    assert [request.prev_log_index for request in requests] == [1, 2, 3]


def test_the_window_bounds_what_is_in_flight(new_server: type[Server]) -> None:
    """A limit of ours: `max_appends_in_flight`. What waits goes out as one batch (§10.2.2)."""
    server = small_leader(new_server)
    for _ in range(6):
        server.propose(b"x")
    in_flight = server.take(AppendEntries, to=2)
    assert len(in_flight) == 3
    server.receive(2, matched(in_flight[0]))
    assert [entry.index for entry in server.take_one(AppendEntries, to=2).entries] == [5, 6, 7]


def test_a_batch_has_a_size_but_one_entry_always_fits(new_server: type[Server]) -> None:
    """A limit of ours: `max_append_bytes`."""
    server = small_leader(new_server)
    for size in (4, 5, 100, 500, 1):
        server.raft.propose(b"x" * size, server.now)
    server.settle()
    sizes = [
        [len(entry.data) for entry in request.entries]
        for request in server.take(AppendEntries, to=2)
    ]
    assert sizes == [[4, 5], [100], [500]]


def test_heartbeats_bypass_a_full_window(new_server: type[Server]) -> None:
    """A follower whose disk is slow must not take its leader for dead."""
    server = small_leader(new_server)
    for _ in range(4):
        server.propose(b"x")
    assert len(server.take(AppendEntries, to=2)) == 3
    server.elapse(HEARTBEAT)
    request = server.take_one(AppendEntries, to=2)
    assert request.entries == ()
    assert request.prev_log_index == 1, "from where the logs are known to match"


def test_after_a_timeout_the_leader_goes_back_to_what_matched(new_server: type[Server]) -> None:
    """§10.2.2: "If an RPC times out, the leader must decrement its next index back to its
    original value to retry."
    """
    server = small_leader(new_server)
    for _ in range(3):
        server.propose(b"x")
    answered, *_ = server.take(AppendEntries, to=2)
    server.receive(2, matched(answered))
    server.elapse(RETRY)
    retries = [request for request in server.take(AppendEntries, to=2) if request.entries]
    assert [(request.prev_log_index, len(request.entries)) for request in retries] == [(2, 2)]


def test_requests_may_arrive_in_any_order(new_cluster: type[Cluster]) -> None:
    """§10.2.2: "The AppendEntries consistency check guarantees that pipelining is safe; in fact,
    the leader can safely send entries in any order."
    """
    cluster = new_cluster(3, settings=SMALL)
    cluster.elect(1)
    for _ in range(3):
        cluster.propose(1)
    cluster.network.reverse()
    cluster.deliver()
    assert cluster[1].raft.commit_index == 4
    assert [server.terms for server in cluster.up] == [[1] * 4] * 3


def test_a_late_answer_counts_although_its_request_was_given_up(new_server: type[Server]) -> None:
    """What a follower has made durable in this term stays so: progress does not depend on answers
    within the time-out, only speed does.
    """
    server = small_leader(new_server)
    server.propose(b"x")
    request = server.take_one(AppendEntries, to=2)
    server.elapse(RETRY)
    server.take(AppendEntries)
    server.receive(2, matched(request))
    assert server.raft.commit_index == 2


def test_a_late_refusal_changes_nothing(new_server: type[Server]) -> None:
    """It speaks of a follower's log as it was; the newer request will tell."""
    server = small_leader(new_server)
    server.propose(b"x")
    request = server.take_one(AppendEntries, to=2)
    server.elapse(RETRY)
    retry = server.take(AppendEntries, to=2)[-1]
    refusal = AppendEntriesAnswer(
        request.id, 1, success=False, match_index=0, conflict_index=1, conflict_term=0
    )
    server.receive(2, refusal)
    assert server.take(AppendEntries, to=2) == []
    server.receive(2, matched(retry))
    assert server.raft.commit_index == 2


def test_a_slow_follower_holds_nobody_up(new_cluster: type[Cluster]) -> None:
    """Each follower has a window of its own."""
    cluster = new_cluster(3, settings=SMALL)
    cluster.elect(1)
    for _ in range(20):
        cluster.propose(1)
        cluster.deliver(lambda packet: 3 not in (packet.sender, packet.to))
    assert cluster[1].raft.commit_index == 21
    assert sum(isinstance(packet.message, AppendEntries) for packet in cluster.network) == 3


# ---------------------------------------------------------------------- §10.2.1: the leader's disk


def test_the_leader_sends_before_its_own_write_is_done(new_server: type[Server]) -> None:
    """§10.2.1: "The leader can write to its disk in parallel with replicating to the followers
    and them writing to their disks".
    """
    server = new_server(settings=PRODUCTION, slow_disk=True)
    server.win_election()
    assert server.disk.pending is not None
    assert [entry.kind for entry in server.disk.pending.entries] == [EntryKind.NO_OP]
    assert len(server.take_one(AppendEntries, to=2).entries) == 1


def test_the_leader_counts_itself_only_when_it_is_durable(new_server: type[Server]) -> None:
    """§10.2.1: "the leader uses its own match index to indicate the latest entry to have been
    durably written to its disk".
    """
    server = new_server(settings=PRODUCTION, slow_disk=True)
    server.win_election()
    answer_all(server, 2)
    assert server.raft.commit_index == 0
    server.complete_write()
    assert server.raft.commit_index == 1


def test_followers_may_commit_before_the_leaders_own_write(new_server: type[Server]) -> None:
    """§10.2.1: "The leader may even commit an entry before it has been written to its own disk,
    if a majority of followers have written it to their disks; this is still safe."
    """
    server = new_server(settings=PRODUCTION, slow_disk=True)
    server.win_election()
    answer_all(server, 2, 3)
    assert server.raft.commit_index == 1
    assert server.raft.durable_index == 0
    assert [entry.kind for entry in server.committed] == [EntryKind.NO_OP]
    assert server.disk.state.entries == ()


def test_an_entry_that_was_committed_without_the_leader_survives_its_crash(
    new_cluster: type[Cluster],
) -> None:
    """§10.2.1: "this is still safe"."""
    cluster = new_cluster(3, settings=PRODUCTION, slow_disks=True)
    cluster.advance(TIMEOUT)
    cluster.time_out(1)
    for _ in range(6):
        cluster.deliver()
        for server in cluster.up:
            if server.me != 1 or not server.raft.is_leader:
                server.complete_writes()
        cluster.collect()
    committed = list(cluster[1].committed)
    assert committed
    assert cluster[1].disk.state.entries == ()
    cluster.crash(1)
    for server in cluster.up:
        server.slow_disk = False
    cluster.run(10 * TIMEOUT)
    assert cluster.leader.committed[: len(committed)] == committed


def test_what_arrives_during_a_write_goes_into_the_next_as_one(new_server: type[Server]) -> None:
    """§10.2.2, batching: at most one write is on its way."""
    server = new_server(settings=PRODUCTION, slow_disk=True)
    server.win_election()
    for _ in range(5):
        server.propose(b"x")
    first = server.disk.pending
    assert first is not None
    assert [entry.index for entry in first.entries] == [1]
    server.complete_write()
    assert server.disk.pending is not None
    assert [entry.index for entry in server.disk.pending.entries] == [2, 3, 4, 5, 6]
    assert server.disk.pending.number == first.number + 1


def test_an_old_write_does_not_vouch_for_entries_that_were_replaced(
    new_server: type[Server], new_disk_state: NewDisk
) -> None:
    """Writes are numbered, because index and term are not enough (etcd's ABA problem):

    1. The leader of term 1 sends entries 2 and 3; the write is on its way.
    2. The leader of term 2 replaces them; nothing of it is written yet.
    3. The first write completes. What it wrote is what the disk no longer should hold.
    """
    server = new_server(durable=new_disk_state(log=(1,)), slow_disk=True)
    old = tuple(Entry(index, 1, 0, EntryKind.DATA, b"old") for index in (2, 3))
    new = tuple(Entry(index, 2, 0, EntryKind.DATA, b"new") for index in (2, 3))
    server.receive(2, AppendEntries(1, 1, 1, 1, 0, old))
    server.receive(3, AppendEntries(2, 2, 1, 1, 0, new))
    server.complete_write()
    assert server.raft.durable_index == 1
    assert server.take(AppendEntriesAnswer) == []
    server.complete_write()
    assert server.raft.durable_index == 3
    assert server.take_one(AppendEntriesAnswer, to=3).match_index == 3
    assert server.disk.state.entries[1:] == new


def test_a_promise_of_an_earlier_term_is_never_sent(new_server: type[Server]) -> None:
    """What waits for a write when the term moves on is dropped, as if it were lost: the entries
    that it speaks of may be gone, and nobody counts it any more.
    """
    server = new_server(slow_disk=True)
    server.receive(2, RequestVote(1, 1, last_log_index=0, last_log_term=0))
    server.receive(3, RequestVote(2, 2, last_log_index=0, last_log_term=0))
    server.complete_writes()
    assert server.take(RequestVoteAnswer, to=2) == []
    assert server.take_one(RequestVoteAnswer, to=3).vote_granted


# ---------------------------------------------------------------------- our own: candidates


def test_votes_are_asked_for_when_the_own_vote_is_durable(new_server: type[Server]) -> None:
    """Else a candidate could win a term, crash, forget it, and win the same term again."""
    server = new_server(slow_disk=True)
    server.time_out()
    assert server.raft.role_name == "candidate"
    assert server.take(RequestVote) == []
    server.complete_write()
    assert (server.disk.state.term, server.disk.state.voted_for) == (1, 1)
    assert len(server.take(RequestVote)) == 2


def test_a_cluster_of_one_leads_when_its_vote_is_durable(
    new_server: type[Server], new_disk_state: NewDisk
) -> None:
    """Its own vote is a majority, but a vote counts only when it is durable."""
    server = new_server(durable=new_disk_state(members=1), settings=PRODUCTION, slow_disk=True)
    server.time_out()
    assert server.raft.role_name == "candidate"
    server.complete_write()
    assert server.raft.is_leader
    assert server.raft.commit_index == 0
    server.complete_write()
    assert server.raft.commit_index == 1


def test_an_older_write_does_not_make_a_newer_vote_count(
    new_server: type[Server], new_disk_state: NewDisk
) -> None:
    """The disk is slower than the election timeout, so the vote of term 1 becomes durable when
    the candidate is in term 2 already.
    """
    server = new_server(durable=new_disk_state(members=1), settings=PLAIN, slow_disk=True)
    server.time_out()
    server.time_out()
    assert server.raft.current_term == 2
    server.complete_write()
    assert server.raft.role_name == "candidate"
    server.complete_write()
    assert server.raft.is_leader


# ---------------------------------------------------------------------- our own: pauses


def test_a_leader_that_was_paused_steps_down_before_it_handles_anything(
    new_server: type[Server],
) -> None:
    """What queued up meanwhile belongs to a time that is over."""
    for attempt in range(3):
        server = new_server(settings=PRODUCTION)
        server.win_election()
        answer_all(server, 2, 3)
        server.propose(b"x")
        request = server.take_one(AppendEntries, to=2)
        server.now += TIMEOUT + 1
        match attempt:
            case 0:
                server.receive(2, matched(request))
                assert server.raft.commit_index == 1
            case 1:
                assert server.propose(b"y") is None
            case _:
                server.receive(2, ReadIndex(9, 1))
                assert server.take_one(ReadIndexAnswer, to=2).read_index is None
        assert server.raft.role_name == "follower"


def test_a_leader_that_was_busy_for_a_moment_goes_on(new_server: type[Server]) -> None:
    """A pause counts beyond the election timeout only: until then nobody else can be elected."""
    server = new_server(settings=PRODUCTION)
    server.win_election()
    answer_all(server, 2, 3)
    server.propose(b"x")
    request = server.take_one(AppendEntries, to=2)
    server.now += TIMEOUT
    server.receive(2, matched(request))
    assert server.raft.is_leader
    assert server.raft.commit_index == 2


def test_plain_raft_knows_no_pauses(new_server: type[Server]) -> None:
    """The rule is part of CheckQuorum."""
    server = new_server(settings=PLAIN)
    server.win_election()
    server.now += 10 * TIMEOUT
    assert server.propose(b"x") is not None


def test_a_follower_that_was_paused_listens_before_it_stands(new_server: type[Server]) -> None:
    """Its leader's heartbeats may be among what queued up."""
    server = led_by(new_server(settings=PRODUCTION), 3)
    server.now += 10 * TIMEOUT
    server.wake()
    assert server.raft.role_name == "follower"
    assert server.sent == []
    server.time_out()
    assert server.raft.role_name == "pre-candidate"


@pytest.mark.parametrize("role", ["pre-candidate", "candidate"])
def test_a_candidate_that_was_paused_acts_on_no_old_votes(
    role: str, new_server: type[Server]
) -> None:
    """It listens first, too.

    The story: a pre-candidate was stopped for minutes, then took in the pre-votes that had been
    given to it before, raised its term, and so deposed the leader that had long been elected.
    """
    server = new_server(settings=PRODUCTION)
    server.time_out()
    question = server.take_one(PreVote, to=2)
    grant: PreVoteAnswer | RequestVoteAnswer = PreVoteAnswer(question.id, 0, vote_granted=True)
    if role == "candidate":
        server.receive(2, grant)
        request = server.take_one(RequestVote, to=2)
        grant = RequestVoteAnswer(request.id, request.term, vote_granted=True)
    assert server.raft.role_name == role
    term = server.raft.current_term
    server.now += 10 * TIMEOUT
    server.receive(2, grant)
    assert (server.raft.role_name, server.raft.current_term) == ("follower", term)


# ---------------------------------------------------------------------- our own: links


def test_the_loss_of_the_link_to_the_leader_brings_the_election_forward(
    new_server: type[Server],
) -> None:
    """It is a hint that the leader died."""
    server = led_by(new_server(settings=PRODUCTION), 3)
    server.raft.link_changed(NodeId(3), up=False, now=server.now)
    server.elapse(HEARTBEAT)
    assert server.raft.role_name == "pre-candidate"


def test_who_lost_the_link_to_the_leader_keeps_nobody_from_standing(
    new_server: type[Server],
) -> None:
    """It hears the leader no more, so the first to stand gets its vote."""
    server = led_by(new_server(settings=PRODUCTION), 3)
    server.raft.link_changed(NodeId(3), up=False, now=server.now)
    server.receive(2, PreVote(1, 2, last_log_index=0, last_log_term=0))
    assert server.take_one(PreVoteAnswer, to=2).vote_granted


@pytest.mark.parametrize(("peer", "up"), [(2, False), (3, True)])
def test_no_other_news_of_a_link_does(
    peer: int,
    up: bool,  # noqa: FBT001  # a column of the table above
    new_server: type[Server],
) -> None:
    server = led_by(new_server(settings=PRODUCTION), 3)
    before = server.raft.deadline()
    server.raft.link_changed(NodeId(peer), up=up, now=server.now)
    assert server.raft.deadline() == before


def test_a_link_that_fails_alone_deposes_nobody(new_cluster: type[Cluster]) -> None:
    """The others still hear the leader and refuse their pre-votes."""
    cluster = new_cluster(3, settings=PRODUCTION)
    cluster.elect(1)
    cluster[2].raft.link_changed(NodeId(1), up=False, now=cluster[2].now)
    cluster.run(5 * TIMEOUT)
    assert cluster[1].raft.is_leader
    assert {server.raft.current_term for server in cluster.up} == {1}
    assert {server.raft.leader for server in cluster.up} == {1}


def test_when_the_leader_dies_and_all_links_fail_the_next_is_elected_soon(
    new_cluster: type[Cluster],
) -> None:
    """Well within the election timeout."""
    cluster = new_cluster(3, settings=PRODUCTION)
    cluster.elect(1)
    cluster.crash(1)
    for node in (2, 3):
        cluster[node].raft.link_changed(NodeId(1), up=False, now=cluster[node].now)
    cluster.run(TIMEOUT // 2)
    assert cluster.leader.me in (2, 3)


def test_a_new_link_to_a_follower_sends_again_at_once(new_server: type[Server]) -> None:
    """What was in flight on the old one is lost."""
    server = new_server(settings=PRODUCTION)
    server.win_election()
    answer_all(server, 2, 3)
    entry = server.propose(b"x")
    server.take(AppendEntries)
    server.raft.link_changed(NodeId(2), up=True, now=server.now)
    server.settle()
    assert server.take_one(AppendEntries, to=2).entries == (entry,)
    assert server.take(AppendEntries, to=3) == []


# ---------------------------------------------------------------------- our own: cluster time


def test_entries_are_stamped_with_the_time_since_the_election(
    new_server: type[Server], new_disk_state: NewDisk
) -> None:
    """Cluster time: the last stamp in the log plus the monotonic time since the election."""
    server = new_server(durable=new_disk_state(log=(1,), time_ms=7000), now=123_456_789)
    server.win_election()
    first = server.propose()
    server.now += 2_500
    second = server.propose()
    server.now += 40_000
    third = server.propose()
    assert first is not None
    assert second is not None
    assert third is not None
    assert [entry.time_ms for entry in (first, second, third)] == [7000, 7002, 7042]


def test_cluster_time_goes_on_from_a_snapshot(
    new_server: type[Server], new_disk_state: NewDisk
) -> None:
    """A snapshot holds the cluster time of the last entry that it covers."""
    server = new_server(durable=new_disk_state(snapshot=(10, 1), time_ms=7000))
    server.win_election()
    entry = server.propose()
    assert entry is not None
    assert entry.time_ms == 7000


def test_cluster_time_never_goes_back_and_stands_still_without_a_leader(
    new_cluster: type[Cluster],
) -> None:
    """Whatever the servers' own clocks show; here each begins at another time."""
    cluster = new_cluster(3, settings=PRODUCTION)
    for node in (1, 2, 3, 1):
        cluster.elect(node)
        cluster.propose(node)
        cluster.deliver()
        cluster.advance(HEARTBEAT)
        cluster.propose(node)
        cluster.deliver()
        cluster.crash(node)
        cluster.advance(3_600_000_000)
        cluster.restart(node)
    stamps = [entry.time_ms for entry in cluster[1].disk.state.entries]
    assert stamps == sorted(stamps)
    assert len(stamps) == 12
    assert stamps[-1] == 4 * HEARTBEAT // 1000


# ---------------------------------------------------------------------- our own: forwarding


def test_a_forwarded_proposal_is_handed_out_at_the_leader_and_answered(
    new_cluster: type[Cluster],
) -> None:
    """Servers never talk past Raft: a proposal of a follower's client goes to the leader."""
    cluster = new_cluster(3, settings=PRODUCTION)
    cluster.elect(1)
    cluster.run(HEARTBEAT)
    assert cluster[3].raft.forward(8, b"please", cluster[3].now)
    cluster[3].settle()
    cluster.collect()
    cluster.deliver()
    (proposal,) = cluster[1].forwarded
    assert (proposal.origin, proposal.data) == (3, b"please")
    cluster[1].raft.answer_forward(proposal, b"done")
    cluster[1].settle()
    cluster.collect()
    cluster.deliver()
    assert cluster[3].forward_outcomes == [ForwardAnswered(8, b"done")]


def test_who_knows_no_other_leader_forwards_nothing(new_server: type[Server]) -> None:
    server = new_server(settings=PRODUCTION)
    assert not server.raft.forward(8, b"please", server.now)
    server.win_election()
    assert not server.raft.forward(8, b"please", server.now)
    server.settle()
    assert server.take(Forward) == []


def test_with_forwarding_off_the_leader_is_asked_for_nothing(new_server: type[Server]) -> None:
    server = led_by(new_server(settings=Settings(forwarding=False)), 3)
    assert not server.raft.forward(8, b"please", server.now)
    server.raft.read(5, server.now)
    server.settle()
    assert server.take(Forward) == []
    assert server.take(ReadIndex) == []


def test_with_forwarding_off_a_read_waits_until_the_server_leads_itself(
    new_server: type[Server],
) -> None:
    server = new_server(settings=Settings(forwarding=False))
    server.raft.read(5, server.now)
    server.win_election()
    answer_all(server, 2, 3)
    answer_all(server, 2, 3)
    assert server.reads == [ReadyRead(5, 1)]


def test_who_does_not_lead_refuses_what_is_forwarded(new_server: type[Server]) -> None:
    """And does nothing with it."""
    server = led_by(new_server(settings=PRODUCTION), 3)
    server.receive(2, Forward(9, 1, b"please"))
    answer = server.take_one(ForwardAnswer, to=2)
    assert (answer.id, answer.data) == (9, None)
    assert server.forwarded == []


def forwarding(new_server: type[Server]) -> tuple[Server, Forward]:
    """A follower of server 3 that has forwarded something under the ticket 8."""
    server = led_by(new_server(settings=PRODUCTION), 3)
    assert server.raft.forward(8, b"please", server.now)
    server.settle()
    return server, server.take_one(Forward, to=3)


def test_a_refusal_tells_that_nothing_was_done(new_server: type[Server]) -> None:
    server, request = forwarding(new_server)
    server.receive(3, ForwardAnswer(request.id, 1, None))
    assert server.forward_outcomes == [ForwardRefused(8)]


def test_a_forwarded_proposal_counts_as_lost_after_its_time(new_server: type[Server]) -> None:
    """Each has one outcome; an answer that comes later has none."""
    server, request = forwarding(new_server)
    while server.now + HEARTBEAT < PRODUCTION.forward_timeout_us:
        server.elapse(HEARTBEAT)
        server.receive(3, heartbeat(1))
    assert server.forward_outcomes == []
    server.elapse(HEARTBEAT)
    assert server.forward_outcomes == [ForwardLost(8)]
    server.receive(3, ForwardAnswer(request.id, 1, b"done"))
    assert server.forward_outcomes == [ForwardLost(8)]


def test_a_forwarded_proposal_counts_as_lost_with_its_leader(new_server: type[Server]) -> None:
    server, _ = forwarding(new_server)
    server.receive(2, heartbeat(2))
    assert server.forward_outcomes == [ForwardLost(8)]


@pytest.mark.parametrize("up", [False, True])
def test_a_forwarded_proposal_counts_as_lost_with_its_link(
    up: bool,  # noqa: FBT001  # whether there is a new link already
    new_server: type[Server],
) -> None:
    server, _ = forwarding(new_server)
    server.raft.link_changed(NodeId(2), up=up, now=server.now)
    server.settle()
    assert server.forward_outcomes == []
    server.raft.link_changed(NodeId(3), up=up, now=server.now)
    server.settle()
    assert server.forward_outcomes == [ForwardLost(8)]


def test_over_a_new_link_the_leader_is_asked_for_reads_again_at_once(
    new_server: type[Server],
) -> None:
    """What answers the old request no longer counts."""
    server = led_by(new_server(settings=PRODUCTION), 3)
    server.raft.read(5, server.now)
    server.settle()
    lost = server.take_one(ReadIndex, to=3)
    server.raft.link_changed(NodeId(3), up=True, now=server.now)
    server.settle()
    asked = server.take_one(ReadIndex, to=3)
    server.receive(3, ReadIndexAnswer(lost.id, 1, 0))
    assert server.reads == []
    server.receive(3, ReadIndexAnswer(asked.id, 1, 0))
    assert server.reads == [ReadyRead(5, 0)]


# ---------------------------------------------------------------------- logs after a snapshot


def test_requests_that_begin_within_a_snapshot_are_taken_in_after_it(
    new_server: type[Server], new_disk_state: NewDisk
) -> None:
    """What a snapshot covers is committed, so it matches; the rest is compared as ever (§7)."""
    server = new_server(durable=new_disk_state(snapshot=(10, 1), log=(1, 2)))
    entries = tuple(
        Entry(index, term, 0, EntryKind.DATA, b"%d" % index)
        for index, term in [(9, 1), (10, 1), (11, 1), (12, 3), (13, 3)]
    )
    server.receive(2, AppendEntries(1, 3, 8, 1, 13, entries))
    assert server.take_one(AppendEntriesAnswer).match_index == 13
    assert server.terms == [1, 3, 3]
    assert [entry.index for entry in server.committed] == [11, 12, 13]


def test_a_heartbeat_from_within_a_snapshot_is_answered(
    new_server: type[Server], new_disk_state: NewDisk
) -> None:
    server = new_server(durable=new_disk_state(snapshot=(10, 1), log=(1,)))
    server.receive(2, heartbeat(1))
    answer = server.take_one(AppendEntriesAnswer)
    assert (answer.success, answer.match_index) == (True, 0)
    assert server.raft.commit_index == 10


def test_a_leader_without_a_snapshot_to_send_still_leads_a_follower_that_needs_one(
    new_cluster: type[Cluster], new_disk_state: NewDisk
) -> None:
    """It cannot send what it no longer has; but its heartbeats are answered, and the majority
    goes on.
    """
    compacted = new_disk_state(snapshot=(10, 1), log=(1,))
    disks = {
        1: msgspec.structs.replace(compacted, snapshot_size=0),
        2: new_disk_state(log=(1,) * 11),
        3: new_disk_state(log=(1,) * 4),
    }
    cluster = new_cluster(3, settings=PRODUCTION, disks=disks)
    cluster.elect(1)
    cluster.run(10 * TIMEOUT)
    assert cluster[1].raft.is_leader
    assert cluster[1].raft.commit_index == 12
    assert cluster[2].raft.commit_index == 12
    assert cluster[3].raft.last_index == 4
    assert cluster[3].raft.leader == 1


def test_one_follower_is_enough_when_another_gets_nothing(new_cluster: type[Cluster]) -> None:
    """A half-open link: server 3 hears nothing and its questions change nothing."""
    cluster = new_cluster(3, settings=PRODUCTION)
    cluster.elect(1)

    def to_three(packet: Packet) -> bool:
        return packet.to == 3

    cluster.cut |= {(1, 3), (2, 3)}
    for _ in range(30):
        cluster.drop(to_three)
        cluster.run(HEARTBEAT)
    assert cluster[1].raft.is_leader
    assert cluster[1].raft.current_term == 1


def test_a_committed_entry_can_be_looked_up(
    new_server: type[Server], new_disk_state: NewDisk
) -> None:
    """Also one behind a snapshot; what is not committed may still change and is not shown."""
    server = new_server(durable=new_disk_state(snapshot=(10, 1), log=(1, 1)))
    server.receive(2, AppendEntries(1, 1, 12, 1, 11, ()))
    assert server.raft.committed_entry(11).data == b"11 of term 1"
    with pytest.raises(AssertionError):
        server.raft.committed_entry(12)
