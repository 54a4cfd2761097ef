"""`quorate put`, `append`, `get`, `delete` and `status` on a real cluster."""

import asyncio
import contextlib
import json
import socketserver
import subprocess
import threading
from collections.abc import Callable, Iterator

import pytest

from quorate.runtime.local_cluster import LocalCluster
from quorate.runtime.local_ports import free_ports

pytestmark = pytest.mark.processes

Quorate = Callable[..., subprocess.CompletedProcess[bytes]]


def test_what_is_put_and_appended_is_got_until_it_is_deleted(
    quorate: Quorate, servers: str
) -> None:
    assert quorate("put", servers, "k", "a").stdout == b"OK\n"
    assert quorate("append", servers, "k", "bc").stdout == b"3\n"
    assert quorate("get", servers, "k").stdout == b"abc"
    assert quorate("delete", servers, "k").stdout == b"1\n"
    assert quorate("delete", servers, "k").stdout == b"0\n"


def test_a_missing_key_is_told_from_an_empty_value(quorate: Quorate, servers: str) -> None:
    missing = quorate("get", servers, "nowhere")
    assert (missing.returncode, missing.stdout) == (1, b"")
    assert missing.stderr == b"quorate: error: there is no key 'nowhere'\n"
    assert quorate("put", servers, "empty", "").returncode == 0
    assert quorate("get", servers, "empty").returncode == 0


def test_any_bytes_go_through_standard_input(quorate: Quorate, servers: str) -> None:
    value = bytes(range(256)) * 100
    assert quorate("put", servers, "binary", "-", stdin=value).returncode == 0
    assert quorate("append", servers, "binary", "-", stdin=b"\0").returncode == 0
    assert quorate("get", servers, "binary").stdout == value + b"\0"


def test_a_value_that_begins_with_a_dash_comes_after_two(quorate: Quorate, servers: str) -> None:
    assert quorate("put", servers, "--", "dash", "-x").returncode == 0
    assert quorate("get", servers, "dash").stdout == b"-x"


def test_the_servers_may_come_from_the_environment(quorate: Quorate, cluster: LocalCluster) -> None:
    env = {"QUORATE_SERVERS": cluster.servers[0]}
    assert quorate("put", "k", "v", env=env).returncode == 0
    assert quorate("get", "k", env=env).stdout == b"v"


# ---------------------------------------------------------------------- how they fail


def one_line(ended: subprocess.CompletedProcess[bytes]) -> str:
    lines = ended.stderr.decode().splitlines()
    assert len(lines) == 1, lines
    return lines[0].removeprefix("quorate: error: ")


@pytest.fixture
def nobody() -> str:
    return f"--servers=127.0.0.1:{free_ports(1)[0]}"


def test_a_write_that_reached_nobody_was_not_executed(quorate: Quorate, nobody: str) -> None:
    for arguments in (("put", "k", "v"), ("append", "k", "v"), ("delete", "k")):
        ended = quorate(arguments[0], nobody, "--timeout=0.2", *arguments[1:])
        assert ended.returncode == 3
        assert one_line(ended).startswith("not executed: ")


def test_a_read_that_reached_nobody_is_unavailable(quorate: Quorate, nobody: str) -> None:
    ended = quorate("get", nobody, "--timeout=0.2", "k")
    assert ended.returncode == 5
    assert "the deadline has come" in one_line(ended)


def test_what_the_servers_refuse_was_not_executed(quorate: Quorate, servers: str) -> None:
    ended = quorate("put", servers, "big", "-", stdin=bytes(1024 * 1024 + 1))
    assert ended.returncode == 3
    assert "exceeds maximum allowed size" in one_line(ended)


class Forgetful(socketserver.StreamRequestHandler):
    """A server that takes in everything, opens sessions, and answers nothing else."""

    def handle(self) -> None:
        with contextlib.suppress(OSError):
            while (line := self.rfile.readline()).startswith((b"*", b"$")):
                if line.startswith(b"*"):
                    continue
                argument = self.rfile.read(int(line[1:]) + 2)
                if argument == b"QUORATE.SESSION\r\n":
                    self.wfile.write(b":1\r\n")
                elif argument in {b"QUORATE.LEADER\r\n", b"QUORATE.SERVERS\r\n"}:
                    self.wfile.write(b"$-1\r\n")


