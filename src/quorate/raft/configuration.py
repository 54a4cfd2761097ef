"""Who the members of the cluster are, and what a majority of them is.

A configuration is a value: it is replaced, never changed in place.
"""

from collections.abc import Callable, Iterable
from typing import NewType

import msgspec

NodeId = NewType("NodeId", int)
"""The number of a server, 1 or more, chosen by the operator and never reused."""


class Member(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """One server of the cluster. Addresses are opaque to Raft.

    Attributes:
        id: the server's number.
        peer_address: where other servers reach it, `HOST:PORT`.
        client_address: where clients reach it, `HOST:PORT`.
    """

    id: NodeId
    peer_address: str = ""
    client_address: str = ""


class Configuration(msgspec.Struct, frozen=True, array_like=True):
    """The voting members of the cluster, in the order of their ids."""

    voters: tuple[Member, ...]

    @property
    def voter_ids(self) -> tuple[NodeId, ...]:
        """The ids of all voting members."""
        return tuple(member.id for member in self.voters)

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
        descending = sorted((value_of(node) for node in self.voter_ids), reverse=True)
        return descending[self.majority - 1]

    def member(self, node: NodeId) -> Member | None:
        """The member with this id, if there is one."""
        return next((member for member in self.voters if member.id == node), None)


def configuration_of(ids: Iterable[int]) -> Configuration:
    """A configuration of servers without addresses, as tests use it."""
    return Configuration(voters=tuple(Member(id=NodeId(node)) for node in sorted(ids)))
