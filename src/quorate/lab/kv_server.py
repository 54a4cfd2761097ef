"""The course's key/value server: a whole node of production, driven by remote procedure calls.

The node is the one of production, with its gateway, replica, Raft core and store; only this driver
is the lab's. Servers call each other's `Raft` service; clients call `KVServer.Call` with the bytes
of one RESP command and get those of its reply, each call through a connection of its own. A server
that does not lead refuses at once (`forwarding` is off), unless plain clients are to be served,
whose gateway it is: then it passes their commands on.
"""

import random
from collections.abc import Sequence
from functools import partial

import msgspec

from quorate.codec.batch import decode_batch
from quorate.lab.costs import Costs
from quorate.lab.network import ClientEnd
from quorate.lab.peer_calls import PeerCalls, node_id
from quorate.lab.persister import Persister
from quorate.lab.raft_server import WHOLE_SNAPSHOT, State, open_store
from quorate.node.node import Node, NodeReady
from quorate.node.settings import NodeSettings
from quorate.raft.configuration import NodeId
from quorate.raft.messages import Forward, PeerMessage
from quorate.raft.ready import LogWrite
from quorate.raft.settings import Settings
from quorate.replica.sessions import SessionLimits
from quorate.replica.snapshot_taker import SnapshotSettings
from quorate.sim.tasks import Future, Tasks
from quorate.storage.snapshot_chunks import read_chunk, write_chunk

FORWARDING = Settings(
    election_timeout_us=250_000,
    max_appends_in_flight=1,
    append_timeout_us=100_000,
    forward_timeout_us=300_000,
    max_committed_bytes=32 * 1024,
    max_chunk_bytes=WHOLE_SNAPSHOT,
)
"""Of servers for plain clients, whom any of them serves. One request to a follower at a time: it
carries what came during the one before. Calls that are lost fail soon, so others may be waited for
less long than over streams. All servers share one thread, so none may keep it for long: after a
restart they all apply a long log."""
ELSEWHERE = msgspec.structs.replace(FORWARDING, forwarding=False)
"""Of servers for clerks: a wrong one refuses."""

_CALL_ENDED = b""


