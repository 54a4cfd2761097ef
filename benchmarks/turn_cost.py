"""What the Python of one batch costs, at the leader and at a follower, apart from kernel and disk.

    python -m benchmarks.turn_cost [--operation SET] [--profile leader|follower] [--batch "1 x 1"]

Three nodes with their drivers run in this process. What they send to each other is encoded and
decoded as between processes, and their logs are in memory; there are neither sockets nor syncs. In
each batch every one of so many connections sends so many commands at once, and gets its replies.
The figures are those of the quickest tenth of many batches, so that a busy machine disturbs them
little. With `--profile` one side is seen function by function.
"""

import argparse
import cProfile
import pstats
import random
import time
from collections import deque
from collections.abc import Callable
from functools import partial

from quorate.codec.peer import decode_message, encode_message
from quorate.node.node import Node
from quorate.raft.configuration import Member, Membership, NodeId
from quorate.raft.messages import PeerMessage
from quorate.raft.ready import ChunkToSend, LogWrite, ReceivedChunk
from quorate.runtime.clock import monotonic_us
from quorate.runtime.driver import Driver
from quorate.storage.memory_disk import MemoryDisk
from quorate.storage.snapshots import SnapshotPart
from quorate.storage.store import Store
from quorate.wire.peer_frame import FrameKind, FrameReader, encode_frame
from quorate.wire.resp_client import encode_command

NODES = [NodeId(1), NodeId(2), NodeId(3)]
BATCHES = {"1 x 1": (1, 1), "25 x 1": (25, 1), "50 x 1": (50, 1), "50 x 16": (50, 16)}
REPEATED_COMMANDS = 40_000
PROFILED_BATCHES = 200
MAX_FRAME_BYTES = 64 * 1024 * 1024


class Loop:
    """As much of an event loop as a driver needs; its timer fires when it is told to."""

    def __init__(self) -> None:
        self.fire: Callable[[], None] = lambda: None
        self._due: deque[Callable[[], None]] = deque()

    def call_soon(self, callback: Callable[[], None]) -> None:
        """See asyncio."""
        self._due.append(callback)

    def call_later(self, _delay: float, callback: Callable[[], None]) -> "Loop":
        """See asyncio."""
        self.fire = callback
        return self

    def cancel(self) -> None:
        """Of a timer."""

    @property
    def is_due(self) -> bool:
        """Whether there is something to run."""
        return bool(self._due)

    def run(self) -> None:
        """Runs what is due, once."""
        due, self._due = self._due, deque()
        for callback in due:
            callback()


class Peers:
    """Where one server's messages go: as bytes into the inboxes of the others."""

    def __init__(self) -> None:
        self.sent: list[tuple[NodeId, bytes]] = []

    def send(self, to: NodeId, messages: list[PeerMessage]) -> None:
        """See `runtime.driver.Peers`."""
        frames = [encode_frame(FrameKind.MESSAGE, encode_message(message)) for message in messages]
        self.sent.append((to, b"".join(frames)))

    def members_changed(self, membership: Membership) -> None:
        """See `runtime.driver.Peers`."""


class Log:
    """Writes at once."""

    def __init__(self, store: Store) -> None:
        self._store = store

    @property
    def raft_state_bytes(self) -> int:
        """See `runtime.driver.Log`."""
        return self._store.raft_state_bytes

    def write(self, write: LogWrite) -> bool:
        """See `runtime.driver.Log`."""
        self._store.append(write)
        self._store.sync()
        return True


class NoSnapshots:
    """None is taken within the few batches."""

    def write(self, part: SnapshotPart) -> None:
        """See `runtime.driver.SnapshotKeeper`."""

    def read(self, chunk: ChunkToSend) -> None:
        """See `runtime.driver.SnapshotKeeper`."""

    def receive(self, chunk: ReceivedChunk) -> None:
        """See `runtime.driver.SnapshotKeeper`."""

    def restore(self) -> None:
        """See `runtime.driver.SnapshotKeeper`."""


class Client:
    """A client that has read everything at once."""

    unsent_bytes = 0

    def __init__(self) -> None:
        self.replies = 0

    def send(self, data: bytes) -> None:
        """See `runtime.clients.ClientConnection`."""
        self.replies += data.count(b"\r\n") // (1 + data.startswith(b"$"))

    def pause_reading(self) -> None:
        """See `runtime.clients.ClientConnection`."""

    def resume_reading(self) -> None:
        """See `runtime.clients.ClientConnection`."""

    close_when_sent = finish_when_sent = abort = pause_reading


