"""TCP ports of this machine's loopback address: which are free."""

import random
import socket
import time
from collections import deque

LOOPBACK = "127.0.0.1"

# Below the ports that Linux gives to outgoing connections (32768 and up). One of those, made
# while a server is down, could otherwise sit on that server's port when it comes back.
_CHOICE = range(15_000, 32_000)
_POLL_S = 0.05
_MAX_RESERVED = 64
_reserved: deque[socket.socket] = deque()


def is_free(port: int) -> bool:
    """Whether a server could listen on this port now.

    It binds but never listens: a socket that listens, were it for an instant, would keep the very
    server that the port belongs to from binding it.
    """
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # as servers do
        try:
            probe.bind((LOOPBACK, port))
        except OSError:
            return False
    return True


def becomes_free(port: int, *, within_s: float) -> bool:
    """Whether a server can listen on this port now, or within so many seconds."""
    give_up_at = time.monotonic() + within_s
    while not is_free(port):
        if time.monotonic() >= give_up_at:
            return False
        time.sleep(_POLL_S)
    return True


def free_ports(count: int) -> list[int]:
    """Ports that are free now, and reserved."""
    candidates = random.SystemRandom().sample(_CHOICE, len(_CHOICE))
    ports: list[int] = []
    for port in candidates:
        if len(ports) == count:
            break
        if reserve(port):
            ports.append(port)
    assert len(ports) == count, "thousands of ports are in use"
    return ports


def reserve(port: int) -> bool:
    """Keeps a free port from everybody else who draws one, whether or not a server listens yet.

    The last few dozens stay reserved as long as this process runs: by sockets for datagrams, whose
    ports have nothing to do with those of connections, so no server is kept from listening there.

    Returns:
        False if it is not free, or was reserved before.
    """
    if not is_free(port):
        return False
    reservation = socket.socket(type=socket.SOCK_DGRAM)
    try:
        reservation.bind((LOOPBACK, port))
    except OSError:
        reservation.close()
        return False
    _reserved.append(reservation)
    if len(_reserved) > _MAX_RESERVED:
        _reserved.popleft().close()
    return True
