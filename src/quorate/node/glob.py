r"""Patterns for names as Redis has them (`stringmatchlen`): `*`, `?`, `[a-c]`, `[^a]` and `\*`.

Not by `fnmatch`: it compiles each pattern to a regular expression, which takes a hundred times as
long as one match of a short name and seconds for a pattern of a megabyte. What is done here depends
on the length of the name and hardly on that of the pattern, and nothing is kept.
"""

_STAR, _QUESTION, _OPEN, _BACKSLASH = b"*?[\\"
_CLOSE, _CARET, _DASH = b"]^-"


def glob_matches(pattern: bytes, name: bytes) -> bool:
    """Whether a pattern describes a whole name; letters in their own case."""
    position = at = 0
    after_star: int | None = None  # where the pattern goes on after its last star so far,
    tried = 0  # and up to where in the name that star has been stretched
    while True:
        if position < len(pattern) and pattern[position] == _STAR:
            position += 1
            after_star, tried = position, at
            continue
        if at == len(name):
            return position == len(pattern)
        end = _match_one(pattern, position, name[at])
        if end is not None:
            position, at = end, at + 1
        elif after_star is not None:
            # Only the last star needs to be stretched: what is before it has matched already.
            tried += 1
            position, at = after_star, tried
        else:
            return False


def _match_one(pattern: bytes, position: int, byte: int) -> int | None:
    """Where the pattern goes on if its next element describes the byte."""
    if position == len(pattern):
        return None
    element = pattern[position]
    if element == _QUESTION:
        return position + 1
    if element == _OPEN:
        return _match_class(pattern, position + 1, byte)
    if element == _BACKSLASH and position + 1 < len(pattern):
        position += 1
        element = pattern[position]
    return position + 1 if element == byte else None


def _match_class(pattern: bytes, position: int, byte: int) -> int | None:
    """Where the pattern goes on behind a class, of which `position` is the inside."""
    end = len(pattern)
    excluded = position < end and pattern[position] == _CARET
    position += excluded
    found = False
    while position < end and pattern[position] != _CLOSE:
        if pattern[position] == _BACKSLASH and position + 1 < end:
            position += 1
            found |= pattern[position] == byte
        elif position + 2 < end and pattern[position + 1] == _DASH:
            low, high = sorted((pattern[position], pattern[position + 2]))
            found |= low <= byte <= high
            position += 2
        else:
            found |= pattern[position] == byte
        position += 1
    # Like Redis: a class that is not closed ends with the pattern.
    return min(position + 1, end) if found != excluded else None
