"""Records that contradict themselves are refused."""

from typing import Any

import pytest

from quorate.checker import Kind, Operation

SOUND: dict[str, Any] = {"client": "A", "key": b"k", "called": 1, "returned": 2}


@pytest.mark.parametrize(
    ("attributes", "complaint"),
    [
        ({"kind": Kind.PUT}, "a put needs an argument"),
        ({"kind": Kind.GET, "argument": b"x"}, "a get takes no argument"),
        ({"kind": Kind.DELETE, "argument": b"x"}, "a delete takes no argument"),
        ({"kind": Kind.GET, "called": 3}, "it returned at 2, before its call at 3"),
        ({"kind": Kind.GET, "called": float("nan")}, "before its call"),
        ({"kind": Kind.GET, "result": b"x", "returned": None}, "pending"),
        ({"kind": Kind.GET, "result": 1}, "the result of a get is a value"),
        ({"kind": Kind.PUT, "argument": b"", "result": b"OK"}, "a put has no result"),
        ({"kind": Kind.APPEND, "argument": b"", "result": b"x"}, "the result of an append is"),
        ({"kind": Kind.APPEND, "argument": b"", "result": -1}, "the result of an append is"),
        ({"kind": Kind.DELETE, "result": 2}, "the result of a delete is 0 or 1"),
    ],
)
def test_a_record_must_fit_together(attributes: dict[str, Any], complaint: str) -> None:
    with pytest.raises(ValueError, match=complaint):
        Operation(**(SOUND | attributes))
