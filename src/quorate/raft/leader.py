"""A leader's own state and its rules (Figure 2, "Rules for Servers: Leaders").

Exists only while the server leads; a server that steps down loses it whole.
"""

from quorate.raft.catching_up import CatchingUp
from quorate.raft.configuration import Configuration, NodeId
from quorate.raft.deadlines import earliest
from quorate.raft.entry import Entry, EntryKind
from quorate.raft.leadership_transfer import LeadershipTransfer
from quorate.raft.messages import (
    AppendEntries,
    AppendEntriesAnswer,
    InstallSnapshot,
    InstallSnapshotAnswer,
    SnapshotNeeded,
    TimeoutNow,
)
from quorate.raft.outbox import Outbox
from quorate.raft.persistence import Persistence
from quorate.raft.progress import Progress
from quorate.raft.reads import Read, ReadRounds
from quorate.raft.ready import ChunkToSend, FollowerState
from quorate.raft.settings import Settings
from quorate.raft.snapshot_transfer import MAX_PATIENCE, MAX_REMEMBERED_PIECES, SnapshotTransfer

STANDSTILL_TIMEOUTS = MAX_PATIENCE * MAX_REMEMBERED_PIECES
"""After so many append time-outs in which a follower got no further, nobody waits for it: an
answer to a piece that takes longer counts for nothing anyway."""


