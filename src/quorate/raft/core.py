"""One Raft server: Figure 2 of the paper as a state machine without I/O.

Messages, time and completed writes go in (`receive`, `wake`, `persisted`, `propose`, `read`,
`compact`); what has become known and what is to be done comes out (`take_events`, `take_ready`).
Nothing here reads a clock, sends or writes. Times are integer microseconds of any monotonic
clock.

Where this differs from the paper, and why: docs/raft.md.
"""

from quorate.raft.commitment import advanced_commit_index
from quorate.raft.configuration import ChangeRefusal, Configuration, NodeId
from quorate.raft.deadlines import earliest
from quorate.raft.entry import Entry, EntryKind
from quorate.raft.leader import Leader
from quorate.raft.messages import (
    AppendEntries,
    AppendEntriesAnswer,
    Forward,
    ForwardAnswer,
    InstallSnapshot,
    InstallSnapshotAnswer,
    PeerMessage,
    PreVote,
    PreVoteAnswer,
    ReadIndex,
    ReadIndexAnswer,
    RequestVote,
    RequestVoteAnswer,
    SnapshotNeeded,
    TimeoutNow,
)
from quorate.raft.reads import LocalRead, Read, RemoteRead
from quorate.raft.ready import Events, ForwardedProposal, Ready, ReadyRead, ReceivedChunk
from quorate.raft.roles import Candidate, Follower, PreCandidate
from quorate.raft.server_state import ServerState
from quorate.raft.snapshot import SnapshotMetadata
from quorate.raft.votes import is_vote_for


