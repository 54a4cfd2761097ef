"""TCP ports of this machine's loopback address: which are free."""

import random
import socket
import time

LOOPBACK = "127.0.0.1"

# Below the ports that Linux gives to outgoing connections (32768 and up). One of those, made
# while a server is down, could otherwise sit on that server's port when it comes back.
_CHOICE = range(15_000, 32_000)
_POLL_S = 0.05


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
    """Ports that are free now, drawn at random, so that others who do the same get others."""
    candidates = random.SystemRandom().sample(_CHOICE, len(_CHOICE))
    ports: list[int] = []
    for port in candidates:
        if len(ports) == count:
            break
        if is_free(port):
            ports.append(port)
    assert len(ports) == count, "thousands of ports are in use"
    return ports
