"""Plants between the log and the clients: sessions, replica, gateway; for all who look for them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec
import pytest

from quorate.codec.batch import Outcome
from quorate.node import calls
from quorate.node.connection import Connection
from quorate.node.node import Node
from quorate.node.own_session import OwnSession, PendingWrite
from quorate.replica.outcomes import Completed
from quorate.replica.replica import Replica
from quorate.replica.sessions import SessionLimits, SessionTable, _Session
from quorate.replica.waiting_reads import WaitingReads

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from quorate.codec.batch import OperationResult
    from quorate.kv.queries import Query, QueryResult
    from quorate.raft.configuration import NodeId
    from quorate.raft.entry import Entry

    Execute = Callable[
        [_Session, tuple[bytes, ...], int, SessionLimits, Callable[[bytes], bytes]],
        tuple[Outcome, ...],
    ]

# ---------------------------------------------------------------------- sessions


def _before_execution(
    patches: pytest.MonkeyPatch, prepare: Callable[[_Session, int], None]
) -> None:
    execute: Execute = _Session.execute

    def prepared(
        self: _Session,
        commands: tuple[bytes, ...],
        first_seq: int,
        limits: SessionLimits,
        apply: Callable[[bytes], bytes],
    ) -> tuple[Outcome, ...]:
        prepare(self, first_seq)
        return execute(self, commands, first_seq, limits, apply)

    patches.setattr(_Session, "execute", prepared)


def duplicates_are_not_detected(patches: pytest.MonkeyPatch) -> None:
    def forget_the_replies(session: _Session, first_seq: int) -> None:
        session.stored.clear()
        session.reply_bytes = 0
        session.last_seq = first_seq - 1

    _before_execution(patches, forget_the_replies)


def an_ordered_session_executes_despite_a_gap(patches: pytest.MonkeyPatch) -> None:
    def close_the_gap(session: _Session, first_seq: int) -> None:
        session.last_seq = first_seq - 1

    _before_execution(patches, close_the_gap)


def acknowledged_numbers_are_executed_again(patches: pytest.MonkeyPatch) -> None:
    def forget_acked(session: _Session, first_seq: int) -> None:
        session.acked = min(session.acked, first_seq - 1)
        session.last_seq = min(session.last_seq, first_seq - 1)

    _before_execution(patches, forget_acked)


def stored_replies_are_never_freed(patches: pytest.MonkeyPatch) -> None:
    def acknowledge(self: _Session, acked: int) -> None:
        self.acked = max(self.acked, acked)
        self.last_seq = max(self.last_seq, acked)

    patches.setattr(_Session, "acknowledge", acknowledge)


def sessions_never_expire(patches: pytest.MonkeyPatch) -> None:
    patches.setattr(SessionTable, "expire", lambda _self, _time_ms: None)


def no_session_yields_to_another(patches: pytest.MonkeyPatch) -> None:
    patches.setattr(SessionTable, "_make_room", lambda _self, _time_ms: True)


# ---------------------------------------------------------------------- replica


def the_term_of_a_waiter_is_ignored(patches: pytest.MonkeyPatch) -> None:
    settle = Replica._settle

    def without_term(
        self: Replica[Query, QueryResult], entry: Entry, results: tuple[OperationResult, ...]
    ) -> None:
        proposed = self._proposed.get(entry.index)
        if proposed is not None:
            self._proposed[entry.index] = msgspec.structs.replace(proposed, term=entry.term)
        settle(self, entry, results)

    def complete_those_that_there_are(
        self: Replica[Query, QueryResult],
        tickets: Sequence[int],
        results: Sequence[OperationResult],
        *,
        is_hearsay: bool,
    ) -> None:
        for ticket, result in zip(tickets, results, strict=False):
            self._outcomes.append(Completed(ticket, result, is_hearsay))

    patches.setattr(Replica, "_settle", without_term)
    patches.setattr(Replica, "_complete", complete_those_that_there_are)


def the_waiter_of_an_overwritten_index_gets_its_reply(patches: pytest.MonkeyPatch) -> None:
    """Nor is it told when its server stops leading."""
    the_term_of_a_waiter_is_ignored(patches)
    patches.setattr(Replica, "_interrupt_if_deposed", lambda _self: None)


def entries_are_applied_again_after_a_restart(patches: pytest.MonkeyPatch) -> None:
    machines: dict[NodeId, object] = {}
    init = Node.__init__

    def with_the_machine_of_before(self: Node, node: NodeId, **rest: object) -> None:
        init(self, node, **rest)  # type: ignore[arg-type]  # passed through as they come
        kept = machines.setdefault(node, self.state._machine)
        self.state._machine = kept  # type: ignore[assignment]

    patches.setattr(Node, "__init__", with_the_machine_of_before)


def a_read_is_served_before_its_index_is_applied(patches: pytest.MonkeyPatch) -> None:
    take_ready = WaitingReads.take_ready

    def too_early(self: WaitingReads[Query], last_applied: int) -> list[tuple[int, Query]]:
        del last_applied
        return take_ready(self, 2**63)

    patches.setattr(WaitingReads, "take_ready", too_early)


def a_read_index_serves_reads_that_came_after_it_was_asked_for(
    patches: pytest.MonkeyPatch,
) -> None:
    confirmed = WaitingReads.confirmed

    def all_confirmed(self: WaitingReads[Query], index: int) -> None:
        assert self._asked is not None
        self._asked.update(self._arrived)
        self._arrived.clear()
        confirmed(self, index)

    patches.setattr(WaitingReads, "confirmed", all_confirmed)


# ---------------------------------------------------------------------- gateway


def an_expired_own_session_re_sends_in_a_new_one(patches: pytest.MonkeyPatch) -> None:
    def expire(self: OwnSession) -> None:
        self._queued.extendleft(reversed(self._outstanding))
        self._outstanding.clear()
        self._session = None
        self._epoch += 1
        self._rewound = False

    patches.setattr(OwnSession, "_expire", expire)


def an_interrupted_write_is_sent_again_in_a_new_session(patches: pytest.MonkeyPatch) -> None:
    """Its leader changed or fell silent, so it may be executed in the old session as well."""
    repeat = OwnSession._repeat

    def interrupted(self: OwnSession, ticket: int, now: int) -> None:
        attempt = self._attempts.pop(ticket)
        if attempt.session == 0:
            repeat(self, attempt)
        elif attempt.epoch == self._epoch:
            self._queued.extendleft(reversed(self._outstanding))
            self._outstanding.clear()
            self._session = None
            self._epoch += 1
        self._retry_at = now + self._limits.retry_delay_us

    patches.setattr(OwnSession, "interrupted", interrupted)


def a_submitted_write_that_is_given_up_is_called_not_executed(
    patches: pytest.MonkeyPatch,
) -> None:
    give_up = OwnSession.give_up

    def certain(self: OwnSession, write: PendingWrite, refusal: bytes) -> None:
        self._settle(write, refusal)
        give_up(self, write, refusal)

    patches.setattr(OwnSession, "give_up", certain)


def the_expiry_of_a_repeated_call_is_passed_on(patches: pytest.MonkeyPatch) -> None:
    """The bug that the simulation found in `node/calls.py`."""
    patches.setattr(calls, "_speaks_for_one_submission", lambda _result: False)


def a_read_does_not_wait_for_earlier_writes(patches: pytest.MonkeyPatch) -> None:
    patches.setattr(Connection, "may_begin", lambda _self, _request: True)
