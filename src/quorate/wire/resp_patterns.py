r"""Regular expressions that recognise whole bulk strings and requests, as long as they are small.

A regular expression cannot count, but it can have an alternative for each length. As a tree by
digits, `(?:0\r\n.{0}|1(?:\r\n.{1}|0\r\n.{10}|...)|...)`, it finds the right one in as many steps
as there are digits, and `.{n}` is one jump, however large n is. So these expressions follow the
lengths exactly as a parser does, at about the speed of hiredis, and nothing in an argument's bytes
can mislead them.

At each point one alternative at most can go on, so there is never anything to try again and plain
greedy repeats will do. (Possessive ones match wrongly in Python 3.11.0 to 3.11.4,
https://github.com/python/cpython/issues/106052.)
"""

import re

SMALL_BULK_BYTES = 99
"""The longest bulk string that counts as small."""
SMALL_REQUEST_ARGUMENTS = 7
"""The most arguments of a small request: `ONCE <session> <seq> <acked> SET <key> <value>`."""
SMALL_REQUEST_BYTES = len("*7\r\n") + SMALL_REQUEST_ARGUMENTS * (len("$99\r\n") + 99 + 2)
"""The longest small request."""

_AT_ONCE = 256  # requests; the engine keeps some bytes for each repeat until it is done


def _lengths(prefix: str = "") -> str:
    """What may follow when the digits `prefix` of a length have been read."""
    alternatives = [rf"\r\n.{{{prefix}}}"] if prefix else []
    if prefix != "0":
        alternatives += [
            digit + _lengths(prefix + digit)
            for digit in "0123456789"
            if int(prefix + digit) <= SMALL_BULK_BYTES
        ]
    return f"(?:{'|'.join(alternatives)})"


def _compiled(pattern: str) -> re.Pattern[bytes]:
    return re.compile(pattern.encode(), re.DOTALL)


_small_bulk = rf"(?:\${_lengths()}\r\n)"
_all_but_the_last = "|".join(
    rf"{count}\r\n{_small_bulk}{{{count - 1}}}" for count in range(1, SMALL_REQUEST_ARGUMENTS + 1)
)
_large_header = r"\$([1-9][0-9]{2,9})\r\n"

usual_requests = _compiled(
    rf"(?:(?(2)(?!))()\*(?:{_all_but_the_last})(?:{_small_bulk}|{_large_header})){{0,{_AT_ONCE}}}"
).match
"""Any number of small requests, even none, and perhaps the head of a larger one.

The larger one is small but for its last argument, like `SET key value`; the match ends where the
body of that argument begins. Group 2 is then its length, and otherwise None: `(?(2)(?!))` ends
the repeat after it. Group 1 marks where the last request begins. This always matches.
"""

runs_of_small_bulks = tuple(
    (count, _compiled(rf"{_small_bulk}{{{count}}}").match) for count in (16, 4, 1)
)
"""Bulk strings in a row: how many, and what matches exactly as many; in descending order."""
