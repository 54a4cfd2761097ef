"""Who the members of the cluster are, and what a majority of them is.

A configuration is a value: it is replaced, never changed in place. Those that may follow each other
in the log differ by one voter at most (dissertation §4.1), so that a majority of the one and a
majority of the other always have a server in common. Every method here that makes a new
configuration keeps to that.
"""

import enum
from collections.abc import Callable, Iterable
from functools import cached_property
from typing import NewType

import msgspec

NodeId = NewType("NodeId", int)
"""The number of a server, 1 to `MAX_NODE_ID`, chosen by the operator."""
MAX_NODE_ID = 2**31 - 1
"""Any format, here and elsewhere, takes it."""

MAX_MEMBERS = 64
"""Voters and learners together: the configuration is one entry, and goes round as a whole."""
MAX_REMOVED = 32
"""So many of those that were removed are known by their data ids, the last ones. Who is older is
refused as long as somebody else has its id, and is a stranger otherwise, which nobody counts."""

_STRUCT_BYTES = 16  # of a member or a configuration, besides its texts


class Member(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """One server of the cluster. Addresses and data id are opaque to Raft.

    Attributes:
        id: the server's number.
        peer_address: where other servers reach it, `HOST:PORT`.
        client_address: where clients reach it, `HOST:PORT`.
        data_id: of its data directory: a server that has lost its data is another server, since it
            has forgotten its votes. Empty for one that the cluster was started with, until that is
            known.
    """

    id: NodeId
    peer_address: str = ""
    client_address: str = ""
    data_id: str = ""


class ChangeRefusal(enum.Enum):
    """Why the leader makes no change of the configuration now; nothing was appended."""

    NOT_LEADER = "this server does not lead"
    TERM_NOT_COMMITTED = "the leader has not committed an entry of its term yet"
    CHANGE_UNDER_WAY = "the change before this one is not committed yet"
    TRANSFER_UNDER_WAY = "leadership is being handed over"


class ConfigurationError(ValueError):
    """There is no such configuration; the text says what is wrong and what to do."""


class Configuration(msgspec.Struct, frozen=True, array_like=True, dict=True):
    """The members of the cluster.

    Attributes:
        voters: those whose majority decides, in the order of their ids. None in what a server knows
            that has yet to hear of the cluster that it is to join.
        learners: those that get the log and count for nothing (dissertation §4.2.1), in that order.
        promoting: the ids of the learners that the leader makes voters as soon as their logs have
            caught up with its own.
        removed: the data ids of those that were removed last; none of them comes back.
    """

    voters: tuple[Member, ...]
    learners: tuple[Member, ...] = ()
    promoting: tuple[NodeId, ...] = ()
    removed: tuple[str, ...] = ()

    @cached_property
    def size(self) -> int:
        """How many bytes it takes at most, encoded."""
        texts = [
            *self.removed,
            *(
                text
                for member in self.members
                for text in (member.peer_address, member.client_address, member.data_id)
            ),
        ]
        structs = 1 + len(self.members) + len(self.promoting)
        return structs * _STRUCT_BYTES + sum(3 + len(text.encode()) for text in texts)

    # ------------------------------------------------------------------ majorities

    @property
    def voter_ids(self) -> tuple[NodeId, ...]:
        """The ids of all voting members."""
        return tuple([member.id for member in self.voters])

    @property
    def majority(self) -> int:
        """How many voters are more than half of them."""
        return len(self.voters) // 2 + 1

    def is_majority(self, ids: Iterable[NodeId]) -> bool:
        """Whether the voters among `ids` are a majority of the cluster."""
        voters = self.voter_ids
        return sum(1 for node in set(ids) if node in voters) >= self.majority

    def majority_value(self, value_of: Callable[[NodeId], int]) -> int:
        """The largest value that a majority of the voters has reached.

        With `value_of` = a server's `match_index` this is the index that is on a majority.
        """
        descending = sorted([value_of(member.id) for member in self.voters], reverse=True)
        return descending[self.majority - 1]

    # ------------------------------------------------------------------ members

    @property
    def members(self) -> tuple[Member, ...]:
        """All members, voters first."""
        return self.voters + self.learners

    def member(self, node: NodeId) -> Member | None:
        """The member with this id, if there is one."""
        for member in self.members:
            if member.id == node:
                return member
        return None

    def is_voter(self, node: NodeId) -> bool:
        """Whether it is a voting member."""
        return any(member.id == node for member in self.voters)

    # ------------------------------------------------------------------ the next configuration

    def with_learner(self, member: Member, *, promote: bool) -> "Configuration":
        """With a new member that votes as soon as it has caught up, or, without `promote`, never.

        Raises:
            ConfigurationError: there is a member of that id, or its data directory is another
                member's, or one that was removed; or there are `MAX_MEMBERS`.
        """
        if self.member(member.id) is not None:
            raise ConfigurationError(
                f"there is a member {member.id} already: if it has lost its data, let it in with "
                "`quorate member rejoin`; else remove it first, or choose another id"
            )
        if member.data_id and member.data_id in self.removed:
            raise ConfigurationError(
                f"the data directory {member.data_id} was removed from the cluster: give the node "
                "a new, empty one"
            )
        for other in self.members:
            if member.data_id and other.data_id == member.data_id:
                raise ConfigurationError(
                    f"member {other.id} has the data directory {member.data_id}: give each node "
                    "one of its own"
                )
        if len(self.members) >= MAX_MEMBERS:
            raise ConfigurationError(
                f"there are {MAX_MEMBERS} members, and no more are possible: remove one first"
            )
        return msgspec.structs.replace(
            self,
            learners=_by_id((*self.learners, member)),
            promoting=(*self.promoting, member.id) if promote else self.promoting,
        )

    def with_promoting(self, node: NodeId) -> "Configuration":
        """With a learner that is to vote as soon as it has caught up.

        Raises:
            ConfigurationError: there is no such learner.
        """
        self._learner(node)
        if node in self.promoting:
            return self
        return msgspec.structs.replace(self, promoting=(*self.promoting, node))

    def with_voter(self, node: NodeId) -> "Configuration":
        """With a learner made a voter.

        Raises:
            ConfigurationError: there is no such learner.
        """
        learner = self._learner(node)
        return msgspec.structs.replace(
            self,
            voters=_by_id((*self.voters, learner)),
            learners=tuple(member for member in self.learners if member.id != node),
            promoting=tuple(other for other in self.promoting if other != node),
        )

    def without(self, node: NodeId) -> "Configuration":
        """Without a member.

        Raises:
            ConfigurationError: there is no such member, or it is the last voter.
        """
        gone = self.member(node)
        if gone is None:
            raise ConfigurationError(f"there is no member {node}: {self._present}")
        if self.voter_ids == (node,):
            raise ConfigurationError(
                f"member {node} is the only one that votes, and without it there would be no "
                "cluster: add another one first"
            )
        return Configuration(
            voters=tuple(member for member in self.voters if member.id != node),
            learners=tuple(member for member in self.learners if member.id != node),
            promoting=tuple(other for other in self.promoting if other != node),
            removed=(*self.removed, gone.data_id)[-MAX_REMOVED:] if gone.data_id else self.removed,
        )

    def with_member(self, member: Member) -> "Configuration":
        """With what is known of a member replaced, as when its addresses have changed.

        Raises:
            ConfigurationError: there is no such member.
        """
        if self.member(member.id) is None:
            raise ConfigurationError(f"there is no member {member.id}: {self._present}")
        return msgspec.structs.replace(
            self,
            voters=tuple(member if other.id == member.id else other for other in self.voters),
            learners=tuple(member if other.id == member.id else other for other in self.learners),
        )

    def may_follow(self, other: "Configuration") -> bool:
        """Whether this one may be the next after another: they differ by one voter at most.

        A voter whose data id changes would be two servers, of which one goes and the other comes.
        """
        is_one_change = len(set(self.voter_ids) ^ set(other.voter_ids)) <= 1
        before = {member.id: member.data_id for member in other.members}
        return (
            bool(self.voters)
            and is_one_change
            and all(before.get(own.id) in (None, "", own.data_id) for own in self.members)
        )

    def _learner(self, node: NodeId) -> Member:
        learner = next((member for member in self.learners if member.id == node), None)
        if learner is None:
            state = "votes already" if self.is_voter(node) else f"is no member: {self._present}"
            raise ConfigurationError(f"there is no learner {node}: it {state}")
        return learner

    @property
    def _present(self) -> str:
        return f"the members are {', '.join(str(member.id) for member in self.members)}"


class Membership(msgspec.Struct, frozen=True):
    """What a server knows of who the members are: by its log, and beyond doubt.

    Changes come one at a time, so the configuration before the latest one is committed, even if a
    server that has just started does not know yet up to where its log is.

    Attributes:
        configuration: the latest one in its log. It is in force, and may be taken back.
        index: of its entry, or of the snapshot that holds it.
        committed: the latest one that is surely committed; None if the server has lost it.
        committed_index: of that; 0 if it is lost. Of two committed ones that with the greater index
            is the newer one, whichever servers tell them.
    """

    configuration: Configuration
    index: int
    committed: Configuration | None
    committed_index: int

    @property
    def is_committed(self) -> bool:
        """Whether the one that is in force is known to be committed."""
        return self.committed is not None and self.index == self.committed_index


def _by_id(members: Iterable[Member]) -> tuple[Member, ...]:
    return tuple(sorted(members, key=lambda member: member.id))


def configuration_of(ids: Iterable[int]) -> Configuration:
    """A configuration of servers without addresses, as tests use it."""
    return Configuration(voters=tuple(Member(id=NodeId(node)) for node in sorted(ids)))
