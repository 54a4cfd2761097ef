"""Ports of this machine: which are free, found out without disturbing who uses them."""

from __future__ import annotations

import socket
import subprocess
import sys

import pytest

from quorate.runtime import local_ports
from quorate.runtime.local_ports import LOOPBACK, free_ports, is_free


def test_a_port_is_free_unless_somebody_listens() -> None:
    (port,) = free_ports(1)
    assert is_free(port)
    with socket.create_server((LOOPBACK, port)):
        assert not is_free(port)
    assert is_free(port)


def test_looking_at_a_port_keeps_no_server_from_it() -> None:
    # Two suites side by side looked for free ports; the one's look at a port that the other had
    # just drawn made a server there fail with "address already in use".
    (port,) = free_ports(1)
    program = (
        "from quorate.runtime.local_ports import is_free\n"
        f"print(is_free({port}), flush=True)\nwhile True: is_free({port})"
    )
    with subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE) as looking:
        assert looking.stdout is not None
        try:
            looking.stdout.readline()
            for _ in range(2000):
                socket.create_server((LOOPBACK, port)).close()
        finally:
            looking.kill()


def test_who_draws_gets_other_ports_than_those_that_somebody_else_has_drawn(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Also before they are used: servers of tests that ran side by side took each other's."""
    choice = free_ports(10)
    monkeypatch.setattr(local_ports, "_CHOICE", choice)
    with pytest.raises(AssertionError):
        free_ports(1)
