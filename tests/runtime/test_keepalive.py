"""Connections whose other end may have vanished are probed."""

from __future__ import annotations

import socket
import sys

import pytest

from quorate.runtime.keepalive import (
    KEEPALIVE_IDLE_S,
    KEEPALIVE_INTERVAL_S,
    KEEPALIVE_PROBES,
    keep_alive,
)


@pytest.mark.skipif(sys.platform != "linux", reason="names of Linux, the platform of production")
def test_what_is_accepted_is_probed_when_it_is_silent() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        keep_alive(listening)
        with socket.create_connection(listening.getsockname()):
            accepted, _ = listening.accept()
            with accepted:
                assert accepted.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE) == 1
                for option, value in (
                    (socket.TCP_KEEPIDLE, KEEPALIVE_IDLE_S),
                    (socket.TCP_KEEPINTVL, KEEPALIVE_INTERVAL_S),
                    (socket.TCP_KEEPCNT, KEEPALIVE_PROBES),
                ):
                    assert accepted.getsockopt(socket.IPPROTO_TCP, option) == value
