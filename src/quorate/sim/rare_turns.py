"""How often the product takes its rare turns: whether a swarm goes where bugs hide.

A turn is a call of one of its functions that gets a certain answer, or meets a certain state. They
are counted from outside, while a life lasts: production pays nothing for that.
"""

import contextlib
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from functools import wraps
from typing import Any, NamedTuple

from quorate.clerk.writes import Writes
from quorate.codec.batch import Refusal, RefusedSession
from quorate.node.own_session import OwnSession
from quorate.raft import core
from quorate.raft.acceptance import Acceptance
from quorate.raft.configuration import ChangeRefusal
from quorate.raft.core import Raft
from quorate.raft.incoming import IncomingSnapshot
from quorate.raft.leader import Leader
from quorate.raft.log import RaftLog
from quorate.raft.persistence import Persistence
from quorate.raft.progress import Progress
from quorate.raft.reads import ReadRounds
from quorate.raft.remote import RemoteCalls
from quorate.raft.snapshot_transfer import SnapshotTransfer
from quorate.raft.votes import Votes
from quorate.replica.replica import Replica
from quorate.replica.sessions import SessionTable
from quorate.replica.snapshot_taker import SnapshotTaker
from quorate.storage import restart, wal
from quorate.storage.snapshots import Snapshots
from quorate.storage.wal import WriteAheadLog


class Turn(NamedTuple):
    """A rare turn.

    Attributes:
        name: what happens.
        owner: the class, or the module, that the function belongs to.
        function: its name.
        before: whether the call, with these arguments, may be one.
        after: whether this result makes it one.
    """

    name: str
    owner: object
    function: str
    before: Callable[..., object] = lambda *_arguments, **_named: True
    after: Callable[[Any], object] = lambda _result: True


def _is_false(result: object) -> bool:
    return not result


def _is_something(result: object) -> bool:
    return result is not None


def _refuses(refusal: Refusal) -> Callable[[Any], bool]:
    return lambda result: refusal in result.outcomes


def _refuses_session(refusal: Refusal) -> Callable[[Any], bool]:
    return lambda result: result == RefusedSession(refusal)


