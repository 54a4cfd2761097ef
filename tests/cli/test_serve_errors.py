"""A node that cannot start says so in one line, and writes nothing."""

import asyncio
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from quorate.raft.configuration import Member, NodeId
from quorate.runtime.disk import DirectoryDisk
from quorate.runtime.local_cluster import LocalCluster
from quorate.runtime.local_ports import free_ports
from quorate.storage.store import Store

pytestmark = pytest.mark.processes


class Node:
    """The configuration of node 1 of 1, and the directory that it is to run on."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        client, peer = free_ports(2)
        self.client = f"127.0.0.1:{client}"
        self.peer = f"127.0.0.1:{peer}"
        self.arguments = [
            "serve",
            "--id=1",
            f"--data-dir={directory}",
            f"--member=1={self.peer},{self.client}",
        ]

    def initialize(self) -> None:
        with DirectoryDisk(self.directory, create=True) as disk:
            Store.initialize(
                disk,
                cluster_id="c",
                node=NodeId(1),
                data_id="d",
                members=(Member(NodeId(1), self.peer, self.client),),
            )

    def content(self) -> dict[str, tuple[bytes, int]]:
        return {
            path.name: (path.read_bytes(), path.stat().st_mtime_ns)
            for path in self.directory.glob("*")
        }


@pytest.fixture
def node(tmp_path: Path) -> Node:
    return Node(tmp_path / "data")


def refusal(*arguments: str, status: int) -> str:
    """The one line that the command ends with."""
    ended = subprocess.run(
        [sys.executable, "-m", "quorate.cli", *arguments],
        capture_output=True,
        timeout=30,
        check=False,
    )
    assert ended.stdout == b""
    lines = ended.stderr.decode().splitlines()
    assert len(lines) == 1, lines
    assert lines[0].startswith("quorate: error: ")
    assert ended.returncode == status
    return lines[0].removeprefix("quorate: error: ")


def test_a_directory_that_was_never_initialised(node: Node) -> None:
    node.directory.mkdir()
    text = refusal(*node.arguments, status=1)
    assert "initialise it with `quorate serve --initialize`" in text
    assert node.content() == {}


def test_a_directory_that_does_not_exist(node: Node) -> None:
    assert "No such file or directory" in refusal(*node.arguments, status=1)
    assert not node.directory.exists()


def test_a_directory_that_cannot_be_made(node: Node) -> None:
    node.directory.write_bytes(b"a file")
    text = refusal(*node.arguments, "--initialize=c", status=1)
    assert f"cannot use {node.directory}" in text


def test_a_directory_that_is_initialised_already(node: Node) -> None:
    node.initialize()
    before = node.content()
    text = refusal(*node.arguments, "--initialize=c", status=1)
    assert "is already the data directory of node 1 of cluster c: start it without" in text
    assert node.content() == before


def test_a_directory_of_another_node(node: Node) -> None:
    node.initialize()
    before = node.content()
    arguments = [*node.arguments, "--id=2", "--member=2=127.0.0.1:1,127.0.0.1:2"]
    text = refusal(*arguments, status=1)
    # Ports 1 and 2 are not for everybody: who may not use them hears of that first.
    assert "is the data directory of node 1, not of node 2" in text or "cannot listen" in text
    assert node.content() == before


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (("--initialize=c",), "leave --initialize and --member out"),
        (("--member=1=127.0.0.1:1,127.0.0.1:2",), "leave --initialize and --member out"),
        (("--join=nowhere",), "--join: bad server address 'nowhere'"),
    ],
)
def test_a_node_that_is_to_join_and_something_else(
    node: Node, arguments: tuple[str, ...], text: str
) -> None:
    own = (f"--client={node.client}", f"--peer={node.peer}", "--join=127.0.0.1:1")
    refused = refusal("serve", "--id=1", f"--data-dir={node.directory}", *own, *arguments, status=2)
    assert text in refused


def test_a_damaged_log(node: Node) -> None:
    node.initialize()
    segment = next(node.directory.glob("*.wal"))
    damaged = bytearray(segment.read_bytes())
    damaged[20] ^= 0x01
    segment.write_bytes(damaged)
    before = node.content()
    text = refusal(*node.arguments, status=1)
    assert f"{segment} is damaged at byte 0" in text
    assert "quorate member rejoin" in text
    assert node.content() == before


def test_a_damaged_identity(node: Node) -> None:
    node.initialize()
    identity = node.directory / "identity.json"
    identity.write_bytes(identity.read_bytes().replace(b'"c"', b'"x"'))
    before = node.content()
    assert "does not match its checksum" in refusal(*node.arguments, status=1)
    assert node.content() == before


def test_a_directory_that_another_process_holds(node: Node) -> None:
    node.initialize()
    with DirectoryDisk(node.directory):
        before = node.content()
        assert "is in use by another process: stop that process" in refusal(
            *node.arguments, status=1
        )
        assert node.content() == before


@pytest.mark.parametrize("kind", ["client", "peer"])
def test_a_port_in_use(node: Node, kind: str) -> None:
    address = node.client if kind == "client" else node.peer
    host, port = address.split(":")
    with socket.create_server((host, int(port))):
        text = refusal(*node.arguments, "--initialize=c", status=1)
    assert text.startswith(f"cannot listen on the {kind} address {address}: Address already in use")
    assert not node.directory.exists()


def test_a_contradictory_configuration_is_a_usage_error(node: Node) -> None:
    text = refusal(*node.arguments, "--initialize=c", "--heartbeat-ms=1000", status=2)
    assert "comes too late" in text
    assert not node.directory.exists()


def test_a_bad_value_says_where_it_comes_from(
    node: Node, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("QUORATE_HEARTBEAT_MS", "soon")
    assert "from the environment variable QUORATE_HEARTBEAT_MS" in refusal(
        *node.arguments, status=2
    )
    config = tmp_path / "c.toml"
    config.write_text("max_connections = 0")
    text = refusal(*node.arguments, "--heartbeat-ms=50", f"--config={config}", status=2)
    assert f"from the configuration file {config}" in text


def test_a_missing_option_and_an_unknown_one(node: Node) -> None:
    assert "Missing option '--id'" in refusal("serve", status=2)
    assert "No such option" in refusal(*node.arguments, "--colour=red", status=2)
    assert "No such command" in refusal("surf", status=2)


def test_python_without_assertions(node: Node) -> None:
    ended = subprocess.run(
        [sys.executable, "-O", "-m", "quorate.cli", *node.arguments, "--initialize=c"],
        capture_output=True,
        timeout=30,
        check=False,
    )
    assert ended.returncode == 1
    assert ended.stderr.startswith(b"quorate: error: Python runs with assertions off")
    assert not node.directory.exists()


# ---------------------------------------------------------------------- and what does start


@pytest.fixture
def single(tmp_path: Path) -> Iterator[LocalCluster]:
    with LocalCluster.create(tmp_path / "one", nodes=1) as cluster:
        yield cluster


def test_a_node_logs_one_line_for_each_event(single: LocalCluster) -> None:
    (member,) = single.members
    node, client, peer, name = member.id, member.client, member.peer, single.cluster_id
    single.start()
    asyncio.run(single.wait_until_serving())
    single.stop()
    lines = single.log_path(node).read_text().splitlines()
    assert [line.split(" ", 1)[1] for line in lines] == [
        f"INFO node 1 of cluster {name} serves clients on {client} and peers on {peer}",
        "INFO node 1 became leader of term 1",
        "INFO node 1 has stopped",
    ]
    assert all(line[10] == "T" and line[23] == "Z" for line in lines)
