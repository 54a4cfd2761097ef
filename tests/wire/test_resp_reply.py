from typing import Any

import hiredis
import pytest
from hypothesis import given
from hypothesis import strategies as st

from quorate.wire.resp_reply import (
    OK,
    ErrorReply,
    Reply,
    RespVersion,
    SimpleString,
    encode_array,
    encode_bulk,
    encode_error,
    encode_integer,
    encode_null,
    encode_reply,
    encode_simple_string,
)


@pytest.mark.parametrize(
    ("reply", "resp2", "resp3"),
    [
        (None, b"$-1\r\n", b"_\r\n"),
        (0, b":0\r\n", b":0\r\n"),
        (-(2**63), b":-9223372036854775808\r\n", b":-9223372036854775808\r\n"),
        (b"", b"$0\r\n\r\n", b"$0\r\n\r\n"),
        (b"a\r\nb\x00", b"$5\r\na\r\nb\x00\r\n", b"$5\r\na\r\nb\x00\r\n"),
        ("caf\u00e9", b"$5\r\ncaf\xc3\xa9\r\n", b"$5\r\ncaf\xc3\xa9\r\n"),
        (SimpleString("OK"), OK, OK),
        (SimpleString("PONG"), b"+PONG\r\n", b"+PONG\r\n"),
        (SimpleString("a\r\nb"), b"+a  b\r\n", b"+a  b\r\n"),
        (ErrorReply("ERR", "syntax error"), b"-ERR syntax error\r\n", b"-ERR syntax error\r\n"),
        (ErrorReply("ERR", "a\r\n-b\n"), b"-ERR a  -b \r\n", b"-ERR a  -b \r\n"),
        (ErrorReply("STALE", ""), b"-STALE\r\n", b"-STALE\r\n"),
        ([], b"*0\r\n", b"*0\r\n"),
        ([b"a", [1]], b"*2\r\n$1\r\na\r\n*1\r\n:1\r\n", b"*2\r\n$1\r\na\r\n*1\r\n:1\r\n"),
        ([None, [None]], b"*2\r\n$-1\r\n*1\r\n$-1\r\n", b"*2\r\n_\r\n*1\r\n_\r\n"),
        ({}, b"*0\r\n", b"%0\r\n"),
        (
            {"proto": 3, "modules": []},
            b"*4\r\n$5\r\nproto\r\n:3\r\n$7\r\nmodules\r\n*0\r\n",
            b"%2\r\n$5\r\nproto\r\n:3\r\n$7\r\nmodules\r\n*0\r\n",
        ),
    ],
)
def test_a_reply_in_both_protocols(reply: Reply, resp2: bytes, resp3: bytes) -> None:
    assert encode_reply(reply, 2) == resp2
    assert encode_reply(reply, 3) == resp3


def test_an_error_with_a_surrogate_is_still_sent() -> None:
    assert encode_error("ERR", "unknown command '\udcff'") == b"-ERR unknown command '?'\r\n"


def test_the_small_functions_agree_with_the_general_one() -> None:
    assert encode_integer(7) == encode_reply(7, 2)
    assert encode_bulk(b"v") == encode_reply(b"v", 2)
    assert encode_simple_string("s") == encode_reply(SimpleString("s"), 2)
    assert encode_null(3) == encode_reply(None, 3)
    assert encode_array([OK, encode_null(2)]) == encode_reply([SimpleString("OK"), None], 2)


def plain(reply: Any, version: RespVersion) -> Any:
    """What a client makes of it; hiredis gives simple and bulk strings as bytes."""
    match reply:
        case str():
            return reply.encode()
        case list():
            return [plain(item, version) for item in reply]
        case dict() if version == 2:
            return [plain(item, version) for pair in reply.items() for item in pair]
        case dict():
            return {plain(key, 3): plain(value, 3) for key, value in reply.items()}
        case _:
            return reply


replies = st.recursive(
    st.one_of(
        st.none(), st.integers(-(2**63), 2**63 - 1), st.binary(max_size=20), st.text(max_size=9)
    ),
    lambda inner: st.one_of(
        st.lists(inner, max_size=4), st.dictionaries(st.text(max_size=5), inner, max_size=4)
    ),
    max_leaves=12,
)


@given(replies, st.sampled_from([2, 3]))
def test_hiredis_reads_back_what_was_encoded(reply: Reply, version: RespVersion) -> None:
    reader = hiredis.Reader()
    reader.feed(encode_reply(reply, version))
    assert reader.gets() == plain(reply, version)
    assert not reader.has_data()
