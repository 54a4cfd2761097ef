"""What the core wants done, and what the disk gives back to it at a restart.

`take_events()` tells the layer above what has become known. `take_ready()` tells the driver what
to do: it sends the messages at once, hands the write to the log, and says `persisted(number)`
when that write is safe on the disk. Messages that depend on a write (votes, the answers to
AppendEntries) stay in the core until then and come with the next `Ready`, so no driver can send
them too early.
"""

import msgspec

from quorate.raft.configuration import NodeId
from quorate.raft.entry import Entry
from quorate.raft.messages import InstallSnapshot, PeerMessage
from quorate.raft.snapshot import LogStart, SnapshotMetadata


class LogWrite(msgspec.Struct, frozen=True):
    """One write to the durable log; all of it becomes durable together, or none of it.

    Attributes:
        number: writes are numbered 1, 2, 3, ... within one life of the process.
        term: the current term.
        voted_for: who got this server's vote in that term.
        entries: consecutive entries. They replace whatever the log holds at their indices and
            everything after them. Empty if only term and vote changed. Entries that did not fit
            into this write come with the next.
        start: where the log begins from now on, if a snapshot has moved that; before `entries`
            are taken in. See `LogStart`.
    """

    number: int
    term: int
    voted_for: NodeId | None
    entries: tuple[Entry, ...] = ()
    start: LogStart | None = None


class DurableState(msgspec.Struct, frozen=True):
    """What the disk holds when a server starts: term, vote, a snapshot and the log after it.

    Attributes:
        term: the current term.
        voted_for: who got this server's vote in that term.
        snapshot: what the newest snapshot covers.
        entries: consecutive. They begin behind `start`, and reach at least to `snapshot.index`.
        log_start: what the log begins after; the snapshot's end unless trailing entries were
            kept before that.
        snapshot_size: bytes of the snapshot, as `InstallSnapshot` sends them.
        snapshot_is_lost: the log begins after a snapshot that cannot be read any more, and of
            which `snapshot` tells what the log tells. Such a server votes, but neither stands
            for election nor takes in entries before it has a snapshot again.
    """

    term: int
    voted_for: NodeId | None
    snapshot: SnapshotMetadata
    entries: tuple[Entry, ...] = ()
    log_start: LogStart | None = None
    snapshot_size: int = 0
    snapshot_is_lost: bool = False

    @property
    def start(self) -> LogStart:
        """What the log begins after."""
        return self.log_start or LogStart(self.snapshot.index, self.snapshot.term)


class Envelope(msgspec.Struct, frozen=True, gc=False):
    """A message and the server that it is for."""

    to: NodeId
    message: PeerMessage


class ChunkToSend(msgspec.Struct, frozen=True):
    """A piece of this server's newest snapshot, or of the one before, for a follower.

    The driver reads the bytes, puts them into the request and sends it. If that snapshot is gone
    it sends nothing: to the core that is a lost message.

    Attributes:
        to: the follower.
        request: to be sent with `data` filled in: `length` bytes from its `offset` on.
        length: how many bytes.
        is_doubted: the whole snapshot is to be checked before. If that is found damaged, nothing is
            sent, and `Raft.snapshot_damaged` told.
    """

    to: NodeId
    request: InstallSnapshot
    length: int
    is_doubted: bool = False


class ReceivedChunk(msgspec.Struct, frozen=True):
    """A piece of the leader's snapshot, to be written; then `Raft.chunk_written`.

    It is the next one of the snapshot that it belongs to, and there is no other before that call.
    At offset 0 a new file begins, whatever there is of the same snapshot: another leader has the
    same state in other bytes.
    """

    sender: NodeId
    request: InstallSnapshot


class ReadyRead(msgspec.Struct, frozen=True, gc=False):
    """A read that is linearizable once the state machine has applied `index`."""

    ticket: int
    index: int


class ForwardedProposal(msgspec.Struct, frozen=True, gc=False):
    """Proposals that another server passed on; to be answered once, by `answer_forward`."""

    origin: NodeId
    request_id: int
    data: bytes


class ForwardAnswered(msgspec.Struct, frozen=True, gc=False):
    """The leader's answer to a `forward` of ours."""

    ticket: int
    data: bytes


class ForwardRefused(msgspec.Struct, frozen=True, gc=False):
    """The server that was asked was not the leader when this reached it, and did nothing then.

    It may have done it before, if the network delivered the request twice.
    """

    ticket: int


class ForwardLost(msgspec.Struct, frozen=True, gc=False):
    """No answer: the leader changed, its link broke, or time ran out. It may have been done."""

    ticket: int


ForwardOutcome = ForwardAnswered | ForwardRefused | ForwardLost


class FollowerState(msgspec.Struct, frozen=True, gc=False):
    """What a leader knows of another member.

    Attributes:
        match_index: its log is known to be durable and equal to the leader's up to here.
        silent_us: for how long it has answered nothing.
        is_in_touch: whether that is less than an election timeout, and its link was not lost since.
        is_far_behind: it gets a snapshot, or has lost its own, or gets much of the log.
    """

    match_index: int
    silent_us: int
    is_in_touch: bool
    is_far_behind: bool

    @property
    def is_able(self) -> bool:
        """Whether it could take over at once, and what is written can count on it."""
        return self.is_in_touch and not self.is_far_behind


class Ready(msgspec.Struct, frozen=True):
    """What the driver has to do now.

    Attributes:
        messages: to be sent at once, in order.
        write: to be made durable. There is never more than one that is not yet `persisted`.
        chunks: pieces of snapshots to be read and sent.
        received: pieces of a snapshot to be written, in order.
    """

    messages: list[Envelope]
    write: LogWrite | None
    chunks: list[ChunkToSend] = msgspec.field(default_factory=list)
    received: list[ReceivedChunk] = msgspec.field(default_factory=list)


class Events(msgspec.Struct):
    """What has become known for the layer above; each list is in order.

    Attributes:
        snapshot: a snapshot on this server's disk, which was there at the start or has come from
            the leader: the state is to be replaced by it. `committed` goes on behind it after
            `Raft.snapshot_restored`. If another one comes before that, only the newer one counts.
        snapshot_wanted: a follower needs a snapshot, and this leader has none of at least this
            index: one is to be taken. 0 if not. It comes again until there is one.
        committed: entries to be applied, consecutive across all of one life but for snapshots.
        reads: reads that may be served once their index is applied.
        forwarded: proposals of other servers, for this leader to propose.
        forward_outcomes: what became of that which this server had forwarded; one each.
    """

    snapshot: SnapshotMetadata | None = None
    snapshot_wanted: int = 0
    committed: tuple[Entry, ...] = ()
    reads: list[ReadyRead] = msgspec.field(default_factory=list)
    forwarded: list[ForwardedProposal] = msgspec.field(default_factory=list)
    forward_outcomes: list[ForwardOutcome] = msgspec.field(default_factory=list)

    @property
    def is_something(self) -> bool:
        """Whether there is anything in it; entries and snapshots come in when it is taken."""
        return bool(self.reads or self.forwarded or self.forward_outcomes)
