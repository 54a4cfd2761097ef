"""Redis alone, which syncs each write: what one server can do that replicates nothing."""

import subprocess

from benchmarks.peers.system import System, answers, find_program

from quorate.runtime.local_ports import LOOPBACK, free_ports


class Redis(System):
    """One Redis with `appendfsync always`."""

    name = "Redis alone"
    is_replicated = False

    def version(self) -> str:  # noqa: D102 - see System
        command = [_program(), "--version"]
        said = subprocess.run(command, capture_output=True, check=True, text=True).stdout
        return said.split("v=")[1].split()[0]

    def start(self) -> None:  # noqa: D102 - see System
        (port,) = free_ports(1)
        self._server = f"{LOOPBACK}:{port}"
        self._run(
            [
                *(_program(), "--bind", LOOPBACK, "--port", str(port), "--save", ""),
                *("--appendonly", "yes", "--appendfsync", "always"),
            ],
            name="redis",
        )
        self._wait_until(lambda: answers(self._server, b"PING\r\n", b"PONG"))

    @property
    def servers(self) -> list[str]:  # noqa: D102 - see System
        return [self._server]


def _program() -> str:
    return find_program(["redis-server"], "apt-get install redis-server")
