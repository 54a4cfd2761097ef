"""The harness of the Raft lab: a cluster whose servers are crashed, cut off and watched.

What the course calls `config`. Its helpers have the course's waits, limits and words.
"""

from collections.abc import Sequence

import msgspec

from quorate.lab.errors import CheckFailedError
from quorate.lab.network import LabServer
from quorate.lab.persister import Persister
from quorate.lab.raft_server import ApplyCommand, ApplySnapshot, Command, RaftServer, StartResult
from quorate.lab.results import SECOND_US, Lab
from quorate.lab.world import World
from quorate.raft.settings import Settings

ONE_LIMIT_US = 10 * SECOND_US
"""How long `one` begins new attempts."""
ATTEMPT_US = 2 * SECOND_US
"""How long `one` waits for a command that a leader has accepted."""
WAIT_POLLS = 30
LONGEST_POLL_MS = 1280

SNAPSHOT_INTERVAL = 10
"""A service that takes snapshots does so after each command whose index and one is a multiple."""

TERM_CHANGED = object()
"""What `wait` gives when a newer term makes the wait pointless."""


class _Snapshot(msgspec.Struct, frozen=True, array_like=True):
    """What the service of the tests with snapshots puts into one: all that it was ever given."""

    last_index: int
    commands: list[Command]


_encode_snapshot = msgspec.msgpack.Encoder().encode
_decode_snapshot = msgspec.msgpack.Decoder(_Snapshot).decode


