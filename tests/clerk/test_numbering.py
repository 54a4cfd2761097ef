from hypothesis import given
from hypothesis import strategies as st

from quorate.clerk.numbering import Numbering


@given(
    window=st.integers(min_value=1, max_value=5),
    choices=st.lists(st.integers(min_value=0, max_value=9)),
)
def test_acked_is_the_greatest_number_up_to_which_all_are_settled(
    window: int, choices: list[int]
) -> None:
    """Against a twin that keeps every number and looks at all of them each time."""
    numbering = Numbering(session=7, window=window)
    taken: list[int] = []
    settled: set[int] = set()
    for choice in choices:
        open_numbers = [seq for seq in taken if seq not in settled]
        if choice < 5 and open_numbers:
            seq = open_numbers[choice % len(open_numbers)]
            numbering.settle(seq)
            settled.add(seq)
        elif numbering.has_room:
            taken.append(numbering.take())
        acked = next(seq for seq in range(len(taken) + 1) if seq + 1 not in settled)
        assert numbering.acked == acked
        assert numbering.has_room == (len(taken) < acked + window)
    assert taken == list(range(1, len(taken) + 1))
