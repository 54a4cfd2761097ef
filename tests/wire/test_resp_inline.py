from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from quorate.wire.errors import ProtocolError
from quorate.wire.resp_inline import split_inline

BLANKS = b" \t\n\v\f\r"


@pytest.mark.parametrize(
    ("line", "words"),
    [
        (b"", []),
        (b" \t\v\f\r ", []),
        (b"GET k", [b"GET", b"k"]),
        (b"  GET\tk  ", [b"GET", b"k"]),
        (b'SET k ""', [b"SET", b"k", b""]),
        (b"SET k ''", [b"SET", b"k", b""]),
        (b'"a b" c', [b"a b", b"c"]),
        (b"pre\"a b\" 'c d'", [b"prea b", b"c d"]),
        (rb'"\n\r\t\b\a\\\"\z"', [b'\n\r\t\b\a\\"z']),
        (rb'"\x00\xfF\xg1\x1"', [b"\x00\xffxg1x1"]),
        (rb"'\n\'\\ '", [rb"\n'\\ "]),
        (rb"\n", [rb"\n"]),
        (b"caf\xc3\xa9 \x00", [b"caf\xc3\xa9", b"\x00"]),
    ],
)
def test_a_line_is_split_as_redis_splits_it(line: bytes, words: list[bytes]) -> None:
    assert split_inline(line) == words


@pytest.mark.parametrize(
    "line", [b'"', b"'", b'a "b', b"a 'b", b'"a"b', b"'a'b", rb'"a\"', rb"'a\'"]
)
def test_quotes_that_do_not_fit_are_refused(line: bytes) -> None:
    with pytest.raises(ProtocolError, match="Protocol error: unbalanced quotes in request"):
        split_inline(line)


def test_a_long_line_of_quotes_and_escapes_takes_no_long_time() -> None:
    # Would a word be tried in more than one way, this would not end.
    with pytest.raises(ProtocolError):
        split_inline(b'"' + rb"\x" * 16_000 + rb"\'" * 16_000)
    with pytest.raises(ProtocolError):
        split_inline(b"'" + rb"\'" * 32_000)


# --------------------------------------------------------------------------- the twin


def plain_words(line: bytes) -> list[bytes]:
    """Redis's `sdssplitargs`, character by character."""
    words = []
    rest = line.lstrip(BLANKS)
    while rest:
        word, rest = plain_word(rest)
        words.append(word)
        rest = rest.lstrip(BLANKS)
    return words


def plain_word(rest: bytes) -> tuple[bytes, bytes]:
    word = b""
    while rest and rest[:1] not in b" \t\n\r":
        character, rest = rest[:1], rest[1:]
        if character in b"\"'":
            quoted, rest = plain_quoted(rest, character)
            if rest and rest[:1] not in BLANKS:
                raise ProtocolError("unbalanced")
            return word + quoted, rest
        word += character
    return word, rest


def plain_quoted(rest: bytes, quote: bytes) -> tuple[bytes, bytes]:
    word = b""
    while rest:
        character, rest = rest[:1], rest[1:]
        if character == quote:
            return word, rest
        if character == b"\\" and rest and quote == b'"':
            character, rest = plain_escape(rest)
        elif character == b"\\" and rest[:1] == quote:
            character, rest = quote, rest[1:]
        word += character
    raise ProtocolError("unbalanced")


def plain_escape(rest: bytes) -> tuple[bytes, bytes]:
    digits = rest[1:3]
    if rest[:1] == b"x" and len(digits) == 2 and not digits.strip(b"0123456789abcdefABCDEF"):
        return bytes([int(digits, 16)]), rest[3:]
    escapes = {b"n": b"\n", b"r": b"\r", b"t": b"\t", b"b": b"\b", b"a": b"\a"}
    return escapes.get(rest[:1], rest[:1]), rest[1:]


def outcome(split: Callable[[bytes], list[bytes]], line: bytes) -> list[bytes] | None:
    try:
        return split(line)
    except ProtocolError:
        return None


@given(st.text(alphabet="ab \t\v\r\"'\\xnf0", max_size=24).map(str.encode))
def test_any_line_is_split_as_the_plain_twin_splits_it(line: bytes) -> None:
    assert outcome(split_inline, line) == outcome(plain_words, line)
