"""Histories as JSON lines."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from quorate.checker import Kind, Operation
from quorate.checker.lines import (
    HistoryFormatError,
    encode_operation,
    read_history,
    to_bytes,
    to_text,
)

GET = {
    "client": "c",
    "operation": "get",
    "key": "k",
    "argument": None,
    "result": "v",
    "call": 1,
    "return": 2,
}


def read(*records: dict[str, Any]) -> list[Operation]:
    return list(read_history(json.dumps(record).encode() + b"\n" for record in records))


def test_a_line_is_an_operation() -> None:
    operation = Operation(
        client="c", kind=Kind.GET, key=b"k", argument=None, result=b"v", called=1, returned=2
    )
    assert read(GET) == [operation]
    assert json.loads(encode_operation(operation)) == GET


def test_what_is_nothing_may_be_left_out_but_for_what_decides() -> None:
    assert read({"client": 7, "operation": "delete", "key": "k", "call": 1, "return": None}) == [
        Operation(client="7", kind=Kind.DELETE, key=b"k", called=1)
    ]


def test_a_missing_key_is_null_and_an_empty_value_is_not() -> None:
    missing, empty = read(GET | {"result": None}, GET | {"result": ""})
    assert (missing.result, empty.result) == (None, b"")


def test_times_keep_every_digit() -> None:
    (operation,) = read(GET | {"call": 1763890000123456789, "return": 1763890000123456790})
    assert (operation.called, operation.returned) == (1763890000123456789, 1763890000123456790)


def test_empty_lines_are_skipped() -> None:
    line = json.dumps(GET).encode()
    assert len(list(read_history([b"\n", line + b"\r\n", b"  \n", line]))) == 2


@given(data=st.binary())
def test_any_bytes_have_a_text(data: bytes) -> None:
    assert to_bytes(to_text(data)) == data


@given(key=st.binary(), argument=st.binary(), client=st.text())
def test_what_is_written_is_read_again(key: bytes, argument: bytes, client: str) -> None:
    operation = Operation(client=client, kind=Kind.PUT, key=key, argument=argument, called=0.5)
    assert list(read_history([encode_operation(operation)])) == [operation]


@pytest.mark.parametrize(
    ("text", "data"),
    [("a", b"a"), ("é", "é".encode()), (r"\xff", b"\xff"), (r"\\xff", rb"\xff"), (r"\\", b"\\")],
)
def test_the_escape(text: str, data: bytes) -> None:
    assert to_bytes(text) == data
    assert to_text(data) == text


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ({"operation": "cas"}, "Invalid enum value 'cas'"),
        ({"call": "1"}, "`$.call`"),
        ({"reslut": "v"}, "unknown field `reslut`"),
        ({"key": "\\q"}, r"a backslash in a key, argument or value is written \\"),
        ({"key": "\\x1"}, "a backslash"),
        ({"return": 0}, "it returned at 0, before its call at 1"),
        ({"argument": "x"}, "a get takes no argument"),
    ],
)
def test_a_bad_line_is_named_and_says_what_is_wrong(change: dict[str, Any], complaint: str) -> None:
    with pytest.raises(HistoryFormatError) as caught:
        read(GET, GET | change)
    assert str(caught.value).startswith("line 2: ")
    assert complaint in str(caught.value)


@pytest.mark.parametrize("field", ["client", "operation", "key", "result", "call", "return"])
def test_what_decides_must_be_there(field: str) -> None:
    with pytest.raises(HistoryFormatError, match=f"`{field}`"):
        read({name: value for name, value in GET.items() if name != field})


def test_no_json_is_no_operation() -> None:
    with pytest.raises(HistoryFormatError, match="line 1: JSON is malformed"):
        list(read_history([b"get k"]))