class Server:
    """A node and its driver, and how long they have taken."""

    def __init__(self, node: NodeId) -> None:
        disk = MemoryDisk()
        members = tuple(Member(other, f"peer{other}:1", f"client{other}:1") for other in NODES)
        Store.initialize(disk, cluster_id="c", node=node, data_id=f"d{node}", members=members)
        store = Store.open(disk)
        self.node = Node(
            node,
            boot=1,
            durable=store.take_durable_state(),
            rng=random.Random(node),
            now=monotonic_us(),
            raft_state_bytes=store.raft_state_bytes,
        )
        self.loop, self.peers = Loop(), Peers()
        self.driver = Driver(
            self.node,
            self.loop,  # type: ignore[arg-type]  # what a driver needs of one
            peers=self.peers,
            log=Log(store),
            snapshots=NoSnapshots(),
        )
        self.readers = {other: FrameReader() for other in NODES}
        self.profile: cProfile.Profile | None = None
        self.taken_s = 0.0
        self.driver.start()

    def take(self, action: Callable[[], None]) -> None:
        """Does something in a turn, and notes how long that takes."""
        if self.profile is not None:
            self.profile.enable()
        begun = time.perf_counter()
        action()
        self.loop.run()
        self.taken_s += time.perf_counter() - begun
        if self.profile is not None:
            self.profile.disable()

    def receive(self, sender: NodeId, data: bytes) -> None:
        """Frames have come from another server."""
        reader = self.readers[sender]
        reader.feed(data)
        messages: list[PeerMessage] = []
        while (frame := reader.next_frame(MAX_FRAME_BYTES)) is not None:
            messages.append(decode_message(frame[1]))
        self.driver.received(sender, messages)


class Cluster:
    """Three servers, of which the first leads, and its clients."""

    def __init__(self, connections: int) -> None:
        self._servers = {node: Server(node) for node in NODES}
        self.leader, self.follower = self._servers[NODES[0]], self._servers[NODES[1]]
        while not self.leader.node.raft.is_leader:
            time.sleep(0.01)
            self.leader.take(self.leader.loop.fire)
            self._exchange()
        self._clients = {
            self.leader.driver.clients.connected(client): client
            for client in [Client() for _ in range(connections)]
        }
        self.execute(command("SET"), 1)

    def execute(self, commands: bytes, count: int) -> tuple[float, float]:
        """Each client sends the same commands; returns what leader and follower took, in seconds.

        Args:
            commands: so many commands as bytes.
            count: how many they are.
        """
        self.leader.taken_s = self.follower.taken_s = 0.0
        self.leader.take(lambda: self._send(commands))
        self._exchange()
        for client in self._clients.values():
            assert client.replies == count, "each command is answered before the next batch"
            client.replies = 0
        return self.leader.taken_s, self.follower.taken_s

    def _send(self, commands: bytes) -> None:
        for connection in self._clients:
            self.leader.driver.clients.read_buffer()[: len(commands)] = commands
            self.leader.driver.clients.data(connection, len(commands))

    def _exchange(self) -> None:
        """Lets the servers talk until they have nothing more to say."""
        while any(server.peers.sent or server.loop.is_due for server in self._servers.values()):
            for node, server in self._servers.items():
                server.take(lambda: None)
                sent, server.peers.sent = server.peers.sent, []
                for to, data in sent:
                    other = self._servers[to]
                    other.take(partial(other.receive, node, data))


def command(operation: str) -> bytes:
    """One command of a client."""
    key, value = "key:000000012345", "x" * 64
    return encode_command("SET", key, value) if operation == "SET" else encode_command("GET", key)


def measure(operation: str, connections: int, pipeline: int) -> tuple[float, float]:
    """Microseconds of a batch at the leader and at a follower."""
    cluster = Cluster(connections)
    commands = command(operation) * pipeline
    repeats = max(100, REPEATED_COMMANDS // (connections * pipeline))
    samples = [cluster.execute(commands, pipeline) for _ in range(repeats)]
    leader, follower = (sorted(side)[repeats // 10] * 1e6 for side in zip(*samples, strict=True))
    return leader, follower


def profile(operation: str, connections: int, pipeline: int, *, of_leader: bool) -> None:
    """Prints where the time of one side goes, per batch."""
    cluster = Cluster(connections)
    commands = command(operation) * pipeline
    cluster.execute(commands, pipeline)
    server = cluster.leader if of_leader else cluster.follower
    server.profile = cProfile.Profile()
    for _ in range(PROFILED_BATCHES):
        cluster.execute(commands, pipeline)
    print(f"{PROFILED_BATCHES} batches:")
    pstats.Stats(server.profile).sort_stats("tottime").print_stats(40)


def main() -> None:
    """Prints a table, or a profile."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--operation", choices=["SET", "GET"], default="SET")
    parser.add_argument("--profile", choices=["leader", "follower"])
    parser.add_argument("--batch", choices=BATCHES, default="1 x 1", help="of the profile")
    arguments = parser.parse_args()
    if arguments.profile is not None:
        shape = BATCHES[arguments.batch]
        profile(arguments.operation, *shape, of_leader=arguments.profile == "leader")
        return
    print(f"{'microseconds':12} {'leader':>8} {'follower':>8} {'all nodes, per command':>24}")
    for name, (connections, pipeline) in BATCHES.items():
        leader, follower = measure(arguments.operation, connections, pipeline)
        each = (leader + 2 * follower) / (connections * pipeline)
        print(f"{name:12} {leader:8.0f} {follower:8.0f} {each:24.2f}")


if __name__ == "__main__":
    main()
