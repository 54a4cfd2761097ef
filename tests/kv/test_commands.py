import pytest
from hypothesis import given
from hypothesis import strategies as st

from quorate.kv.commands import (
    OK_REPLY,
    Append,
    Command,
    Delete,
    Failure,
    FailureCode,
    Put,
    PutMany,
    Reply,
    decode_command,
    decode_reply,
    encode_command,
    encode_reply,
)
from quorate.kv.errors import MalformedError

EXAMPLES: list[Command] = [
    Put(b"key", b"value"),
    Append(b"key", b"more"),
    Delete((b"one", b"two")),
    PutMany(((b"one", b"1"), (b"two", b"2"))),
]

commands = st.one_of(
    st.builds(Put, st.binary(), st.binary()),
    st.builds(Append, st.binary(), st.binary()),
    st.builds(Delete, st.lists(st.binary()).map(tuple)),
    st.builds(PutMany, st.lists(st.tuples(st.binary(), st.binary())).map(tuple)),
)
replies = st.one_of(
    st.none(),
    st.integers(0, 2**63 - 1),
    st.builds(Failure, st.sampled_from(FailureCode), st.text()),
)


@given(commands)
def test_a_command_survives_its_encoding(command: Command) -> None:
    assert decode_command(encode_command(command)) == command


@given(replies)
def test_a_reply_survives_its_encoding(reply: Reply) -> None:
    assert decode_reply(encode_reply(reply)) == reply


def test_the_reply_ok_is_one_byte() -> None:
    assert encode_reply(None) == OK_REPLY
    assert len(OK_REPLY) == 1


@pytest.mark.parametrize("command", EXAMPLES)
def test_a_command_cut_short_anywhere_is_malformed(command: Command) -> None:
    data = encode_command(command)
    for length in range(len(data)):
        with pytest.raises(MalformedError):
            decode_command(data[:length])


@pytest.mark.parametrize("command", EXAMPLES)
def test_a_command_with_a_surplus_is_malformed(command: Command) -> None:
    data = encode_command(command)
    one_element_more = bytes([data[0] + 1]) + data[1:] + b"\x01"
    for surplus in (data + b"\x00", one_element_more):
        with pytest.raises(MalformedError):
            decode_command(surplus)


def test_nested_surplus_is_refused_without_descending_into_it() -> None:
    data = encode_command(Put(b"key", b"value"))
    deep = bytes([data[0] + 1]) + data[1:] + b"\x91" * 100_000 + b"\x01"
    with pytest.raises(MalformedError, match="at most length"):
        decode_command(deep)


@given(st.binary(max_size=40))
def test_bytes_are_either_a_command_or_malformed(data: bytes) -> None:
    try:
        command = decode_command(data)
    except MalformedError:
        return
    assert decode_command(encode_command(command)) == command


@pytest.mark.parametrize("data", [b"", b"\xc0\xc0", b"\xa1\xff", b"\x93\x01\x01\xa1\xff"])
def test_bytes_that_are_no_reply_are_malformed(data: bytes) -> None:
    with pytest.raises(MalformedError):
        decode_reply(data)
