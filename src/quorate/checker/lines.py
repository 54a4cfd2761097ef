r"""Histories as JSON lines: one operation on a line (docs/checker.md, "The format").

Keys, arguments and values are bytes, and JSON has only text. So they are read as UTF-8, in which
`\xNN` stands for a byte that is no part of any character, and `\\` for a backslash.
"""

import re
from collections.abc import Iterable, Iterator

import msgspec

from quorate.checker.history import Kind, Operation


class HistoryFormatError(ValueError):
    """A line is not an operation.

    Args:
        line: its number, from 1.
        problem: what is wrong with it, and what to do.
    """

    def __init__(self, line: int, problem: str) -> None:
        super().__init__(f"line {line}: {problem}")
        self.line = line
        self.problem = problem


class _Record(
    msgspec.Struct,
    frozen=True,
    kw_only=True,
    forbid_unknown_fields=True,
    rename={"return_": "return"},
):
    """One line."""

    client: str | int
    operation: Kind
    key: str
    argument: str | None = None
    result: str | int | msgspec.UnsetType | None = msgspec.UNSET
    call: int | float
    return_: int | float | None


_DECODER = msgspec.json.Decoder(_Record)
_ESCAPE = re.compile(rb"\\(\\|x[0-9a-fA-F]{2})?")


def encode_operation(operation: Operation) -> bytes:
    """One operation as a line, without the line break."""
    result = operation.result
    return msgspec.json.encode(
        _Record(
            client=operation.client,
            operation=operation.kind,
            key=to_text(operation.key),
            argument=None if operation.argument is None else to_text(operation.argument),
            result=to_text(result) if isinstance(result, bytes) else result,
            call=operation.called,
            return_=operation.returned,
        )
    )


def read_history(lines: Iterable[bytes]) -> Iterator[Operation]:
    """The operations of a file, line by line. Empty lines are skipped.

    Raises:
        HistoryFormatError: a line is not an operation.
    """
    for number, line in enumerate(lines, start=1):
        if not line.isspace():
            try:
                yield _decode(line)
            except ValueError as error:
                raise HistoryFormatError(number, str(error)) from error


def to_text(data: bytes) -> str:
    """Bytes as text that says which they are."""
    return data.replace(b"\\", b"\\\\").decode(errors="backslashreplace")


def to_bytes(text: str) -> bytes:
    """The bytes that a text stands for.

    Raises:
        ValueError: a backslash is followed by neither another one nor `x` and two digits.
    """
    return _ESCAPE.sub(_unescape, text.encode())


def _unescape(found: re.Match[bytes]) -> bytes:
    match found[1]:
        case None:
            raise ValueError(
                r"a backslash in a key, argument or value is written \\, and a byte \xNN (in JSON "
                r"each backslash is doubled once more)"
            )
        case b"\\":
            return b"\\"
        case code:
            return bytes([int(code[1:], 16)])


def _decode(line: bytes) -> Operation:
    record = _DECODER.decode(line)
    result = record.result
    if result is msgspec.UNSET:
        if record.operation is Kind.GET and record.return_ is not None:
            raise ValueError(
                "the get has returned, so it needs a `result`: what it read, or null if there was "
                "no such key"
            )
        result = None
    return Operation(
        client=str(record.client),
        kind=record.operation,
        key=to_bytes(record.key),
        argument=None if record.argument is None else to_bytes(record.argument),
        result=to_bytes(result) if isinstance(result, str) else result,
        called=record.call,
        returned=record.return_,
    )
