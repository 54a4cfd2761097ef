"""Inline commands: a line of words, as a person types it into telnet.

The rules are those of Redis (`sdssplitargs`), by which redis-cli reads its lines, too.
"""

import re

from quorate.wire.errors import ProtocolError

_BLANKS = b" \t\n\v\f\r"
# A word is plain characters, then perhaps one quoted part, which ends the word. A backslash
# escapes any character between double quotes, and only the quote between single ones.
_word = re.compile(
    rb"""([^ \t\n\r"']*)(?:"((?:\\.|[^"\\])*)"|'((?:\\'|\\(?!')|[^'\\])*)')?""", re.DOTALL
).match
_end_of_word = re.compile(rb"[ \t\n\v\f\r]+|\Z").match
_escape = re.compile(rb"\\(?:x([0-9a-fA-F]{2})|(.))", re.DOTALL)
_CONTROL = {b"n": b"\n", b"r": b"\r", b"t": b"\t", b"b": b"\b", b"a": b"\a"}


def split_inline(line: bytes) -> list[bytes]:
    r"""The arguments in a line; none if it is blank.

    `SET k "a b\x00\n"` has three arguments, the last one of five bytes.

    Raises:
        ProtocolError: a quote is not closed, or something follows a closing quote immediately.
    """
    line = line.lstrip(_BLANKS)
    arguments = []
    position = 0
    while position < len(line):
        word = _word(line, position)
        assert word is not None  # an empty word matches, too
        end = _end_of_word(line, word.end())
        if end is None:
            raise ProtocolError("Protocol error: unbalanced quotes in request")
        plain, double_quoted, single_quoted = word.groups(b"")
        arguments.append(
            plain + _escape.sub(_unescaped, double_quoted) + single_quoted.replace(rb"\'", b"'")
        )
        position = end.end()
    return arguments


def _unescaped(escape: re.Match[bytes]) -> bytes:
    hexadecimal, character = escape.groups()
    if hexadecimal is not None:
        return bytes.fromhex(hexadecimal.decode())
    return _CONTROL.get(character, character)
