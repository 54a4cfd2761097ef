"""Histories go to another process and are the same there."""

from hypothesis import given
from hypothesis import strategies as st

from quorate.checker import Kind, Operation
from quorate.lab.packed_history import pack, unpack

keys = st.sampled_from([b"", b"k", b"\xff"])
values = st.text("ab", max_size=6).map(str.encode)
"""Many are the beginnings of others."""


@st.composite
def operations(draw: st.DrawFn) -> Operation:
    kind = draw(st.sampled_from(list(Kind)))
    has_argument = kind in (Kind.PUT, Kind.APPEND)
    called = draw(st.integers(0, 1 << 50) | st.floats(0, 1e9))
    is_pending = draw(st.booleans())
    results = {
        Kind.GET: st.none() | values,
        Kind.PUT: st.none(),
        Kind.APPEND: st.none() | st.integers(0, 1 << 40),
        Kind.DELETE: st.none() | st.integers(0, 1),
    }
    return Operation(
        client=draw(st.sampled_from(["0", "1", "é"])),
        kind=kind,
        key=draw(keys),
        argument=draw(values) if has_argument else None,
        result=None if is_pending else draw(results[kind]),
        called=called,
        returned=None if is_pending else called + 1,
    )


@given(st.lists(operations()))
def test_what_is_unpacked_is_what_was_packed(history: list[Operation]) -> None:
    assert unpack(pack(history)) == history


def test_a_value_that_grows_is_not_repeated() -> None:
    history = [
        Operation(client="1", kind=Kind.GET, key=b"k", result=b"x" * size, called=1, returned=2)
        for size in range(1_000)
    ]
    assert len(pack(history)) < 20_000
