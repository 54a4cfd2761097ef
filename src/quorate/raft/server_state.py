"""What one Raft server knows, and what it is by that: the state of Figure 2, and all questions.

Nothing here changes what it is: that `core` does. Times are integer microseconds of any monotonic
clock.
"""

import random

from quorate.raft.acceptance import Acceptance
from quorate.raft.configuration import Configuration, Membership, NodeId
from quorate.raft.delivery import Delivery
from quorate.raft.entry import Entry
from quorate.raft.incoming import IncomingSnapshot
from quorate.raft.leader import Leader
from quorate.raft.outbox import Outbox
from quorate.raft.persistence import Persistence
from quorate.raft.ready import DurableState, Events, FollowerState
from quorate.raft.remote import RemoteCalls
from quorate.raft.roles import Candidate, Follower, PreCandidate
from quorate.raft.settings import Settings
from quorate.raft.snapshot import LogStart, SnapshotMetadata
from quorate.raft.snapshot_transfer import TransferProgress
from quorate.raft.votes import Votes

Role = Follower | PreCandidate | Candidate | Leader


class ServerState:
    """The state of one server, and questions about it.

    Args:
        me: this server's id. It stands for election only if it is a voter.
        durable: what its disk holds.
        settings: timeouts and options.
        rng: for the election timeouts.
        now: the present time.
        first_request_id: where the ids of its requests begin; no id may ever repeat, so a
            server that restarts begins above all that it used before.
        data_ids: a member of this server's id is this very server if its data id is one of these;
            another one had the id before, or has it now. None: whatever it is.
    """

    def __init__(
        self,
        me: NodeId,
        *,
        durable: DurableState,
        settings: Settings,
        rng: random.Random,
        now: int,
        first_request_id: int = 1,
        data_ids: frozenset[str] | None = None,
    ) -> None:
        if not __debug__:
            raise RuntimeError("run Python without -O: the assertions here are a safety net")
        self.me = me
        self.commit_index = durable.snapshot.index
        self._data_ids = data_ids
        self._settings = settings
        self._rng = rng
        self._now = now
        self._persistence = Persistence(durable, settings)
        self._log = self._persistence.log
        self._outbox = Outbox(self._persistence, settings, first_request_id)
        self._acceptance = Acceptance(self._persistence, self._outbox)
        self._votes = Votes(self._persistence, self._outbox)
        self._remote = RemoteCalls(self._outbox, settings)
        self._incoming = IncomingSnapshot()
        self._events = Events()
        self._newest_request = (0, 0)  # of a leader: its term, and its id
        self._snapshot_is_lost = durable.snapshot_is_lost
        self._delivery = Delivery(self._log, max_bytes=settings.max_committed_bytes)
        if durable.snapshot.index > 0 and not durable.snapshot_is_lost:
            # The layer above begins with nothing.
            self._delivery.install(durable.snapshot)
        self._role: Role = Follower(election_deadline=self._new_election_deadline())

    @property
    def current_term(self) -> int:
        """The latest term that this server has seen."""
        return self._persistence.current_term

    @property
    def role_name(self) -> str:
        """`follower`, `pre-candidate`, `candidate` or `leader`."""
        match self._role:
            case Follower():
                return "follower"
            case PreCandidate():
                return "pre-candidate"
            case Candidate():
                return "candidate"
            case Leader():
                return "leader"

    @property
    def configuration(self) -> Configuration:
        """The members: the latest configuration in the log, committed or not."""
        return self._log.configuration

    @property
    def configuration_is_committed(self) -> bool:
        """Whether that is known to be committed."""
        # Who the members were as of a snapshot that is lost was in there: what is left is as old as
        # the directory.
        return not self._snapshot_is_lost and self._log.configuration_index <= self.commit_index

    @property
    def membership(self) -> Membership:
        """The same two things, where in the log they are, and which members are beyond doubt."""
        configuration, index = self.configuration, self._log.configuration_index
        if self.configuration_is_committed:
            return Membership(configuration, index, configuration, index)
        if self._snapshot_is_lost:
            index = 0 if index == self.snapshot.index else index
            return Membership(configuration, index, committed=None, committed_index=0)
        committed_index, committed = self._log.previous_configuration
        return Membership(configuration, index, committed, committed_index)

    @property
    def followers(self) -> dict[NodeId, FollowerState]:
        """What this server, as the leader, knows of each other member."""
        return self._role.followers(self._now) if isinstance(self._role, Leader) else {}

    @property
    def is_transferring(self) -> bool:
        """Whether this leader is handing its leadership over, and takes in no proposals."""
        return isinstance(self._role, Leader) and self._role.transfer is not None

    @property
    def leader(self) -> NodeId | None:
        """The leader of the current term, as far as this server knows."""
        role = self._role
        if isinstance(role, Follower):
            return role.leader
        return self.me if isinstance(role, Leader) else None

    @property
    def is_leader(self) -> bool:
        """Whether this server leads the current term."""
        return isinstance(self._role, Leader)

    @property
    def has_committed_in_term(self) -> bool:
        """Whether an entry of the current term is committed: then nothing older is in doubt."""
        return self._log.term_at(self.commit_index) == self.current_term

    @property
    def last_index(self) -> int:
        """The index of the last entry of this server's log, committed or not."""
        return self._log.last_index

    @property
    def last_term(self) -> int:
        """The term of that entry."""
        return self._log.last_term

    @property
    def durable_index(self) -> int:
        """Up to which index this server's own disk holds its log."""
        return self._persistence.durable_index

    @property
    def snapshot(self) -> SnapshotMetadata:
        """What this server's newest snapshot covers."""
        return self._log.snapshot

    @property
    def log_start(self) -> LogStart:
        """What this server's log begins after."""
        return self._log.start

    @property
    def log_start_is_durable(self) -> bool:
        """Whether the log begins there on this server's disk too."""
        return self._persistence.log_start_is_durable

    @property
    def snapshot_is_lost(self) -> bool:
        """Whether this server waits for a snapshot in place of one that cannot be read."""
        return self._snapshot_is_lost

    @property
    def snapshot_is_damaged(self) -> bool:
        """Whether the newest snapshot cannot be read any more, though this server has its state.

        It is to take another one, which may cover as much.
        """
        return self.snapshot.index > 0 and not self.snapshot_size and not self._snapshot_is_lost

    @property
    def snapshot_size(self) -> int:
        """Bytes of the newest snapshot; 0 if there is none that can be read."""
        return self._persistence.snapshot_size

    @property
    def sending(self) -> dict[NodeId, TransferProgress]:
        """The snapshots that this server, as the leader, sends to followers."""
        if not isinstance(self._role, Leader):
            return {}
        return {
            peer: progress.transfer.progress
            for peer, progress in self._role.progress.items()
            if progress.transfer is not None
        }

    @property
    def brings_up_a_follower(self) -> bool:
        """Whether this server leads, and a follower that is far behind is getting on.

        It gets a snapshot, or takes in the log, more than `trailing_bytes` of it. A snapshot of
        this server's own would leave it behind again: the log that it needs next would be gone.
        """
        return isinstance(self._role, Leader) and self._role.brings_up_a_follower(self._now)

    @property
    def receiving(self) -> TransferProgress | None:
        """The snapshot that the leader sends to this server, if it does."""
        progress = self._incoming.progress(self.current_term)
        if progress is None or (progress.index <= self.commit_index and not self._snapshot_is_lost):
            return None
        return progress

    def snapshot_metadata(self, index: int) -> SnapshotMetadata:
        """What a snapshot has to say of itself that is taken of the state as of `index`.

        Args:
            index: of an entry that was given out as committed, behind the present snapshot, or
                its last one.
        """
        if index == self.snapshot.index:
            return self.snapshot
        assert self.snapshot.index < index <= self._delivery.index
        (entry,) = self._log.slice(index, index)
        configuration = self._log.configuration_at(index)
        return SnapshotMetadata(index, entry.term, entry.time_ms, configuration)

    def knows_members_at(self, index: int) -> bool:
        """Whether this server knows of any members as of an entry behind the present snapshot.

        One that joins does not, before it has come by the first change of them.
        """
        return bool(self._log.configuration_at(index).voters)

    def term_at(self, index: int) -> int | None:
        """The term of an entry of this server's log; None if the log does not hold it."""
        return self._log.term_at(index)

    def committed_entry(self, index: int) -> Entry:
        """A committed entry that the log still holds."""
        assert index <= self.commit_index
        return self.entry_at(index)

    def entry_at(self, index: int) -> Entry:
        """An entry that the log holds, committed or not."""
        return self._log.slice(index, index)[0]

    # ------------------------------------------------------------------ as `core` asks

    def _may_lead(self) -> bool:
        """Whether it has what a leader needs, and a vote.

        A server that is to go may still be needed as a leader, namely to commit the entry that
        removes it (dissertation §4.2.2); once that is committed it is not.
        """
        if self._snapshot_is_lost:
            return False
        if self._votes_in(self.configuration):
            return True
        before = self.membership.committed
        return before is not None and self._votes_in(before)

    def _votes_in(self, configuration: Configuration) -> bool:
        """Whether this very server is one of the voters.

        A server that has lost its data and is added again under its old id gets the log from its
        beginning, and so comes by configurations in which its predecessor is a voter.
        """
        member = configuration.member(self.me)
        if member is None or not configuration.is_voter(self.me):
            return False
        return self._data_ids is None or member.data_id in self._data_ids

    def _hears_a_leader(self) -> bool:
        """Whether there is a leader, as far as this server can tell (§4.2.3, §9.6)."""
        match self._role:
            case Leader():
                return True
            case Follower(heard_leader_at=int(heard_at)):
                return self._now - heard_at < self._settings.election_timeout_us
            case _:
                return False

    def _peers(self) -> list[NodeId]:
        return [node for node in self.configuration.voter_ids if node != self.me]

    def _new_election_deadline(self) -> int:
        timeout = self._settings.election_timeout_us
        return self._now + timeout + self._rng.randrange(timeout)
