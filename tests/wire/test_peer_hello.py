import contextlib
import re

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from quorate.codec.errors import DecodeError
from quorate.raft.configuration import NodeId
from quorate.wire.peer_hello import (
    MAX_HELLO_BYTES,
    PROTOCOL_VERSION,
    Hello,
    Refusal,
    decode_hello,
    decode_refusal,
    encode_hello,
    encode_refusal,
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


def test_a_member_is_not_refused() -> None:
    assert refuse_reason(ME, THEM, known_data_id="disk-of-2") is None
    assert refuse_reason(THEM, ME, known_data_id="disk-of-1") is None


def test_a_member_that_was_never_met_is_not_refused() -> None:
    assert refuse_reason(ME, THEM, known_data_id=None) is None


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"version": 2}, "node 2 speaks version 2 .* and node 1 version 1: run the same release"),
        ({"cluster_id": "red"}, "node 2 belongs to cluster 'red' and node 1 to cluster 'blue'"),
        ({"sender": 1}, "say that they are node 1: give each server an id of its own"),
        ({"to": 3}, "node 2 means to reach node 3, but reached node 1: check"),
        (
            {"data_id": "new"},
            "node 2 has lost its data: .*'new'.*'disk-of-2'.*leave it stopped",
        ),
    ],
    ids=["version", "cluster", "my own id", "another addressee", "wiped"],
)
def test_who_does_not_fit_is_refused_with_what_to_do(
    change: dict[str, object], reason: str
) -> None:
    theirs = msgspec.structs.replace(THEM, **change)
    text = refuse_reason(ME, theirs, known_data_id="disk-of-2")
    assert text is not None
    assert re.search(reason, text)


def test_who_answers_in_place_of_another_is_refused() -> None:
    mine = hello_of(1, 3)
    text = refuse_reason(mine, hello_of(2, None), known_data_id=None)
    assert text == (
        "node 1 means to reach node 3, but reached node 2: check the members' peer addresses"
    )


def test_what_a_later_version_appended_is_ignored() -> None:
    body = msgspec.msgpack.encode([*msgspec.to_builtins(THEM), "new", [[1]]])
    assert decode_hello(body) == THEM
    assert decode_refusal(msgspec.msgpack.encode(["why", 3])) == Refusal("why")


def test_the_version_is_the_first_field() -> None:
    assert msgspec.msgpack.decode(encode_hello(THEM))[0] == PROTOCOL_VERSION


def test_a_reason_that_is_too_long_is_cut_short() -> None:
    body = encode_refusal(Refusal("\U0001f600" * 5000))
    assert len(body) <= MAX_HELLO_BYTES
    assert decode_refusal(body).reason.startswith("\U0001f600" * 900)


def test_the_longest_hello_fits() -> None:
    longest = "\U0001f600" * 256
    hello = msgspec.structs.replace(
        THEM, cluster_id=longest, data_id=longest, client_address=longest
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
