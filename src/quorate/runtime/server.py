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

import msgspec
import uvloop

from quorate.clerk.addresses import parse_address
from quorate.node.node import Node
from quorate.node.settings import NodeSettings
from quorate.node.status import NodeInfo
from quorate.raft.configuration import Member, NodeId
from quorate.runtime.client_server import ClientProtocol
from quorate.runtime.disk import DirectoryDisk
from quorate.runtime.driver import Driver, monotonic_us
from quorate.runtime.keepalive import keep_alive
from quorate.runtime.log_writer import LogWriter
from quorate.runtime.peer_links import PeerLinks
from quorate.runtime.snapshot_worker import SnapshotWorker
from quorate.runtime.version import VERSION
from quorate.storage.identity import Identity, load_identity
from quorate.storage.store import Store
from quorate.wire.peer_hello import Hello

BACKLOG = 1024
"""Connections that may wait to be accepted, as far as the system allows."""
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
        members: all members of the cluster, this one included; may be empty if the directory is
            initialised, and must be what it was initialised with otherwise.
        initialize: the id of a new cluster, if the directory is to be made that of a new node of
            it; None to start what is there.
        settings: how it is to behave.
    """

    node: NodeId
    data_dir: str
    client_address: str
    peer_address: str
    members: tuple[Member, ...] = ()
    initialize: str | None = None
    settings: NodeSettings = NodeSettings()


class StartError(Exception):
    """The server cannot start; the text says what is wrong and what to do."""


class _Stop:
    """Why the server ends: asked to, or because of a failure."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._future: asyncio.Future[BaseException | None] = loop.create_future()

    def request(self) -> None:
        """Somebody wants it to end."""
        if not self._future.done():
            self._future.set_result(None)

    def fail(self, error: BaseException) -> None:
        """It cannot go on."""
        if not self._future.done():
            self._future.set_result(error)

    async def wait(self) -> BaseException | None:
        """Waits for the end; returns the failure, if it was one."""
        return await self._future


def run_server(config: ServerConfig) -> None:
    """Runs a server until SIGTERM or SIGINT.

    Raises:
        StartError: something about its configuration or environment; nothing was written.
        StorageError: the data directory cannot be used, or failed while the server ran. Nothing
            was acknowledged that is not durable.
    """
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(_serve(config))


async def _serve(config: ServerConfig) -> None:
    loop = asyncio.get_running_loop()
    stop = _Stop(loop)
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.request)
    with (
        _listening(config.client_address, "client") as client_socket,
        _listening(config.peer_address, "peer") as peer_socket,
        DirectoryDisk(config.data_dir, create=config.initialize is not None) as disk,
        contextlib.closing(_open_store(config, disk)) as store,
        contextlib.closing(
            LogWriter(store, loop, on_failure=stop.fail, on_warning=log.warning)
        ) as log_writer,
        contextlib.closing(
            SnapshotWorker(store.snapshots, loop, on_failure=stop.fail, on_warning=log.warning)
        ) as snapshot_worker,
    ):
        await _run(config, store, log_writer, snapshot_worker, client_socket, peer_socket, stop)


async def _run(
    config: ServerConfig,
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
        info=NodeInfo(
            client_address=config.client_address,
            peer_address=config.peer_address,
            cluster_id=identity.cluster_id,
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
    )
    links = PeerLinks(hello, identity.members, known=store, rng=rng)
    driver = Driver(node, loop, peers=links, log=log_writer, snapshots=snapshot_worker)
    log_writer.start(driver.written)
    snapshot_worker.start(driver)
    _calm_garbage_collector()
    client_server = await loop.create_server(
        lambda: ClientProtocol(driver), sock=client_socket, backlog=BACKLOG
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
    failure = await stop.wait()
    driver.stop()
    client_server.close()
    peer_server.close()
    await links.close()
    if failure is not None:
        raise failure
    log.info("node %d has stopped", identity.node)


def _failed(stop: _Stop, context: dict[str, object]) -> None:
    error = context.get("exception")
    if isinstance(error, ConnectionError | TimeoutError):
        return  # a connection that broke; its protocol was told
    if isinstance(error, BaseException):
        stop.fail(error)
    else:
        stop.fail(RuntimeError(str(context.get("message"))))


def _open_store(config: ServerConfig, disk: DirectoryDisk) -> Store:
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
    # Opening a store writes: it counts the start. So what contradicts the directory comes first.
    _check_identity(config, load_identity(disk))
    return Store.open(disk)


def _check_identity(config: ServerConfig, identity: Identity) -> None:
    if identity.node != config.node:
        raise StartError(
            f"{config.data_dir} is the data directory of node {identity.node}, not of node "
            f"{config.node}: start that node here, or give this one its own directory"
        )
    if config.members and config.members != identity.members:
        raise StartError(
            f"the members given contradict those that {config.data_dir} was initialised with: "
            f"{', '.join(map(_show, identity.members))}. Leave them out, or give the same"
        )
    mine = Member(config.node, config.peer_address, config.client_address)
    if mine not in identity.members:
        raise StartError(
            f"the addresses given, {_show(mine)}, contradict those that the members of "
            f"{config.data_dir} know: {', '.join(map(_show, identity.members))}. Give the same"
        )


def _show(member: Member) -> str:
    return f"{member.id}={member.peer_address},{member.client_address}"


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
