import contextlib
import re
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from quorate.codec.errors import DecodeError
from quorate.raft.configuration import Configuration, Member, Membership, NodeId, configuration_of
from quorate.wire.peer_hello import (
    MAX_HELLO_BYTES,
    PROTOCOL_VERSION,
    Hello,
    Refusal,
    decode_hello,
    decode_refusal,
    encode_hello,
    encode_refusal,
    member_since,
    refuse_reason,
)


def hello_of(node: int, to: int | None) -> Hello:
    return Hello(
        cluster_id="blue",
        sender=NodeId(node),
        to=None if to is None else NodeId(to),
        data_id=f"disk-of-{node}",
        boot=7,
        client_address=f"127.0.0.1:700{node}",
    )


ME = hello_of(1, None)  # was connected to
THEM = hello_of(2, 1)


THREE_MEMBERS = configuration_of([1, 2, 3])
MEMBERS = Membership(THREE_MEMBERS, 5, THREE_MEMBERS, 5)
NEVER_MET: dict[str, Any] = {
    "membership": MEMBERS,
    "remembered_data_id": None,
    "previous": None,
    "is_second": False,
}
MET: dict[str, Any] = {**NEVER_MET, "remembered_data_id": "disk-of-2"}


def test_a_member_is_not_refused() -> None:
    assert refuse_reason(ME, THEM, **MET) is None
    assert refuse_reason(THEM, ME, **NEVER_MET) is None


def test_a_member_that_was_never_met_is_not_refused() -> None:
    assert refuse_reason(ME, THEM, **NEVER_MET) is None


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"version": 3}, "node 2 speaks version 3 .* and node 1 version 2: run the same release"),
        ({"cluster_id": "red"}, "node 2 belongs to cluster 'red' and node 1 to cluster 'blue'"),
        ({"sender": 1}, "say that they are node 1: give each server an id of its own"),
        ({"to": 3}, "node 2 means to reach node 3, but reached node 1: check"),
        (
            {"data_id": "new"},
            "node 2 has lost its data: .*'new'.*'disk-of-2'.*member rejoin",
        ),
    ],
    ids=["version", "cluster", "my own id", "another addressee", "wiped"],
)
def test_who_does_not_fit_is_refused_with_what_to_do(
    change: dict[str, object], reason: str
) -> None:
    theirs = msgspec.structs.replace(THEM, **change)
    text = refuse_reason(ME, theirs, **MET)
    assert text is not None
    assert re.search(reason, text)


# --------------------------------------------------------------------- who has which data


def membership(*voters: Member, removed: tuple[str, ...] = ()) -> Membership:
    configuration = msgspec.structs.replace(configuration_of([]), voters=voters, removed=removed)
    return Membership(configuration, 5, configuration, 5)


def with_uncommitted(known: Membership, configuration: Configuration) -> Membership:
    return msgspec.structs.replace(known, configuration=configuration, index=9)


TWO = Member(NodeId(2), data_id="disk-of-2")
THREE = Member(NodeId(3), data_id="disk-of-3")


def test_the_members_list_goes_before_what_is_remembered() -> None:
    # It was wiped, and joined again: others may have met it with its former data only.
    how = {**NEVER_MET, "membership": membership(TWO), "remembered_data_id": "the former disk"}
    assert refuse_reason(ME, THEM, **how) is None
    former = msgspec.structs.replace(THEM, data_id="the former disk")
    assert "has lost its data" in str(refuse_reason(ME, former, **how))


def test_a_stranger_is_talked_to_for_it_may_have_joined_since() -> None:
    assert refuse_reason(ME, hello_of(9, 1), **{**MET, "membership": membership(TWO)}) is None


def test_who_joins_under_the_id_of_one_that_the_cluster_was_started_with_is_refused() -> None:
    """Nobody here has met that one, but others have: it may have voted, and has lost its data."""
    theirs = msgspec.structs.replace(THEM, has_joined=True)
    for how in (NEVER_MET, MET):
        text = refuse_reason(ME, theirs, **how)
        assert text is not None
        assert "node 2 has lost its data" in text
    how = {**NEVER_MET, "membership": membership(Member(NodeId(2), data_id="disk-of-2"))}
    assert refuse_reason(ME, theirs, **how) is None
    assert refuse_reason(ME, msgspec.structs.replace(theirs, sender=NodeId(9)), **NEVER_MET) is None


def test_who_was_removed_is_told_so() -> None:
    how = {**NEVER_MET, "membership": membership(removed=("disk-of-2",))}
    text = refuse_reason(ME, THEM, **how)
    assert text is not None
    assert "node 2 was removed from the cluster: stop it" in text
    # Until that is committed, its vote or its log may be what it takes to commit it.
    how["membership"] = with_uncommitted(
        membership(TWO), membership(removed=("disk-of-2",)).configuration
    )
    assert refuse_reason(ME, THEM, **how) is None


def test_who_was_removed_is_told_so_while_another_change_is_under_way() -> None:
    removed = membership(removed=("disk-of-2",))
    known = with_uncommitted(removed, removed.configuration.with_learner(THREE, promote=True))
    text = refuse_reason(ME, THEM, **{**NEVER_MET, "membership": known})
    assert text is not None
    assert "was removed" in text


