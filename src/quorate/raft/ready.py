"""What the core wants done, and what the disk gives back to it at a restart.

`take_events()` tells the layer above what has become known. `take_ready()` tells the driver what
to do: it sends the messages at once, hands the write to the log, and says `persisted(number)`
when that write is safe on the disk. Messages that depend on a write (votes, the answers to
AppendEntries) stay in the core until then and come with the next `Ready`, so no driver can send
them too early.
"""

import msgspec

from quorate.raft.configuration import Configuration, NodeId
from quorate.raft.entry import Entry
from quorate.raft.messages import PeerMessage


class LogWrite(msgspec.Struct, frozen=True):
    """One write to the durable log; all of it becomes durable together, or none of it.

    Attributes:
        number: writes are numbered 1, 2, 3, ... within one life of the process.
        term: the current term.
        voted_for: who got this server's vote in that term.
        entries: consecutive entries. They replace whatever the log holds at their indices and
            everything after them. Empty if only term and vote changed. Entries that did not fit
            into this write come with the next.
    """

    number: int
    term: int
    voted_for: NodeId | None
    entries: tuple[Entry, ...] = ()


class SnapshotMetadata(msgspec.Struct, frozen=True):
    """What Raft knows of a snapshot: the last entry that it covers and the members as of it.

    A log that was never compacted begins after the snapshot of index 0 and term 0, which covers
    nothing but holds the configuration that the cluster was started with.
    """

    index: int
    term: int
    time_ms: int
    configuration: Configuration


class DurableState(msgspec.Struct, frozen=True):
    """What the disk holds when a server starts: term, vote, and the log after a snapshot.

    `entries` are consecutive and begin at `snapshot.index + 1`.
    """

    term: int
    voted_for: NodeId | None
    snapshot: SnapshotMetadata
    entries: tuple[Entry, ...] = ()


class Envelope(msgspec.Struct, frozen=True, gc=False):
    """A message and the server that it is for."""

    to: NodeId
    message: PeerMessage


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


class Ready(msgspec.Struct, frozen=True):
    """What the driver has to do now.

    Attributes:
        messages: to be sent at once, in order.
        write: to be made durable. There is never more than one that is not yet `persisted`.
    """

    messages: list[Envelope]
    write: LogWrite | None


class Events(msgspec.Struct):
    """What has become known for the layer above; each list is in order.

    Attributes:
        committed: entries to be applied, consecutive across all of one life.
        reads: reads that may be served once their index is applied.
        forwarded: proposals of other servers, for this leader to propose.
        forward_outcomes: what became of that which this server had forwarded; one each.
    """

    committed: tuple[Entry, ...] = ()
    reads: list[ReadyRead] = msgspec.field(default_factory=list)
    forwarded: list[ForwardedProposal] = msgspec.field(default_factory=list)
    forward_outcomes: list[ForwardOutcome] = msgspec.field(default_factory=list)
