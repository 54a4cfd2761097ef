"""What a fuzzer's bytes stand for where an input has a structure: choices, made one by one.

Both fuzzers, Hypothesis and the coverage-guided one, give bytes and nothing else. When they have
been used up every further choice is the first one, so that a shorter input is a simpler one.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from typing import TypeVar

T = TypeVar("T")

INTERESTING = (
    0,
    1,
    2,
    255,
    256,
    2**16,
    2**31,
    2**32 - 1,
    2**60,
    2**62,
    2**63 - 1,
    2**63,
    2**64 - 1,
)
_MOST_EDITS = 4


class Choices:
    """Choices by the bytes of an input, from its beginning to its end."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._position = 0

    @property
    def are_over(self) -> bool:
        """Whether the input is used up."""
        return self._position >= len(self._data)

    def below(self, limit: int) -> int:
        """A number from 0 on, less than this."""
        size = max(1, ((limit - 1).bit_length() + 7) // 8)
        return int.from_bytes(self.take(size)) % limit

    def pick(self, values: Sequence[T]) -> T:
        """One of these."""
        return values[self.below(len(values))]

    def integer(self, near: Sequence[int] = ()) -> int:
        """Any integer, most often one at a limit of some format or near one of these."""
        return self.pick((*near, *INTERESTING)) + self.pick((0, 1, -1, 2, -2, -(2**63)))

    def take(self, size: int) -> bytes:
        """So many bytes of the input; fewer at its end."""
        taken = self._data[self._position : self._position + size]
        self._position += size
        return taken

    def rest(self) -> bytes:
        """All that is left."""
        return self.take(len(self._data))

    # ------------------------------------------------------------------ damage

    def edited(self, valid: bytes) -> bytes:
        """These bytes with some of them changed, cut out, put in, doubled or moved."""
        data = bytearray(valid)
        for _ in range(1 + self.below(_MOST_EDITS)):
            self._edit(data)
        return bytes(data)

    def _edit(self, data: bytearray) -> None:
        start = self.below(len(data) + 1)
        length = self.pick((1, 2, 4, 8, 28, 512, len(data)))
        match self.below(8):
            case 0:
                del data[start:]
            case 1:
                data[start : start + length] = bytes(min(length, len(data) - start))
            case 2:
                data[start:start] = self.take(1 + self.below(8))
            case 3:
                data[start : start + length] = self.take(length)
            case 4:
                if start < len(data):
                    data[start] ^= 1 << self.below(8)
            case 5:
                del data[start : start + length]
            case 6:
                at = self.below(len(data) + 1)
                data[at : at + length] = data[start : start + length]
            case _:
                number = struct.pack("<Q", self.integer((len(data),)) % 2**64)
                size = self.pick((4, 8))
                data[start : start + size] = self.pick((number[:size], number[size - 1 :: -1]))
