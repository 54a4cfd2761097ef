"""Values by key while somebody walks through them: what is walked stays, changes go beside it.

This module knows no command, no encoding and no limit.
"""

from collections.abc import Iterable, Iterator
from typing import TypeVar, overload

Value = bytes | bytearray
"""A bytearray is a value that is being appended to."""


MERGED_PER_CHANGE = 8
"""How many of the changes that gathered during the walk are merged with each later one."""

DefaultT = TypeVar("DefaultT")


class LayeredValues:
    """A dict that is walked, and what has changed since, as if they were one dict.

    Until `thaw` the dict below is never touched. Later changes go right into it, each with a few
    of those that gathered beside it, and `merge` brings more of them.

    Args:
        base: the dict to walk; nobody else may change it from now on.
    """

    __slots__ = ("_base", "_changes", "_is_frozen", "_length")

    def __init__(self, base: dict[bytes, Value]) -> None:
        self._base = base
        # None for what was deleted; only keys of the base can be.
        self._changes: dict[bytes, Value | None] = {}
        self._is_frozen = True
        self._length = len(base)

    @property
    def base(self) -> dict[bytes, Value]:
        """The dict below: everything as it was at first, until `thaw`."""
        return self._base

    @property
    def is_frozen(self) -> bool:
        """Whether the walk is still going on."""
        return self._is_frozen

    @property
    def change_count(self) -> int:
        """How many changes lie beside the base."""
        return len(self._changes)

    # ------------------------------------------------------------------ after the walk

    def thaw(self) -> None:
        """The walk is over."""
        self._is_frozen = False

    def merge(self, count: int) -> bool:
        """Brings up to so many of the changes into the base; True if none is left.

        The base then holds everything, and can do without this object.
        """
        assert not self._is_frozen
        base, changes = self._base, self._changes
        for _ in range(min(count, len(changes))):
            key, value = changes.popitem()
            if value is None:
                del base[key]
            else:
                base[key] = value
        return not changes

    # ------------------------------------------------------------------ as a dict does

    @overload
    def get(self, key: bytes) -> Value | None: ...

    @overload
    def get(self, key: bytes, default: DefaultT) -> Value | DefaultT: ...

    def get(self, key: bytes, default: object = None) -> object:
        """As `dict.get`."""
        if key in self._changes:
            value = self._changes[key]
            return default if value is None else value
        return self._base.get(key, default)

    def pop(self, key: bytes, default: DefaultT) -> Value | DefaultT:
        """As `dict.pop`."""
        value = self.get(key)
        if value is None:
            return default
        self._length -= 1
        if not self._is_frozen:
            self._changes.pop(key, None)
            self._base.pop(key, None)
            self.merge(MERGED_PER_CHANGE)
        elif key in self._base:
            self._changes[key] = None
        else:
            del self._changes[key]
        return value

    def update(self, pairs: Iterable[tuple[bytes, Value]]) -> None:
        """As `dict.update`."""
        for key, value in pairs:
            self[key] = value

    def __iter__(self) -> Iterator[bytes]:
        yield from (key for key in self._base if key not in self._changes)
        yield from (key for key, value in self._changes.items() if value is not None)

    def __contains__(self, key: bytes) -> bool:
        return self.get(key) is not None

    def __len__(self) -> int:
        return self._length

    def __setitem__(self, key: bytes, value: Value) -> None:
        if key not in self:
            self._length += 1
        if self._is_frozen:
            self._changes[key] = value
        else:
            self._changes.pop(key, None)
            self._base[key] = value
            self.merge(MERGED_PER_CHANGE)

    def may_grow(self, key: bytes) -> bool:
        """Whether the value of this key may be changed in place: nobody walks to it."""
        return not self._is_frozen or key in self._changes
