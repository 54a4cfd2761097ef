"""How the disk of a tortured server is told to fail: a small file beside its data directory.

The parent replaces the file as a whole, and the child looks at it before each thing that it does to
its disk. So orders outlive the child, and hold for the next one too.
"""

import enum
from pathlib import Path

import msgspec

_FILE_NAME = "orders.json"
_STRUCK_NAME = "struck"


class Room(enum.StrEnum):
    """How much room the file system has left."""

    ENOUGH = "enough"
    """As much as the real one."""
    NO_MORE = "no more"
    """None for a file to grow; what is there can be replaced."""
    NONE = "none"
    """None at all: even what is there cannot be replaced, where each write goes to a new place."""


class Orders(msgspec.Struct, frozen=True, kw_only=True):
    """What a disk is to do; by default, its best.

    Attributes:
        stall_s: each sync takes so many seconds longer, or until this order is changed.
        syncs_fail: each sync fails.
        room: how much is left.
    """

    stall_s: float = 0.0
    syncs_fail: bool = False
    room: Room = Room.ENOUGH


class OrderBook:
    """The orders for the disk of one server, for both sides.

    Args:
        data_dir: the server's.
    """

    def __init__(self, data_dir: Path) -> None:
        self._path = data_dir.parent / _FILE_NAME
        self._struck = data_dir.parent / _STRUCK_NAME
        self._orders = Orders()
        self._version: tuple[int, int] | None = None

    def give(self, orders: Orders) -> None:
        """Gives orders, in place of those that were given before."""
        self.forget_strike()
        temporary = self._path.with_suffix(".new")
        temporary.write_bytes(msgspec.json.encode(orders))
        temporary.replace(self._path)

    @property
    def has_struck(self) -> bool:
        """Whether the disk has failed its server by these orders, since that was last forgotten."""
        return self._struck.exists()

    def note_strike(self) -> None:
        """The disk has failed its server, as ordered."""
        self._struck.touch()

    def forget_strike(self) -> None:
        """Another server is to be failed."""
        self._struck.unlink(missing_ok=True)

    @property
    def orders(self) -> Orders:
        """Those that are in force."""
        try:
            state = self._path.stat()
        except FileNotFoundError:
            return Orders()
        version = (state.st_ino, state.st_mtime_ns)
        if version != self._version:
            self._orders = msgspec.json.decode(self._path.read_bytes(), type=Orders)
            self._version = version
        return self._orders