@pytest.fixture
def forgetful() -> Iterator[str]:
    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), Forgetful) as server:
        server.daemon_threads = True
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield f"--servers=127.0.0.1:{server.server_address[1]}"
        server.shutdown()
        thread.join()


def test_a_write_that_was_sent_and_never_answered_is_unknown(
    quorate: Quorate, forgetful: str
) -> None:
    ended = quorate("append", forgetful, "--timeout=0.5", "k", "v")
    assert ended.returncode == 4
    assert one_line(ended).startswith("the outcome is unknown, it may have been executed once")


@pytest.mark.parametrize(
    "arguments",
    [
        ("get", "--servers=nonsense", "k"),
        ("get", "--servers=", "k"),
        ("get", "k"),
        ("put", "--servers=127.0.0.1:1", "k"),
        ("get", "--servers=127.0.0.1:1", "--timeout=-1", "k"),
    ],
)
def test_a_wrong_command_line_is_a_usage_error(
    quorate: Quorate, arguments: tuple[str, ...]
) -> None:
    ended = quorate(*arguments)
    assert ended.returncode == 2
    assert "--help" in one_line(ended)


# ---------------------------------------------------------------------- status


def test_status_lists_every_node_in_json(
    quorate: Quorate, cluster: LocalCluster, servers: str
) -> None:
    ended = quorate("status", servers, "--json")
    assert ended.returncode == 0
    nodes = json.loads(ended.stdout)
    fields = """
        id role term commit_index last_applied raft_state_bytes snapshot_index snapshot_bytes
        snapshot_age_ms snapshot_is_lost snapshot_has_failed snapshot_taking snapshot_receiving
        snapshot_restoring snapshots_sending client_address pid reachable
    """
    assert [set(node) for node in nodes] == [set(fields.split())] * 3
    assert [node["id"] for node in nodes] == [1, 2, 3]
    assert [node["client_address"] for node in nodes] == cluster.servers
    assert [node["pid"] for node in nodes] == [cluster.pid(m.id) for m in cluster.members]
    assert sorted(node["role"] for node in nodes) == ["follower", "follower", "leader"]
    for node in nodes:
        assert node["reachable"] is True
        assert node["term"] >= 1
        assert 0 < node["last_applied"] <= node["commit_index"]
        assert node["raft_state_bytes"] > 0
        assert node["snapshot_taking"] is None
        assert node["snapshots_sending"] == []


def test_a_node_that_cannot_be_reached_is_listed_all_the_same(
    quorate: Quorate, cluster: LocalCluster, nobody: str
) -> None:
    ended = quorate("status", f"{nobody},{cluster.servers[0]}", "--json")
    assert ended.returncode == 0
    gone, alive = json.loads(ended.stdout)
    address = nobody.removeprefix("--servers=")
    assert gone == dict.fromkeys(alive) | {"client_address": address, "reachable": False}
    assert alive["reachable"] is True


def test_status_fails_if_no_node_can_be_reached(quorate: Quorate, nobody: str) -> None:
    ended = quorate("status", nobody, "--json")
    assert ended.returncode == 1
    assert json.loads(ended.stdout)[0]["reachable"] is False


def test_status_waits_no_longer_than_it_is_told(quorate: Quorate, forgetful: str) -> None:
    ended = quorate("status", forgetful, "--timeout=0.2")
    assert ended.returncode == 1
    assert b"unreachable" in ended.stdout


def test_status_shows_people_a_table(quorate: Quorate, cluster: LocalCluster, servers: str) -> None:
    leader = asyncio.run(cluster.wait_until_serving())
    lines = quorate("status", servers).stdout.decode().splitlines()
    assert lines[0].split()[:3] == ["ID", "ROLE", "TERM"]
    assert [line.split()[:3] for line in lines if "leader" in line] == [
        [str(leader.id), "leader", str(leader.term)]
    ]
