"""The local limits of a node. Each only refuses, or slows a client down, before proposing."""

import msgspec

from quorate.wire.resp_guard import RequestLimits


class NodeLimits(msgspec.Struct, frozen=True, kw_only=True):
    """See docs/limits.md for what happens when each is reached.

    Attributes:
        request: the size of one request on the wire.
        max_key_bytes: of one key.
        max_value_bytes: of one value in one command.
        max_reply_bytes: of the values in one reply, since a small MGET may ask for a large value
            many times.
        command_timeout_us: how long a command waits for its outcome.
        max_connections: of clients.
        connection_pending: unanswered commands of one connection, from which on no more is read
            from it.
        connection_pending_bytes: the same in bytes that they take up: `requests.pending_bytes`.
        connection_output_bytes: replies of one connection that were not handed to its socket, from
            which on no further command of it is looked at or begun, and no read answered.
        node_pending_bytes: likewise, for all connections of the node together.
        node_output_bytes: replies that were made and not taken by sockets, for all connections of
            the node together, from which on no read is answered.
        node_incomplete_bytes: bytes of requests that have not arrived completely, for all
            connections of the node together, from which on only one of these is read further.
        stalled_client_us: a client that takes up a part of one of the last three limits when it is
            reached, and has not moved for so long, is given up.
        own_window: writes of plain connections that are under way at a time; those that came
            together may exceed it.
        retry_delay_us: the pause before something that was refused is submitted again.
        session_keepalive_us: the node's own session is used at least this often.
    """

    request: RequestLimits = RequestLimits()
    max_key_bytes: int = 64 * 1024
    max_value_bytes: int = 1024 * 1024
    max_reply_bytes: int = 32 * 1024 * 1024
    command_timeout_us: int = 3_000_000
    max_connections: int = 10_000
    connection_pending: int = 1024
    connection_pending_bytes: int = 4 * 1024 * 1024
    connection_output_bytes: int = 1024 * 1024
    node_pending_bytes: int = 64 * 1024 * 1024
    node_output_bytes: int = 64 * 1024 * 1024
    node_incomplete_bytes: int = 64 * 1024 * 1024
    stalled_client_us: int = 2_000_000
    own_window: int = 32_768
    retry_delay_us: int = 20_000
    session_keepalive_us: int = 300_000_000
