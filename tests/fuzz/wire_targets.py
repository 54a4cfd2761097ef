"""What clients, servers and other servers send, taken in by the parsers of connections."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TypeVar
from zlib import crc32

import msgspec
from tests.fuzz.choices import Choices

from quorate.codec.errors import DecodeError
from quorate.codec.peer import decode_message, encode_message
from quorate.node.status import NodeStatus
from quorate.raft.configuration import Membership, NodeId, configuration_of
from quorate.raft.messages import PeerMessage
from quorate.runtime.ask import decoded_status
from quorate.wire.errors import PeerProtocolError, ProtocolError
from quorate.wire.peer_frame import FrameKind, encode_frame
from quorate.wire.peer_hello import Hello, encode_hello, refuse_reason
from quorate.wire.peer_link import MAGIC, PeerConnection
from quorate.wire.resp_client import ReceivedReply, ReplyLimits, ReplyParser
from quorate.wire.resp_guard import RequestLimits
from quorate.wire.resp_parser import RequestParser

T = TypeVar("T")

REQUEST_LIMITS = RequestLimits(
    max_arguments=20, max_bulk_bytes=200, max_request_bytes=2000, max_inline_bytes=300
)
REPLY_LIMITS = ReplyLimits(max_reply_bytes=2000)
FRAME_LIMIT = 2000

MINE = Hello(
    cluster_id="c", sender=NodeId(1), to=None, data_id="d1", boot=1, client_address="h:1", life="a"
)
THEIRS = msgspec.structs.replace(MINE, sender=NodeId(2), to=NodeId(1), data_id="d2", life="b")
_MEMBERS = configuration_of((1, 2, 3))
MEMBERSHIP = Membership(_MEMBERS, 1, _MEMBERS, 1)


def pieces_of(data: bytes) -> Iterator[bytes]:
    """The data as a connection may give it out; which pieces is a function of the data."""
    size = 1 + crc32(data) % 40
    return (data[at : at + size] for at in range(0, len(data), size))


def requests(data: bytes) -> None:
    """A client's bytes mean the same however they arrive, and what is kept of them is bounded."""
    parser = RequestParser(REQUEST_LIMITS)
    found: list[list[bytes]] = []
    fault = None
    for piece in pieces_of(data):
        try:
            found += parser.receive(piece)
        except ProtocolError as error:
            found += error.requests
            fault = str(error)
        assert parser.kept_bytes <= REQUEST_LIMITS.max_request_bytes
        assert fault is None or not parser.kept_bytes
    for request in found:
        assert 0 < len(request) <= REQUEST_LIMITS.max_arguments
        assert max(map(len, request)) <= REQUEST_LIMITS.max_bulk_bytes
        assert sum(map(len, request)) <= REQUEST_LIMITS.max_request_bytes
    assert (found, fault) == _at_once(RequestParser(REQUEST_LIMITS).receive, data)


def replies(data: bytes) -> None:
    """The same of a server's bytes, for which a client waits; the last ones may be lost."""
    parser = ReplyParser(REPLY_LIMITS)
    found: list[ReceivedReply] = []
    fault = None
    for piece in pieces_of(data):
        try:
            found += parser.receive(piece)
        except ProtocolError as error:
            fault = str(error)
    at_once, fault_at_once = _at_once(ReplyParser(REPLY_LIMITS).receive, data)
    assert fault == fault_at_once
    assert found == at_once or fault is not None


def status(data: bytes) -> None:
    """What a server, or who is taken for one, says of itself: understood, or it says nothing."""
    understood = decoded_status(data)
    assert understood is None or isinstance(understood, NodeStatus)


def _at_once(
    receive: Callable[[bytes], list[T]], data: bytes
) -> tuple[list[T] | list[list[bytes]], str | None]:
    try:
        return receive(data), None
    except ProtocolError as error:
        return error.requests, str(error)


def link(data: bytes) -> None:
    """Whoever calls as another server: he is understood, or it is a fault of that connection.

    The frames are sealed with their right checksums, unless the input says otherwise: what is in
    them would else hardly ever be looked at.
    """
    choices = Choices(data)
    stream = MAGIC if choices.below(8) < 7 else choices.take(8)
    hello = encode_hello(THEIRS)
    first = hello if choices.below(2) == 0 else choices.edited(hello)
    stream += encode_frame(FrameKind.HELLO, first)
    while not choices.are_over:
        kind = choices.pick(tuple(FrameKind)[::-1])
        frame = encode_frame(kind, choices.take(choices.below(200)))
        stream += frame if choices.below(4) < 3 else choices.edited(frame)
    listen(stream)


def stranger(data: bytes) -> None:
    """The same of bytes that need not even be frames."""
    listen(data)


def listen(stream: bytes) -> None:
    """Takes a caller's bytes in, as the runtime does."""
    connection = PeerConnection(MINE, max_frame_bytes=FRAME_LIMIT)
    is_judged = False
    for piece in pieces_of(stream):
        try:
            messages = connection.receive(piece)
            if connection.hello is not None and not is_judged:
                is_judged = True
                reason = refuse_reason(
                    MINE,
                    connection.hello,
                    membership=MEMBERSHIP,
                    remembered_data_id="d2",
                    previous=THEIRS,
                    is_second=False,
                )
                if reason is not None:
                    connection.refuse(reason)
                    return
                messages = connection.accept()
        except PeerProtocolError as error:
            assert str(error).isprintable(), "it goes into the log"  # noqa: PT017 - either is right
            return
        for message in messages:
            check_message(message)


def messages(data: bytes) -> None:
    """The body of a frame is one message, or none."""
    try:
        message = decode_message(data)
    except DecodeError:
        return
    check_message(message)


def check_message(message: PeerMessage) -> None:
    """Whatever was understood can be said again."""
    assert decode_message(encode_message(message)) == message
