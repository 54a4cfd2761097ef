"""Majorities, compared with a search over all subsets."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from quorate.raft.configuration import Configuration, Member, NodeId, configuration_of


@given(st.dictionaries(st.integers(1, 20).map(NodeId), st.integers(-5, 5), min_size=1, max_size=7))
def test_the_majority_value_is_the_best_that_some_majority_has_reached(
    values: dict[NodeId, int],
) -> None:
    configuration = configuration_of(values)
    majorities = [
        nodes
        for size in range(len(values) // 2 + 1, len(values) + 1)
        for nodes in itertools.combinations(values, size)
    ]
    best = max(min(values[node] for node in nodes) for nodes in majorities)
    assert configuration.majority_value(values.__getitem__) == best


@pytest.mark.parametrize(
    ("size", "majority"), [(1, 1), (2, 2), (3, 2), (4, 3), (5, 3), (6, 4), (7, 4)]
)
def test_a_majority_is_more_than_half(size: int, majority: int) -> None:
    configuration = configuration_of(range(1, size + 1))
    assert configuration.majority == majority
    nodes = configuration.voter_ids
    assert configuration.is_majority(nodes[:majority])
    assert not configuration.is_majority(nodes[: majority - 1])


def test_strangers_and_repetitions_do_not_count() -> None:
    configuration = configuration_of([1, 2, 3])
    assert not configuration.is_majority([NodeId(1), NodeId(1), NodeId(9)])
    assert configuration.is_majority([NodeId(1), NodeId(1), NodeId(3)])


def test_two_majorities_always_share_a_server() -> None:
    """What all of Raft rests on."""
    for size in range(1, 8):
        configuration = configuration_of(range(1, size + 1))
        majorities = [
            set(nodes)
            for count in range(size + 1)
            for nodes in itertools.combinations(configuration.voter_ids, count)
            if configuration.is_majority(nodes)
        ]
        assert all(one & other for one, other in itertools.product(majorities, repeat=2))


def test_a_member_is_found_by_its_id() -> None:
    member = Member(NodeId(2), peer_address="b:1", client_address="b:2")
    configuration = Configuration(voters=(Member(NodeId(1)), member))
    assert configuration.member(NodeId(2)) == member
    assert configuration.member(NodeId(3)) is None


def test_servers_are_in_the_order_of_their_ids() -> None:
    assert configuration_of([3, 1, 2]).voter_ids == (1, 2, 3)