TURNS = (
    # Elections
    Turn("a leader steps down", Raft, "_become_follower", lambda raft, *_: raft.is_leader),
    Turn(
        "a candidate gives way",
        Raft,
        "_become_follower",
        lambda raft, *_: raft.role_name == "candidate",
    ),
    Turn(
        "a pre-candidate gives way",
        Raft,
        "_become_follower",
        lambda raft, *_: raft.role_name == "pre-candidate",
    ),
    Turn("a vote is refused because a leader is heard", Votes, "disregard"),
    Turn("a vote is refused to one whose log is behind", RaftLog, "is_up_to_date", after=_is_false),
    Turn(
        "a vote comes for an earlier candidacy",
        core,
        "is_vote_for",
        lambda _role, _voter, answer: answer.vote_granted,
        after=_is_false,
    ),
    Turn("a vote is refused", Votes, "grants", after=_is_false),
    Turn("a server stands because it is told to", Raft, "_receive_timeout_now"),
    Turn(
        "a leader goes on because nobody took over",
        Leader,
        "expire_transfer",
        lambda leader, now: leader.transfer is not None and leader.transfer.expires_at <= now,
    ),
    # Replication
    Turn(
        "a request of an older term is refused",
        Acceptance,
        "refuse",
        lambda *_, conflict_index, conflict_term: conflict_index == conflict_term == 0,
    ),
    Turn(
        "a follower's log ends too early",
        Acceptance,
        "refuse",
        lambda *_, conflict_index, conflict_term: conflict_index and not conflict_term,
    ),
    Turn(
        "a follower's log has another term",
        Acceptance,
        "refuse",
        lambda *_, conflict_term, **__: conflict_term,
    ),
    Turn("a conflicting suffix is truncated", Persistence, "truncate_from"),
    Turn(
        "a leader skips to its own last entry of a term",
        Leader,
        "_next_index_after_conflict",
        lambda _leader, answer: answer.conflict_term,
    ),
    Turn(
        "a request counts as lost",
        Progress,
        "expire",
        lambda progress, now: (progress.earliest_expiry() or now + 1) <= now,
    ),
    # Members
    Turn(
        "a change waits for the first commit of a term",
        Raft,
        "_change_refusal",
        after=lambda refusal: refusal is ChangeRefusal.TERM_NOT_COMMITTED,
    ),
    Turn(
        "a change waits for another",
        Raft,
        "_change_refusal",
        after=lambda refusal: refusal is ChangeRefusal.CHANGE_UNDER_WAY,
    ),
    Turn("a learner has caught up", Leader, "learner_to_promote", after=_is_something),
    # Snapshots
    Turn(
        "a piece comes from a snapshot of before",
        IncomingSnapshot,
        "receive",
        after=lambda offset: offset == 0,
    ),
    Turn("a follower is sent a newer snapshot instead", SnapshotTransfer, "replace"),
    Turn("a leader finds its snapshot damaged", Snapshots, "_found_damaged"),
    Turn("what a leader sends is given up", Leader, "give_up_transfers_of"),
    Turn("a follower asks for a snapshot", Raft, "_ask_for_snapshot"),
    Turn("a damaged snapshot is taken anew", SnapshotTaker, "replace_damaged"),
    Turn(
        "a snapshot is abandoned",
        SnapshotTaker,
        "abandon",
        lambda taker: taker.snapshot_under_way is not None,
    ),
    Turn("a snapshot finds no space", SnapshotTaker, "failed"),
    Turn(
        "a state is restored in place of one being restored",
        Replica,
        "_begin_restoring",
        lambda replica, *_: replica.is_restoring,
    ),
    # Reads and what is forwarded
    Turn("a round of reads is abandoned", ReadRounds, "abandon", after=bool),
    Turn("a round of reads asks everybody", ReadRounds, "take_asking_all", after=bool),
    Turn("a read confirms itself", Leader, "is_confirmed_by_request_of", after=bool),
    Turn(
        "a leader cannot tell a read's index",
        RemoteCalls,
        "read_answered",
        lambda _calls, answer: answer.read_index is None,
    ),
    Turn("forwards are lost with their leader", RemoteCalls, "lose_forwards", after=bool),
    Turn("forwards expire", RemoteCalls, "expire_forwards", after=bool),
    Turn(
        "an outcome comes after it was given up", RemoteCalls, "forward_answered", after=_is_false
    ),
    Turn(
        "a forward comes to who does not lead",
        Raft,
        "_receive_forward",
        lambda raft, *_: not raft.is_leader,
    ),
    # Sessions
    Turn("a write is stale", SessionTable, "submit", after=_refuses(Refusal.STALE)),
    Turn("a write is out of order", SessionTable, "submit", after=_refuses(Refusal.OUT_OF_ORDER)),
    Turn(
        "a write is beyond its window",
        SessionTable,
        "submit",
        after=_refuses(Refusal.BEYOND_WINDOW),
    ),
    Turn(
        "a write's session has expired",
        SessionTable,
        "submit",
        after=_refuses(Refusal.SESSION_EXPIRED),
    ),
    Turn(
        "there are too many sessions",
        SessionTable,
        "open_session",
        after=_refuses_session(Refusal.TOO_MANY_SESSIONS),
    ),
    Turn(
        "a node's session is superseded",
        SessionTable,
        "open_session",
        after=_refuses_session(Refusal.SUPERSEDED),
    ),
    Turn("a node's own session has expired", OwnSession, "_expire"),
    Turn("a node submits all anew", OwnSession, "_repeat"),
    Turn(
        "a node gives up what may be executed",
        OwnSession,
        "give_up",
        lambda _session, write, *_: write.submissions,
    ),
    Turn(
        "a node gives up what never will be",
        OwnSession,
        "give_up",
        lambda _session, write, *_: not write.submissions,
    ),
    Turn("a Clerk's session has expired", Writes, "_session_expired"),
    Turn("a Clerk gives up", Writes, "give_up"),
    Turn("a Clerk's fence is lost", Writes, "fence_lost"),
    Turn("a Clerk fences what it gave up", Writes, "fenced"),
    Turn("a Clerk's request for a session is lost", Writes, "opening_lost"),
    # Disks
    Turn("a torn tail is cut off", wal, "_mend", lambda _disk, log: log.torn_at is not None),
    Turn(
        "there is no space for a spare segment",
        WriteAheadLog,
        "prepare_next_segment",
        after=_is_something,
    ),
    Turn("a log is of a past that a snapshot replaced", restart, "_behind"),
    Turn("a start waits for a snapshot", restart, "_lose"),
)
"""All that are counted."""


@contextlib.contextmanager
def counted_turns() -> Iterator[Counter[str]]:
    """Counts the turns that are taken from now on, by name, until this is left."""
    counts: Counter[str] = Counter({turn.name: 0 for turn in TURNS})
    turns: defaultdict[tuple[object, str], list[Turn]] = defaultdict(list)
    for turn in TURNS:
        turns[turn.owner, turn.function].append(turn)
    originals = {place: getattr(*place) for place in turns}
    for (owner, name), some in turns.items():
        setattr(owner, name, _counting(originals[owner, name], some, counts))
    try:
        yield counts
    finally:
        for (owner, name), original in originals.items():
            setattr(owner, name, original)


def _counting(
    function: Callable[..., Any], turns: list[Turn], counts: Counter[str]
) -> Callable[..., Any]:
    @wraps(function)
    def counting(*arguments: Any, **named: Any) -> Any:  # noqa: ANN401 - as the function
        possible = [turn for turn in turns if turn.before(*arguments, **named)]
        result = function(*arguments, **named)
        for turn in possible:
            if turn.after(result):
                counts[turn.name] += 1
        return result

    return counting
