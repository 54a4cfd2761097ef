"""A storm of APPENDs by redis-py with its own retries, while leaders are killed.

A proxy before each node counts the commands that clients really send. A plain connection's command
is executed at most once each time that it is sent; `ONCE` is executed once, however often.
"""

from __future__ import annotations

import asyncio
import threading
from collections import Counter
from typing import TYPE_CHECKING, Any, Self

import pytest
import redis
import redis.exceptions

from quorate.wire.resp_guard import RequestLimits
from quorate.wire.resp_parser import RequestParser

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from tests.integration.conftest import Cluster, Ledger, StartCluster

pytestmark = [pytest.mark.processes, pytest.mark.load]

CLIENTS = 6
KEYS = 4


class RecordingProxies:
    """A proxy for each node, all on one event loop in a thread of its own.

    Attributes:
        ports: where clients find them, in the order of the nodes.
        sent: how often each APPEND came from a client, by its element; so at least as often as
            any node can have seen it.
    """

    def __init__(self, nodes: Iterable[tuple[str, int]]) -> None:
        self.ports: list[int] = []
        self.sent: Counter[bytes] = Counter()
        self._nodes = list(nodes)
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._run)
        self._ready = threading.Event()
        self._stop = asyncio.Event()

    def __enter__(self) -> Self:
        self._thread.start()
        self._ready.wait()
        return self

    def __exit__(self, *_: object) -> None:
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join()

    def _run(self) -> None:
        with asyncio.Runner(loop_factory=lambda: self._loop) as runner:
            runner.run(self._serve())

    async def _serve(self) -> None:
        servers = [
            await asyncio.start_server(self._proxy_to(*node), "127.0.0.1", 0)
            for node in self._nodes
        ]
        self.ports = [server.sockets[0].getsockname()[1] for server in servers]
        self._ready.set()
        await self._stop.wait()
        for server in servers:
            server.close()

    def _proxy_to(self, host: str, port: int) -> Callable[..., Any]:
        async def proxy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            try:
                node_reader, node_writer = await asyncio.open_connection(host, port)
            except OSError:
                writer.close()
                return
            async with asyncio.TaskGroup() as directions:
                directions.create_task(self._pass_on(reader, node_writer, self._recorder()))
                directions.create_task(self._pass_on(node_reader, writer, lambda _data: None))

        return proxy

    async def _pass_on(
        self,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        record: Callable[[bytes], None],
    ) -> None:
        try:
            while data := await reader.read(64 * 1024):
                record(data)
                writer.write(data)
                await writer.drain()
        except OSError:
            pass  # one side has gone; the other one is told
        finally:
            writer.close()

    def _recorder(self) -> Callable[[bytes], None]:
        parser = RequestParser(RequestLimits())

        def record(data: bytes) -> None:
            for request in parser.receive(data):
                if b"APPEND" in request:
                    self.sent[request[-1]] += 1

        return record


class Storm:
    """Clients in threads, each with one node's proxy as its server."""

    def __init__(
        self,
        name: str,
        append: Callable[[redis.Redis], Callable[[str, bytes], bool]],
        ledger: Ledger,
    ) -> None:
        self.keys = [f"{name}-{number}" for number in range(KEYS)]
        self.done = 0
        self._new_append = append
        self._ledger = ledger
        self._stopping = threading.Event()

    def run_client(self, number: int, port: int) -> None:
        with redis.Redis(port=port) as client:
            append = self._new_append(client)
            element = 0
            while not self._stopping.is_set():
                if append(self.keys[element % KEYS], self._ledger.element(number, element)):
                    self._ledger.acknowledge(number, element)
                else:
                    self._ledger.leave_open(number, element)
                element += 1
                self.done += 1

    def rage(self, cluster: Cluster, ports: list[int], *, leader_deaths: int) -> None:
        """Until so many leaders were killed, and the cluster is whole again."""
        threads = [
            threading.Thread(target=self.run_client, args=(n, ports[n % len(ports)]))
            for n in range(CLIENTS)
        ]
        for thread in threads:
            thread.start()
        try:
            for _ in range(leader_deaths):
                self._await_appends(cluster, 200)
                leader = cluster.leader()
                cluster.kill(leader)
                self._await_appends(cluster, 200)
                cluster.restart(leader)
            self._await_appends(cluster, 200)
        finally:
            self._stopping.set()
            for thread in threads:
                thread.join()

    def _await_appends(self, cluster: Cluster, more: int) -> None:
        goal = self.done + more
        cluster.eventually(lambda: self.done >= goal, f"{more} more appends", timeout_s=60)


