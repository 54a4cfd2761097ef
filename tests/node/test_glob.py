import pytest
from hypothesis import given
from hypothesis import strategies as st

from quorate.node.glob import glob_matches


def twin(pattern: bytes, name: bytes) -> bool:
    """Redis's `stringmatchlen`, by its definition: one element of the pattern after the other."""
    if not pattern:
        return not name
    if pattern[:1] == b"*":
        return any(twin(pattern[1:], name[skipped:]) for skipped in range(len(name) + 1))
    if not name:
        return False
    byte, rest = name[0], name[1:]
    match pattern[:1]:
        case b"?":
            return twin(pattern[1:], rest)
        case b"[":
            members, negated, behind = twin_class(pattern[1:])
            return (byte in members) != negated and twin(behind, rest)
        case b"\\" if len(pattern) > 1:
            return pattern[1] == byte and twin(pattern[2:], rest)
        case _:
            return pattern[0] == byte and twin(pattern[1:], rest)


def twin_class(pattern: bytes) -> tuple[set[int], bool, bytes]:
    negated = pattern[:1] == b"^"
    pattern = pattern[negated:]
    members: set[int] = set()
    while pattern and pattern[:1] != b"]":
        if pattern[:1] == b"\\" and len(pattern) > 1:
            members.add(pattern[1])
            pattern = pattern[2:]
        elif pattern[1:2] == b"-" and len(pattern) > 2:
            members.update(range(min(pattern[0], pattern[2]), max(pattern[0], pattern[2]) + 1))
            pattern = pattern[3:]
        else:
            members.add(pattern[0])
            pattern = pattern[1:]
    return members, negated, pattern[1:]


@pytest.mark.parametrize(
    ("pattern", "matching", "others"),
    [
        (b"", [b""], [b"a"]),
        (b"*", [b"", b"a", b"abc"], []),
        (b"save", [b"save"], [b"Save", b"saved", b"sav", b""]),
        (b"s?ve", [b"save", b"s?ve"], [b"sve", b"saave"]),
        (b"*only", [b"only", b"appendonly"], [b"onlyone"]),
        (b"a*d*y", [b"appendonly", b"ady"], [b"appendonl", b"ay"]),
        (b"**a**", [b"a", b"bab"], [b"", b"b"]),
        (b"[ab]x", [b"ax", b"bx"], [b"cx", b"x", b"abx"]),
        (b"[^ab]x", [b"cx"], [b"ax", b"x"]),
        (b"[a-c]", [b"a", b"b", b"c"], [b"d", b"-"]),
        (b"[c-a]", [b"b"], [b"d"]),
        (b"[\\]]", [b"]"], [b"\\"]),
        (b"[ab", [b"a"], [b"c", b"[ab"]),
        (b"[]a", [], [b"]a", b"a"]),
        (b"\\*", [b"*"], [b"a", b"\\*"]),
        (b"a\\", [b"a\\"], [b"a"]),
    ],
)
def test_what_a_pattern_describes(
    pattern: bytes, matching: list[bytes], others: list[bytes]
) -> None:
    assert [name for name in [*matching, *others] if glob_matches(pattern, name)] == matching


@given(
    pattern=st.text("ab*?[]^-\\", max_size=8).map(str.encode),
    name=st.text("ab^-]\\", max_size=6).map(str.encode),
)
def test_it_is_what_redis_does(pattern: bytes, name: bytes) -> None:
    assert glob_matches(pattern, name) == twin(pattern, name)


@pytest.mark.parametrize("unit", [b"*a", b"?", b"[a-z]", b"\\a", b"*?", b"a"])
def test_a_long_pattern_takes_no_longer(unit: bytes) -> None:
    assert not glob_matches(unit * 500_000, b"appendfsync")
