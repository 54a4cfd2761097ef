"""An operator who changes the members of a cluster, as a person with a client would.

He asks a server for its status and goes on to the leader that it names, has one wish at a time, and
sends `QUORATE.MEMBER` commands until the status shows that the wish has come true, or until he has
had enough. Servers that he adds he starts with empty disks; one whose disk was lost he removes, and
adds it again when that is committed. He never destroys data that the cluster may need: by chance he
removes nobody while a voter's snapshot rots, which nobody can know, since it may be the last one.
"""

import random
from collections import Counter
from collections.abc import Callable, Sequence
from functools import partial

import msgspec

from quorate.node.status import MemberStatus, NodeStatus
from quorate.raft.configuration import NodeId
from quorate.sim.clients import Dial
from quorate.sim.scheduler import Scheduler
from quorate.sim.server import SimulatedServer
from quorate.sim.stream import Stream
from quorate.wire.resp_client import ReplyLimits, ReplyParser, encode_command
from quorate.wire.resp_reply import ErrorReply

_PATIENCE_US = 300_000
"""How long he waits for an answer."""
_WISH_US = 3_000_000
"""How long he wants the same thing."""

_Command = tuple[str | int, ...]


class _Wish(msgspec.Struct, frozen=True):
    """What he wants.

    Attributes:
        kind: `add`, `add learner`, `remove`, `move` or `transfer`.
        node: whom it is about; None for any.
        until: when he gives up, in virtual microseconds.
        host: where the server is to be reached, for `move`.
    """

    kind: str
    node: NodeId | None
    until: int
    host: str = ""


