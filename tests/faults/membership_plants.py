"""Plants in the changes of members, and in who is talked to."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

from quorate.node.own_session import OwnSession
from quorate.raft import core
from quorate.raft.commitment import advanced_commit_index
from quorate.raft.configuration import ChangeRefusal, Configuration, Membership, NodeId
from quorate.raft.core import Raft
from quorate.raft.leader import Leader
from quorate.raft.log import RaftLog
from quorate.raft.server_state import ServerState
from quorate.sim import peer_links
from quorate.wire import peer_hello
from quorate.wire.peer_hello import Hello, refuse_reason

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    import pytest

    from quorate.node.limits import NodeLimits
    from quorate.raft.snapshot import SnapshotMetadata


def a_change_is_committed_by_the_old_majority_alone(patches: pytest.MonkeyPatch) -> None:
    def by_the_old(
        *,
        commit_index: int,
        current_term: int,
        log: RaftLog,
        configuration: Configuration,
        match_index_of: Callable[[NodeId], int],
    ) -> int:
        def match_index(node: NodeId) -> int:
            try:
                return match_index_of(node)
            except KeyError:  # it has just been removed
                return 0

        if log.configuration_index > commit_index >= log.snapshot.index:
            configuration = log.configuration_at(commit_index)
        return advanced_commit_index(
            commit_index=commit_index,
            current_term=current_term,
            log=log,
            configuration=configuration,
            match_index_of=match_index,
        )

    patches.setattr(core, "advanced_commit_index", by_the_old)


def _without_refusal(patches: pytest.MonkeyPatch, ignored: ChangeRefusal) -> None:
    change_refusal = Raft._change_refusal

    def careless(self: Raft) -> ChangeRefusal | None:
        refusal = change_refusal(self)
        if refusal is ignored:  # what it would have looked at next
            return ChangeRefusal.TRANSFER_UNDER_WAY if self.is_transferring else None
        return refusal

    patches.setattr(Raft, "_change_refusal", careless)


def two_changes_are_made_at_once(patches: pytest.MonkeyPatch) -> None:
    _without_refusal(patches, ChangeRefusal.CHANGE_UNDER_WAY)


def a_change_is_made_before_the_first_commit_of_the_term(patches: pytest.MonkeyPatch) -> None:
    _without_refusal(patches, ChangeRefusal.TERM_NOT_COMMITTED)


def learners_count_in_the_quorum(patches: pytest.MonkeyPatch) -> None:
    def majority(self: Configuration) -> int:
        return len(self.members) // 2 + 1

    def is_majority(self: Configuration, ids: Iterable[NodeId]) -> bool:
        members = {member.id for member in self.members}
        return len(members & set(ids)) >= majority(self)

    def majority_value(self: Configuration, value_of: Callable[[NodeId], int]) -> int:
        values = sorted((value_of(member.id) for member in self.members), reverse=True)
        return values[majority(self) - 1]

    patches.setattr(Configuration, "is_majority", is_majority)
    patches.setattr(Configuration, "majority_value", majority_value)


def a_snapshot_lacks_the_members(patches: pytest.MonkeyPatch) -> None:
    """It has those that the log began with."""
    snapshot_metadata = Raft.snapshot_metadata

    def of_before(self: Raft, index: int) -> SnapshotMetadata:
        metadata = snapshot_metadata(self, index)
        return msgspec.structs.replace(metadata, configuration=self.snapshot.configuration)

    patches.setattr(Raft, "snapshot_metadata", of_before)


def a_server_that_has_lost_its_data_is_let_in(patches: pytest.MonkeyPatch) -> None:
    def trusting(
        mine: Hello,
        theirs: Hello,
        *,
        membership: Membership,
        remembered_data_id: str | None,
        previous: Hello | None,
        is_second: bool,
    ) -> str | None:
        reason = refuse_reason(
            mine,
            theirs,
            membership=membership,
            remembered_data_id=remembered_data_id,
            previous=previous,
            is_second=is_second,
        )
        return None if reason is not None and "has lost its data" in reason else reason

    patches.setattr(peer_links, "refuse_reason", trusting)


def removed_servers_disturb(patches: pytest.MonkeyPatch) -> None:
    """All that keeps them from it is missing at once: any one of the three is enough.

    They are let in; they stand without asking first; and are voted for although a leader is heard.
    """
    init = ServerState.__init__

    def without_pre_vote(self: ServerState, *args: Any, **options: Any) -> None:
        init(self, *args, **options)
        self._settings = msgspec.structs.replace(self._settings, pre_vote=False)

    patches.setattr(ServerState, "__init__", without_pre_vote)
    patches.setattr(Raft, "_hears_a_leader", lambda _self: False)
    patches.setattr(peer_hello, "was_removed", lambda _theirs, _membership: False)


def a_node_with_new_data_has_the_sessions_of_its_predecessor(patches: pytest.MonkeyPatch) -> None:
    """The bug that the simulation found in `node/own_session.py`."""
    init = OwnSession.__init__

    def by_number(
        self: OwnSession, node: NodeId, boot: int, limits: NodeLimits, _data_id: str = ""
    ) -> None:
        init(self, node, boot, limits)

    patches.setattr(OwnSession, "__init__", by_number)


def a_removed_leader_counts_itself(patches: pytest.MonkeyPatch) -> None:
    """As if it were a voter still."""
    match_index_of = Leader.match_index_of

    def counting_itself(self: Leader, node: NodeId) -> int:
        own = match_index_of(self, self._me)
        removed = not self._configuration.is_voter(self._me)
        return max(own, match_index_of(self, node)) if removed else match_index_of(self, node)

    patches.setattr(Leader, "match_index_of", counting_itself)


def a_truncation_leaves_the_configuration_in_force(patches: pytest.MonkeyPatch) -> None:
    truncate_from = RaftLog.truncate_from

    def without_taking_back(self: RaftLog, index: int) -> None:
        known = list(self._configurations)
        truncate_from(self, index)
        self._configurations, self.configuration = known, known[-1][1]

    patches.setattr(RaftLog, "truncate_from", without_taking_back)
