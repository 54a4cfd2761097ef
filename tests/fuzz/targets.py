"""Everything that bytes from outside get into: each target takes bytes, and fails if they do harm.

`test_targets.py` gives them what Hypothesis makes up, `python -m tests.fuzz` what a coverage-guided
fuzzer does (docs/testing.md).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import msgspec
from tests.fuzz import disk_targets, node_targets, wire_targets
from tests.fuzz.wire_targets import MINE, THEIRS
from tests.node.conftest import Cluster

from quorate.codec.peer import encode_message
from quorate.raft.configuration import NodeId, configuration_of
from quorate.raft.entry import Entry, EntryKind
from quorate.raft.messages import (
    AppendEntries,
    AppendEntriesAnswer,
    Forward,
    InstallSnapshot,
    ReadIndexAnswer,
    RequestVote,
)
from quorate.raft.snapshot import SnapshotMetadata
from quorate.wire.peer_frame import FrameKind, encode_frame
from quorate.wire.peer_link import MAGIC, PeerConnection
from quorate.wire.resp_client import encode_command


class Target(NamedTuple):
    """Where bytes go.

    Attributes:
        run: takes them in; raises what it finds.
        seeds: inputs to begin with. Where the bytes stand for choices there are none: any will do.
    """

    run: Callable[[bytes], None]
    seeds: tuple[bytes, ...] = ()


REQUESTS = (
    encode_command("SET", "key", "value") + encode_command("GET", "key"),
    b'SET key "a b\\x00\\n"\r\n*0\r\n*-1\r\n\r\nPING\r\n',
    encode_command("ONCE", 5, 1, 0, "APPEND", "key", "x" * 120),
    encode_command("MSET", *"abcdefghij") + encode_command("HELLO", 3, "SETNAME", "me"),
    encode_command("CONFIG", "GET", "max*") + encode_command("QUORATE.MEMBER", "add", "h:1"),
    b"*3\r\n$3\r\nSET k v\r\nQUIT\r\n",
    b"POST / HTTP/1.1\r\nHost: localhost\r\n\r\n",
    b"*1152921504606846976\r\n$1152921504606846976\r\n",
)
REPLIES = (
    b"+OK\r\n$5\r\nvalue\r\n:-12\r\n$-1\r\n-ERR no such thing\r\n",
    b"*3\r\n*2\r\n:1\r\n$1\r\na\r\n*-1\r\n*0\r\n",
    b"*1\r\n" * 8 + b":1\r\n" + b"$1152921504606846976\r\n",
)
MESSAGES = tuple(
    encode_message(message)
    for message in (
        RequestVote(1, 2, 3, 2, is_transfer=True),
        AppendEntries(
            7,
            2,
            3,
            1,
            3,
            (
                Entry(4, 1, 10, EntryKind.DATA, b"data"),
                Entry(5, 2, 11, EntryKind.CONFIGURATION, b"", configuration_of((1, 2))),
            ),
        ),
        AppendEntriesAnswer(7, 2, False, 0, 3, 1),
        InstallSnapshot(8, 2, SnapshotMetadata(5, 2, 11, configuration_of((1,))), 10, 2, b"piece"),
        ReadIndexAnswer(9, 2, None),
        Forward(10, 2, b"batch"),
    )
)
STATUS = msgspec.json.encode(Cluster(1).servers[NodeId(1)].node.status())
CALLS = (
    PeerConnection(THEIRS).greet() + encode_frame(FrameKind.MESSAGE, MESSAGES[0]),
    PeerConnection(MINE).greet(),
    MAGIC + encode_frame(FrameKind.REFUSAL, b"\x92\xa3why\xc2"),
    MAGIC + b"\x0f\xff\xff\xff" + bytes(4) + b"\x01",
)

TARGETS = {
    "requests": Target(wire_targets.requests, REQUESTS),
    "replies": Target(wire_targets.replies, REPLIES),
    "status": Target(wire_targets.status, (STATUS,)),
    "stranger": Target(wire_targets.stranger, CALLS),
    "link": Target(wire_targets.link),
    "messages": Target(wire_targets.messages, MESSAGES),
    "log": Target(disk_targets.log),
    "sealed_log": Target(disk_targets.sealed_log),
    "snapshot": Target(disk_targets.snapshot),
    "sealed_snapshot": Target(disk_targets.sealed_snapshot),
    "section": Target(disk_targets.section),
    "identity": Target(disk_targets.identity),
    "cluster_file": Target(disk_targets.cluster_file, (disk_targets.CLUSTER,)),
    "config_file": Target(disk_targets.config_file, (disk_targets.CONFIGURATION,)),
    "client": Target(node_targets.client, REQUESTS),
    "forwarded": Target(node_targets.forwarded),
    "peer": Target(node_targets.peer),
}