class Operator:
    """Changes the members, one wish after the other.

    Args:
        servers: all that there ever may be.
        running: those that were started; he starts others and adds them here.
        dial: calls a server.
        scheduler: virtual time.
        rng: for his wishes, and for his pauses.
        leisure_us: that of `Life`.
        announce: is told what he has done, and to whom.

    Attributes:
        counts: what he achieved, and how often.
    """

    def __init__(
        self,
        servers: dict[NodeId, SimulatedServer],
        running: list[SimulatedServer],
        *,
        dial: Dial,
        scheduler: Scheduler,
        rng: random.Random,
        leisure_us: int,
        announce: Callable[[str, Sequence[NodeId], int | None], None],
    ) -> None:
        self.counts: Counter[str] = Counter()
        self._servers = servers
        self._running = running
        self._dial = dial
        self._scheduler = scheduler
        self._rng = rng
        self._announce = announce
        self._kinds = rng.choice(
            (
                ("add", "remove"),
                ("add", "add", "add learner", "remove", "remove", "move", "transfer"),
                ("add", "add", "remove", "remove", "remove", "transfer"),
            )
        )
        self._pause_us = leisure_us + rng.choice((10_000, 100_000, 400_000))
        self._impatience = rng.choice((0.0, 0.3))
        self._wish: _Wish | None = None
        self._sent = False
        self._hosts = 0
        self._retired: set[str] = set()
        self._leader = ""
        self._newest = (0, 0)
        self._exchange: _Exchange | None = None
        self._stopped = False
        self._is_content = False

    @property
    def is_idle(self) -> bool:
        """Whether he has stopped, and found every member to be what it is known as."""
        return self._is_content

    @property
    def is_calm(self) -> bool:
        """Whether no command of his is on its way, nor waits anywhere to be executed."""
        busy = self._exchange is not None and self._exchange.is_command
        return not busy and not any(server.is_behind for server in self._running)

    def start(self) -> None:
        """Begins to work."""
        self._pause()

    def stop(self) -> None:
        """Wants nothing new; but members that have lost their data he still removes."""
        self._stopped = True
        self._wish = None

    def break_connection(self) -> None:
        """His connection breaks, if he has one."""
        if self._exchange is not None:
            self._exchange.stream.break_off()

    # ------------------------------------------------------------------ one exchange at a time

    def _pause(self) -> None:
        self._scheduler.after(self._rng.randrange(1, self._pause_us), self._ask)

    def _ask(self) -> None:
        if self._is_content:
            return
        address = self._leader or _client_address(self._rng.choice(self._running).id)
        self._leader = ""
        self._exchange = _Exchange(self, address, self._dial)
        self._scheduler.after(_PATIENCE_US, partial(self._lose_patience, self._exchange))

    def _lose_patience(self, exchange: "_Exchange") -> None:
        if self._exchange is exchange:
            exchange.stream.break_off()

    def exchange_ended(self, exchange: "_Exchange") -> None:
        """It has come to its end, or its connection has broken."""
        if self._exchange is exchange:
            self._exchange = None
            self._pause()

    def next_command(self, status: NodeStatus) -> _Command | None:
        """What he says to a server with this status, if anything."""
        if status.role != "leader":
            leader = next((m for m in status.members if m.id == status.leader), None)
            self._leader = "" if leader is None else leader.client_address
            return None
        if (status.term, status.configuration_index) < self._newest:
            return None  # another one leads by now
        self._newest = (status.term, status.configuration_index)
        self._leader = status.client_address
        if not status.configuration_is_committed and self._rng.random() >= self._impatience:
            return None
        return self._repair(status) or self._advance(status)

    def answered(self, command: _Command, reply: object) -> None:
        """The server has answered to a command."""
        if isinstance(reply, ErrorReply):
            self.counts[f"refused: {reply.code}"] += 1
            if reply.code == "ERR":
                self._wish = None
            return
        what = f"{command[0]}".lower()
        self.counts[what] += 1
        self._announce(f"operator: {what}", [NodeId(int(node)) for node in command[1:2]], None)
        self._sent = True

    # ------------------------------------------------------------------ what he wants

    def _repair(self, status: NodeStatus) -> _Command | None:
        lost = next((m for m in status.members if not self._is_itself(m)), None)
        if lost is None:
            self._is_content = self._stopped and status.configuration_is_committed
            return None
        if not self._stopped:
            self._want("add", NodeId(lost.id))
        return self._remove(lost)

    def _is_itself(self, member: MemberStatus) -> bool:
        """Whether its data directory is the one that the cluster knows it by."""
        server = self._servers[NodeId(member.id)]
        if not member.data_id:
            return bool(server.founders)
        return member.data_id == server.data_id

    def _advance(self, status: NodeStatus) -> _Command | None:
        wish = self._wish
        if wish is not None and self._scheduler.now >= wish.until:
            self.counts["wishes given up"] += 1
            wish = self._wish = None
        if wish is None:
            if self._stopped:
                return None
            wish = self._draw(status)
        members = {NodeId(member.id): member for member in status.members}
        command = self._towards(wish, members, status)
        if command is None and self._has_come_true(wish, members):
            self._wish = None
        return command

    def _draw(self, status: NodeStatus) -> _Wish:
        kind = self._rng.choice(self._kinds)
        members = [NodeId(member.id) for member in status.members]
        others = [node for node in self._servers if node not in members]
        node: NodeId | None = self._rng.choice(members)
        if kind.startswith("add"):
            learners = [NodeId(member.id) for member in status.members if not member.votes]
            candidates = others + (learners if kind == "add" else [])
            node = self._rng.choice(candidates) if candidates else None
        elif kind == "remove" and self._rng.random() < 0.3:
            node = NodeId(status.id)
        elif kind == "transfer" and self._rng.random() < 0.3:
            node = None
        self._hosts += 1
        return self._want(kind, node, host=f"host-{self._hosts}")

    def _want(self, kind: str, node: NodeId | None, host: str = "") -> _Wish:
        self._sent = False
        self._wish = _Wish(kind, node, self._scheduler.now + _WISH_US, host)
        return self._wish

    def _towards(
        self, wish: _Wish, members: dict[NodeId, MemberStatus], status: NodeStatus
    ) -> _Command | None:
        """The next command that leads to what he wants; None if there is nothing to be said."""
        member = None if wish.node is None else members.get(wish.node)
        match wish.kind:
            case "add" | "add learner" if wish.node is not None:
                if member is None:
                    return self._add(wish, status)
                if wish.kind == "add" and not member.votes and not member.is_promoting:
                    return ("PROMOTE", member.id)
            case "remove" if member is not None and not self._has_rotten(members):
                voters = [other for other in members.values() if other.votes]
                if len(voters) > 1 or not member.votes:
                    return self._remove(member)
            case "move" if member is not None and not self._sent:
                peer, client = (f"{wish.host}:{port}" for port in (100 + member.id, member.id))
                return ("ADDRESS", member.id, peer, client)
            case "transfer" if not self._sent:
                return ("TRANSFER",) if wish.node is None else ("TRANSFER", wish.node)
            case _:
                pass
        return None

    def _has_rotten(self, members: dict[NodeId, MemberStatus]) -> bool:
        """Whether the snapshot of some voter is damaged, known to it or not."""
        return any(
            self._servers[node].lacks_its_snapshot
            for node, member in members.items()
            if member.votes
        )

    def _has_come_true(self, wish: _Wish, members: dict[NodeId, MemberStatus]) -> bool:
        member = None if wish.node is None else members.get(wish.node)
        if wish.kind == "add":
            return member is None or member.votes
        return True

    def _add(self, wish: _Wish, status: NodeStatus) -> _Command | None:
        assert wish.node is not None
        server = self._servers[wish.node]
        if server.founders or server.data_id in self._retired:
            # It was a member, and may not come back with the data that it had then. Nobody needs
            # that any more, once its removal is committed.
            if not status.configuration_is_committed:
                return None
            server.lose_disk()
        if server not in self._running:
            self._running.append(server)
        if not server.is_up:
            server.start()
        node = wish.node
        addresses = f"server:{100 + node}", _client_address(node)
        command = ("ADD", node, *addresses, server.data_id)
        return (*command, "LEARNER") if wish.kind == "add learner" else command

    def _remove(self, member: MemberStatus) -> _Command:
        self._retired.add(member.data_id or f"data-{member.id}")
        return ("REMOVE", member.id)


class _Exchange:
    """One connection of his: he asks for the status, and says something or nothing."""

    def __init__(self, operator: Operator, address: str, dial: Dial) -> None:
        self.is_command = False
        self._operator = operator
        self._command: _Command = ()
        self._parser = ReplyParser(ReplyLimits())
        self.stream: Stream = dial(address, self)

    def connected(self) -> None:
        """The connection is there."""
        self.stream.send_to_server(encode_command("QUORATE.STATUS"))

    def data_received(self, data: bytes) -> None:
        """The server has answered."""
        for reply in self._parser.receive(data):
            if self.is_command:
                self.is_command = False
                self._operator.answered(self._command, reply)
                self.stream.break_off()
            elif isinstance(reply, bytes):
                command = self._operator.next_command(msgspec.json.decode(reply, type=NodeStatus))
                if command is None:
                    self.stream.break_off()
                    return
                self.is_command, self._command = True, command
                self.stream.send_to_server(encode_command("QUORATE.MEMBER", *command))

    def connection_lost(self) -> None:
        """The connection could not be made, or has ended."""
        self._operator.exchange_ended(self)


def _client_address(node: NodeId) -> str:
    return f"server:{node}"