class RaftHarness:
    """A cluster of the Raft lab and all that is known of what it has committed.

    Args:
        world: where it is.
        servers: how many.
        settings: of Raft.
        reliable: whether the network is.

    Attributes:
        servers: likewise.
        rafts: the living servers; None for one that has crashed.
        connected: which servers the tests hold for connected.
        persisters: what each server has saved.
    """

    def __init__(
        self,
        world: World,
        servers: int,
        settings: Settings,
        *,
        reliable: bool = True,
    ) -> None:
        self.servers = servers
        self.rafts: list[RaftServer | None] = [None] * servers
        self.connected = [False] * servers
        self.persisters = [Persister() for _ in range(servers)]
        self._world = world
        self._network = world.network
        self._settings = settings
        self._lives = [0] * servers
        # For each server: all it has ever delivered, by index. A crash forgets nothing.
        self._logs: list[dict[int, Command]] = [{} for _ in range(servers)]
        self._highest_index = 0
        self._highest_before = 0
        self._network.reliable = reliable
        self._network.long_delays = True
        for server in range(servers):
            self.start(server)
        for server in range(servers):
            self.connect(server)

    # ------------------------------------------------------------------ lines

    def begin(self, title: str) -> None:
        """The test begins to be measured."""
        self._highest_before = self._highest_index
        self._world.begin(title)

    def end(self) -> None:
        """The test has passed: its result line."""
        committed = self._highest_index - self._highest_before
        self._world.end(Lab.RAFT, servers=self.servers, operations=committed)

    # ------------------------------------------------------------------ life and death

    def crash(self, server: int) -> None:
        """Ends a server. What it still saves goes nowhere."""
        self.disconnect(server)
        self._network.delete_server(server)
        self.persisters[server] = self.persisters[server].copy()
        raft = self.rafts[server]
        if raft is not None:
            raft.kill()
            self.rafts[server] = None

    def start(self, server: int) -> None:
        """Starts a server on what it has saved, after a crash if it lives. It is not connected."""
        self.crash(server)
        self._lives[server] += 1
        ends = []
        for other in range(self.servers):
            name = self._end_name(server, other)
            ends.append(self._network.make_end(name))
            self._network.connect(name, other)
        raft = self.rafts[server] = RaftServer(
            self._world.tasks,
            ends,
            server,
            self.persisters[server],
            settings=self._settings,
            rng=self._world.new_rng(),
            costs=self._world.costs,
        )
        self._world.tasks.spawn(self._read_applied(server, raft))
        self._network.add_server(server, LabServer({"Raft": raft}))

    def connect(self, server: int) -> None:
        """Connects a server with all that are connected."""
        self.connected[server] = True
        self._enable(server, enabled=True)

    def disconnect(self, server: int) -> None:
        """Cuts a server off."""
        self.connected[server] = False
        self._enable(server, enabled=False)

    def _enable(self, server: int, *, enabled: bool) -> None:
        for other in range(self.servers):
            if enabled and not self.connected[other]:
                continue
            for sender, receiver in ((server, other), (other, server)):
                if self._lives[sender]:
                    self._network.enable(self._end_name(sender, receiver), enabled)

    def partition(self, *groups: Sequence[int]) -> None:
        """Cuts the cluster into groups, each connected within; the rest is cut off alone."""
        for server in range(self.servers):
            self.disconnect(server)
        for group in groups:
            for sender in group:
                self.connected[sender] = True
                for receiver in group:
                    self._network.enable(self._end_name(sender, receiver), enabled=True)

    def connect_one_way(self, caller: int, called: int) -> None:
        """One server's calls reach another, and are answered; not the other way round."""
        self._network.enable(self._end_name(caller, called), enabled=True)

    def _end_name(self, sender: int, receiver: int) -> tuple[int, int, int]:
        return sender, self._lives[sender], receiver

    def living(self, server: int) -> RaftServer:
        """A server that must be alive."""
        raft = self.rafts[server]
        assert raft is not None, f"server {server} has crashed"
        return raft

    def start_command(self, server: int, command: Command) -> StartResult:
        """Calls `start` of a living server."""
        return self.living(server).start(command)

    # ------------------------------------------------------------------ what is applied

    async def _read_applied(self, server: int, raft: RaftServer) -> None:
        last_index = 0
        while True:
            match await raft.apply_channel.take():
                case ApplyCommand(command, index):
                    if index != last_index + 1:
                        raise CheckFailedError(
                            f"apply error: server {server} apply out of order {index}"
                        )
                    self._applied(server, index, command)
                    if self._world.takes_snapshots and (index + 1) % SNAPSHOT_INTERVAL == 0:
                        raft.snapshot(index, self._snapshot_of(server, index))
                    last_index = index
                case ApplySnapshot(snapshot, _, index):
                    last_index = self._install(server, snapshot)
                    if last_index != index:
                        raise CheckFailedError(f"server {server} snapshot doesn't match {index}")

    def _snapshot_of(self, server: int, index: int) -> bytes:
        log = self._logs[server]
        return _encode_snapshot(_Snapshot(index, [log[each] for each in range(1, index + 1)]))

    def _install(self, server: int, data: bytes) -> int:
        """Goes on from a snapshot; gives the last index in it."""
        snapshot = _decode_snapshot(data)
        self._logs[server] = dict(enumerate(snapshot.commands, 1))
        return snapshot.last_index

    def _applied(self, server: int, index: int, command: Command) -> None:
        for other, log in enumerate(self._logs):
            if index in log and log[index] != command:
                raise CheckFailedError(
                    f"apply error: commit index={index} server={server} {command} "
                    f"!= server={other} {log[index]}"
                )
        self._logs[server][index] = command
        self._highest_index = max(self._highest_index, index)

    def committed(self, index: int) -> tuple[int, Command | None]:
        """How many servers, dead ones included, have ever delivered an index, and what.

        The course's `nCommitted`.
        """
        count, command = 0, None
        for log in self._logs:
            if index in log:
                if count and log[index] != command:
                    raise CheckFailedError(
                        f"committed values do not match: index {index}, {command}, {log[index]}"
                    )
                count, command = count + 1, log[index]
        return count, command

    # ------------------------------------------------------------------ the course's helpers

    async def check_one_leader(self) -> int:
        """Waits until there is a leader; gives that of the highest term."""
        for _ in range(10):
            await self._world.sleep(450 + self._world.rng.randrange(100))
            leaders: dict[int, list[int]] = {}
            for server, raft in enumerate(self.rafts):
                if self.connected[server] and raft is not None:
                    state = raft.get_state()
                    if state.is_leader:
                        leaders.setdefault(state.term, []).append(server)
            for term, claimants in leaders.items():
                if len(claimants) > 1:
                    raise CheckFailedError(f"term {term} has {len(claimants)} (>1) leaders")
            if leaders:
                return leaders[max(leaders)][0]
        raise CheckFailedError("expected one leader, got none")

    def check_terms(self) -> int:
        """The term that all connected servers agree on."""
        terms = {
            raft.get_state().term
            for server, raft in enumerate(self.rafts)
            if self.connected[server] and raft is not None
        }
        if len(terms) > 1:
            raise CheckFailedError("servers disagree on term")
        return terms.pop()

    def check_no_leader(self) -> None:
        """No connected server believes that it leads."""
        for server, raft in enumerate(self.rafts):
            if self.connected[server] and raft is not None and raft.get_state().is_leader:
                raise CheckFailedError(f"expected no leader, but {server} claims to be leader")

    async def wait(
        self, index: int, servers: int, start_term: int | None = None
    ) -> Command | object:
        """Waits until so many servers have delivered an index; gives the command.

        Args:
            index: of the log.
            servers: how many.
            start_term: give up, with `TERM_CHANGED`, once any server knows a newer term.
        """
        poll_ms = 10
        for _ in range(WAIT_POLLS):
            if self.committed(index)[0] >= servers:
                break
            await self._world.sleep(poll_ms)
            poll_ms = min(2 * poll_ms, LONGEST_POLL_MS)
            if start_term is not None and self.highest_term() > start_term:
                return TERM_CHANGED
        count, command = self.committed(index)
        if count < servers:
            raise CheckFailedError(f"only {count} decided for index {index}; wanted {servers}")
        return command

    def highest_term(self) -> int:
        """The newest term that a living server knows."""
        return max(raft.get_state().term for raft in self.rafts if raft is not None)

    async def one(self, command: Command, expected: int, *, retry: bool = False) -> int:
        """Has one command committed, by whichever server leads.

        Args:
            command: which.
            expected: how many servers have to deliver it.
            retry: whether it may be submitted again when it was not committed within 2 s.

        Returns:
            Its index.
        """
        tasks = self._world.tasks
        begun = tasks.now
        last = 0
        while tasks.now - begun < ONE_LIMIT_US:
            last, index = self._offer(command, last)
            if index is None:
                await self._world.sleep(50)
                continue
            attempt = tasks.now
            while tasks.now - attempt < ATTEMPT_US:
                count, delivered = self.committed(index)
                if count >= expected and count > 0 and delivered == command:
                    return index
                await self._world.sleep(20)
            if not retry:
                break
        raise CheckFailedError(f"one({_shown(command)}) failed to reach agreement")

    def _offer(self, command: Command, last: int) -> tuple[int, int | None]:
        """Goes round the servers after the last one tried, until one accepts the command."""
        for _ in range(self.servers):
            last = (last + 1) % self.servers
            raft = self.rafts[last]
            if raft is not None and self.connected[last]:
                result = raft.start(command)
                if result.is_leader:
                    return last, result.index
        return last, None

    def calls_to_all(self) -> int:
        """The requests that all living servers have received in their present lives."""
        return sum(self._network.count(server) for server in range(self.servers))

    @property
    def total_bytes(self) -> int:
        """Of all calls and replies so far."""
        return self._network.total_bytes

    @property
    def largest_state_size(self) -> int:
        """The largest Raft state that any server has saved, in bytes; the course's `LogSize`."""
        return max(persister.raft_state_size for persister in self.persisters)


def _shown(command: Command) -> str:
    text = str(command)
    return text if len(text) <= 40 else f"{text[:40]}..."
