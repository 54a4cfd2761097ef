"""The results of writes and of calls on sessions, as replies to clients.

Each error code here has its exception in the Clerk; docs/protocol.md lists them.
"""

from quorate.codec.batch import (
    OpenedSession,
    OperationResult,
    Outcome,
    Refusal,
    RefusedSession,
    SubmissionOutcomes,
)
from quorate.kv.commands import OK_REPLY, Failure, decode_reply
from quorate.kv.errors import MalformedError
from quorate.wire.resp_reply import OK, encode_error, encode_integer

UNKNOWN = encode_error("UNKNOWN", "the outcome is unknown: it may have been executed, once")
NOT_EXECUTED = encode_error(
    "NOTEXECUTED", "it did not reach a log in time, and will never be executed"
)
REMOVED = encode_error("NOTLEADER", "this node was removed from the cluster: use another one")
READ_UNAVAILABLE = encode_error("UNAVAILABLE", "the read could not be confirmed in time")


def encode_not_leader(leader_address: str | None) -> bytes:
    """The refusal of a server that neither leads nor forwards.

    Args:
        leader_address: the client address of the leader, if it is known.
    """
    return encode_error("NOTLEADER", leader_address or "no leader is known")


_REFUSALS = {
    Refusal.STALE: encode_error(
        "STALE", "this number is at or below the acknowledged ones and will not be executed"
    ),
    Refusal.SESSION_EXPIRED: encode_error(
        "SESSIONEXPIRED", "there is no such session; open a new one with QUORATE.SESSION"
    ),
    Refusal.BEYOND_WINDOW: encode_error(
        "WINDOW", "too many replies of this session are unacknowledged; raise <acked> first"
    ),
    Refusal.MISMATCH: encode_error(
        "MISMATCH", "this number was used for a different command in this session"
    ),
    Refusal.OUT_OF_ORDER: encode_error("NOTEXECUTED", "a write before this one is missing"),
    Refusal.TOO_MANY_SESSIONS: encode_error(
        "TOOMANYSESSIONS", "all sessions are in use; try again in a minute"
    ),
    Refusal.SUPERSEDED: encode_error("NOTEXECUTED", "a later session of this owner exists"),
}


def encode_write_reply(reply: bytes) -> bytes:
    """What the state machine answered to a write, for the client.

    The reply may have come from another server. If it makes no sense it does not tell the outcome.
    """
    if reply == OK_REPLY:
        return OK
    try:
        decoded = decode_reply(reply)
    except MalformedError:
        return UNKNOWN
    match decoded:
        case int(number):
            return encode_integer(number)
        case Failure(text=text):
            code, _, rest = text.partition(" ")
            return encode_error(code, rest)
        case None:
            return OK


def encode_outcome(outcome: Outcome) -> bytes:
    """The outcome of one command of a session, for the client."""
    if isinstance(outcome, Refusal):
        return _REFUSALS[outcome]
    return encode_write_reply(outcome)


def encode_call_result(result: OperationResult) -> bytes:
    """The result of `ONCE` or `QUORATE.SESSION`, for the client."""
    match result:
        case OpenedSession(session=session):
            return encode_integer(session)
        case RefusedSession(reason=reason):
            return _REFUSALS[reason]
        case SubmissionOutcomes(outcomes=outcomes):
            return encode_outcome(outcomes[0])
