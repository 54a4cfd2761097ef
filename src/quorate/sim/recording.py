"""One life of a simulated cluster, written down: what its servers were, said and suffered.

A recording says nothing of how it came about: a `recorder.Recorder` made it while the life was
lived.
"""

from collections.abc import Sequence

import msgspec

UNDER_WAY, ARRIVED, LOST, CUT_OFF = "under way", "arrived", "lost", "cut off"
"""The fates of messages."""


class ServerState(msgspec.Struct, frozen=True, array_like=True, kw_only=True):
    """What a server is from a time on; all but the first four are 0 or empty while it is down.

    Attributes:
        at: since when.
        node: who.
        role: `leader`, `candidate`, `pre-candidate`, `follower`, `learner`, `outsider` (in its own
            view no member) or `down`.
        why: why it is down.
        is_paused: whether its process stands still.
        term: its current term.
        leader: whom it takes for the leader; 0 if it knows of none.
        commit_index: of Raft.
        last_applied: up to where its state machine has come.
        durable_index: up to where its disk holds its log.
        log_start: its log holds the entries behind this.
        last_index: of its log.
        last_term: the term of that entry.
        snapshot_index: what its newest snapshot covers.
    """

    at: int
    node: int
    role: str
    why: str = ""
    is_paused: bool = False
    term: int = 0
    leader: int = 0
    commit_index: int = 0
    last_applied: int = 0
    durable_index: int = 0
    log_start: int = 0
    last_index: int = 0
    last_term: int = 0
    snapshot_index: int = 0


class Message(msgspec.Struct, array_like=True, kw_only=True):
    """One copy of a message between servers.

    Attributes:
        kind: its name; heartbeats and the answers to them have names of their own.
        sender: who sent it.
        to: to whom.
        sent: when.
        ended: when it arrived, or would have; None if it is on its way when the life ends.
        fate: `arrived`, `lost` as it was sent, `cut off` on its way, or `under way`.
        id: of the request, in the answer to it too; 0 if it has none.
        fields: what it says.
        is_twin: the message comes twice, and this is its second copy.
    """

    kind: str
    sender: int
    to: int
    sent: int
    ended: int | None = None
    fate: str = UNDER_WAY
    id: int
    fields: str
    is_twin: bool


class Mark(msgspec.Struct, frozen=True, array_like=True, kw_only=True):
    """Something that befell servers.

    Attributes:
        at: when.
        until: when it ended, or was to; None for what has no duration.
        what: it was.
        nodes: whom it befell; nobody in particular if there are none.
    """

    at: int
    until: int | None
    what: str
    nodes: tuple[int, ...]


class Call(msgspec.Struct, frozen=True, array_like=True, kw_only=True):
    """A client's call.

    Attributes:
        client: who.
        connection: by which connection, if each of them is a writer of its own.
        what: it wanted.
        begun: when.
        ended: when its client got an outcome; None if never.
        outcome: `acknowledged`, `unknown`, `not executed`, `pending` of an append; `answered` or
            `not answered` of a read.
        result: what it was told.
        is_wrong: whether it is among those by which the life failed.
    """

    client: str
    connection: str
    what: str
    begun: int
    ended: int | None
    outcome: str
    result: str
    is_wrong: bool


class Failure(msgspec.Struct, frozen=True, kw_only=True):
    """What made a life fail.

    Attributes:
        kind: of the error.
        text: what it says.
        at: when it was noticed.
        nodes: the servers that it names, or else those that have just done something.
    """

    kind: str
    text: str
    at: int
    nodes: tuple[int, ...]


class Recording(msgspec.Struct, frozen=True, kw_only=True):
    """One life. All times are virtual microseconds; all lists are in the order of time.

    Attributes:
        ended: how long it lasted.
        nodes: the servers that ever ran.
        states: what they were.
        messages: what they said to each other.
        marks: what befell them.
        calls: what clients wanted.
        failure: None if every promise was kept.
        messages_since: none that was sent from here on is left out.
        details_since: no state is left out from here on.
        calls_since: no call that was begun from here on is left out.
    """

    ended: int
    nodes: tuple[int, ...]
    states: Sequence[ServerState]
    messages: Sequence[Message]
    marks: Sequence[Mark]
    calls: Sequence[Call]
    failure: Failure | None
    messages_since: int
    details_since: int
    calls_since: int
