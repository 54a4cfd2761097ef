"""One server as a process: sockets, data directory, clock and signals around a node."""

import asyncio
import contextlib
import gc
import logging
import os
import random
import resource
import secrets
import signal
import socket
from collections.abc import Callable
from functools import partial

import msgspec
import uvloop

from quorate.clerk.addresses import parse_address
from quorate.node.node import Node
from quorate.node.settings import NodeSettings
from quorate.node.status import NodeInfo
from quorate.raft.configuration import Configuration, Member, NodeId
from quorate.runtime.ask import ask_statuses
from quorate.runtime.client_server import ClientProtocol
from quorate.runtime.clock import monotonic_us
from quorate.runtime.driver import Driver
from quorate.runtime.keepalive import keep_alive
from quorate.runtime.log_writer import LogWriter
from quorate.runtime.peer_links import PeerLinks
from quorate.runtime.snapshot_worker import SnapshotWorker
from quorate.runtime.surroundings import Surroundings
from quorate.runtime.version import VERSION
from quorate.storage.disk import Disk
from quorate.storage.identity import Identity, has_identity, load_identity
from quorate.storage.store import Store
from quorate.wire.peer_hello import Hello

BACKLOG = 1024
"""Connections that may wait to be accepted, as far as the system allows."""
JOIN_PERIOD_S = 0.5
"""How often a node that is to join asks those of the cluster, while none answers."""
OTHER_FILES = 64
"""Open files besides those of clients: the log, the links, the strangers, the event loop."""

log = logging.getLogger("quorate")


class ServerConfig(msgspec.Struct, frozen=True, kw_only=True):
    """How one server is started.

    Attributes:
        node: its id.
        data_dir: its data directory.
        client_address: where it serves clients, `HOST:PORT`.
        peer_address: where it listens to other servers, `HOST:PORT`.
        members: all members of a new cluster, this one included. If the directory is initialised
            already its log tells who they are, and this only where they may be besides.
        initialize: the id of a new cluster, if the directory is to be made that of a new node of
            it; None to start what is there.
        join: client addresses of some nodes of a cluster that exists, `HOST:PORT`: if there is
            nothing, the directory is made that of a new node of theirs.
        settings: how it is to behave.
    """

    node: NodeId
    data_dir: str
    client_address: str
    peer_address: str
    members: tuple[Member, ...] = ()
    initialize: str | None = None
    join: tuple[str, ...] = ()
    settings: NodeSettings = NodeSettings()


class StartError(Exception):
    """The server cannot start; the text says what is wrong and what to do."""


class _Stop:
    """Why the server ends: asked to, or because of a failure."""

    def __init__(self) -> None:
        self._requested = asyncio.Event()
        self._is_urgent = asyncio.Event()
        self.failure: BaseException | None = None

    def request(self) -> None:
        """Somebody wants it to end; if he says so twice, at once."""
        if self._requested.is_set():
            self._is_urgent.set()
        self._requested.set()

    def fail(self, error: BaseException) -> None:
        """It cannot go on."""
        if self.failure is None:
            self.failure = error
        self._requested.set()
        self._is_urgent.set()

    @property
    def is_due(self) -> bool:
        """Whether it is to end."""
        return self._requested.is_set()

    async def wait(self) -> None:
        """Waits until it is to end."""
        await self._requested.wait()

    async def wait_until_urgent(self) -> None:
        """Waits until it is to end at once."""
        await self._is_urgent.wait()


def run_server(config: ServerConfig, surroundings: Surroundings) -> None:
    """Runs a server until SIGTERM or SIGINT.

    Raises:
        StartError: something about its configuration or environment; nothing was written.
        StorageError: the data directory cannot be used, or failed while the server ran. Nothing
            was acknowledged that is not durable.
    """
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(_serve(config, surroundings))


async def _serve(config: ServerConfig, surroundings: Surroundings) -> None:
    loop = asyncio.get_running_loop()
    stop = _Stop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.request)
    with (
        _listening(config.client_address, "client") as client_socket,
        _listening(config.peer_address, "peer") as peer_socket,
        surroundings.open_disk(
            config.data_dir, create=config.initialize is not None or bool(config.join)
        ) as disk,
        contextlib.closing(await _open_store(config, disk, stop)) as store,
        contextlib.closing(
            LogWriter(store, loop, on_failure=stop.fail, on_warning=log.warning)
        ) as log_writer,
        contextlib.closing(
            SnapshotWorker(store.snapshots, loop, on_failure=stop.fail, on_warning=log.warning)
        ) as snapshot_worker,
    ):
        way_to = partial(surroundings.way_to, config.node)
        await _run(
            config, way_to, store, log_writer, snapshot_worker, client_socket, peer_socket, stop
        )


