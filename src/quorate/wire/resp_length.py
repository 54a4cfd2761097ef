r"""The numbers in the headers of RESP: `*3\r\n`, `$11\r\n`. For requests and replies alike."""

import re

from quorate.wire.errors import ProtocolError

MAX_NUMBER_LINE_BYTES = 32
"""No number that fits 64 bits needs a longer line; a longer one is refused before it ends."""

# As strict as Redis (`string2ll`): no sign but one minus, no leading zero, no space.
_number_line = re.compile(rb"(?:0|-?[1-9][0-9]{0,18})\r\n").match


def read_number(buffer: bytes | bytearray, position: int, otherwise: str) -> tuple[int, int] | None:
    """The number in the line that begins at `position`, and where the next line begins.

    Args:
        buffer: what has arrived.
        position: of the first digit, behind the byte that says what the line is.
        otherwise: the text of the error if there is no number.

    Returns:
        The number and the position behind its line, or None if the line is not there yet.

    Raises:
        ProtocolError: the line is something else than a number.
    """
    line = _number_line(buffer, position)
    if line is not None:
        return int(line[0]), line.end()
    arrived = len(buffer) - position
    if arrived < MAX_NUMBER_LINE_BYTES and buffer.find(b"\n", position) < 0:
        return None
    raise ProtocolError(otherwise)
