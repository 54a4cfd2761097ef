"""ZooKeeper, three nodes, with its default settings; it syncs each write to the disk."""

import shutil
import struct
import time
from pathlib import Path

from benchmarks.peers.system import PeerMissingError, Protocol, System, answers, find_program

from quorate.runtime.local_ports import LOOPBACK, free_ports

_JAR = Path("/usr/share/java/zookeeper.jar")
_HINT = "apt-get install zookeeper"
ATTEMPTS = 10
PATIENCE_S = 5.0
_NEW_SESSION = struct.pack(">iiqiqi16x", 44, 0, 0, 5000, 0, 16)
_BEGINNING_OF_REPLY = bytes(3)  # of its length


class ZooKeeper(System):
    """Three nodes."""

    name = "ZooKeeper"
    protocol = Protocol.ZOOKEEPER

    def version(self) -> str:  # noqa: D102 - see System
        _java()
        named = next(_JAR.parent.glob("zookeeper-[0-9]*.jar"), _JAR)
        return named.stem.removeprefix("zookeeper-")

    def start(self) -> None:
        """Starts it; anew if it has a leader and makes no sessions, as happens now and then."""
        for _ in range(ATTEMPTS):
            self._begin()
            self._wait_until(self._has_leader)
            give_up_at = time.perf_counter() + PATIENCE_S
            while time.perf_counter() < give_up_at:
                if answers(self._servers[0], _NEW_SESSION, _BEGINNING_OF_REPLY):
                    return
            self.stop()
            shutil.rmtree(self.directory)
            self.directory.mkdir()
        raise RuntimeError("ZooKeeper has a leader and makes no sessions")

    def _begin(self) -> None:
        ports = free_ports(9)
        clients, quorum, elections = ports[:3], ports[3:6], ports[6:]
        for number, client in enumerate(clients, start=1):
            data = self.directory / f"data-{number}"
            data.mkdir()
            (data / "myid").write_text(f"{number}\n")
            servers = [
                f"server.{n}={LOOPBACK}:{q}:{e}"
                for n, (q, e) in enumerate(zip(quorum, elections, strict=True), start=1)
            ]
            lines = [
                *("tickTime=2000", "initLimit=10", "syncLimit=5", f"dataDir={data}"),
                *(f"clientPort={client}", f"clientPortAddress={LOOPBACK}"),
                *(
                    "4lw.commands.whitelist=srvr,isro",
                    "admin.enableServer=false",
                    "maxClientCnxns=0",
                ),
                *servers,
            ]
            file = data / "zoo.cfg"
            file.write_text("\n".join([*lines, ""]))
            main = "org.apache.zookeeper.server.quorum.QuorumPeerMain"
            classes = ":".join(map(str, _JAR.parent.glob("*.jar")))
            self._run([_java(), "-cp", classes, main, str(file)], name=f"node-{number}")
        self._servers = [f"{LOOPBACK}:{port}" for port in clients]

    def _has_leader(self) -> bool:
        if not all(answers(server, b"isro", b"rw") for server in self._servers):
            return False
        self._servers.sort(key=lambda server: not answers(server, b"srvr", b"Mode: leader"))
        return answers(self._servers[0], b"srvr", b"Mode: leader")

    @property
    def servers(self) -> list[str]:  # noqa: D102 - see System
        return self._servers


def _java() -> str:
    if not _JAR.exists():
        raise PeerMissingError(_HINT)
    return find_program(["java"], _HINT)
