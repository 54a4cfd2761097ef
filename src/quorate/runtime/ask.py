"""One command to one particular server, on a connection of its own: for looking at a cluster.

A Clerk goes where the leader is, and repeats what was not answered. This does neither.
"""

import asyncio
from collections.abc import Sequence

import msgspec

from quorate.clerk.addresses import parse_address
from quorate.node.status import NodeStatus
from quorate.wire.errors import ProtocolError
from quorate.wire.resp_client import ReceivedReply, ReplyLimits, ReplyParser, encode_command

_READ_BYTES = 64 * 1024

_decode_status = msgspec.json.Decoder(NodeStatus).decode


class NoAnswerError(Exception):
    """The server did not answer in time, or is no server of Quorate."""


async def ask(server: str, *arguments: bytes, timeout_s: float) -> ReceivedReply:
    """Sends one command to one server and returns its reply, which may be an error reply.

    Args:
        server: `HOST:PORT`.
        arguments: the command's name and its arguments.
        timeout_s: seconds, from connecting to the whole reply.

    Raises:
        NoAnswerError: no reply came, for whatever reason.
    """
    host, port = parse_address(server)
    try:
        async with asyncio.timeout(timeout_s):
            reader, writer = await asyncio.open_connection(host, port)
            try:
                writer.write(encode_command(*arguments))
                return await _first_reply(reader)
            finally:
                writer.close()
    except TimeoutError as error:
        raise NoAnswerError(f"{server} did not answer within {timeout_s:g} s") from error
    except (OSError, UnicodeError, ProtocolError) as error:  # UnicodeError: no host's name
        raise NoAnswerError(f"{server} did not answer: {error}") from error


async def _first_reply(reader: asyncio.StreamReader) -> ReceivedReply:
    parser = ReplyParser(ReplyLimits())
    while data := await reader.read(_READ_BYTES):
        replies = parser.receive(data)
        if replies:
            return replies[0]
    raise ConnectionResetError("it closed the connection")


async def ask_status(server: str, *, timeout_s: float) -> NodeStatus | None:
    """What a server says of itself; None if it cannot be reached."""
    try:
        reply = await ask(server, b"QUORATE.STATUS", timeout_s=timeout_s)
    except NoAnswerError:
        return None
    return decoded_status(reply) if isinstance(reply, bytes) else None


def decoded_status(reply: bytes) -> NodeStatus | None:
    """What an answer to `QUORATE.STATUS` says; None if it is none."""
    try:
        return _decode_status(reply)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None


async def ask_statuses(servers: Sequence[str], *, timeout_s: float) -> list[NodeStatus | None]:
    """What each server says of itself, all asked at the same time; in the order of `servers`."""
    return await asyncio.gather(*(ask_status(server, timeout_s=timeout_s) for server in servers))


def leader_among(statuses: Sequence[NodeStatus | None]) -> NodeStatus | None:
    """The leader: of several that call themselves so, the one of the latest term."""
    leaders = [status for status in statuses if status is not None and status.role == "leader"]
    return max(leaders, key=lambda status: status.term, default=None)
