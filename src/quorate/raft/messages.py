"""What servers say to each other: one struct for each message of the protocol.

Every message is a request with an `id`, unique for its sender across restarts, or the answer to
a request, with the request's `id`. A request has at most one answer, which may be lost or late.
So the protocol fits streams of frames and remote procedure calls alike. Who sent a message is
the link's business and comes beside it.

Names and fields are those of Figure 2 of the Raft paper, as far as it has them.
"""

from typing import Annotated

import msgspec

from quorate.raft.entry import Entry
from quorate.raft.snapshot import SnapshotMetadata

Number = Annotated[int, msgspec.Meta(ge=0, le=2**63 - 1)]
"""An index, a term, an id, bytes: no message with another number is taken for one (`codec.peer`).

A server can count on from each of these, and say so to others and to its disk.
"""


class PreVote(msgspec.Struct, frozen=True, array_like=True, tag=1, gc=False):
    """Would you vote for me in `term`? Changes nothing at either end (dissertation §9.6)."""

    id: Number
    term: Number
    last_log_index: Number
    last_log_term: Number


class PreVoteAnswer(msgspec.Struct, frozen=True, array_like=True, tag=2, gc=False):
    """The answer to `PreVote`; `term` is the answering server's current term."""

    id: Number
    term: Number
    vote_granted: bool


class RequestVote(msgspec.Struct, frozen=True, array_like=True, tag=3, gc=False):
    """The RequestVote RPC (Raft §5.2, §5.4.1).

    Attributes:
        id: the request's id.
        term: the candidate's term.
        last_log_index: of its log.
        last_log_term: of its log.
        is_transfer: the leader itself has told it to stand (`TimeoutNow`), so that a vote is not
            refused because that leader is heard (dissertation §4.2.3).
    """

    id: Number
    term: Number
    last_log_index: Number
    last_log_term: Number
    is_transfer: bool = False


class RequestVoteAnswer(msgspec.Struct, frozen=True, array_like=True, tag=4, gc=False):
    """The results of the RequestVote RPC."""

    id: Number
    term: Number
    vote_granted: bool


class TimeoutNow(msgspec.Struct, frozen=True, array_like=True, tag=14, gc=False):
    """The leader of `term` wants the receiver to lead: stand for election at once (§3.10).

    It has no answer but the request for votes that follows.
    """

    id: Number
    term: Number


class AppendEntries(msgspec.Struct, frozen=True, array_like=True, tag=5):
    """The AppendEntries RPC (Raft §5.3); without entries it is a heartbeat (§5.2)."""

    id: Number
    term: Number
    prev_log_index: Number
    prev_log_term: Number
    leader_commit: Number
    entries: tuple[Entry, ...]


class AppendEntriesAnswer(msgspec.Struct, frozen=True, array_like=True, tag=6, gc=False):
    """The results of the AppendEntries RPC, with the fast backtracking of §5.3.

    Attributes:
        id: the request's id.
        term: the follower's current term.
        success: whether the follower's log matches the leader's up to `match_index`.
        match_index: on success the last index that the request vouched for, durable at the
            follower; 0 otherwise.
        conflict_index: on failure the first index that the leader should try: the first entry
            of the conflicting term, or the one after the follower's last entry.
        conflict_term: on failure the term of the follower's entry at `prev_log_index`; 0 if it
            has none there.
    """

    id: Number
    term: Number
    success: bool
    match_index: Number
    conflict_index: Number
    conflict_term: Number


class SnapshotNeeded(msgspec.Struct, frozen=True, array_like=True, tag=11, gc=False):
    """The answer to a leader of a follower whose own snapshot cannot be read any more.

    To `AppendEntries`, and to `InstallSnapshot` with a snapshot that is too old for it.

    Attributes:
        id: the request's id.
        term: the follower's current term.
        index: it can go on from a snapshot that covers at least this.
    """

    id: Number
    term: Number
    index: Number


class InstallSnapshot(msgspec.Struct, frozen=True, array_like=True, tag=12):
    """The InstallSnapshot RPC (Raft §7): a piece of the leader's snapshot.

    Attributes:
        id: the request's id.
        term: the leader's term.
        snapshot: what the snapshot covers.
        size: bytes of the whole snapshot.
        offset: where in it `data` belongs.
        data: the piece; with the last one, `offset + len(data) == size`.
    """

    id: Number
    term: Number
    snapshot: SnapshotMetadata
    size: Number
    offset: Number
    data: bytes


class InstallSnapshotAnswer(msgspec.Struct, frozen=True, array_like=True, tag=13, gc=False):
    """The results of the InstallSnapshot RPC.

    Attributes:
        id: the request's id.
        term: the follower's current term.
        next_offset: the follower has everything before it. The snapshot's size: it is installed,
            durably, or was not needed.
    """

    id: Number
    term: Number
    next_offset: Number


class ReadIndex(msgspec.Struct, frozen=True, array_like=True, tag=7, gc=False):
    """A follower asks its leader from which index on a read is linearizable (§6.4)."""

    id: Number
    term: Number


class ReadIndexAnswer(msgspec.Struct, frozen=True, array_like=True, tag=8, gc=False):
    """The answer to `ReadIndex`; no `read_index` if the asked server cannot tell."""

    id: Number
    term: Number
    read_index: Number | None


class Forward(msgspec.Struct, frozen=True, array_like=True, tag=9, gc=False):
    """A server passes proposals on to the leader; `data` is opaque to Raft."""

    id: Number
    term: Number
    data: bytes


class ForwardAnswer(msgspec.Struct, frozen=True, array_like=True, tag=10, gc=False):
    """The answer to `Forward`; no `data` if the asked server is not the leader."""

    id: Number
    term: Number
    data: bytes | None


PeerMessage = (
    PreVote
    | PreVoteAnswer
    | RequestVote
    | RequestVoteAnswer
    | TimeoutNow
    | AppendEntries
    | AppendEntriesAnswer
    | SnapshotNeeded
    | InstallSnapshot
    | InstallSnapshotAnswer
    | ReadIndex
    | ReadIndexAnswer
    | Forward
    | ForwardAnswer
)
