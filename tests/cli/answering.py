"""Servers that say of themselves what a test wants, and hang or vanish when it wants that."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator

import msgspec

from quorate.node.status import MemberStatus, NodeStatus
from quorate.runtime.local_ports import LOOPBACK
from quorate.wire.resp_client import encode_command

_QUESTION = encode_command(b"QUORATE.STATUS")


def member(node: int, address: str) -> MemberStatus:
    """A voter at this address."""
    return MemberStatus(
        id=node,
        votes=True,
        is_promoting=False,
        peer_address="",
        client_address=address,
        data_id=f"data-{node}",
        match_index=1,
        silent_ms=10,
        is_in_touch=True,
    )


def status(node: int, address: str, *members: MemberStatus, **changes: object) -> NodeStatus:
    """What a follower of a small cluster says."""
    usual = NodeStatus(
        id=node,
        role="follower",
        term=1,
        leader=None,
        commit_index=1,
        last_applied=1,
        last_index=1,
        last_term=1,
        raft_state_bytes=1,
        snapshot_index=0,
        snapshot_bytes=0,
        snapshot_age_ms=None,
        snapshot_is_lost=False,
        snapshot_has_failed=False,
        snapshot_taking=None,
        snapshot_receiving=None,
        snapshot_restoring=None,
        snapshots_sending=(),
        members=members,
        configuration_index=1,
        configuration_is_committed=True,
        is_transferring=False,
        links=(),
        client_address=address,
        peer_address="",
        cluster_id="c",
        data_id=f"data-{node}",
        pid=1,
        connections=1,
        version="0",
    )
    return msgspec.structs.replace(usual, **changes)


class Answering:
    """A server on an address of its own.

    Attributes:
        address: where it listens.
        says: what it answers to each question for its status, and `OK` to all else; while this is
            None it answers nothing.
        ordered: all else that it was told.
    """

    def __init__(self) -> None:
        self.address = ""
        self.says: NodeStatus | None = None
        self.ordered: list[bytes] = []
        self._server: asyncio.Server | None = None

    async def start(self) -> None:
        self._server = await asyncio.start_server(self._serve, LOOPBACK, 0)
        host, port = self._server.sockets[0].getsockname()
        self.address = f"{host}:{port}"

    def vanish(self) -> None:
        """Connections are refused from now on."""
        assert self._server is not None
        self._server.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.closing(writer), contextlib.suppress(ConnectionError):
            while data := await reader.read(4096):
                is_status = data == _QUESTION
                if not is_status:
                    self.ordered.append(data)
                if self.says is not None:
                    text = msgspec.json.encode(self.says)
                    writer.write(b"$%d\r\n%s\r\n" % (len(text), text) if is_status else b"+OK\r\n")


@contextlib.asynccontextmanager
async def answering(count: int) -> AsyncIterator[list[Answering]]:
    """So many of them, which answer nothing yet."""
    servers = [Answering() for _ in range(count)]
    for server in servers:
        await server.start()
    try:
        yield servers
    finally:
        for server in servers:
            server.vanish()