class Leader:
    """Replicates the log to the followers.

    Args:
        me: this server.
        settings: timeouts and limits.
        persistence: the log, to which the leader only ever appends (Raft §5.3).
        outbox: where requests go.
        now: when it was elected, in microseconds.

    Attributes:
        reads: the rounds of reads that wait to be confirmed.
        progress: what it knows of each other member.
        transfer: its leadership is being handed over.
    """

    def __init__(
        self,
        me: NodeId,
        *,
        settings: Settings,
        persistence: Persistence,
        outbox: Outbox,
        now: int,
    ) -> None:
        self._me = me
        self._settings = settings
        self._persistence = persistence
        self._outbox = outbox
        self._elected_at = now
        self._time_at_election_ms = persistence.log.last_time_ms
        self._wanted_index = 0
        self.reads = ReadRounds()
        self.progress: dict[NodeId, Progress] = {}
        self._catching_up: dict[NodeId, CatchingUp] = {}
        self._meet_members(now)
        self.transfer: LeadershipTransfer | None = None

    # ------------------------------------------------------------------ the log

    def append(
        self,
        kind: EntryKind,
        now: int,
        *,
        data: bytes = b"",
        configuration: Configuration | None = None,
    ) -> Entry:
        """Appends a new entry to the leader's log, stamped with cluster time.

        Cluster time is that of the last entry at the election plus the monotonic time since, so
        it never goes back and no wall clock can move it.
        """
        entry = Entry(
            index=self._persistence.log.last_index + 1,
            term=self._persistence.current_term,
            time_ms=self._time_at_election_ms + (now - self._elected_at) // 1000,
            kind=kind,
            data=data,
            configuration=configuration,
        )
        self._persistence.append((entry,))
        return entry

    def match_index_of(self, node: NodeId) -> int:
        """Up to where a server's durable log equals the leader's.

        The leader counts itself only up to what its own disk holds: it writes in parallel with
        its followers (dissertation §10.2.1).
        """
        if node == self._me:
            return self._persistence.durable_index
        return self.progress[node].match_index

    # ------------------------------------------------------------------ the members (§4)

    @property
    def _configuration(self) -> Configuration:
        return self._persistence.log.configuration

    def change(self, configuration: Configuration, now: int) -> Entry:
        """Appends a configuration, which is in force from now on (dissertation §4.1)."""
        entry = self.append(EntryKind.CONFIGURATION, now, configuration=configuration)
        self._meet_members(now)
        return entry

    def _meet_members(self, now: int) -> None:
        """Sees that there is a `Progress` for each other member, and for nobody else."""
        configuration, last_index = self._configuration, self._persistence.log.last_index
        first_id = self._outbox.next_id
        known = self.progress
        self.progress = {
            member.id: known.get(member.id)
            or Progress(next_index=last_index + 1, now=now, first_id=first_id)
            for member in configuration.members
            if member.id != self._me
        }
        self._catching_up = {
            node: self._catching_up.get(node) or CatchingUp(last_index=last_index, now=now)
            for node in configuration.promoting
            if node != self._me
        }

    def learner_to_promote(self, now: int) -> NodeId | None:
        """A learner whose log has caught up."""
        for node, rounds in self._catching_up.items():
            if rounds.has_caught_up(now, self._settings.election_timeout_us):
                return node
        return None

    def _is_in_touch(self, progress: Progress, now: int) -> bool:
        """Whether it has answered within the last election timeout, and was not cut off since."""
        silent_us = now - progress.last_contact_at
        return silent_us < self._settings.election_timeout_us and not progress.is_cut_off

    def followers(self, now: int) -> dict[NodeId, FollowerState]:
        """What is known of each other member."""
        return {
            node: FollowerState(
                match_index=progress.match_index,
                silent_us=now - progress.last_contact_at,
                is_in_touch=self._is_in_touch(progress, now),
                is_far_behind=progress.is_far_behind or progress.needed_index > 0,
            )
            for node, progress in self.progress.items()
        }

    def successor(self, now: int) -> NodeId | None:
        """The other voter that could lead best: of those that are able, with the longest log."""
        able = [
            node
            for node, follower in self.followers(now).items()
            if self._configuration.is_voter(node) and follower.is_able
        ]
        return max(able, key=self.match_index_of, default=None)

    # ------------------------------------------------------------------ handing over (§3.10)

    def begin_transfer(self, to: NodeId, now: int) -> None:
        """Hands leadership over to another voter, as soon as its log is as long as this one."""
        expires_at = now + self._settings.election_timeout_us
        self.transfer = LeadershipTransfer(to, expires_at=expires_at)

    def expire_transfer(self, now: int) -> None:
        """Goes on leading if nobody else does by now."""
        if self.transfer is not None and self.transfer.expires_at <= now:
            self.transfer = None

    def link_changed(self, peer: NodeId, *, up: bool) -> None:
        """What was in flight is sent again; and who is cut off is not waited for as a successor."""
        progress = self.progress[peer]
        progress.restart()
        progress.is_cut_off = not up
        if self.transfer is not None and self.transfer.to == peer and not up:
            self.transfer = None

    def send_timeout_now(self, to: NodeId) -> None:
        """Tells another voter to stand for election at once."""
        request = TimeoutNow(self._outbox.take_id(), self._persistence.current_term)
        self._outbox.send(to, request)

    def _advance_transfer(self) -> None:
        transfer, last_index = self.transfer, self._persistence.log.last_index
        if transfer is None or transfer.is_sent:
            return
        if self.match_index_of(transfer.to) == last_index:
            transfer.is_sent = True
            self.send_timeout_now(transfer.to)

    # ------------------------------------------------------------------ sending

    @property
    def has_to_send(self) -> bool:
        """Whether `send_pending` may send something, apart from what time does, or reads wait."""
        return bool(
            self.reads.wait
            or self.transfer is not None
            or self._catching_up
            or self._wanted_index
            or any(map(self._is_to_send_to, self.progress.values()))
        )

    def _is_to_send_to(self, progress: Progress) -> bool:
        if self._needs_snapshot(progress) or progress.last_sent_at is None:
            return True
        if progress.awaits_commit_index:
            return True
        max_in_flight = self._settings.max_appends_in_flight
        return self._may_lack_entries(progress) and progress.may_send(max_in_flight)

    def send_pending(self, commit_index: int, now: int) -> None:
        """Sends each follower what it lacks, as far as its window allows, or a heartbeat."""
        self._advance_transfer()
        for peer, progress in self.progress.items():
            progress.expire(now)
            if self._needs_snapshot(progress):
                self._send_chunk(peer, progress, now)
            else:
                progress.transfer = None
                self._send_entries(peer, progress, commit_index, now)
            if self._heartbeat_is_due(progress, now) or progress.awaits_commit_index:
                self._send_heartbeat(peer, progress, commit_index, now)
        if self.reads.is_under_way:
            asks_all = self.reads.take_asking_all(now)
            for peer in self._to_be_asked_for_confirmation(now, asks_all=asks_all):
                self._send_heartbeat(peer, self.progress[peer], commit_index, now)

    def deadline(self) -> int | None:
        """When the next heartbeat is due or a request counts as lost; None without followers."""
        due = None if self.transfer is None else self.transfer.expires_at
        for progress in self.progress.values():
            if progress.last_sent_at is not None:
                heartbeat = progress.last_sent_at + self._settings.heartbeat_interval_us
                due = earliest(due, heartbeat)
            due = earliest(due, progress.deadline())
        if self.reads.is_under_way:
            due = earliest(due, self.reads.ask_all_at)
        return due

    def _send_entries(self, peer: NodeId, progress: Progress, commit_index: int, now: int) -> None:
        log = self._persistence.log
        while self._may_lack_entries(progress) and progress.may_send(
            self._settings.max_appends_in_flight
        ):
            previous = progress.next_index - 1
            previous_term = log.term_at(previous)
            assert previous_term is not None, "else it needs a snapshot"
            entries: tuple[Entry, ...] = ()
            if progress.next_index <= log.last_index:
                entries = log.slice_bytes(progress.next_index, self._settings.max_append_bytes)
            request_id = self._outbox.take_id()
            self._outbox.send(
                peer,
                AppendEntries(
                    id=request_id,
                    term=self._persistence.current_term,
                    prev_log_index=previous,
                    prev_log_term=previous_term,
                    leader_commit=commit_index,
                    entries=entries,
                ),
            )
            progress.sent(
                request_id,
                prev_log_index=previous,
                last_index=previous + len(entries),
                expires_at=now + self._settings.append_timeout_us,
            )
            reaches = min(commit_index, previous + len(entries))
            self._note_sent(progress, request_id, commit_index=reaches, now=now)

    def _may_lack_entries(self, progress: Progress) -> bool:
        # Also if there is nothing new to send, but no answer has told yet that the logs match:
        # then an empty request asks, so that "all followers eventually store all log entries"
        # (§5.3) even if nothing is ever proposed again.
        if progress.next_index <= self._persistence.log.last_index:
            return True
        return progress.probing and progress.next_index > progress.match_index + 1

    def _needs_snapshot(self, progress: Progress) -> bool:
        # "the leader must occasionally send snapshots to followers that lag behind. This happens
        # when the leader has already discarded the next log entry that it needs to send" (§7).
        if progress.needed_index:
            return True
        return progress.next_index <= self._persistence.log.start.index

    def _send_chunk(self, peer: NodeId, progress: Progress, now: int) -> None:
        """Sends the next piece of a snapshot, if none is under way and there is a snapshot."""
        newest, size = self._persistence.log.snapshot, self._persistence.snapshot_size
        if size == 0 or newest.index < progress.needed_index:
            progress.transfer = None
            return
        transfer = progress.transfer
        if transfer is None:
            transfer = progress.transfer = SnapshotTransfer(newest, size)
            if progress.acknowledged_id:
                progress.advanced_at = progress.last_contact_at
        if not transfer.may_send(now):
            return
        # A newer one is sent if nothing is lost by that, or if the older one is of no use, because
        # it is not kept any more or covers less than the follower has asked for. Or if it seems to
        # be gone sooner than is known here: a snapshot that came in too late to be of use has taken
        # a place on the disk all the same.
        oldest_of_use = max(self._persistence.previous_index, progress.needed_index)
        index = transfer.snapshot.index
        if index < newest.index and (
            transfer.offset == 0 or index < oldest_of_use or transfer.is_stuck
        ):
            transfer.replace(newest, size)
        request_id = self._outbox.take_id()
        request = InstallSnapshot(
            id=request_id,
            term=self._persistence.current_term,
            snapshot=transfer.snapshot,
            size=transfer.size,
            offset=transfer.offset,
            data=b"",
        )
        length = min(self._settings.max_chunk_bytes, transfer.size - transfer.offset)
        self._outbox.send_chunk(ChunkToSend(peer, request, length, transfer.is_doubted))
        transfer.sent(request_id, length, now=now, timeout_us=self._settings.append_timeout_us)

    def _send_heartbeat(
        self, peer: NodeId, progress: Progress, commit_index: int, now: int
    ) -> None:
        # It goes on from where the logs are known to match, so it cannot fail for a conflict,
        # needs no slot, and tells the follower as much of the commit index as is safe.
        log = self._persistence.log
        previous = max(progress.match_index, log.start.index)
        previous_term = log.term_at(previous)
        assert previous_term is not None
        request_id = self._outbox.take_id()
        self._outbox.send(
            peer,
            AppendEntries(
                id=request_id,
                term=self._persistence.current_term,
                prev_log_index=previous,
                prev_log_term=previous_term,
                leader_commit=commit_index,
                entries=(),
            ),
        )
        self._note_sent(progress, request_id, commit_index=min(commit_index, previous), now=now)

    def _note_sent(
        self, progress: Progress, request_id: int, *, commit_index: int, now: int
    ) -> None:
        progress.last_sent_at = now
        progress.last_sent_id = request_id
        progress.commit_index_sent = max(progress.commit_index_sent, commit_index)

    def _heartbeat_is_due(self, progress: Progress, now: int) -> bool:
        if progress.last_sent_at is None:
            return True
        return now >= progress.last_sent_at + self._settings.heartbeat_interval_us

    def _to_be_asked_for_confirmation(self, now: int, *, asks_all: bool) -> list[NodeId]:
        """Whose answers the round of reads needs, and who was not sent anything since it began.

        No more than make a majority are asked, those first that answer soonest; only if that
        takes long, all. One that did not answer the last heartbeats is probably out of reach, and
        not asked at all; the next heartbeat asks it anyway.
        """
        first_id, configuration = self.reads.first_id, self._configuration
        lacking = configuration.majority - configuration.is_voter(self._me)
        unasked: list[tuple[int, NodeId]] = []
        for peer, progress in self.progress.items():
            silent_us = now - progress.last_contact_at
            is_silent = silent_us > 2 * self._settings.heartbeat_interval_us
            if progress.is_cut_off or is_silent or not configuration.is_voter(peer):
                continue
            if progress.last_sent_id >= first_id:
                lacking -= 1
            else:
                unasked.append((progress.answer_time_us, peer))
        soonest_first = [peer for _, peer in sorted(unasked)]
        return soonest_first if asks_all else soonest_first[: max(lacking, 0)]

    # ------------------------------------------------------------------ answers

    def receive_answer(
        self, peer: NodeId, answer: AppendEntriesAnswer, commit_index: int, now: int
    ) -> None:
        """Takes in a follower's answer of the leader's own term."""
        progress = self._progress_of(peer, answer.id)
        if progress is None or answer.match_index > self._persistence.log.last_index:
            return
        self._note_contact(progress, answer.id, now)
        if answer.success:
            was_probing, was_far_behind = progress.probing, progress.is_far_behind
            matched = progress.match_index
            progress.succeeded(answer.id, match_index=answer.match_index)
            if progress.match_index > matched:
                progress.advanced_at = now
            found = was_probing and not progress.probing
            ends_round = was_far_behind and not progress.is_far_behind
            if found or ends_round:
                self._begin_round(progress, commit_index)
            self._note_catching_up(peer, progress, now)
        else:
            progress.failed(answer.id, next_index=self._next_index_after_conflict(answer))
        if answer.id == progress.acknowledged_id:
            progress.needed_index = 0

    def receive_snapshot_answer(
        self, peer: NodeId, answer: InstallSnapshotAnswer, commit_index: int, now: int
    ) -> None:
        """Takes in a follower's answer to a piece of a snapshot."""
        progress = self._progress_of(peer, answer.id)
        if progress is None:
            return
        self._note_contact(progress, answer.id, now)
        if progress.transfer is None:
            return
        offset = progress.transfer.offset
        index = progress.transfer.answered(answer.id, answer.next_offset)
        if index or progress.transfer.offset > offset:
            progress.advanced_at = now
        if index:
            progress.installed(index)
            self._begin_round(progress, commit_index)
            self._note_catching_up(peer, progress, now)

    def receive_snapshot_needed(self, peer: NodeId, answer: SnapshotNeeded, now: int) -> None:
        """A follower has lost its snapshot. Only its newest answer tells whether that is so."""
        progress = self._progress_of(peer, answer.id)
        if progress is None:
            return
        self._note_contact(progress, answer.id, now)
        if answer.id == progress.acknowledged_id:
            if not progress.needed_index:
                progress.restart()
            progress.needed_index = answer.index
            if answer.index > self._persistence.log.snapshot.index:
                self._wanted_index = max(self._wanted_index, answer.index)

    def give_up_transfers_of(self, index: int) -> None:
        """The snapshot of this index cannot be sent any more."""
        for progress in self.progress.values():
            if progress.transfer is not None and progress.transfer.snapshot.index == index:
                progress.transfer = None

    def take_wanted_index(self, handed_out: int) -> int:
        """What a snapshot has to cover that a follower waits for; 0 if none does.

        Args:
            handed_out: a snapshot can cover this much now. One that has to cover more is asked
                for by the follower again, and wanted then.
        """
        index, self._wanted_index = self._wanted_index, 0
        return index if index <= handed_out else 0

    def _begin_round(self, progress: Progress, commit_index: int) -> None:
        """Lets a follower take in what is committed by now, if it lacks much of it.

        That is more than the entries that would stay in the log behind a snapshot: if one were
        taken now, it would have to be sent.
        """
        log, lacks_from = self._persistence.log, progress.match_index + 1
        if lacks_from >= log.first_index and log.has_more_than(
            self._settings.trailing_bytes, first=lacks_from, last=commit_index
        ):
            progress.round_end = commit_index

    def brings_up_a_follower(self, now: int) -> bool:
        """Whether a follower that is far behind is getting on."""
        patience_us = STANDSTILL_TIMEOUTS * self._settings.append_timeout_us
        return any(
            progress.is_far_behind
            and progress.advanced_at is not None
            and now - progress.advanced_at <= patience_us
            for progress in self.progress.values()
        )

    def _progress_of(self, peer: NodeId, request_id: int) -> Progress | None:
        """Of the member that was asked; None if it is none, or another one has its id now.

        Also None if nothing was asked yet under this id: such an answer would count as one to all
        that is asked until then.
        """
        progress = self.progress.get(peer)
        if progress is None or not progress.first_id <= request_id < self._outbox.next_id:
            return None
        return progress

    def _note_catching_up(self, peer: NodeId, progress: Progress, now: int) -> None:
        if peer in self._catching_up:
            self._catching_up[peer].advance(
                progress.match_index,
                last_index=self._persistence.log.last_index,
                now=now,
                limit_us=self._settings.election_timeout_us,
            )

    def _note_contact(self, progress: Progress, request_id: int, now: int) -> None:
        progress.last_contact_at = now
        progress.is_cut_off = False
        progress.acknowledged_id = max(progress.acknowledged_id, request_id)
        if request_id == progress.last_sent_id and progress.last_sent_at is not None:
            progress.answer_time_us = now - progress.last_sent_at

    def _next_index_after_conflict(self, answer: AppendEntriesAnswer) -> int:
        """Where the logs may match, by the follower's hints (Raft §5.3, fast backtracking).

        If the leader has entries of the conflicting term, after the last of them; else where
        the follower's entries of that term begin, so that one answer skips a whole term.
        """
        if answer.conflict_term:
            mine = self._persistence.log.last_index_of_term(answer.conflict_term)
            if mine is not None:
                return mine + 1
        return answer.conflict_index

    # ------------------------------------------------------------------ its majority

    def begin_read_round(self, commit_index: int, now: int) -> None:
        """Begins a round for the reads that wait, unless one is under way.

        Args:
            commit_index: must cover an entry of the leader's own term (§6.4).
            now: the present time.
        """
        self.reads.begin(
            read_index=commit_index,
            first_id=self._outbox.next_id,
            ask_all_at=now + self._settings.heartbeat_interval_us // 10,
        )

    def is_confirmed_by_request_of(self, peer: NodeId) -> bool:
        """Whether this server still led when another one sent the request that has just come.

        That one had not voted in a newer term by then, and this one has not by now. If there is no
        majority without one of them, nobody else had been elected. It must have answered this
        leader before: what its predecessor under the same id sent, which had other data, cannot
        come any more then.
        """
        if peer not in self.progress or not self.progress[peer].acknowledged_id:
            return False
        return self._configuration.is_majority((self._me, peer))

    def expects_read(self, peer: NodeId, read_index: int) -> None:
        """A follower serves a read as soon as it knows that so much is committed; see that it does.

        Else it would know by the next entries or the next heartbeat, and the read take so long.
        """
        if peer in self.progress:
            progress = self.progress[peer]
            progress.commit_index_awaited = max(progress.commit_index_awaited, read_index)

    def take_confirmed_reads(self) -> list[Read]:
        """The reads that may be served at `reads.read_index`."""
        if not self.reads.is_under_way:
            return []
        return self.reads.take_confirmed(self._acknowledged_id())

    def _acknowledged_id(self) -> int:
        # The greatest request id such that a majority answered that request or a later one.
        return self._configuration.majority_value(
            lambda node: (
                self._outbox.next_id if node == self._me else self.progress[node].acknowledged_id
            )
        )

    def has_contact(self, now: int) -> bool:
        """Whether a majority answered within the last election timeout (dissertation §6.2)."""
        last_contact = self._configuration.majority_value(
            lambda node: now if node == self._me else self.progress[node].last_contact_at
        )
        return now - last_contact < self._settings.election_timeout_us
