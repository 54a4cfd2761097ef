from collections.abc import Callable
from typing import Any

import pytest

from quorate.clerk.errors import CommandError
from quorate.clerk.operations import Operation, append, delete, get, get_or_none, put
from quorate.clerk.replies import Reply, UnexpectedReplyError
from quorate.wire.resp_guard import RequestLimits


@pytest.mark.parametrize(
    ("operation", "arguments", "is_write"),
    [
        (put(b"k", b"v"), (b"SET", b"k", b"v"), True),
        (append(b"k", b"v"), (b"APPEND", b"k", b"v"), True),
        (delete(b"k"), (b"DEL", b"k"), True),
        (get(b"k"), (b"GET", b"k"), False),
        (get_or_none(b"k"), (b"GET", b"k"), False),
    ],
)
def test_each_operation_is_a_redis_command(
    operation: Operation[Any], arguments: tuple[bytes, ...], *, is_write: bool
) -> None:
    assert operation.arguments == arguments
    assert operation.is_write is is_write


@pytest.mark.parametrize(
    ("operation", "reply", "result"),
    [
        (put("k", "v"), b"OK", None),
        (append("k", "v"), 5, 5),
        (delete("k"), 1, True),
        (delete("k"), 0, False),
        (get("k"), b"v", b"v"),
        (get("k"), None, b""),
        (get_or_none("k"), b"", b""),
        (get_or_none("k"), None, None),
    ],
)
def test_each_reply_becomes_what_python_expects(
    operation: Operation[Any], reply: Reply, result: object
) -> None:
    assert operation.result_of(reply) == result


@pytest.mark.parametrize(
    ("operation", "reply"),
    [
        (put("k", "v"), None),
        (put("k", "v"), b"QUEUED"),
        (append("k", "v"), b"5"),
        (delete("k"), None),
        (get("k"), 5),
        (get_or_none("k"), [b"v"]),
    ],
)
def test_a_reply_of_another_kind_is_not_taken(operation: Operation[Any], reply: Reply) -> None:
    with pytest.raises(UnexpectedReplyError):
        operation.result_of(reply)


@pytest.mark.parametrize("make", [get, delete, lambda key: put(key, "v"), lambda v: put("k", v)])
def test_what_no_server_reads_is_refused_before_it_is_sent(
    make: Callable[[Any], Operation[Any]],
) -> None:
    # A server ends the connection at such an argument, and its error gets lost with it. So the
    # call was repeated until its deadline; then the same large fence kept all reads waiting.
    most = RequestLimits().max_bulk_bytes
    assert make(b"x" * most).arguments
    for too_much in (b"x" * (most + 1), "x" * (most + 1), "\u2603" * (most // 3 + 1)):
        with pytest.raises(CommandError, match=r"^ERR (key|value) exceeds what servers read"):
            make(too_much)


def test_text_is_encoded_as_utf_8() -> None:
    assert put("clé", "☃").arguments == (b"SET", b"cl\xc3\xa9", b"\xe2\x98\x83")


@pytest.mark.parametrize("bad", [None, 5, bytearray(b"k"), memoryview(b"k"), ["k"]])
@pytest.mark.parametrize("make", [get, get_or_none, delete, lambda key: put(key, "v")])
def test_a_key_of_another_type_is_refused(make: Callable[[Any], Any], bad: Any) -> None:
    with pytest.raises(TypeError, match=f"key must be bytes, or str .* not {type(bad).__name__}"):
        make(bad)


@pytest.mark.parametrize(("make", "name"), [(put, "value"), (append, "arg")])
def test_a_value_of_another_type_is_refused(make: Callable[[Any, Any], Any], name: str) -> None:
    with pytest.raises(TypeError, match=f"{name} must be bytes"):
        make("k", 5)
