"""Numbers by index, against a dictionary."""

from hypothesis import given
from hypothesis import strategies as st

from quorate.storage.runs import Runs


@given(
    st.lists(
        st.tuples(st.integers(1, 30), st.integers(0, 2), st.sampled_from(["set", "set", "forget"])),
        max_size=20,
    )
)
def test_each_index_has_the_number_that_was_set_last(steps: list[tuple[int, int, str]]) -> None:
    runs = Runs()
    known: dict[int, int] = {}
    value, forgotten = 0, 0
    for index, more, step in steps:
        if step == "set":
            value += more
            known = {at: old for at, old in known.items() if at < index}
            known |= dict.fromkeys(range(index, 40), value)
        else:
            runs.forget_before(index)
            forgotten = max(forgotten, index)
        if step == "set":
            runs.set_from(index, value)
        for at in range(forgotten, 40):
            assert runs.value_at(at) == known.get(at)


def test_nothing_is_known_at_first() -> None:
    runs = Runs()
    runs.forget_before(10)
    assert runs.value_at(10) is None