class KvServer:
    """One life of one server.

    Args:
        ends: to each server, itself included.
        me: its number, from 0.
        persister: what its former lives have saved.
        tasks: in which it runs.
        rng: for its election timeouts.
        costs: of its writes, in virtual time.
        settings: how its node is to behave.

    Attributes:
        peers: its service `Raft`.
        node: the node, to be looked at only.
    """

    def __init__(
        self,
        ends: Sequence[ClientEnd],
        me: int,
        persister: Persister,
        *,
        tasks: Tasks,
        rng: random.Random,
        costs: Costs,
        settings: NodeSettings,
    ) -> None:
        self.peers = PeerCalls(tasks, ends, me, self._receive, self._lost)
        self._tasks = tasks
        self._scheduler = tasks.scheduler
        self._costs = costs
        self._replies: dict[int, Future[bytes]] = {}
        self._turn_is_due = False
        self._commands = 0
        """So many have come and were not paid for."""
        self._unwritten = 0
        """So many have come since the last write."""
        self._is_writing = False
        self._alarm = 0
        self._is_over = False
        self._store = open_store(persister, me=me, servers=len(ends))
        self.node = Node(
            node_id(me),
            boot=self._store.identity.boot,
            durable=self._store.take_durable_state(),
            rng=rng,
            now=tasks.now,
            settings=settings,
            raft_state_bytes=self._store.raft_state_bytes,
        )
        self._need_turn()

    # ------------------------------------------------------------------ the course's face

    def get_state(self) -> State:
        """What this server believes."""
        return State(self.node.raft.current_term, self.node.raft.is_leader)

    def kill(self) -> None:
        """Ends this life; what is not saved by now never will be."""
        self._is_over = True
        self.peers.end()
        replies, self._replies = self._replies, {}
        for reply in replies.values():
            reply.set(_CALL_ENDED)

    async def handle(self, _method: str, arguments: bytes) -> bytes:
        """`KVServer.Call`: executes one RESP command; the reply is empty if the server dies."""
        if self._is_over:
            return _CALL_ENDED
        connection = self.node.open_connection()
        reply: Future[bytes] = Future()
        self._replies[connection] = reply
        self.node.client_data(connection, arguments, self._tasks.now)
        self._commands += 1
        self._need_turn()
        return await reply

    # ------------------------------------------------------------------ the driver

    def _receive(self, sender: NodeId, message: PeerMessage) -> None:
        if isinstance(message, Forward):
            self._commands += len(decode_batch(message.data))
        if self.node.receive(sender, message, self._tasks.now):
            self._need_turn()

    def _lost(self, peer: NodeId) -> None:
        """All that was under way to a server has failed, so the core need not wait for it."""
        self.node.link_changed(peer, up=True, now=self._tasks.now)
        self._need_turn()

    def _need_turn(self) -> None:
        if not self._turn_is_due:
            self._turn_is_due = True
            self._scheduler.after(self._costs.turn_us, self._let_others_come)

    def _let_others_come(self) -> None:
        """The turn comes behind all that is on its way right now, and is done together with it."""
        commands, self._commands = self._commands, 0
        self._unwritten += commands
        self._scheduler.after(commands * self._costs.command_us, self._turn)

    def _turn(self) -> None:
        """Does what the node wants done. While the server writes it does nothing else."""
        self._turn_is_due = False
        if self._is_over or self._is_writing:
            return
        now = self._tasks.now
        while (urgent := self.node.take_urgent(now)) is not None:
            self._carry_out(urgent)
            if self._is_writing:
                return
        self._carry_out(self.node.take_ready(now))
        self._set_alarm()

    def _carry_out(self, ready: NodeReady) -> None:
        for envelope in ready.messages:
            self.peers.send(envelope)
        for to_send in ready.chunks_to_send:
            if (piece := read_chunk(self._store.snapshots, to_send)) is not None:
                self.peers.send(piece)
        for connection, data in ready.replies:
            self.node.close_connection(connection, self._tasks.now)
            self._replies.pop(connection).set(data)
        self._work_on_snapshots(ready)
        if ready.write is not None:
            self._write(ready.write)

    def _work_on_snapshots(self, ready: NodeReady) -> None:
        """Does all but the sending at once; if there was anything, the node wants another turn."""
        files, now = self._store.snapshots, self._tasks.now
        if ready.restore_from is not None:
            for section in files.sections():
                self.node.restore(section, now)
        for received in ready.received_chunks:
            self.node.chunk_written(received, write_chunk(files, received), now)
        if ready.snapshot_part is not None:
            self.node.snapshot_written(files.write(ready.snapshot_part), now)
        if ready.restore_from or ready.received_chunks or ready.snapshot_part:
            self._need_turn()

    def _write(self, write: LogWrite) -> None:
        commands, self._unwritten = self._unwritten, 0
        times = commands if self.node.raft.is_leader else 1
        cost = self._costs.write_us_at(self._store.raft_state_bytes, times=times)
        if cost:
            self._is_writing = True
            self._scheduler.after(cost, partial(self._complete, write))
        else:
            self._complete(write)

    def _complete(self, write: LogWrite) -> None:
        if self._is_over:
            return
        self._is_writing = False
        if self._store.needs_next_segment:
            self._store.prepare_next_segment()
        self._store.append(write)
        self._store.sync()
        if self._store.needs_cleaning:
            self._store.remove_dead_segments()
        size = self._store.raft_state_bytes
        self.node.persisted(write.number, self._tasks.now, raft_state_bytes=size)
        self._need_turn()

    def _set_alarm(self) -> None:
        due = self.node.deadline(self._tasks.now)
        if due is not None and (not self._alarm or due < self._alarm):
            self._alarm = max(due, self._tasks.now)
            self._scheduler.at(self._alarm, partial(self._wake, self._alarm))

    def _wake(self, due: int) -> None:
        if self._alarm == due and not self._is_over:
            self._alarm = 0
            self.node.wake(self._tasks.now)
            self._need_turn()


def start_kv_server(
    ends: Sequence[ClientEnd],
    me: int,
    persister: Persister,
    max_raft_state: int,
    *,
    tasks: Tasks,
    rng: random.Random,
    costs: Costs,
    settings: Settings = ELSEWHERE,
    session_limits: SessionLimits | None = None,
) -> KvServer:
    """The course's `StartKVServer`: a server that goes on from what the persister holds.

    Args:
        ends: to each server, itself included, by their numbers from 0.
        me: the server's own number.
        persister: what its former lives have saved.
        max_raft_state: from how many bytes of Raft state on it takes a snapshot, or `NEVER`.
        tasks: in which it runs.
        rng: for its election timeouts.
        costs: of its writes, in virtual time.
        settings: of Raft.
        session_limits: of the session table; those of production by default.
    """
    return KvServer(
        ends,
        me,
        persister,
        tasks=tasks,
        rng=rng,
        costs=costs,
        settings=NodeSettings(
            raft=settings,
            sessions=session_limits or SessionLimits(),
            # The course looks at the log 20 ms after the last write, and the bound is tiny.
            snapshots=SnapshotSettings(max_raft_state=max_raft_state, pause_us=0, sending_factor=1),
        ),
    )
