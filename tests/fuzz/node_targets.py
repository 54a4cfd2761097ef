"""Whole nodes, as clients and other servers meet them.

A peer that has passed the handshake is a member, and Raft believes members: it is no protocol
against liars. What is promised here is less. Messages that no server can have meant are refused by
the codec; an answer counts only if something was asked, and no further than that; and a server
that sees Raft's rules broken (two leaders in a term, a committed entry that changes) stops with one
of the sentences in `BROKEN_RAFT` rather than go on with another state than the others.
"""

from __future__ import annotations

import msgspec
from tests.fuzz.choices import Choices
from tests.fuzz.wire_targets import pieces_of
from tests.node.conftest import SECOND, Client, Cluster, Packet

from quorate.codec.batch import OpenSession, Operation, Submission, encode_batch
from quorate.codec.errors import DecodeError
from quorate.codec.peer import decode_message, encode_message
from quorate.kv.commands import Append, Command, Delete, Put, PutMany, encode_command
from quorate.kv.table import Table
from quorate.raft.configuration import NodeId, configuration_of
from quorate.raft.entry import Entry, EntryKind
from quorate.raft.messages import (
    AppendEntries,
    AppendEntriesAnswer,
    Forward,
    ForwardAnswer,
    InstallSnapshot,
    InstallSnapshotAnswer,
    PeerMessage,
    PreVote,
    ReadIndexAnswer,
    RequestVote,
    RequestVoteAnswer,
    SnapshotNeeded,
    TimeoutNow,
)
from quorate.raft.snapshot import SnapshotMetadata
from quorate.replica.replicated_state import ReplicatedState
from quorate.replica.sessions import SessionLimits, SessionTable

BROKEN_RAFT = (
    "a committed entry never changes",
    "at most one leader in a term",
    "terms in the log never decrease",
    "cluster time never goes back",
    "is committed but no batch",
)
"""How a server ends, on purpose, that has been told by a leader what no leader can say."""

OF_LEADERS = (AppendEntries, InstallSnapshot, ReadIndexAnswer, ForwardAnswer)
"""What a server believes because a leader says so."""


def is_believed(message: PeerMessage) -> bool:
    """Whether a server acts on it: a leader's word, a vote, an entry on a disk.

    All else may be any nonsense.
    """
    match message:
        case RequestVoteAnswer():
            return message.vote_granted
        case AppendEntriesAnswer():
            return message.success
        case _:
            return isinstance(message, OF_LEADERS)


MADE_UP: tuple[PeerMessage, ...] = (
    PreVote(1, 1, 1, 1),
    RequestVote(1, 1, 1, 1, is_transfer=True),
    TimeoutNow(1, 1),
    SnapshotNeeded(1, 1, 1),
    InstallSnapshotAnswer(1, 1, 1),
    AppendEntriesAnswer(1, 1, True, 1, 0, 0),
    ReadIndexAnswer(1, 1, 1),
    Forward(1, 1, encode_batch((OpenSession(),))),
    AppendEntries(1, 1, 0, 0, 1, (Entry(1, 1, 1, EntryKind.NO_OP),)),
    InstallSnapshot(1, 1, SnapshotMetadata(9, 1, 9, configuration_of((1, 2, 3))), 10, 0, b"piece"),
)
"""Of those that are not seen in a quiet cluster, among others."""

LAST_TERM = 2**62
"""Not promised: whoever makes up the last of all terms ends elections for ever."""

MOST_STEPS = 12
PASSES_ON = NodeId(2)


# ---------------------------------------------------------------------- clients


def client(data: bytes) -> None:
    """Whatever a client sends: it harms its own connection at most."""
    cluster = Cluster(1)
    cluster.run_until_led()
    server = cluster.leader
    other, hostile = server.connect(), server.connect()
    hostile.send_raw(*pieces_of(data))
    cluster.settle()
    replies = hostile.take_replies()
    if hostile.is_closed:
        assert replies[-1] == b"OK" or str(replies[-1]).startswith("ERR Protocol error")
    check_is_served(cluster, other)


def check_is_served(cluster: Cluster, client: Client) -> None:
    """A client writes, and reads what it has written."""
    client.send("SET", "alive", "yes")
    client.send("GET", "alive")
    cluster.run(SECOND)
    replies = client.take_replies()
    assert replies == [b"OK", b"yes"], replies


# ---------------------------------------------------------------------- forwarded writes


def forwarded(data: bytes) -> None:
    """What another server passes on is in the log for ever, so it must do no harm on any server.

    After whatever was executed, the state can be written as a snapshot, and read back.
    """
    choices = Choices(data)
    cluster = Cluster(1)
    leader = cluster.run_until_led()
    cluster.loses = lambda packet: packet.to == PASSES_ON
    for number in range(1 + choices.below(4)):
        batch = (
            choices.edited(some_batch(choices)) if choices.below(3) == 2 else some_batch(choices)
        )
        leader.receive(Packet(PASSES_ON, leader.me, Forward(number, 1, batch)))
        cluster.run(choices.pick((0, 1, 100 * SECOND, 4000 * SECOND)))
    leader.node.request_snapshot()
    leader.has_input = True
    cluster.run(SECOND)
    state = leader.node.state
    assert leader.node.raft.snapshot.index == state.last_applied
    restored = ReplicatedState(Table(), SessionTable(SessionLimits()))
    for section in leader.disk.snapshots.sections():
        restored.restore(section)
    assert restored.digest() == state.digest()
    # Whoever knows the number of the node's own session can end it: then writes are refused, or
    # their outcome is unknown. Reads need no session.
    client = leader.connect()
    client.send("STRLEN", "alive")
    cluster.run(SECOND)
    assert client.take_replies() == [0]


