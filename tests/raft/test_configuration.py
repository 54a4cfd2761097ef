"""Majorities, compared with a search over all subsets."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from quorate.raft.configuration import (
    MAX_MEMBERS,
    MAX_REMOVED,
    Configuration,
    ConfigurationError,
    Member,
    NodeId,
    configuration_of,
)

if TYPE_CHECKING:
    from collections.abc import Callable


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


# --------------------------------------------------------------------- the next configuration


def changes(configuration: Configuration) -> list[Configuration]:
    """All that may come next, but for addresses."""
    known = [member.id for member in configuration.members]
    new = [NodeId(node) for node in range(1, 8) if node not in known]
    learners = [member.id for member in configuration.learners]
    return [
        *(configuration.with_learner(Member(node), promote=True) for node in new),
        *(configuration.with_learner(Member(node), promote=False) for node in new),
        *(configuration.with_promoting(node) for node in learners),
        *(configuration.with_voter(node) for node in learners),
        *(configuration.without(node) for node in known if configuration.voter_ids != (node,)),
    ]


def test_a_voter_with_other_data_is_another_voter() -> None:
    """One would go and another come in one step: majorities might have nobody in common."""
    known = configuration_of([1, 2])
    unknown = Member(NodeId(2))
    with_data = known.with_member(Member(NodeId(2), data_id="a"))
    with_other = known.with_member(Member(NodeId(2), data_id="b"))
    assert with_data.may_follow(known.with_member(unknown)), "it has become known"
    assert not with_other.may_follow(with_data)
    assert not known.may_follow(with_data), "it was known"


def test_there_is_a_limit_to_how_many_members_there_are() -> None:
    full = configuration_of(range(1, MAX_MEMBERS + 1))
    with pytest.raises(ConfigurationError, match=f"there are {MAX_MEMBERS} members"):
        full.with_learner(Member(NodeId(MAX_MEMBERS + 1)), promote=False)


@given(st.integers(1, 7), st.lists(st.integers(0, 100), max_size=12))
def test_all_that_can_follow_each_other_have_a_server_in_common_in_all_majorities(
    size: int, choices: list[int]
) -> None:
    """ "any majority of the old cluster overlaps with any majority of the new" (§4.1)."""
    configuration = configuration_of(range(1, size + 1))
    for choice in choices:
        possible = changes(configuration)
        following = possible[choice % len(possible)]
        assert following.may_follow(configuration)
        ids = [member.id for member in following.members]
        assert sorted(set(ids)) == sorted(ids)
        assert set(following.promoting) <= {member.id for member in following.learners}
        for old in itertools.combinations(configuration.voter_ids, configuration.majority):
            for new in itertools.combinations(following.voter_ids, following.majority):
                assert set(old) & set(new)
        configuration = following


@pytest.mark.parametrize(
    ("change", "text"),
    [
        (lambda c: c.with_learner(Member(NodeId(2)), promote=True), "there is a member 2 already"),
        (lambda c: c.with_learner(Member(NodeId(4), data_id="gone"), promote=True), "was removed"),
        (
            lambda c: c.with_member(Member(NodeId(2), data_id="d")).with_learner(
                Member(NodeId(4), data_id="d"), promote=True
            ),
            "member 2 has the data directory d",
        ),
        (lambda c: c.with_promoting(NodeId(2)), "no learner 2: it votes already"),
        (lambda c: c.with_voter(NodeId(9)), "no learner 9: it is no member: the members are 1, 2"),
        (lambda c: c.without(NodeId(9)), "no member 9: the members are 1, 2"),
        (lambda c: c.without(NodeId(1)).without(NodeId(2)), "the only one that votes"),
        (lambda c: c.with_member(Member(NodeId(9))), "no member 9"),
    ],
)
def test_there_is_no_such_configuration(
    change: Callable[[Configuration], Configuration], text: str
) -> None:
    present = msgspec.structs.replace(configuration_of([1, 2]), removed=("gone",))
    with pytest.raises(ConfigurationError, match=text):
        change(present)


def test_the_data_of_who_was_removed_is_remembered() -> None:
    present = configuration_of([1, 2]).with_member(Member(NodeId(2), data_id="d2"))
    assert present.without(NodeId(2)).removed == ("d2",)


def test_of_those_that_were_removed_the_last_are_remembered() -> None:
    configuration = configuration_of([1])
    for number in range(MAX_REMOVED + 3):
        member = Member(NodeId(2), data_id=f"d{number}")
        configuration = configuration.with_learner(member, promote=False).without(NodeId(2))
    assert configuration.removed == tuple(f"d{n}" for n in range(3, MAX_REMOVED + 3))


@given(st.lists(st.text(max_size=300), max_size=3), st.lists(st.text(max_size=300), max_size=3))
def test_it_takes_no_more_than_it_says(texts: list[str], removed: list[str]) -> None:
    members = tuple(Member(NodeId(2**31 - 1), text, text, text) for text in texts)
    configuration = Configuration(members, members, (NodeId(2**31 - 1),) * 3, tuple(removed))
    encoded = len(msgspec.msgpack.encode(configuration))
    assert encoded <= configuration.size <= 2 * encoded + 100
