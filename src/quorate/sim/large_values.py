"""A client that writes large values and never looks at them again.

They make the state large, so that a snapshot of it has several sections, and writes long, so that
power goes in the middle of one. Whether they are there is seen when servers are compared.
"""

import random
from functools import partial

from quorate.sim.clients import Dial
from quorate.sim.scheduler import Scheduler
from quorate.sim.stream import Stream
from quorate.wire.resp_client import encode_command

PAUSE_US = 300_000
"""The longest pause between two writes, unless it is told otherwise."""


class LargeValuesClient:
    """A plain connection that sets one key after the other.

    Args:
        servers: their addresses.
        dial: connects to one.
        scheduler: virtual time.
        rng: for the values and the pauses.
        max_bytes: of a value; it has fewer.
        keys: how many keys it writes to.
        min_bytes: of a value.
        pause_us: the longest pause between two writes.
    """

    def __init__(
        self,
        *,
        servers: list[str],
        dial: Dial,
        scheduler: Scheduler,
        rng: random.Random,
        max_bytes: int,
        keys: int,
        min_bytes: int = 1,
        pause_us: int = PAUSE_US,
    ) -> None:
        self._servers = servers
        self._dial = dial
        self._scheduler = scheduler
        self._rng = rng
        self._min_bytes = min_bytes
        self._max_bytes = max_bytes
        self._keys = keys
        self._pause_us = pause_us
        self._stream: Stream | None = None
        self._waits = False
        self._stopped = False

    @property
    def is_idle(self) -> bool:
        """Whether it waits for no outcome."""
        return not self._waits

    def start(self) -> None:
        """Begins to work."""
        if not self._stopped:
            self._stream = self._dial(self._rng.choice(self._servers), self)

    def stop(self) -> None:
        """Begins nothing new."""
        self._stopped = True

    def break_connection(self) -> None:
        """Its connection breaks, if it has one."""
        if self._stream is not None:
            self._stream.break_off()

    def _write(self, stream: Stream | None) -> None:
        if self._stopped or stream is None or self._stream is not stream:
            return
        key = b"large-%d" % self._rng.randrange(self._keys)
        value = self._rng.randbytes(self._rng.randrange(self._min_bytes, self._max_bytes))
        stream.send_to_server(encode_command("SET", key, value))
        self._waits = True

    # ------------------------------------------------------------------ from its stream

    def connected(self) -> None:
        """The connection is there."""
        assert self._stream is not None
        self._write(self._stream)

    def data_received(self, data: bytes) -> None:
        """The server has answered, whatever that is."""
        if data.endswith(b"\n"):
            self._waits = False
            pause = self._rng.randrange(1, self._pause_us)
            self._scheduler.after(pause, partial(self._write, self._stream))

    def connection_lost(self) -> None:
        """The connection could not be made, or has broken."""
        self._stream = None
        self._waits = False
        self._scheduler.after(self._rng.randrange(1, self._pause_us), self.start)
