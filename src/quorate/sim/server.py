"""A simulated server: the driver of one production node, with its store on a simulated disk.

It can be killed, lose power in the middle of a disk operation, be paused, and be started again
on what its disk holds then. As in production, three things go on beside each other: the log, the
care for its segments, and the snapshots (`snapshot_work`).
"""

import random
from collections import Counter
from collections.abc import Callable
from functools import partial

import msgspec

from quorate.node.node import Node, NodeReady
from quorate.node.settings import NodeSettings
from quorate.node.status import NodeInfo
from quorate.raft.configuration import Member, NodeId
from quorate.raft.messages import InstallSnapshot, PeerMessage
from quorate.raft.ready import Envelope, LogWrite
from quorate.sim.clock import Clock
from quorate.sim.durable_record import DurableRecord
from quorate.sim.errors import InvariantError
from quorate.sim.network import Network
from quorate.sim.peer_links import PeerLinks
from quorate.sim.process import Process
from quorate.sim.scheduler import Scheduler
from quorate.sim.snapshot_work import SnapshotWork, StateSeen
from quorate.sim.stream import Stream
from quorate.storage.errors import CorruptionError, StorageError
from quorate.storage.frames import scan_frames
from quorate.storage.memory_disk import MemoryDisk, StoppedError
from quorate.storage.segments import segment_name, segment_numbers
from quorate.storage.store import Store
from quorate.wire.peer_hello import Hello

_CLUSTER = "simulated"
GATHERING = 0.1
"""The chance that in a turn what clients want waits for the next, as if others were sending."""


class ServerSettings(msgspec.Struct, frozen=True, kw_only=True):
    """What a simulated server is like.

    Attributes:
        node: how its node is to behave.
        sync_us: the longest usual time of a sync.
        slow_sync: the probability that a sync takes up to 100 times as long.
        segment_size: of its log, in bytes; small ones are left soon.
        call_pause_us: the longest pause between two calls to a server that does not answer.
        turn_us: how long it takes to react: what arrives within it is handled together.
    """

    node: NodeSettings
    sync_us: int
    slow_sync: float
    segment_size: int
    call_pause_us: int = 100_000
    turn_us: int = 20