def test_who_knows_a_later_configuration_with_its_data_is_believed() -> None:
    # This server has been away: it knows node 2 with the data that it had lost before it was let
    # in again, and may need it as its leader.
    how = {**NEVER_MET, "membership": membership(Member(NodeId(2), data_id="the former disk"))}
    assert refuse_reason(ME, THEM, **how) is not None
    for index, is_accepted in ((5, False), (6, True)):
        theirs = msgspec.structs.replace(THEM, member_since=index)
        assert (refuse_reason(ME, theirs, **how) is None) is is_accepted


def test_a_leader_of_old_with_a_change_that_nobody_else_has_believes_the_others() -> None:
    """Its change has a greater index than theirs, but will never be committed.

    It was cut off while others were let in again with new data, at lower indexes than it has in its
    own log. If it refused them all it could never come back.
    """
    former = membership(Member(NodeId(2), data_id="the former disk"))
    known = with_uncommitted(former, former.configuration.with_learner(THREE, promote=True))
    theirs = msgspec.structs.replace(THEM, member_since=6)
    assert refuse_reason(ME, theirs, **{**NEVER_MET, "membership": known}) is None


def test_a_change_under_way_does_not_keep_a_node_from_saying_since_when_it_is_a_member() -> None:
    """Else a leader whose change needs a node that knows it by its former data is stuck."""
    known = membership(TWO, THREE)
    assert member_since("disk-of-2", NodeId(2), known) == 5
    assert member_since("the former disk", NodeId(2), known) == 0
    assert member_since("disk-of-4", NodeId(4), known) == 0
    under_way = with_uncommitted(known, known.configuration.without(NodeId(2)))
    assert member_since("disk-of-2", NodeId(2), under_way) == 5
    nothing = msgspec.structs.replace(known, committed=None, committed_index=0)
    assert member_since("disk-of-2", NodeId(2), nothing) == 0


@pytest.mark.parametrize(
    ("boot", "life", "is_second", "verdict"),
    [
        (7, "a", False, "fine"),
        (7, "a", True, "fine"),
        (7, "b", False, "refused"),
        (8, "b", False, "fine"),
        (8, "b", True, "refused"),
        (6, "b", False, "refused"),
    ],
)
def test_of_two_processes_on_copies_of_a_directory_one_is_refused(
    boot: int, life: str, *, is_second: bool, verdict: str
) -> None:
    previous = msgspec.structs.replace(THEM, life="a")
    theirs = msgspec.structs.replace(THEM, boot=boot, life=life)
    how = {**MET, "previous": previous, "is_second": is_second}
    text = refuse_reason(ME, theirs, **how)
    assert (text is not None) == (verdict == "refused")
    assert text is None or "stop the one that is refused" in text


def test_who_takes_over_a_number_while_the_former_one_runs_is_no_copy_of_it() -> None:
    previous = msgspec.structs.replace(THEM, life="a", data_id="the former disk")
    how = {**MET, "previous": previous, "is_second": True}
    assert refuse_reason(ME, msgspec.structs.replace(THEM, life="b"), **how) is None


def test_who_answers_in_place_of_another_is_refused() -> None:
    mine = hello_of(1, 3)
    text = refuse_reason(mine, hello_of(2, None), **NEVER_MET)
    assert text == (
        "node 1 means to reach node 3, but reached node 2: check the members' peer addresses"
    )


def test_what_a_later_version_appended_is_ignored() -> None:
    body = msgspec.msgpack.encode([*msgspec.to_builtins(THEM), "new", [[1]]])
    assert decode_hello(body) == THEM
    assert decode_refusal(msgspec.msgpack.encode(["why", True, 3])) == Refusal(
        "why", was_removed=True
    )
    assert decode_refusal(msgspec.msgpack.encode(["why"])) == Refusal("why")


def test_the_version_is_the_first_field() -> None:
    assert msgspec.msgpack.decode(encode_hello(THEM))[0] == PROTOCOL_VERSION


def test_a_reason_that_is_too_long_is_cut_short() -> None:
    body = encode_refusal(Refusal("\U0001f600" * 5000, was_removed=True))
    assert decode_refusal(body).was_removed
    assert len(body) <= MAX_HELLO_BYTES
    assert decode_refusal(body).reason.startswith("\U0001f600" * 900)


def test_the_longest_hello_fits() -> None:
    longest = "\U0001f600" * 256
    hello = msgspec.structs.replace(
        THEM,
        cluster_id=longest,
        data_id=longest,
        client_address=longest,
        peer_address=longest,
        life=longest,
    )
    assert len(encode_hello(hello)) <= MAX_HELLO_BYTES
    assert decode_hello(encode_hello(hello)) == hello
    with pytest.raises(DecodeError, match="not a hello"):
        decode_hello(encode_hello(msgspec.structs.replace(hello, cluster_id=longest + "x")))


@given(st.binary(max_size=60))
def test_garbage_is_a_decode_error(data: bytes) -> None:
    for decode in (decode_hello, decode_refusal):
        with contextlib.suppress(DecodeError):
            decode(data)
