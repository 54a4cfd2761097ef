"""The checker beside its dumb twin, which tries every order of every choice."""

from collections.abc import Callable, Sequence

from hypothesis import given, settings
from hypothesis import strategies as st

from quorate.checker import Kind, Operation, Outcome, check

# Few values and short times, so that operations overlap, repeat and depend on each other.
ARGUMENTS = st.sampled_from([b"a", b"b", b""])
VALUES = st.sampled_from([None, b"", b"a", b"b", b"ab", b"aa", b"ba"])
TIMES = st.integers(0, 10)


@st.composite
def operations(draw: st.DrawFn) -> Operation:
    kind = draw(st.sampled_from([Kind.GET, Kind.GET, Kind.APPEND, Kind.APPEND, Kind.PUT]) | KINDS)
    called = draw(TIMES)
    is_pending = draw(st.integers(0, 4)) == 0
    results: dict[Kind, st.SearchStrategy[bytes | int | None]] = {
        Kind.GET: VALUES,
        Kind.PUT: st.none(),
        Kind.APPEND: st.none() | st.integers(0, 3),
        Kind.DELETE: st.none() | st.integers(0, 1),
    }
    return Operation(
        client="A",
        kind=kind,
        key=b"k",
        argument=draw(ARGUMENTS) if kind in (Kind.PUT, Kind.APPEND) else None,
        result=None if is_pending else draw(results[kind]),
        called=called,
        returned=None if is_pending else called + draw(TIMES),
    )


KINDS = st.sampled_from(Kind)


@st.composite
def believable(draw: st.DrawFn) -> list[Operation]:
    """What a service might say that executes operations at random instants, but for one result."""
    history = []
    value: bytes | None = None
    for instant in range(draw(st.integers(1, 6))):
        kind = draw(KINDS)
        argument = draw(ARGUMENTS) if kind in (Kind.PUT, Kind.APPEND) else None
        if argument is not None:
            value = argument if kind is Kind.PUT else (value or b"") + argument
        if kind is Kind.DELETE:
            value = None
        is_pending = draw(st.integers(0, 4)) == 0
        result = value if kind is Kind.GET else None
        if kind is Kind.APPEND and draw(st.booleans()):
            result = None
        if kind is Kind.GET and draw(st.integers(0, 9)) == 0:
            result = draw(VALUES)
        history.append(
            Operation(
                client="A",
                kind=kind,
                key=b"k",
                argument=argument,
                result=None if is_pending else result,
                called=instant - draw(st.integers(0, 5)),
                returned=None if is_pending else instant + draw(st.integers(0, 5)),
            )
        )
    return draw(st.permutations(history))


@settings(max_examples=1500)
@given(history=st.lists(operations(), min_size=1, max_size=6) | believable())
def test_it_finds_a_linearization_exactly_if_there_is_one(
    linearizable: Callable[..., bool],
    explaining: Callable[[Sequence[Operation]], bool],
    history: list[Operation],
) -> None:
    (verdict,) = check(history).keys
    assert verdict.outcome is (Outcome.OK if linearizable(history) else Outcome.ILLEGAL)
    assert explaining(verdict.linearization)
    placed = set(map(id, verdict.linearization))
    assert len(placed) == len(verdict.linearization)
    until = float("inf")
    if verdict.blocked is not None:
        assert verdict.blocked.returned is not None
        until = verdict.blocked.returned
        assert not linearizable(history, until=until)
        assert linearizable(history, until=until - 0.5)
    for operation in history:
        if operation.returned is not None and operation.returned < until:
            assert id(operation) in placed