async def _run(
    config: ServerConfig,
    way_to: Callable[[str], str],
    store: Store,
    log_writer: LogWriter,
    snapshot_worker: SnapshotWorker,
    client_socket: socket.socket,
    peer_socket: socket.socket,
    stop: _Stop,
) -> None:
    loop = asyncio.get_running_loop()
    loop.set_exception_handler(lambda _loop, context: _failed(stop, context))
    identity = store.identity
    for warning in store.warnings:
        log.warning(warning)
    rng = random.Random(secrets.randbits(64))
    node = Node(
        identity.node,
        boot=identity.boot,
        durable=store.take_durable_state(),
        rng=rng,
        now=monotonic_us(),
        settings=_within_open_files(config.settings),
        raft_state_bytes=store.raft_state_bytes,
        peer_data_ids=identity.peer_data_ids,
        has_joined=not identity.members,
        info=NodeInfo(
            client_address=config.client_address,
            peer_address=config.peer_address,
            cluster_id=identity.cluster_id,
            data_id=identity.data_id,
            pid=os.getpid(),
            version=VERSION,
        ),
    )
    hello = Hello(
        cluster_id=identity.cluster_id,
        sender=identity.node,
        to=None,
        data_id=identity.data_id,
        boot=identity.boot,
        client_address=config.client_address,
        peer_address=config.peer_address,
        life=secrets.token_hex(8),
        has_joined=not identity.members,
    )
    _warn_of_other_addresses(config, node.raft.configuration)
    links = PeerLinks(
        hello,
        node.raft.membership,
        known=store,
        rng=rng,
        given_addresses={member.id: member.peer_address for member in config.members},
        way_to=way_to,
    )
    driver = Driver(node, loop, peers=links, log=log_writer, snapshots=snapshot_worker)
    log_writer.start(driver.written)
    snapshot_worker.start(driver)
    _calm_garbage_collector()
    client_server = await loop.create_server(
        lambda: ClientProtocol(driver.clients), sock=client_socket, backlog=BACKLOG
    )
    peer_server = await loop.create_server(
        links.incoming_protocol, sock=peer_socket, backlog=BACKLOG
    )
    log.info(
        "node %d of cluster %s serves clients on %s and peers on %s",
        identity.node,
        identity.cluster_id,
        config.client_address,
        config.peer_address,
    )
    links.start(driver)
    driver.start()
    await stop.wait()
    client_server.close()
    await _leave(driver, stop, timeout_s=longest_leave_s(config.settings))
    driver.stop()
    peer_server.close()
    await links.close()
    if stop.failure is not None:
        raise stop.failure
    log.info("node %d has stopped", identity.node)


async def _leave(driver: Driver, stop: _Stop, *, timeout_s: float) -> None:
    """Lets the driver leave, as long as that may take, and unless it is to end at once."""
    leaving = asyncio.create_task(driver.leave())
    urgent = asyncio.create_task(stop.wait_until_urgent())
    await asyncio.wait((leaving, urgent), timeout=timeout_s, return_when=asyncio.FIRST_COMPLETED)
    if leaving.done():
        leaving.result()
    elif stop.failure is None:
        log.warning("ending before all clients have what they wait for")
    for task in (leaving, urgent):
        task.cancel()
    await asyncio.gather(leaving, urgent, return_exceptions=True)


def longest_leave_s(settings: NodeSettings) -> float:
    """How long a server that is asked to end does so in order at most; then it ends as it is.

    Every command is answered within its time. Leadership is handed over before and after that: an
    election timeout is allowed for each, as much as one attempt lasts at most.
    """
    return (settings.limits.command_timeout_us + 2 * settings.raft.election_timeout_us) / 1e6


