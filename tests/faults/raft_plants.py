"""Plants in the Raft core, for all who look for them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec
import pytest

from quorate.raft import core
from quorate.raft.acceptance import Acceptance
from quorate.raft.configuration import Configuration, NodeId
from quorate.raft.core import Raft
from quorate.raft.leader import Leader
from quorate.raft.log import RaftLog
from quorate.raft.messages import AppendEntries, AppendEntriesAnswer
from quorate.raft.persistence import Persistence, Promise
from quorate.raft.reads import Read, ReadRounds

if TYPE_CHECKING:
    from collections.abc import Callable

    from quorate.raft.entry import Entry
    from quorate.raft.ready import LogWrite

# ---------------------------------------------------------------------- what must be durable


def the_vote_is_not_persisted(patches: pytest.MonkeyPatch) -> None:
    take_write = Persistence.take_write

    def without_vote(self: Persistence) -> LogWrite | None:
        write = take_write(self)
        return None if write is None else msgspec.structs.replace(write, voted_for=None)

    patches.setattr(Persistence, "take_write", without_vote)


def a_newer_term_is_not_persisted(patches: pytest.MonkeyPatch) -> None:
    def adopt_term(self: Persistence, term: int) -> None:
        self.current_term = term
        self.voted_for = None

    patches.setattr(Persistence, "adopt_term", adopt_term)


def a_follower_answers_before_its_write_is_durable(patches: pytest.MonkeyPatch) -> None:
    def promise_of_entries(_self: Persistence, _last_index: int) -> Promise:
        return Promise(write=0, last_index=0)

    patches.setattr(Persistence, "promise_of_entries", promise_of_entries)


def a_leader_counts_itself_before_its_write_is_durable(patches: pytest.MonkeyPatch) -> None:
    def match_index_of(self: Leader, node: NodeId) -> int:
        if node == self._me:
            return self._persistence.log.last_index
        return self.progress[node].match_index

    patches.setattr(Leader, "match_index_of", match_index_of)


def an_old_write_vouches_for_truncated_entries(patches: pytest.MonkeyPatch) -> None:
    truncate_from = Persistence.truncate_from

    def without_lowering(self: Persistence, index: int) -> None:
        in_flight = self._in_flight_last_index
        truncate_from(self, index)
        self._in_flight_last_index = in_flight

    patches.setattr(Persistence, "truncate_from", without_lowering)


def a_truncation_does_not_lower_the_durable_index(patches: pytest.MonkeyPatch) -> None:
    truncate_from = Persistence.truncate_from

    def without_lowering(self: Persistence, index: int) -> None:
        durable = self.durable_index
        truncate_from(self, index)
        self.durable_index = durable

    patches.setattr(Persistence, "truncate_from", without_lowering)


# ---------------------------------------------------------------------- what is committed


def entries_of_old_terms_are_committed_by_counting(patches: pytest.MonkeyPatch) -> None:
    def by_counting(
        *,
        commit_index: int,
        current_term: int,
        log: RaftLog,
        configuration: Configuration,
        match_index_of: Callable[[NodeId], int],
    ) -> int:
        del current_term, log
        return max(commit_index, configuration.majority_value(match_index_of))

    patches.setattr(core, "advanced_commit_index", by_counting)


def half_of_the_servers_are_a_majority(patches: pytest.MonkeyPatch) -> None:
    def majority(self: Configuration) -> int:
        return (len(self.voters) + 1) // 2 if len(self.voters) < 5 else 2

    patches.setattr(Configuration, "majority", property(majority))


def all_servers_are_needed(patches: pytest.MonkeyPatch) -> None:
    patches.setattr(Configuration, "majority", property(lambda self: len(self.voters)))


def a_vote_is_given_to_one_whose_log_is_behind(patches: pytest.MonkeyPatch) -> None:
    def is_up_to_date(_self: RaftLog, *, last_log_index: int, last_log_term: int) -> bool:
        del last_log_index, last_log_term
        return True

    patches.setattr(RaftLog, "is_up_to_date", is_up_to_date)


def the_commit_index_passes_the_last_new_entry(patches: pytest.MonkeyPatch) -> None:
    receive = Raft._receive_append_entries

    def believing_all(self: Raft, sender: NodeId, request: AppendEntries) -> None:
        receive(self, sender, request)
        matches = self._log.term_at(request.prev_log_index) == request.prev_log_term
        if matches and request.term == self.current_term:
            commit_index = min(request.leader_commit, self._log.last_index)
            self.commit_index = max(self.commit_index, commit_index)

    patches.setattr(Raft, "_receive_append_entries", believing_all)


def a_conflict_is_answered_with_success(patches: pytest.MonkeyPatch) -> None:
    def accept(
        self: Acceptance,
        sender: NodeId,
        request: AppendEntries,
        *,
        conflict_index: int,
        conflict_term: int,
    ) -> None:
        del conflict_index, conflict_term
        self._outbox.send(
            sender,
            AppendEntriesAnswer(
                id=request.id,
                term=self._persistence.current_term,
                success=True,
                match_index=min(request.prev_log_index, self._log.last_index),
                conflict_index=0,
                conflict_term=0,
            ),
        )

    patches.setattr(Acceptance, "refuse", accept)


def an_overtaken_request_truncates_what_does_not_conflict(patches: pytest.MonkeyPatch) -> None:
    take_in = Acceptance._take_in

    def exactly(self: Acceptance, entries: tuple[Entry, ...], *, commit_index: int) -> None:
        take_in(self, entries, commit_index=commit_index)
        last = max(entries[-1].index, commit_index, self._log.start.index) if entries else 0
        if 0 < last < self._log.last_index:
            self._persistence.truncate_from(last + 1)

    patches.setattr(Acceptance, "_take_in", exactly)


# ---------------------------------------------------------------------- reads


def a_leader_serves_reads_without_asking_a_majority(patches: pytest.MonkeyPatch) -> None:
    take_confirmed = ReadRounds.take_confirmed

    def unconfirmed(self: ReadRounds, _acknowledged_id: int) -> list[Read]:
        return take_confirmed(self, self.first_id)

    patches.setattr(ReadRounds, "take_confirmed", unconfirmed)


def a_read_is_confirmed_by_an_answer_to_an_older_request(patches: pytest.MonkeyPatch) -> None:
    begin = ReadRounds.begin

    def begin_earlier(self: ReadRounds, *, read_index: int, first_id: int, ask_all_at: int) -> None:
        begin(self, read_index=read_index, first_id=first_id - 10, ask_all_at=ask_all_at)

    patches.setattr(ReadRounds, "begin", begin_earlier)


def a_new_leader_reads_before_it_has_committed_anything(patches: pytest.MonkeyPatch) -> None:
    patches.setattr(Raft, "has_committed_in_term", property(lambda _self: True))
