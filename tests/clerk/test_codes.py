import pytest

from quorate.clerk.codes import Meaning, exception_of, meaning_of
from quorate.clerk.errors import NotExecutedError, OutcomeUnknownError

CODES = [
    *("ERR", "NOTEXECUTED", "NOTLEADER", "WINDOW", "TOOMANYSESSIONS", "SESSIONEXPIRED"),
    *("STALE", "MISMATCH", "UNKNOWN", "UNAVAILABLE"),
]


@pytest.mark.parametrize("code", CODES)
def test_each_code_maps_to_an_exception_that_says_whether_it_was_executed(code: str) -> None:
    assert issubclass(exception_of(code), NotExecutedError | OutcomeUnknownError)


@pytest.mark.parametrize("code", ["BUSY", "err", "", "WRONGTYPE"])
def test_a_code_that_is_not_known_leaves_the_outcome_unknown(code: str) -> None:
    assert meaning_of(code) is Meaning.UNKNOWN
    assert exception_of(code) is OutcomeUnknownError
