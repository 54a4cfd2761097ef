"""What is said of a history that broke."""

from collections.abc import Callable

from quorate.checker import KeyVerdict, Operation, check
from quorate.checker.explanation import Explanation, act, explain, quote

Drawn = Callable[[str], list[Operation]]


def worst(history: list[Operation], max_steps: int = 1000) -> KeyVerdict:
    verdict = check(history, max_steps=max_steps).worst
    assert verdict is not None
    return verdict


def explained(history: list[Operation]) -> Explanation:
    return explain(worst(history))


def test_a_stale_read(drawn: Drawn) -> None:
    found = explained(drawn("A: [put a] [put b] [get a]"))
    assert found.headline == 'Nothing explains client A\'s get → "a" (called 19, returned 25).'
    assert found.details == (
        'The longest linearization has 2 of 3 operations; after it the value is "b".',
        'The value was "a" until client A\'s put "b" (called 11, returned 17) took effect.',
        "That had returned before the get was called: the read is stale.",
    )


def test_a_value_that_never_was(drawn: Drawn) -> None:
    found = explained(drawn("A: [append a] [get aa]"))
    assert found.details[1:] == ('In it the value never was "aa".',)


def test_a_lost_write(drawn: Drawn) -> None:
    found = explained(drawn("A: [put a] [get -]"))
    assert found.headline.startswith("Nothing explains client A's get → missing")


def test_a_wrong_length(drawn: Drawn) -> None:
    found = explained(drawn("A: [append a =2]"))
    assert found.headline.startswith('Nothing explains client A\'s append "a" → 2')
    assert found.details == (
        "The longest linearization has 0 of 1 operations; after it the value is missing.",
    )


def test_what_could_not_be_placed(drawn: Drawn) -> None:
    history = drawn("""
        A: [put a] [get z]
        B:           [put b     ]
        C:                       [put c]
        D: [put d ...
        E: [get ...
    """)
    # The put of c was called later; what is pending may never have happened.
    assert explained(history).unplaced == (history[1], history[2])


def test_what_was_not_decided(drawn: Drawn) -> None:
    found = explain(worst(drawn("A: [put a] [put b] [get b]"), max_steps=1))
    assert found.headline.startswith(
        "Not decided: the search gave up. It came as far as client A's"
    )


def test_a_long_value_is_shown_by_its_ends() -> None:
    assert quote(b"a" * 60) == '"' + "a" * 60 + '"'
    assert quote(b"a" * 500 + b"b" * 500) == '"' + "a" * 30 + "…" + "b" * 30 + '" (1,000 bytes)'


def test_nothing_reaches_the_terminal_that_could_command_it() -> None:
    assert quote(b"\x1b[2J\n\xff") == r'"\x1b[2J\n\xff"'
    assert act(Operation(client="A", kind="put", key=b"k", argument=b"\x07", called=0)) == (  # type: ignore[arg-type]
        r'put "\x07"'
    )
