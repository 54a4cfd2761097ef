"""TCP keepalive: a connection whose other machine has vanished without a word ends some day.

Otherwise nothing would ever tell: this server has nothing to send to a client that asks nothing,
nor a follower to another one.
"""

import socket
import sys

KEEPALIVE_IDLE_S = 300
"""A connection that was silent for so long is probed; as Redis's `tcp-keepalive` by default."""
KEEPALIVE_INTERVAL_S = 60
"""The pause between two probes."""
KEEPALIVE_PROBES = 5
"""So many probes without an answer end the connection."""

if sys.platform == "darwin":
    _IDLE = socket.TCP_KEEPALIVE
else:
    _IDLE = socket.TCP_KEEPIDLE


def keep_alive(
    connection: socket.socket,
    *,
    idle_s: int = KEEPALIVE_IDLE_S,
    interval_s: int = KEEPALIVE_INTERVAL_S,
    probes: int = KEEPALIVE_PROBES,
) -> None:
    """Has a connection probed when it is silent, and ended when that is not answered.

    Connections inherit that from the socket that accepts them (Linux, `tcp(7)`): if it is set on a
    listening one, it costs nothing when they come.

    Args:
        connection: the socket.
        idle_s: a connection that was silent for so long is probed.
        interval_s: the pause between two probes.
        probes: so many without an answer end the connection.
    """
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    connection.setsockopt(socket.IPPROTO_TCP, _IDLE, idle_s)
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, interval_s)
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPCNT, probes)
