"""PySyncObj, three nodes, in memory: the Raft library for Python that most use."""

import subprocess
from pathlib import Path

from benchmarks.peers.system import PeerMissingError, System, answers

from quorate.runtime.local_ports import LOOPBACK, free_ports

_PYTHON = Path("build/peers-venv/bin/python").absolute()
_HINT = "make bench installs PySyncObj into build/peers-venv"


class PySyncObj(System):
    """Three nodes, each with a RESP server in front."""

    name = "PySyncObj"
    is_durable = False

    def version(self) -> str:  # noqa: D102 - see System
        code = "from importlib.metadata import version; print(version('pysyncobj'))"
        try:
            command = [str(_PYTHON), "-c", code]
            ended = subprocess.run(command, capture_output=True, check=True, text=True)
        except (OSError, subprocess.CalledProcessError) as error:
            raise PeerMissingError(_HINT) from error
        return ended.stdout.strip()

    def start(self) -> None:  # noqa: D102 - see System
        ports = free_ports(6)
        peers = [f"{LOOPBACK}:{port}" for port in ports[:3]]
        program = str(Path(__file__).parent / "pysyncobj_node.py")
        for number, (me, client) in enumerate(zip(peers, ports[3:], strict=True)):
            others = ",".join(peer for peer in peers if peer != me)
            command = [str(_PYTHON), "-I", program, me, others, str(client)]
            self._run(command, name=f"node-{number}")
        self._servers = [f"{LOOPBACK}:{port}" for port in ports[3:]]
        self._wait_until(self._has_leader)

    def _has_leader(self) -> bool:
        self._servers.sort(key=lambda server: not self._leads(server))
        return self._leads(self._servers[0])

    @staticmethod
    def _leads(server: str) -> bool:
        return answers(server, b"*1\r\n$4\r\nPING\r\n", b"leader")

    @property
    def servers(self) -> list[str]:  # noqa: D102 - see System
        return self._servers
