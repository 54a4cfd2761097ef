"""What servers say to each other, each message in one line for people."""

from quorate.raft.messages import (
    AppendEntries,
    AppendEntriesAnswer,
    Forward,
    ForwardAnswer,
    InstallSnapshot,
    InstallSnapshotAnswer,
    PeerMessage,
    PreVote,
    PreVoteAnswer,
    ReadIndexAnswer,
    RequestVote,
    RequestVoteAnswer,
    SnapshotNeeded,
)

HEARTBEAT = "Heartbeat"
HEARTBEAT_ANSWER = "HeartbeatAnswer"
HELLO = "Hello"


def kind_of(message: PeerMessage | None) -> str:
    """The name of a message as Raft's papers have it; None stands for a hello."""
    match message:
        case None:
            return HELLO
        case AppendEntries(entries=()):
            return HEARTBEAT
        case _:
            return type(message).__name__


def summarize(message: PeerMessage) -> str:
    """Its fields, but for its id."""
    return f"term {message.term}, {_fields(message)}".removesuffix(", ")


def _fields(message: PeerMessage) -> str:
    match message:
        case PreVote() | RequestVote():
            transfer = isinstance(message, RequestVote) and message.is_transfer
            told = ", as its leader has told it" if transfer else ""
            return f"last entry {message.last_log_index} of term {message.last_log_term}{told}"
        case PreVoteAnswer(vote_granted=granted) | RequestVoteAnswer(vote_granted=granted):
            return "vote granted" if granted else "vote refused"
        case AppendEntries():
            previous = f"behind entry {message.prev_log_index} of term {message.prev_log_term}"
            return f"{_entries(message)} {previous}, commit index {message.leader_commit}"
        case AppendEntriesAnswer(success=True):
            return f"success, has all up to entry {message.match_index}"
        case AppendEntriesAnswer():
            has = f", where it has term {message.conflict_term}" * (message.conflict_term > 0)
            return f"conflict, go on from entry {message.conflict_index}{has}"
        case SnapshotNeeded(index=index):
            return f"needs a snapshot of entry {index} or a later one"
        case InstallSnapshot(snapshot=snapshot, offset=offset):
            piece = f"bytes {offset} to {offset + len(message.data)} of {message.size}"
            return f"snapshot of entry {snapshot.index} of term {snapshot.term}, {piece}"
        case InstallSnapshotAnswer(next_offset=offset):
            return f"has {offset} bytes"
        case ReadIndexAnswer(read_index=index):
            return "cannot tell" if index is None else f"read index {index}"
        case Forward(data=data):
            return f"{len(data)} bytes of proposals"
        case ForwardAnswer(data=data):
            return "does not lead" if data is None else f"{len(data)} bytes of answers"
        case _:  # ReadIndex, TimeoutNow
            return ""


def _entries(message: AppendEntries) -> str:
    if not message.entries:
        return "no entries"
    first, last = message.entries[0], message.entries[-1]
    if first is last:
        return f"entry {first.index} of term {first.term}"
    terms = f"terms {first.term} to {last.term}"
    term = f"term {first.term}" if first.term == last.term else terms
    return f"entries {first.index} to {last.index} of {term}"