class Raft(ServerState):
    """One server of the cluster: what it does. What it is made from and knows: `ServerState`."""

    # ------------------------------------------------------------------ what goes in

    def propose(self, data: bytes, now: int) -> Entry | None:
        """Appends a new entry, if this server is the leader.

        Returns:
            The entry. It is committed if and when an entry of this index *and term* comes as
            committed; if one of the same index and another term does, it never will be. None
            if this server is not the leader, or is handing its leadership over.
        """
        self._observe(now)
        if not isinstance(self._role, Leader) or self._role.transfer is not None:
            return None
        return self._role.append(EntryKind.DATA, now, data=data)

    def change_configuration(self, configuration: Configuration, now: int) -> Entry | ChangeRefusal:
        """Makes this the configuration of the cluster, if this server leads.

        Args:
            configuration: one that `may_follow` the present one.
            now: the present time.

        Returns:
            The entry, as from `propose`: from now on the configuration is in force on this server,
            and it is committed if and when the entry is. Or why there is none.
        """
        self._observe(now)
        assert configuration.may_follow(self.configuration), "one server at a time (§4.1)"
        refusal = self._change_refusal()
        if refusal is not None:
            return refusal
        assert isinstance(self._role, Leader)
        return self._role.change(configuration, now)

    def transfer_leadership(self, to: NodeId, now: int) -> bool:
        """Hands leadership over to another voter (dissertation §3.10).

        From now on nothing is proposed. When the other server leads, this one does not; if it does
        not within an election timeout, this one goes on leading.

        Returns:
            False if this server does not lead, hands over already, or `to` is no other voter.
        """
        self._observe(now)
        if not isinstance(self._role, Leader) or self._role.transfer is not None:
            return False
        if to == self.me or not self.configuration.is_voter(to):
            return False
        self._role.begin_transfer(to, now)
        return True

    def successor(self, now: int) -> NodeId | None:
        """Whom this leader would best hand its leadership over to; None if it knows nobody."""
        self._observe(now)
        return self._role.successor(now) if isinstance(self._role, Leader) else None

    def read(self, ticket: int, now: int) -> None:
        """Asks from which index on a read that begins now is linearizable (§6.4).

        The answer comes as a `ReadyRead` with this ticket; it waits, through elections if need
        be, until some leader can tell: with forwarding off only this server itself.
        """
        self._observe(now)
        if isinstance(self._role, Leader):
            self._role.reads.add(LocalRead(ticket))
        else:
            self._remote.add_read(ticket)

    def forward(self, ticket: int, data: bytes, now: int) -> bool:
        """Passes proposals on to the leader.

        Returns:
            False if this server knows no other leader, or forwarding is off: nothing was sent.
            Else a `ForwardOutcome` with this ticket will come.
        """
        self._observe(now)
        leader = self.leader
        if not self._settings.forwarding or leader is None or leader == self.me:
            return False
        self._remote.forward(ticket, leader, self.current_term, data, now)
        return True

    def answer_forward(self, proposal: ForwardedProposal, data: bytes | None) -> None:
        """Answers what another server had forwarded to this one.

        Args:
            proposal: what was forwarded.
            data: the answer, opaque; None says that it was not and never will be executed.
        """
        self._outbox.send(
            proposal.origin, ForwardAnswer(proposal.request_id, self.current_term, data)
        )

    def persisted(self, number: int, now: int) -> None:
        """The write of this number is on the disk, all of it and all before it."""
        self._observe(now)
        self._persistence.complete(number)
        self._outbox.release()
        if isinstance(self._role, Leader):
            self._advance_commit_index(self._role)
        elif isinstance(self._role, Candidate) and self._persistence.is_kept(
            self._persistence.promise_of_vote()
        ):
            self._count_vote(self._role, self.me)

    def compact(self, snapshot: SnapshotMetadata, size: int, now: int) -> None:
        """A snapshot of this server's own state is on its disk: the log can do without.

        Only this makes entries go away, and only those that the snapshot covers (Raft §7). One
        that is not newer than the present one changes nothing, unless that is damaged.

        Args:
            snapshot: from `snapshot_metadata`.
            size: its bytes, as `InstallSnapshot` sends them.
            now: the present time.
        """
        self._observe(now)
        assert size > 0
        if snapshot.index < self.snapshot.index or (
            snapshot.index == self.snapshot.index and self.snapshot_size
        ):
            return
        assert snapshot.index <= self._delivery.index, "a snapshot is of what was applied"
        assert snapshot.term == self._log.term_at(snapshot.index)
        self._persistence.compact(snapshot, size)
        self._outbox.release()

    def snapshot_damaged(self, index: int, now: int) -> None:
        """A snapshot of which a piece was to be sent is not on the disk any more as it was written.

        Args:
            index: of the last entry that it covers.
            now: the present time.
        """
        self._observe(now)
        if index == self.snapshot.index:
            self._persistence.lose_snapshot()
        if isinstance(self._role, Leader):
            self._role.give_up_transfers_of(index)

    def chunk_written(self, received: ReceivedChunk, next_offset: int, now: int) -> None:
        """A piece of a leader's snapshot was written; each `ReceivedChunk` needs this once.

        Args:
            received: the piece.
            next_offset: everything before it is written: `offset + len(data)`. The snapshot's
                size: it is whole, checked, and durable as this server's newest, or there is one
                that covers as much. 0 if it is of no use, or the disk has no room: the leader
                begins again. A piece at offset 0 always begins a new file.
            now: the present time.
        """
        self._observe(now)
        request = received.request
        request_id = self._incoming.written(received, next_offset)
        if next_offset == request.size:
            self._take_over(request.snapshot, request.size)
        if request.term == self.current_term:
            self._answer_chunk(received.sender, request, request_id, next_offset)

    def snapshot_restored(self, index: int, now: int) -> None:
        """The layer above has replaced its state by a snapshot that `take_events` gave out."""
        self._observe(now)
        self._delivery.restored(index)

    def link_changed(self, peer: NodeId, *, up: bool, now: int) -> None:
        """The connection to a server was made or was lost. Only a hint: safety never needs it.

        What was in flight on it is sent again; and the loss of the link to the leader is taken
        as a sign that it may have died, so that an election can begin early.
        """
        self._observe(now)
        if peer == self.leader:
            self._remote.lose_request_for_reads()
            self._events.forward_outcomes.extend(self._remote.lose_forwards())
        role = self._role
        if isinstance(role, Leader) and peer in role.progress:
            role.link_changed(peer, up=up)
        elif isinstance(role, Follower) and role.leader == peer and not up:
            role.heard_leader_at = None
            early = self._rng.randrange(self._settings.heartbeat_interval_us)
            role.election_deadline = min(role.election_deadline, now + early)

    def deadline(self) -> int | None:
        """When `wake` should be called at the latest.

        At once, while there are committed entries that `take_events` has not given out yet and
        could.
        """
        if self._delivery.is_due(self.commit_index):
            return self._now
        if isinstance(self._role, Leader):
            return self._role.deadline()
        # Without a leader there is nobody to ask again: that timer would stay due for ever.
        retry = None if self.leader is None else self._remote.deadline()
        return earliest(self._role.election_deadline, retry)

    def wake(self, now: int) -> None:
        """Lets timers that are due take effect."""
        # Contact is judged as of the time when this call was due. If the driver is late, answers
        # may be waiting that it has not read yet.
        due = self.deadline()
        judged_at = now if due is None else min(now, due)
        self._observe(now)
        if isinstance(self._role, Leader):
            self._role.expire_transfer(now)
            if self._settings.check_quorum and not self._role.has_contact(judged_at):
                self._become_follower()
        elif now >= self._role.election_deadline:
            self._stand_for_election()
        if self._remote.has_forwards:
            self._events.forward_outcomes.extend(self._remote.expire_forwards(self.leader, now))

    def receive(self, sender: NodeId, message: PeerMessage, now: int) -> None:
        """Takes in a message of another server.

        Also of one that is no member as far as this server knows: "servers process incoming RPC
        requests without consulting their current configurations" (dissertation §4.2.2), since one
        that has been added may be needed to commit the very entry that says so.
        """
        self._observe(now)
        if isinstance(message, PreVote):
            self._votes.answer_pre_vote(sender, message, hears_a_leader=self._hears_a_leader())
            return
        if isinstance(message, RequestVote) and self._disregards(message):
            self._votes.disregard(sender, message)
            return
        # "If RPC request or response contains term T > currentTerm: set currentTerm = T, convert
        # to follower" (Figure 2, all servers).
        if message.term > self.current_term:
            self._persistence.adopt_term(message.term)
            self._become_follower()
        match message:
            case AppendEntries():
                self._receive_append_entries(sender, message)
            case InstallSnapshot():
                self._receive_install_snapshot(sender, message)
            case AppendEntriesAnswer() | InstallSnapshotAnswer() | SnapshotNeeded():
                self._receive_followers_answer(sender, message)
            case RequestVote():
                self._receive_request_vote(sender, message)
            case TimeoutNow():
                self._receive_timeout_now(message)
            case RequestVoteAnswer() | PreVoteAnswer():
                self._receive_vote_answer(sender, message)
            case ReadIndex():
                self._receive_read_index(sender, message)
            case Forward():
                self._receive_forward(sender, message)
            case ReadIndexAnswer() | ForwardAnswer():
                self._receive_leaders_answer(message)

    # ------------------------------------------------------------------ what comes out

    @property
    def has_ready(self) -> bool:
        """Whether `take_events` or `take_ready` may give something out, apart from what time does.

        Most of what a leader receives makes nothing due: an answer that others had made needless.
        Whoever looks here first saves himself the rest.
        """
        role = self._role
        return (
            self._outbox.has_messages
            or self._persistence.has_write
            or self._delivery.has_something(self.commit_index)
            or self._events.is_something
            or self._incoming.has_received
            or (role.has_to_send if isinstance(role, Leader) else self._remote.has_reads)
        )

    @property
    def has_urgent(self) -> bool:
        """Whether there is something to be written or sent, apart from what time does."""
        return self._persistence.has_write or self._outbox.has_messages

    def take_events(self, now: int) -> Events:
        """What has become known for the layer above; see `Events`."""
        self._observe(now)
        if isinstance(self._role, Leader):
            self._promote_learner(self._role)
            if self._role.reads.wait:
                self._serve_reads(self._role)
            self._events.snapshot_wanted = self._role.take_wanted_index(self._delivery.index)
        if self._remote.has_forwards:
            self._events.forward_outcomes.extend(self._remote.expire_forwards(self.leader, now))
        events, self._events = self._events, Events()
        if self.is_transferring:  # they wait for whoever leads then
            self._events.forwarded, events.forwarded = events.forwarded, []
        events.snapshot = self._delivery.take_snapshot()
        events.committed = self._delivery.take_entries(self.commit_index)
        return events

    def take_ready(self, now: int) -> Ready:
        """What the driver has to do now; see `Ready`."""
        self._observe(now)
        self._log.free_dropped()
        if isinstance(self._role, Leader):
            self._role.send_pending(self.commit_index, now)
        elif self._settings.forwarding and self.leader is not None:
            self._remote.send_reads(self.leader, self.current_term, now)
        return Ready(
            messages=self._outbox.take(),
            write=self._persistence.take_write(),
            chunks=self._outbox.take_chunks(),
            received=self._incoming.take_received(),
        )

    # ------------------------------------------------------------------ elections (§5.2)

    def _stand_for_election(self) -> None:
        if not self._may_lead():
            self._role = Follower(election_deadline=self._new_election_deadline())
            return
        if not self._settings.pre_vote:
            self._campaign()
            return
        role = PreCandidate(election_deadline=self._new_election_deadline())
        self._role = role
        self._votes.ask_for_pre_votes(role, self._peers())
        self._count_vote(role, self.me)

    def _campaign(self, *, is_transfer: bool = False) -> None:
        # "On conversion to candidate, start election: increment currentTerm, vote for self,
        # reset election timer, send RequestVote RPCs to all other servers" (Figure 2).
        self._persistence.adopt_term(self.current_term + 1)
        self._persistence.vote(self.me)
        role = Candidate(election_deadline=self._new_election_deadline(), is_transfer=is_transfer)
        self._role = role
        self._votes.ask_for_votes(role, self._peers())

    def _count_vote(self, role: PreCandidate | Candidate, voter: NodeId) -> None:
        role.votes.add(voter)
        if not self.configuration.is_majority(role.votes):
            return
        if isinstance(role, PreCandidate):
            self._campaign()
        else:
            self._become_leader()

    def _become_leader(self) -> None:
        leader = Leader(
            self.me,
            settings=self._settings,
            persistence=self._persistence,
            outbox=self._outbox,
            now=self._now,
        )
        self._role = leader
        if self._settings.no_op:
            leader.append(EntryKind.NO_OP, self._now)
        for ticket in self._remote.take_reads():
            leader.reads.add(LocalRead(ticket))

    def _become_follower(self, leader: NodeId | None = None) -> None:
        abandoned: list[Read] = []
        if isinstance(self._role, Leader):
            abandoned = self._role.reads.abandon()
            election_deadline = self._new_election_deadline()
        else:
            # A newer term alone does not reset the election timer (Figure 2, followers): else a
            # candidate that nobody may vote for could keep all others from standing.
            election_deadline = self._role.election_deadline
        self._role = Follower(election_deadline=election_deadline, leader=leader)
        for read in abandoned:
            match read:
                case LocalRead(ticket):
                    self._remote.add_read(ticket)
                case RemoteRead(origin, request_id):
                    answer = ReadIndexAnswer(request_id, self.current_term, None)
                    self._outbox.send(origin, answer)

    def _receive_request_vote(self, sender: NodeId, request: RequestVote) -> None:
        granted = self._votes.grants(sender, request)
        if granted:
            if not isinstance(self._role, Follower):  # a pre-candidate gives way
                self._become_follower()
            assert isinstance(self._role, Follower)
            self._role.election_deadline = self._new_election_deadline()
        self._votes.answer(sender, request, granted=granted)

    def _receive_vote_answer(
        self, sender: NodeId, answer: RequestVoteAnswer | PreVoteAnswer
    ) -> None:
        role = self._role
        if isinstance(role, PreCandidate | Candidate) and is_vote_for(role, sender, answer):
            self._count_vote(role, sender)

    def _disregards(self, request: RequestVote) -> bool:
        # "if a server receives a RequestVote request within the minimum election timeout of
        # hearing from a current leader, it does not update its term or grant its vote", unless
        # that leader is handing over (§4.2.3).
        if request.is_transfer or not self._settings.check_quorum:
            return False
        return self._hears_a_leader()

    def _receive_timeout_now(self, request: TimeoutNow) -> None:
        if request.term != self.current_term or self.is_leader or not self._may_lead():
            return
        if (request.term, request.id) < self._newest_request:
            return  # it is late: the leader has gone on leading since
        self._campaign(is_transfer=True)

    # ------------------------------------------------------------------ replication (§5.3)

    def _receive_append_entries(self, sender: NodeId, request: AppendEntries) -> None:
        if request.term < self.current_term:  # "1. Reply false if term < currentTerm"
            self._acceptance.refuse(sender, request, conflict_index=0, conflict_term=0)
            return
        self._follow(sender, request.id)
        if self._snapshot_is_lost:
            self._ask_for_snapshot(sender, request.id)
            return
        match_index = self._acceptance.accept(sender, request, commit_index=self.commit_index)
        if match_index is not None:
            # "5. If leaderCommit > commitIndex, set commitIndex = min(leaderCommit, index of last
            # new entry)".
            self.commit_index = max(self.commit_index, min(request.leader_commit, match_index))

    def _follow(self, leader: NodeId, request_id: int) -> None:
        assert not isinstance(self._role, Leader), "at most one leader in a term (§5.2)"
        if not isinstance(self._role, Follower) or self._role.leader != leader:
            self._become_follower(leader)
        assert isinstance(self._role, Follower)
        self._newest_request = max(self._newest_request, (self.current_term, request_id))
        self._role.heard_leader_at = self._now
        self._role.election_deadline = self._new_election_deadline()

    def _receive_followers_answer(
        self, sender: NodeId, answer: AppendEntriesAnswer | InstallSnapshotAnswer | SnapshotNeeded
    ) -> None:
        if not isinstance(self._role, Leader) or answer.term != self.current_term:
            return
        match answer:
            case AppendEntriesAnswer():
                self._role.receive_answer(sender, answer, self.commit_index, self._now)
                self._advance_commit_index(self._role)
            case InstallSnapshotAnswer():
                self._role.receive_snapshot_answer(sender, answer, self.commit_index, self._now)
            case SnapshotNeeded():
                self._role.receive_snapshot_needed(sender, answer, self._now)

    def _advance_commit_index(self, leader: Leader) -> None:
        commit_index = advanced_commit_index(
            commit_index=self.commit_index,
            current_term=self.current_term,
            log=self._log,
            configuration=self.configuration,
            match_index_of=leader.match_index_of,
        )
        if commit_index > self.commit_index:
            self.commit_index = commit_index
            if self.configuration_is_committed and not self._votes_in(self.configuration):
                self._step_down_for_good(leader)

    # ------------------------------------------------------------------ membership (§4)

    def _change_refusal(self) -> ChangeRefusal | None:
        if not isinstance(self._role, Leader):
            return ChangeRefusal.NOT_LEADER
        if not self.has_committed_in_term:
            # Else two leaders could each make a change that the other does not know of, and have
            # majorities without a server in common (Ongaro 2015, "bug in single-server
            # membership changes").
            return ChangeRefusal.TERM_NOT_COMMITTED
        if not self.configuration_is_committed:
            return ChangeRefusal.CHANGE_UNDER_WAY
        if self._role.transfer is not None:
            return ChangeRefusal.TRANSFER_UNDER_WAY
        return None

    def _promote_learner(self, leader: Leader) -> None:
        node = leader.learner_to_promote(self._now)
        if node is not None and self._change_refusal() is None:
            leader.change(self.configuration.with_voter(node), self._now)

    def _step_down_for_good(self, leader: Leader) -> None:
        # "the leader steps down once the Cnew entry is committed" (§4.2.2), and so that nobody has
        # to wait for an election timeout, another one stands at once.
        successor = leader.successor(self._now)
        if successor is not None:
            leader.send_timeout_now(successor)
        self._become_follower()

    # ------------------------------------------------------------------ snapshots (§7)

    def _receive_install_snapshot(self, sender: NodeId, request: InstallSnapshot) -> None:
        if request.term < self.current_term:  # "1. Reply immediately if term < currentTerm"
            self._answer_chunk(sender, request, request.id, next_offset=0)
            return
        self._follow(sender, request.id)
        index = request.snapshot.index
        if self._snapshot_is_lost and index < self.snapshot.index:
            self._ask_for_snapshot(sender, request.id)
            return
        next_offset: int | None = request.size
        if self._snapshot_is_lost or index > self.commit_index:
            next_offset = self._incoming.receive(sender, request)
        if next_offset is not None:
            self._answer_chunk(sender, request, request.id, next_offset)

    def _answer_chunk(
        self, to: NodeId, request: InstallSnapshot, request_id: int, next_offset: int
    ) -> None:
        # What is known to be committed may still be on its way to this server's disk.
        is_whole = request.term == self.current_term and next_offset == request.size
        promise = self._persistence.promise_of_entries(request.snapshot.index if is_whole else 0)
        answer = InstallSnapshotAnswer(request_id, self.current_term, next_offset)
        self._outbox.send_after(promise, to, answer)

    def _ask_for_snapshot(self, leader: NodeId, request_id: int) -> None:
        answer = SnapshotNeeded(request_id, self.current_term, self.snapshot.index)
        self._outbox.send_after(self._persistence.promise_of_vote(), leader, answer)

    def _take_over(self, snapshot: SnapshotMetadata, size: int) -> None:
        """A leader's snapshot is on this server's disk, as its newest.

        Whoever leads now: what a snapshot covers is committed and stays so. One that entries, or
        a snapshot taken here, have overtaken meanwhile is of no use.
        """
        if snapshot.index <= self._delivery.index and not self._snapshot_is_lost:
            return
        # "8. Reset state machine using snapshot contents (and load snapshot's cluster
        # configuration)" (Figure 13).
        self._snapshot_is_lost = False
        self._delivery.install(snapshot)
        self.commit_index = max(self.commit_index, snapshot.index)
        self._persistence.compact(snapshot, size)
        self._outbox.release()

    # ------------------------------------------------------------------ reads and forwarding

    def _receive_read_index(self, sender: NodeId, request: ReadIndex) -> None:
        if not isinstance(self._role, Leader):
            self._outbox.send(sender, ReadIndexAnswer(request.id, self.current_term, None))
            return
        read = RemoteRead(sender, request.id)
        if self.has_committed_in_term and self._role.is_confirmed_by_request_of(sender):
            self._serve_read(self._role, read, self.commit_index)
        else:
            self._role.reads.add(read)

    def _serve_reads(self, leader: Leader) -> None:
        for read in leader.take_confirmed_reads():
            self._serve_read(leader, read, leader.reads.read_index)
        if self.has_committed_in_term:
            leader.begin_read_round(self.commit_index, self._now)
        # A leader without followers is a majority by itself: its round is over at once.
        for read in leader.take_confirmed_reads():
            self._serve_read(leader, read, leader.reads.read_index)

    def _serve_read(self, leader: Leader, read: Read, read_index: int) -> None:
        match read:
            case LocalRead(ticket):
                self._events.reads.append(ReadyRead(ticket, read_index))
            case RemoteRead(origin, request_id):
                answer = ReadIndexAnswer(request_id, self.current_term, read_index)
                self._outbox.send(origin, answer)
                leader.expects_read(origin, read_index)

    def _receive_forward(self, sender: NodeId, request: Forward) -> None:
        if isinstance(self._role, Leader):
            self._events.forwarded.append(ForwardedProposal(sender, request.id, request.data))
        else:
            self._outbox.send(sender, ForwardAnswer(request.id, self.current_term, None))

    def _receive_leaders_answer(self, answer: ReadIndexAnswer | ForwardAnswer) -> None:
        match answer:
            case ReadIndexAnswer():
                self._events.reads.extend(self._remote.read_answered(answer))
            case ForwardAnswer():
                self._events.forward_outcomes.extend(self._remote.forward_answered(answer))

    # ------------------------------------------------------------------ time

    def _observe(self, now: int) -> None:
        """Notes the time, and a pause: then nothing that was believed before it may be acted on.

        A leader that did nothing for an election timeout, although heartbeats were due, was
        stopped and has probably been replaced; it steps down before it handles anything that
        queued up meanwhile. A server that is far beyond its election deadline gives the leader
        a new chance, whose messages may be among what queued up; a candidate gives up, for the
        votes among it are those of a time that is over.
        """
        assert now >= self._now, "the clock is monotonic"
        timeout = self._settings.election_timeout_us
        silent_for = now - self._now
        self._now = now
        if not isinstance(self._role, Leader):
            if now - self._role.election_deadline > timeout:
                if not isinstance(self._role, Follower):
                    self._become_follower()
                self._role.election_deadline = self._new_election_deadline()
        elif silent_for > timeout and self._settings.check_quorum and self._peers():
            self._become_follower()
