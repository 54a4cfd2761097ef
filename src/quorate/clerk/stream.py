"""A connection's bytes: requests to bytes, bytes to replies. What both shells share of RESP."""

from collections.abc import Iterable

from quorate.clerk.replies import ErrorReply, Reply
from quorate.clerk.requests import Arguments
from quorate.wire.errors import ProtocolError
from quorate.wire.resp_client import (
    ReceivedReply,
    ReplyLimits,
    ReplyParser,
    encode_command,
)
from quorate.wire.resp_reply import ErrorReply as ReceivedError

__all__ = ["ProtocolError", "ReplyStream", "encode_requests"]


def encode_requests(requests: Iterable[Arguments]) -> bytes:
    """The requests as they go over a connection."""
    return b"".join([encode_command(*request) for request in requests])


class ReplyStream:
    """The replies of one connection, from its bytes as they come."""

    def __init__(self) -> None:
        self._parser = ReplyParser(ReplyLimits())

    def receive(self, data: bytes) -> list[Reply]:
        """Takes bytes in and gives out the replies that they complete, in order.

        Raises:
            ProtocolError: the other side does not speak RESP; the connection is of no more use.
        """
        return [_translated(reply) for reply in self._parser.receive(data)]


def _translated(reply: ReceivedReply) -> Reply:
    if isinstance(reply, ReceivedError):
        return ErrorReply(reply.code, reply.text)
    if isinstance(reply, list):
        return [_translated(item) for item in reply]
    return reply
