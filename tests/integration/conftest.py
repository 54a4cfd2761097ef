"""Clusters of real processes, and how the tests look at them from outside.

What has to be waited for happens in other processes, so it is polled, by `Cluster.eventually`.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import json
import os
import resource
import signal
import socket
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Self

import pytest
import redis
from tests.integration.eventually import eventually
from tests.integration.machines import Machines

from quorate.node.status import NodeStatus
from quorate.raft.configuration import NodeId
from quorate.runtime.local_cluster import LocalCluster
from quorate.storage.identity import FILE_NAME as IDENTITY_NAME
from quorate.wire.resp_client import ReceivedReply, ReplyLimits, ReplyParser, encode_command

_TIMEOUT_S = 20.0

StartCluster = Callable[..., "Cluster"]


class Cluster:
    """A `LocalCluster` whose nodes run, with what tests ask of it."""

    def __init__(self, local: LocalCluster) -> None:
        self.local = local
        self.nodes = [member.id for member in local.members]
        self._addresses = {m.id: _host_and_port(m.client) for m in local.members}
        self._peer_addresses = {m.id: _host_and_port(m.peer) for m in local.members}

    @property
    def servers(self) -> list[str]:
        return self.local.servers

    def address(self, node: NodeId) -> tuple[str, int]:
        return self._addresses[node]

    def port(self, node: NodeId) -> int:
        return self._addresses[node][1]

    eventually = staticmethod(eventually)

    # ------------------------------------------------------------------ states

    def statuses(self) -> dict[NodeId, NodeStatus]:
        """Of the nodes that answer."""
        statuses = asyncio.run(self.local.statuses())
        return {NodeId(status.id): status for status in statuses if status is not None}

    def status(self, node: NodeId) -> NodeStatus:
        """Of a node that answers, now or soon."""
        return self.eventually(lambda: self.statuses().get(node), f"node {node} answers")

    def leader(self) -> NodeId:
        """Who leads, once a majority of the members says so."""

        def agreed() -> NodeId | None:
            told = [status.leader for status in self.statuses().values()]
            for node in self.nodes:
                if node in self.local.running and 2 * told.count(node) > len(self.nodes):
                    return node
            return None

        return self.eventually(agreed, "a majority agrees on a leader that runs")

    def followers(self) -> list[NodeId]:
        """The running nodes that do not lead."""
        leader = self.leader()
        return [node for node in self.nodes if node in self.local.running and node != leader]

    def wait_until_caught_up(self) -> None:
        """Until every node runs and has applied what was committed when this was called."""
        goal = max(status.commit_index for status in self.statuses().values())

        def caught_up() -> bool:
            statuses = self.statuses().values()
            return len(statuses) == len(self.nodes) and all(
                status.last_applied >= goal and status.leader is not None for status in statuses
            )

        self.eventually(caught_up, f"all nodes have applied index {goal}")

    def memory_bytes(self, node: NodeId) -> int:
        """The resident memory of a node's process."""
        pages = Path(f"/proc/{self.local.pid(node)}/statm").read_text().split()[1]
        return int(pages) * resource.getpagesize()

    def data_id(self, node: NodeId) -> str:
        """Of the data directory of a node."""
        identity = json.loads((self.local.data_dir(node) / IDENTITY_NAME).read_bytes())
        return str(identity["identity"]["data_id"])

    def log(self, node: NodeId) -> str:
        return self.local.log_path(node).read_text()

    # ------------------------------------------------------------------ processes

    def kill(self, *nodes: NodeId) -> None:
        self.local.kill(*nodes)

    def restart(self, *nodes: NodeId) -> None:
        """Starts nodes that were killed, and waits until the cluster serves."""
        for node in nodes:
            self.local.start_node(node)
        self.wait_until_serving()

    def wait_until_serving(self) -> None:
        asyncio.run(self.local.wait_until_serving())

    @contextlib.contextmanager
    def paused(self, *nodes: NodeId) -> Iterator[None]:
        """Stops processes, which keep their sockets, and lets them go on afterwards."""
        pids = [self.local.pid(node) for node in nodes]
        for pid in pids:
            os.kill(pid, signal.SIGSTOP)
        try:
            yield
        finally:
            for pid in pids:
                os.kill(pid, signal.SIGCONT)

    # ------------------------------------------------------------------ clients

    def connect(self, node: NodeId) -> Connection:
        return Connection(self.address(node))

    def connect_as_peer(self, node: NodeId) -> socket.socket:
        return socket.create_connection(self._peer_addresses[node], timeout=_TIMEOUT_S)

    def redis(self, node: NodeId) -> redis.Redis:
        """The client that most people use, as it is by default."""
        host, port = self.address(node)
        return redis.Redis(host, port)