# --------------------------------------------------------------------- plain APPEND


def plain_append(client: redis.Redis) -> Callable[[str, bytes], bool]:
    """Tells whether the append was acknowledged. Retries are redis-py's own business."""

    def append(key: str, element: bytes) -> bool:
        try:
            client.append(key, element)
        except redis.exceptions.RedisError:
            return False
        return True

    return append


def check_plain_storm(cluster: Cluster, ledger: Ledger, *, leader_deaths: int) -> None:
    storm = Storm("plain", plain_append, ledger)
    with RecordingProxies(map(cluster.address, cluster.nodes)) as proxies:
        storm.rage(cluster, proxies.ports, leader_deaths=leader_deaths)
    counts = elements_in(cluster, storm.keys)
    assert ledger.acknowledged - counts.keys() == set(), "acknowledged, but lost"
    too_often = {e: (n, proxies.sent[e]) for e, n in counts.items() if n > proxies.sent[e]}
    assert too_often == {}, "executed more often than sent: (executed, sent)"
    again = sum(count > 1 for count in proxies.sent.values())
    doubled = sum(count > 1 for count in counts.values())
    print(
        f"{len(ledger.acknowledged)} acknowledged, {len(ledger.unknown)} not; redis-py sent "
        f"{again} of them more than once, and {doubled} were executed more than once"
    )


def test_no_plain_append_is_executed_more_often_than_it_was_sent(
    healed_cluster: Cluster, new_ledger: Callable[[], Ledger]
) -> None:
    check_plain_storm(healed_cluster, new_ledger(), leader_deaths=2)


@pytest.mark.soak
@pytest.mark.timeout(900)
def test_no_plain_append_is_executed_more_often_than_it_was_sent_in_a_long_storm(
    start_cluster: StartCluster, new_ledger: Callable[[], Ledger]
) -> None:
    check_plain_storm(start_cluster(), new_ledger(), leader_deaths=25)


# --------------------------------------------------------------------- ONCE


def append_once(client: redis.Redis) -> Callable[[str, bytes], bool]:
    """Appends in a session: the same number is sent until its outcome is known."""
    execute: Callable[..., Any] = client.execute_command
    session = 0
    seq = 0

    def append(key: str, element: bytes) -> bool:
        nonlocal session, seq
        seq += 1
        while True:
            try:
                session = session or execute("QUORATE.SESSION")
                execute("ONCE", session, seq, seq - 1, "APPEND", key, element)
            except redis.exceptions.ResponseError as error:
                if str(error).split(" ")[0] not in {"UNKNOWN", "NOTEXECUTED"}:
                    raise
            except (redis.exceptions.ConnectionError, redis.exceptions.TimeoutError):
                pass
            else:
                return True

    return append


def check_once_storm(cluster: Cluster, ledger: Ledger, *, leader_deaths: int) -> None:
    storm = Storm("once", append_once, ledger)
    with RecordingProxies(map(cluster.address, cluster.nodes)) as proxies:
        storm.rage(cluster, proxies.ports, leader_deaths=leader_deaths)
    counts = elements_in(cluster, storm.keys)
    assert counts == dict.fromkeys(ledger.acknowledged, 1)
    assert ledger.unknown == set()
    again = sum(count > 1 for count in proxies.sent.values())
    print(f"{len(ledger.acknowledged)} acknowledged, {again} of them sent more than once")


def test_once_is_executed_once_however_often_it_is_sent(
    healed_cluster: Cluster, new_ledger: Callable[[], Ledger]
) -> None:
    check_once_storm(healed_cluster, new_ledger(), leader_deaths=2)


@pytest.mark.soak
@pytest.mark.timeout(900)
def test_once_is_executed_once_however_often_it_is_sent_in_a_long_storm(
    start_cluster: StartCluster, new_ledger: Callable[[], Ledger]
) -> None:
    check_once_storm(start_cluster(), new_ledger(), leader_deaths=25)


def elements_in(cluster: Cluster, keys: list[str]) -> Counter[bytes]:
    """How often each element was executed; the same whichever node is asked."""
    tables = []
    for node in cluster.nodes:
        with cluster.connect(node) as client:
            tables.append(client.call("MGET", *keys))
    assert tables[1:] == tables[:-1]
    assert isinstance(tables[0], list)
    values = [value for value in tables[0] if isinstance(value, bytes)]
    return Counter(element + b";" for value in values for element in value.split(b";")[:-1])
