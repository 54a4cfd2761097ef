import pytest
from hypothesis import given
from hypothesis import strategies as st

from quorate.cli.demo.verification import KeyRecord, Tally, total, verify


def record(
    *, sent: int = 4, unknown: tuple[int, ...] = (), refused: tuple[int, ...] = ()
) -> KeyRecord:
    other = {*unknown, *refused}
    acknowledged = [number for number in range(1, sent + 1) if number not in other]
    return KeyRecord(b"k", sent, acknowledged, list(unknown), list(refused))


@pytest.mark.parametrize(
    ("known", "value", "tally"),
    [
        (record(), b"k.1;k.2;k.3;k.4;", Tally()),
        (record(sent=0), b"", Tally()),
        (record(unknown=(2,)), b"k.1;k.3;k.4;", Tally()),
        (record(unknown=(2,)), b"k.1;k.2;k.3;k.4;", Tally()),
        (record(refused=(2,)), b"k.1;k.3;k.4;", Tally()),
        (record(), b"k.1;k.3;k.4;", Tally(lost=1)),
        (record(), b"", Tally(lost=4)),
        (record(), b"k.1;k.2;k.2;k.3;k.4;", Tally(doubled=1)),
        (record(), b"k.1;k.2;k.3;k.4;k.1;k.1;", Tally(doubled=2, misplaced=1)),
        (record(unknown=(2,)), b"k.1;k.2;k.2;k.3;k.4;", Tally(doubled=1)),
        (record(), b"k.1;k.3;k.2;k.4;", Tally(misplaced=1)),
        (record(refused=(2,)), b"k.1;k.2;k.3;k.4;", Tally(unexpected=1)),
        (record(), b"k.1;k.2;k.3;k.4;k.5;", Tally(unexpected=1)),
        (record(), b"k.1;k.2;k.3;k.4;j.1;", Tally(unexpected=1)),
        (record(), b"k.1;k.2;k.3;k.4;k.", Tally(unexpected=1)),
    ],
)
def test_what_the_client_was_told_is_compared_with_the_value(
    known: KeyRecord, value: bytes, tally: Tally
) -> None:
    assert verify(known, value) == tally
    assert tally.is_clean == (tally == Tally())


@given(st.integers(1, 50), st.data())
def test_one_element_taken_out_or_put_in_never_goes_unnoticed(
    sent: int, data: st.DataObject
) -> None:
    known = record(sent=sent)
    elements = [known.element(number) for number in range(1, sent + 1)]
    assert verify(known, b"".join(elements)).is_clean
    position = data.draw(st.integers(0, sent - 1))
    if data.draw(st.booleans()):
        del elements[position]
    else:
        elements.insert(data.draw(st.integers(0, sent)), elements[position])
    assert not verify(known, b"".join(elements)).is_clean


def test_the_tallies_of_all_keys_add_up() -> None:
    assert total([Tally(lost=1), Tally(doubled=2), Tally(lost=3)]) == Tally(lost=4, doubled=2)