class Ledger:
    """Which elements clients appended, and what they were told.

    An element is unique, and says who appended it as which one: `client.number;`. Each client
    uses its own part, so threads may share a ledger.
    """

    def __init__(self) -> None:
        self._acknowledged: dict[int, list[int]] = defaultdict(list)
        self._unknown: dict[int, list[int]] = defaultdict(list)

    @staticmethod
    def element(client: int, number: int) -> bytes:
        return b"%d.%d;" % (client, number)

    def acknowledge(self, client: int, number: int) -> None:
        self._acknowledged[client].append(number)

    def leave_open(self, client: int, number: int) -> None:
        """It may have been executed, once."""
        self._unknown[client].append(number)

    @property
    def acknowledged(self) -> set[bytes]:
        return self._elements(self._acknowledged)

    @property
    def unknown(self) -> set[bytes]:
        return self._elements(self._unknown)

    def _elements(self, numbers: dict[int, list[int]]) -> set[bytes]:
        return {self.element(c, n) for c, own in list(numbers.items()) for n in list(own)}

    def check_exactly_once(self, values: Iterable[bytes]) -> None:
        """What was acknowledged is there once, what is unknown at most once, and nothing else.

        Args:
            values: of all keys that were appended to.
        """
        elements = [element for value in values for element in value.split(b";")[:-1]]
        counts = Counter(element + b";" for element in elements)
        acknowledged, unknown = self.acknowledged, self.unknown
        assert acknowledged - counts.keys() == set(), "acknowledged, but lost"
        assert {element for element, count in counts.items() if count > 1} == set(), "doubled"
        assert counts.keys() - acknowledged - unknown == set(), "never appended, or not executed"

    @staticmethod
    def check_order(value: bytes) -> None:
        """Each client's elements in this value are in the order in which it appended them."""
        last: dict[bytes, int] = {}
        for element in value.split(b";")[:-1]:
            client, _, number = element.partition(b".")
            assert last.get(client, -1) < int(number), f"{element!r} is out of order"
            last[client] = int(number)


class Connection:
    """A client that does what the test says, and nothing else."""

    def __init__(self, address: tuple[str, int]) -> None:
        self.socket = socket.create_connection(address, timeout=_TIMEOUT_S)
        self._parser = ReplyParser(ReplyLimits())
        self._replies: list[ReceivedReply] = []
        self.is_ended = False

    def send(self, data: bytes) -> None:
        self.socket.sendall(data)

    def call(self, *arguments: bytes | str | int) -> ReceivedReply:
        self.send(encode_command(*arguments))
        return self.reply()

    def reply(self) -> ReceivedReply:
        """The next reply."""
        (reply,) = self.replies(1)
        return reply

    def replies(self, count: int) -> list[ReceivedReply]:
        """The next replies; fewer if the server ends the connection before."""
        while len(self._replies) < count and not self.is_ended:
            data = self.socket.recv(256 * 1024)
            self.is_ended = not data
            self._replies += self._parser.receive(data)
        taken, self._replies = self._replies[:count], self._replies[count:]
        return taken

    def reset(self) -> None:
        """Vanishes without a good-bye."""
        linger = b"\x01\x00\x00\x00\x00\x00\x00\x00"  # on, for 0 s: RST instead of FIN
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
        self.socket.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.socket.close()


def _host_and_port(address: str) -> tuple[str, int]:
    host, _, port = address.rpartition(":")
    return host, int(port)


def _create(directory: Path, *, nodes: int = 3, serve_options: Sequence[str] = ()) -> Cluster:
    return Cluster(LocalCluster.create(directory, nodes=nodes, serve_options=serve_options))


@contextlib.contextmanager
def _stopped_in_the_end(cluster: Cluster) -> Iterator[Cluster]:
    try:
        yield cluster
    finally:
        cluster.local.stop()
        for node in cluster.nodes:  # shown if the test has failed
            if cluster.local.log_path(node).exists():
                print(f"--- log of node {node}", cluster.log(node)[-20_000:], sep="\n")


@pytest.fixture
def start_cluster(tmp_path: Path) -> Iterator[StartCluster]:
    """Starts clusters of this test alone; they end with it."""
    with contextlib.ExitStack() as stack:
        numbers = itertools.count()

        def start(*, nodes: int = 3, serve_options: Sequence[str] = ()) -> Cluster:
            directory = tmp_path / f"cluster-{next(numbers)}"
            cluster = _create(directory, nodes=nodes, serve_options=serve_options)
            stack.enter_context(_stopped_in_the_end(cluster))
            cluster.local.start()
            cluster.wait_until_serving()
            return cluster

        yield start


@pytest.fixture
def machines(tmp_path: Path) -> Iterator[Machines]:
    """Machines on which nodes may run, none as yet; they end with the test."""
    with Machines(tmp_path / "machines") as machines:
        yield machines


@pytest.fixture(scope="module")
def shared_cluster(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Cluster]:
    """One cluster for the tests of a file that leave it as they found it.

    Its nodes have the options in `SERVE_OPTIONS` of the file, if it has such.
    """
    cluster = _create(
        tmp_path_factory.mktemp("shared") / "cluster",
        serve_options=getattr(request.module, "SERVE_OPTIONS", ()),
    )
    with _stopped_in_the_end(cluster):
        cluster.local.start()
        cluster.wait_until_serving()
        yield cluster


@pytest.fixture
def healed_cluster(shared_cluster: Cluster) -> Cluster:
    """The same for tests that kill nodes: they are back for the next one."""
    shared_cluster.local.start()
    shared_cluster.wait_until_serving()
    shared_cluster.wait_until_caught_up()
    return shared_cluster


@pytest.fixture
def key(request: pytest.FixtureRequest) -> str:
    """A key of this test's own."""
    return str(request.node.name)


@pytest.fixture
def new_ledger() -> type[Ledger]:
    """Makes ledgers."""
    return Ledger
