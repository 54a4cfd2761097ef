"""TCP keepalive: a connection whose other machine has vanished without a word ends some day.

Otherwise nothing would ever tell: this server has nothing to send to a client that asks nothing.
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


def keep_alive(listening: socket.socket) -> None:
    """Has every connection that this socket accepts from now on probed when it is silent.

    Connections inherit that from the socket that accepts them (Linux, `tcp(7)`), so it costs
    nothing when they come.
    """
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    listening.setsockopt(socket.IPPROTO_TCP, _IDLE, KEEPALIVE_IDLE_S)
    listening.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, KEEPALIVE_INTERVAL_S)
    listening.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPCNT, KEEPALIVE_PROBES)
