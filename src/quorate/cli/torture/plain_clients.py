"""Plain Redis clients: redis-py as it is by default, which knows nothing of Quorate.

It sends a command again, up to ten times, when its connection breaks or is silent for 5 seconds,
and each sending is a command of its own. So each is written down, just before it goes out.
"""

import random
import threading
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import redis
import redis.exceptions

from quorate.checker import Kind
from quorate.clerk.addresses import parse_address
from quorate.cli.torture.ledger import Call, Fate, Ledger
from quorate.cli.torture.program import PAUSE_S
from quorate.runtime.clock import monotonic_us

_METHODS = {Kind.GET: "get", Kind.PUT: "set", Kind.APPEND: "append", Kind.DELETE: "delete"}
_COMMANDS = {"GET", "SET", "APPEND", "DEL"}
_NOT_EXECUTED = {"NOTEXECUTED", "NOTLEADER"}
_UNKNOWN = {"UNKNOWN"}
_OF_READS = {"UNAVAILABLE"}


class _WatchedConnection(redis.Connection):
    """A connection that tells when it sends one of the clients' commands."""

    def __init__(self, *, on_sending: Callable[[], None], **options: Any) -> None:  # noqa: ANN401 - redis-py's own
        super().__init__(**options)  # type: ignore[no-untyped-call]
        self._on_sending = on_sending

    def send_command(self, *args: Any, **kwargs: Any) -> None:  # noqa: ANN401 - redis-py's own
        """See redis-py; whatever comes before the sending, such as connecting, is done first."""
        if args[0] in _COMMANDS:
            self.connect_check_health(check_health=False)
            self._on_sending()
        super().send_command(*args, **kwargs)  # type: ignore[no-untyped-call]


class PlainClient:
    """One client in a thread of its own; it stays with a node until that fails it.

    Args:
        servers: the nodes' client addresses.
        name: its own.
        ledger: where all is written down.
        rng: for its choices.
    """

    def __init__(
        self, servers: Sequence[str], name: str, ledger: Ledger, rng: random.Random
    ) -> None:
        self._servers = servers
        self._name = name
        self._ledger = ledger
        self._rng = rng
        self._call: Call | None = None

    def run(self, stopping: threading.Event) -> None:
        """Until it is to stop."""
        while not stopping.is_set():
            host, port = parse_address(self._rng.choice(self._servers))
            with redis.Redis(host, port) as client:
                client.connection_pool.connection_class = partial(
                    _WatchedConnection, on_sending=self._sending
                )
                while not stopping.wait(self._rng.uniform(0, 2 * PAUSE_S)):
                    if not self._execute(client):
                        break

    def _sending(self) -> None:
        assert self._call is not None
        self._call.sendings.append(monotonic_us())

    def _execute(self, client: redis.Redis) -> bool:
        """Makes one call; returns whether the node has served it well."""
        call = self._call = self._ledger.begin(self._name, monotonic_us())
        words = [call.key] if call.argument is None else [call.key, call.argument]
        try:
            answer = getattr(client, _METHODS[call.kind])(*words)
        except redis.exceptions.ResponseError as error:
            self._end(call, self._fate(call, str(error)))
        except (redis.exceptions.ConnectionError, redis.exceptions.TimeoutError):
            self._end(call, Fate.UNKNOWN)
        else:
            self._end(call, Fate.ACKNOWLEDGED, None if call.kind is Kind.PUT else answer)
            return True
        return False

    def _fate(self, call: Call, error: str) -> Fate:
        code = error.partition(" ")[0]
        if code in _NOT_EXECUTED:
            return Fate.NOT_EXECUTED
        if code not in (_OF_READS if call.kind is Kind.GET else _UNKNOWN):
            self._ledger.surprise(f"{self._name}: {error}")
        return Fate.UNKNOWN

    def _end(self, call: Call, fate: Fate, result: bytes | int | None = None) -> None:
        self._ledger.end(call, fate, monotonic_us(), result)