def some_batch(choices: Choices) -> bytes:
    """Operations as no node would ask for them."""
    operations: list[Operation] = []
    for _ in range(choices.below(4)):
        if choices.below(2):
            operations.append(OpenSession(whole(choices), whole(choices)))
            continue
        commands = tuple(some_command(choices) for _ in range(choices.below(4)))
        session, acked, first_seq, owner = (whole(choices) for _ in range(4))
        operations.append(Submission(session, acked, first_seq, commands, owner))
    return encode_batch(tuple(operations))


def whole(choices: Choices) -> int:
    """An integer that can be encoded."""
    return max(-(2**63), min(choices.integer(range(8)), 2**64 - 1))


def some_command(choices: Choices) -> bytes:
    """A command of the table, or not quite."""
    key, value = choices.take(choices.below(3)), choices.take(choices.below(9))
    commands: tuple[Command, ...] = (
        Put(key, value),
        Append(key, value),
        Delete((key, key)),
        PutMany(((key, value),)),
    )
    encoded = encode_command(choices.pick(commands))
    return choices.edited(encoded) if choices.below(4) == 3 else encoded


# ---------------------------------------------------------------------- peers


class HostilePeer:
    """One server of three, which says what it likes to the others; and what they say to it.

    Args:
        cluster: a cluster with a leader.
        choices: what it does.
    """

    def __init__(self, cluster: Cluster, choices: Choices) -> None:
        self._cluster = cluster
        self._choices = choices
        self.me = choices.pick(tuple(cluster.servers))
        self.others = [server for server in cluster.up if server.me != self.me]
        self.may_lie = choices.below(2) == 1
        """Whether it says what is believed, too."""
        self._seen: list[PeerMessage] = []
        cluster.loses = self._listen

    def _listen(self, packet: Packet) -> bool:
        if self.me in (packet.sender, packet.to):
            self._seen.append(packet.message)
        return False

    def act(self) -> None:
        """Sends one of the others something."""
        data = self._message()
        to = self._choices.pick(self.others)
        try:
            message = decode_message(data)
        except DecodeError:
            # The connection ends, and is made anew.
            to.link_changed(self.me, up=False)
            to.link_changed(self.me, up=True)
            return
        if message.term > LAST_TERM or (is_believed(message) and not self.may_lie):
            return
        to.receive(Packet(self.me, to.me, message))

    def _message(self) -> bytes:
        """Something that was said, most often changed in one way or another; or made up."""
        choices = self._choices
        message = choices.pick(MADE_UP)
        if self._seen and choices.below(4) < 3:
            message = self._seen[-1 - choices.below(min(len(self._seen), 60))]
        if choices.below(4) == 3:
            return choices.edited(encode_message(message))
        kind = type(message)
        values = {name: getattr(message, name) for name in kind.__struct_fields__}
        for _ in range(choices.below(4)):
            name = choices.pick(kind.__struct_fields__)
            values[name] = self._instead_of(values[name])
        return msgspec.msgpack.encode(kind(**values))

    def _instead_of(self, value: object) -> object:
        """Another value of this type, near those that matter now."""
        choices = self._choices
        if isinstance(value, bool):
            return not value
        if isinstance(value, int) or value is None:
            raft = choices.pick(self.others).node.raft
            near = (value or 0, raft.commit_index, raft.last_index, raft.current_term)
            return max(-(2**63), min(choices.integer(near), 2**64 - 1))
        if isinstance(value, bytes):
            return choices.edited(value)
        return value


def peer(data: bytes) -> None:
    """One server of three sends the others anything that their codec lets pass.

    They go on serving without it, whatever it was, as long as nothing of it is believed; and if it
    was they may stop, but in no other way than those of `BROKEN_RAFT`.
    """
    choices = Choices(data)
    cluster = Cluster(3)
    cluster.run_until_led()
    cluster.settle()
    hostile = HostilePeer(cluster, choices)
    clients = [server.connect() for server in hostile.others]
    try:
        for _ in range(MOST_STEPS):
            if choices.are_over:
                break
            take_step(cluster, hostile, clients, choices)
    except AssertionError as error:
        if hostile.may_lie and any(text in str(error) for text in BROKEN_RAFT):
            return
        raise
    if not hostile.may_lie:
        for server in hostile.others:
            server.disk.is_stalled = False
        cluster.isolate(hostile.me)
        cluster.run(10 * SECOND)
        for server in hostile.others:
            check_is_served(cluster, server.connect())


def take_step(
    cluster: Cluster, hostile: HostilePeer, clients: list[Client], choices: Choices
) -> None:
    """Something happens."""
    match choices.below(8):
        case 0:
            choices.pick(clients).send("APPEND", "key", choices.take(2))
            cluster.settle()
        case 1:
            choices.pick(clients).send("GET", "key")
            cluster.settle()
        case 2:
            cluster.run(choices.pick((1, 10, 100, 300, 600, 2000)) * 1000)
        case 3:
            disk = choices.pick(hostile.others).disk
            disk.is_stalled = not disk.is_stalled
        case _:
            hostile.act()
            if choices.below(2):
                cluster.settle()