def _failed(stop: _Stop, context: dict[str, object]) -> None:
    error = context.get("exception")
    if isinstance(error, ConnectionError | TimeoutError):
        return  # a connection that broke; its protocol was told
    if isinstance(error, BaseException):
        stop.fail(error)
    else:
        stop.fail(RuntimeError(str(context.get("message"))))


async def _open_store(config: ServerConfig, disk: Disk, stop: _Stop) -> Store:
    if config.initialize is not None:
        if not any(member.id == config.node for member in config.members):
            raise StartError(f"node {config.node} is not among the members of the new cluster")
        Store.initialize(
            disk,
            cluster_id=config.initialize,
            node=config.node,
            data_id=secrets.token_hex(16),
            members=config.members,
        )
    elif config.join and not has_identity(disk):
        Store.initialize(
            disk,
            cluster_id=await _cluster_to_join(config, stop),
            node=config.node,
            data_id=secrets.token_hex(16),
            members=(),
        )
    # Opening a store writes: it counts the start. So what contradicts the directory comes first.
    _check_identity(config, load_identity(disk))
    return Store.open(disk)


def _check_identity(config: ServerConfig, identity: Identity) -> None:
    if identity.node != config.node:
        raise StartError(
            f"{config.data_dir} is the data directory of node {identity.node}, not of node "
            f"{config.node}: start that node here, or give this one its own directory"
        )


async def _cluster_to_join(config: ServerConfig, stop: _Stop) -> str:
    """The id of the cluster that this node is to join, as soon as one of its nodes tells it.

    Raises:
        StartError: the server was stopped before.
    """
    log.info("asking %s which cluster this is", ", ".join(config.join))
    while not stop.is_due:
        for status in await ask_statuses(config.join, timeout_s=JOIN_PERIOD_S):
            if status is not None:
                if any(member.id == config.node for member in status.members):
                    log.warning(
                        "cluster %s has a member %d already, with other data. If that is lost, "
                        "`quorate member rejoin %s` lets this node in; if not, choose another "
                        "--id, and an empty data directory",
                        status.cluster_id,
                        config.node,
                        config.client_address,
                    )
                return status.cluster_id
        await asyncio.sleep(JOIN_PERIOD_S)
    raise StartError(f"stopped before any of {', '.join(config.join)} could be reached")


def _warn_of_other_addresses(config: ServerConfig, configuration: Configuration) -> None:
    member = configuration.member(config.node)
    if member is None:
        log.info(
            "this node is no member of the cluster yet as far as it knows: `quorate member add %s` "
            "makes it one",
            config.client_address,
        )
    elif (member.peer_address, member.client_address) != (
        config.peer_address,
        config.client_address,
    ):
        log.warning(
            "the members know this node by %s and %s, but it listens on %s for peers and on %s for "
            "clients: tell them with `quorate member set-address`",
            member.peer_address,
            member.client_address,
            config.peer_address,
            config.client_address,
        )


def _listening(address: str, kind: str) -> socket.socket:
    host, port = parse_address(address)
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        listening = socket.create_server((host, port), family=family, backlog=BACKLOG)
    except OSError as error:
        raise StartError(
            f"cannot listen on the {kind} address {address}: {error.strerror or error}. "
            "Stop what uses it, or choose another"
        ) from error
    listening.setblocking(False)
    keep_alive(listening)
    return listening


def _within_open_files(settings: NodeSettings) -> NodeSettings:
    """Sees that each client that is let in finds a file descriptor, as Redis does.

    Otherwise clients could take the one that the log needs for its next segment.
    """
    limits = settings.limits
    wanted = limits.max_connections + OTHER_FILES
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY or soft >= wanted:
        return settings
    allowed = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
    resource.setrlimit(resource.RLIMIT_NOFILE, (allowed, hard))
    if allowed == wanted:
        return settings
    connections = max(1, allowed - OTHER_FILES)
    log.warning(
        "at most %d clients may connect, not %d: this process may open only %d files. Raise "
        "that limit (`ulimit -Hn`)",
        connections,
        limits.max_connections,
        allowed,
    )
    limits = msgspec.structs.replace(limits, max_connections=connections)
    return msgspec.structs.replace(settings, limits=limits)


def _calm_garbage_collector() -> None:
    # Commands make no reference cycles, so the cyclic collector would only cost pauses. What
    # exists by now is never looked at again; cycles of the rare paths are still found, seldom.
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 20, 100)