class SimulatedServer:
    """One server of a simulated cluster.

    Args:
        member: who it is.
        members: the whole cluster.
        scheduler: virtual time.
        network: carries its messages.
        clock: its own.
        rng: for its own chances.
        settings: what it is like.
        peer: gives the other servers by id.
        handshakes: servers say who they are, and talk only to those whom they accept; else all talk
            to all, and nobody's data id is known.

    Attributes:
        has_acted: it has done something, or something was done to it, since this was set to False.
        founders: the members that the cluster is started with; none if this server joins later.
        data_id: of its data directory.
        disk: to be given faults.
        clock: to be made to jump.
        node: while it runs.
        failure: why it stopped by itself, if it did.
        why_down: why it does not run; empty if it does, or never has.
        record: what its disk must hold.
        happened: how often what happened to it, by name.
    """

    def __init__(
        self,
        member: Member,
        members: tuple[Member, ...],
        *,
        scheduler: Scheduler,
        network: Network,
        clock: Clock,
        rng: random.Random,
        settings: ServerSettings,
        peer: Callable[[NodeId], "SimulatedServer"],
        handshakes: bool = False,
    ) -> None:
        self.id = member.id
        self.has_acted = False
        self.founders = members
        self.disk = MemoryDisk()
        self.clock = clock
        self.node: Node | None = None
        self.failure: str | None = None
        self.why_down = ""
        self.record = DurableRecord(member.id)
        self.happened: Counter[str] = Counter()
        self._member = member
        self._scheduler = scheduler
        self._network = network
        self._rng = rng
        self._settings = settings
        self._peer = peer
        self._others = [other.id for other in members if other.id != member.id]
        self._process = Process(scheduler, self._note_activity)
        self._handshakes = handshakes
        self._directories = 0
        self._rotten: set[int] = set()
        self._lost_records: dict[str, DurableRecord] = {}
        self._lives = 0
        self._store: Store | None = None
        self._links: PeerLinks | None = None
        self._snapshots: SnapshotWork | None = None
        self._turn_is_due = False
        self._gathers = False
        self._cleaning_is_due = False
        self._timer = 0
        self._stalled_until = 0
        self._streams: dict[int, Stream] = {}
        self._connections: dict[Stream, int] = {}
        self._initialize(members)

    def _initialize(self, members: tuple[Member, ...]) -> None:
        self._directories += 1
        self.data_id = f"data-{self.id}" + f"-{self._directories}" * (self._directories > 1)
        Store.initialize(
            self.disk,
            cluster_id=_CLUSTER,
            node=self.id,
            data_id=self.data_id,
            members=members,
            segment_size=self._settings.segment_size,
        )

    @property
    def is_up(self) -> bool:
        """Whether it runs."""
        return self.node is not None

    @property
    def is_paused(self) -> bool:
        """Whether its process stands still."""
        return self.node is not None and self._process.is_paused

    @property
    def is_behind(self) -> bool:
        """Whether something has come to it that it has not looked at yet."""
        return self.node is not None and self._process.is_behind

    @property
    def has_applied_all(self) -> bool:
        """Whether it runs and has applied its whole log; an entry may yet be added to that."""
        return self.node is not None and self.node.state.last_applied == self.node.raft.last_index

    @property
    def works_on_snapshots(self) -> bool:
        """Whether it is writing, reading or restoring one."""
        return self._snapshots is not None and self._snapshots.is_busy

    def take_states_seen(self) -> list[StateSeen]:
        """The states of which it has taken a snapshot, or that it has restored from one."""
        if self._snapshots is None or not self._snapshots.seen:
            return []
        seen, self._snapshots.seen = self._snapshots.seen, []
        return seen

    def record_of(self, data_id: str) -> DurableRecord | None:
        """What a disk of it must hold, or must have held when it was lost."""
        return self.record if data_id == self.data_id else self._lost_records.get(data_id)

    # ------------------------------------------------------------------ life and death

    def start(self) -> None:
        """Starts on what the disk holds."""
        assert self.node is None
        self._process = Process(self._scheduler, self._note_activity)
        self._note_activity()
        self._turn_is_due = self._gathers = self._cleaning_is_due = False
        self.failure = None
        try:
            self._store = Store.open(self.disk, segment_size=self._settings.segment_size)
        except StoppedError:
            self.happened["stopped in its start"] += 1
            self._lose_power("while it started, at an operation of its disk")
            return
        except StorageError as error:
            self._stop_by_itself(error)
            return
        self.happened["started"] += 1
        self.why_down = ""
        durable = self._store.take_durable_state()
        self.happened["started without its snapshot"] += durable.snapshot_is_lost
        if self.record.recovered(durable):
            self.happened["found an unsynced write"] += 1
        self.node = Node(
            self.id,
            boot=self._store.identity.boot,
            durable=durable,
            rng=self._rng,
            now=self.clock.now,
            settings=self._settings.node,
            info=NodeInfo(
                client_address=self._member.client_address,
                cluster_id=_CLUSTER,
                data_id=self.data_id if self._handshakes else "",
                version="0",
            ),
            peer_data_ids=self._store.identity.peer_data_ids,
            has_joined=not self.founders,
            raft_state_bytes=self._store.raft_state_bytes,
        )
        self._snapshots = SnapshotWork(
            self.node,
            self._store.snapshots,
            self,
            record=self.record,
            clock=self.clock,
            rng=self._rng,
            happened=self.happened,
        )
        if self._handshakes:
            self._start_links()
        else:
            self._tell_peers(up=True)
        self._schedule_turn()

    def _start_links(self) -> None:
        assert self._store is not None
        assert self.node is not None
        self._lives += 1
        hello = Hello(
            cluster_id=_CLUSTER,
            sender=self.id,
            to=None,
            data_id=self.data_id,
            boot=self._store.identity.boot,
            client_address=self._member.client_address,
            has_joined=not self.founders,
            life=f"{self.id}-{self._lives}",
        )

        self._links = PeerLinks(
            hello,
            self.node.raft.membership,
            listener=self,
            known=self._store,
            network=self._network,
            draw_pause=partial(self._rng.randrange, 1, self._settings.call_pause_us),
            peer=lambda node: self._peer(node)._links,  # noqa: SLF001  # of the same class
            process=self._process,
            perform=self._do,
            happened=self.happened,
        )
        self._links.start()

    def kill(self, *, power: bool) -> None:
        """Ends the process; with `power`, what the disk had not synced may be lost too."""
        if self.node is None:
            return
        if power:
            self._lose_power()
        else:
            self.why_down = "killed"
            self._end()
            self.disk.kill()

    def pause(self, duration_us: int) -> None:
        """The process stands still for a while, and then goes on as if nothing had been."""
        self._process.pause(duration_us)

    def suspend(self, duration_us: int) -> None:
        """The machine stands still for a while, its clock too: nobody on it can notice."""
        self.clock.stand_still(duration_us)
        self._process.pause(duration_us)

    def correct_clock(self) -> None:
        """Its clock goes right from now on."""
        self.clock.go_right()
        self._set_alarm()

    def jump_ahead(self, duration_us: int) -> None:
        """Its clock jumps ahead, as if the machine had been suspended."""
        self.clock.jump(duration_us)
        self._set_alarm()

    @property
    def lacks_its_snapshot(self) -> bool:
        """Whether its snapshot is damaged, and it has not got another one yet."""
        return self.record.lacks_snapshot

    def damage_snapshot(self, *, restarts: bool) -> bool:
        """A byte of its snapshot changes; False if it has not got just one.

        With an older one beside it, it might do with that.

        Args:
            restarts: it dies, and finds it out in its start; else when it sends the snapshot.
        """
        snapshots = [name for name in self.disk.names() if name.endswith(".snapshot")]
        if self.node is None or len(snapshots) != 1:
            return False
        status = self.node.status()
        if status.snapshot_taking or status.snapshot_receiving or status.snapshot_restoring:
            return False
        if restarts:
            self.kill(power=False)
            self.why_down = "killed, and its snapshot is damaged"
            self.record.snapshot_damaged()
        else:
            assert self.record.snapshot is not None
            self._rotten.add(self.record.snapshot.index)
            self.record.snapshot_rots()
        self.disk.damage(snapshots[0], self._rng)
        return True

    def damage_log(self) -> bool:
        """A byte of its log changes. It has to see that, and loses its disk; see `lose_disk`.

        Not of the newest write: there a change may look as if it had never come to the disk.

        Returns:
            False if there is nothing but the newest write.

        Raises:
            InvariantError: it starts as if nothing had been.
        """
        numbers = segment_numbers(self.disk)
        number = self._rng.choice(
            numbers[-2:] if numbers[-1] - numbers[0] < len(numbers) else numbers[-1:]
        )
        name = segment_name(number)
        frames = scan_frames(self.disk.open(name).read_all()).frames
        before = frames[-1].offset if number == numbers[-1] else frames[-1].end
        if not before:
            return False
        self.kill(power=False)
        self.disk.damage(name, self._rng, before=before)
        try:
            Store.open(self.disk, segment_size=self._settings.segment_size)
        except CorruptionError:
            self.happened["damaged logs noticed"] += 1
            self.lose_disk()
            return True
        raise InvariantError(f"node {self.id} has not noticed that its log is damaged")

    def lose_disk(self) -> None:
        """Its disk is lost. It gets an empty one, on which it is to join the cluster anew."""
        self.kill(power=False)
        self.why_down = "its disk is lost"
        self._lost_records[self.data_id] = self.record
        self.disk = MemoryDisk()
        self.record = DurableRecord(self.id)
        self.failure = None
        self.founders = ()
        self._initialize(())

    def stall_disk(self, duration_us: int) -> None:
        """Its syncs don't end for a while."""
        self._stalled_until = self._scheduler.now + duration_us

    def _lose_power(self, when: str = "") -> None:
        self.why_down = f"its power went {when}".rstrip()
        self._end()
        self.disk.crash(self._rng)

    def _stop_by_itself(self, error: StorageError) -> None:
        self.happened["stopped by itself"] += 1
        self.failure = self.why_down = str(error)
        self._end()
        self.disk.kill()

    def _note_activity(self) -> None:
        self.has_acted = True

    def _end(self) -> None:
        self.happened["ended"] += 1
        self._note_activity()
        self._process.end()
        if self._links is not None:
            self._links.end()
        self.node = self._store = self._snapshots = self._links = None
        self._timer = 0
        for stream in list(self._connections):
            stream.break_off()
        self._streams.clear()
        self._connections.clear()
        if not self._handshakes:
            self._tell_peers(up=False)

    def _tell_peers(self, *, up: bool) -> None:
        for other in self._others:
            tell = partial(self._peer(other).link_changed, self.id, up=up)
            self._scheduler.after(self._network.latency(), tell)

    # ------------------------------------------------------------------ what happens to it

    def link_changed(self, peer: NodeId, *, up: bool) -> None:
        """The link to another server has come up or has ended; perhaps that server itself."""
        self._feed(lambda node: node.link_changed(peer, up=up, now=self.clock.now))

    def peer_identified(self, peer: NodeId, data_id: str) -> None:
        """Another server has said which data directory it has, and is believed."""
        self._feed(lambda node: node.peer_identified(peer, data_id))

    def link_breaks(self, peer: NodeId) -> None:
        """The link to another server breaks."""
        if self._links is None:
            self.link_changed(peer, up=False)
        else:
            self._links.break_with(peer)

    def link_is_mended(self, peer: NodeId) -> None:
        """It can be made again, or is there again at once if nobody has to say who he is."""
        if self._links is None:
            self.link_changed(peer, up=True)

    def received(self, sender: NodeId, message: PeerMessage) -> None:
        """Another server's message arrives."""

        def receive(node: Node) -> bool:
            if isinstance(message, InstallSnapshot):
                self.record.offered(sender, message)
            return node.receive(sender, message, self.clock.now)

        self._feed_and_see(receive)

    def ask_for_snapshot(self) -> None:
        """An operator wants it to take a snapshot."""
        self._feed(lambda node: node.request_snapshot())

    def stream_opened(self, stream: Stream) -> bool:
        """A client connects; False if nobody listens."""
        if self.node is None:
            return False
        connection = self.node.open_connection()
        self._streams[connection] = stream
        self._connections[stream] = connection
        self._schedule_turn()
        return True

    def stream_data(self, stream: Stream, data: bytes) -> None:
        """A client has sent something."""

        def feed(node: Node) -> None:
            connection = self._connections.get(stream)
            if connection is not None:
                node.client_data(connection, data, self.clock.now)

        self._feed(feed)

    def stream_lost(self, stream: Stream) -> None:
        """A client's connection has broken."""

        def forget(node: Node) -> None:
            connection = self._connections.pop(stream, None)
            if connection is not None:
                del self._streams[connection]
                node.close_connection(connection, self.clock.now)

        self._feed(forget)

    def _feed(self, action: Callable[[Node], None]) -> None:
        """Does something with the node, and lets a turn of the driver follow."""

        def feed(node: Node) -> bool:
            action(node)
            return True

        self._feed_and_see(feed)

    def _feed_and_see(self, action: Callable[[Node], bool]) -> None:
        """Does something with the node, and lets a turn follow if it returns that one has to."""

        def feed() -> None:
            assert self.node is not None
            if action(self.node):
                self._schedule_turn()

        if self.node is not None:
            self._process.do(feed)

    # ------------------------------------------------------------------ the driver

    def do_after(self, delay: int, action: Callable[[], None]) -> None:
        """Does something with disk and node in a while; a turn of the driver follows."""
        self._process.after(delay, partial(self._do, action))

    def may_send_damaged(self, node: NodeId, index: int) -> bool:
        """Whether the snapshot of some index, from some server, may be damaged."""
        return index in self._peer(node)._rotten  # noqa: SLF001 - of the same class

    def at_disk_after(self, delay: int, action: Callable[[], None]) -> None:
        """Does something with the disk alone in a while: nothing is due by that."""
        self._process.after(delay, partial(self._at_disk, action))

    def _do(self, action: Callable[[], None]) -> None:
        self._at_disk(action)
        if self.node is not None:
            self._schedule_turn()

    def _at_disk(self, action: Callable[[], None]) -> None:
        """Does something that may be the end of the server."""
        try:
            action()
        except StoppedError:
            self._lose_power("in an operation of its disk")
        except StorageError as error:
            self._stop_by_itself(error)

    def _schedule_turn(self) -> None:
        if not self._turn_is_due:
            self._turn_is_due = True
            self._process.after(self._settings.turn_us, partial(self._at_disk, self._turn))

    def _turn(self) -> None:
        assert self.node is not None
        self._turn_is_due = False
        while (urgent := self.node.take_urgent(self.clock.now)) is not None:
            self._carry_out(urgent)
        self._gathers = not self._gathers and self._rng.random() < GATHERING
        self._carry_out(self.node.take_ready(self.clock.now, submits=not self._gathers))
        if self._gathers:
            self._schedule_turn()
        if self._links is not None:
            self._links.members_changed(self.node.raft.membership)
        self._set_timer()

    def _carry_out(self, ready: NodeReady) -> None:
        assert self._snapshots is not None
        for envelope in ready.messages:
            self.send(envelope)
        for connection, data in ready.replies:
            if connection in self._streams:
                self._streams[connection].send_to_client(data)
        for connection in ready.closing + ready.broken + ready.given_up:
            if connection in self._streams:
                self._streams[connection].break_off()
        self._snapshots.take(ready)
        if ready.write is not None:
            self._write(ready.write)

    def send(self, envelope: Envelope) -> None:
        """Sends a message."""
        assert self.node is not None
        self.record.check(envelope.to, envelope.message, self.node.raft)
        if self._links is not None:
            self._links.send(envelope.to, envelope.message)
            return
        receiver = self._peer(envelope.to)
        self._network.send(self.id, envelope.to, envelope.message, receiver.received)

    def _write(self, write: LogWrite) -> None:
        assert self._store is not None
        self.record.written(write)
        if self._store.needs_next_segment:
            self._store.prepare_next_segment()
        self._store.append(write)
        self.do_after(self.draw_sync_time(), partial(self._sync, write.number))

    def draw_sync_time(self) -> int:
        """How long a sync takes, in virtual microseconds."""
        duration = 20 + self._rng.randrange(self._settings.sync_us)
        if self._rng.random() < self._settings.slow_sync:
            duration *= 2 + self._rng.randrange(99)
        return max(0, self._stalled_until - self._scheduler.now) + duration

    def _sync(self, number: int) -> None:
        assert self._store is not None
        assert self.node is not None
        self._store.sync()
        self.record.synced()
        size = self._store.raft_state_bytes
        self.node.persisted(number, self.clock.now, raft_state_bytes=size)
        if self._store.needs_cleaning and not self._cleaning_is_due:
            self._cleaning_is_due = True
            self.at_disk_after(self.draw_sync_time(), self._clean)

    def _clean(self) -> None:
        assert self._store is not None
        self._cleaning_is_due = False
        self._store.remove_dead_segments()

    def _set_timer(self) -> None:
        assert self.node is not None
        due = self.node.deadline(self.clock.now)
        if due is not None and (not self._timer or due < self._timer):
            self._timer = due
            self._set_alarm()

    def _set_alarm(self) -> None:
        """Wakes the node when its clock shows the time of its timer, if nothing does before."""
        if self._timer:
            self._process.at(self.clock.time_of(self._timer), partial(self._wake, self._timer))

    def _wake(self, due: int) -> None:
        if self._timer == due:
            self._timer = 0
            assert self.node is not None
            self.node.wake(self.clock.now)
            self._schedule_turn()
