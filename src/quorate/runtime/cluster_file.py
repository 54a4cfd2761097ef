"""What a local cluster is, kept in its directory so that it can be started again.

DIR/cluster.json    this
DIR/node-N/data     the data directory of node N
DIR/node-N/log      what node N has logged
"""

import secrets
from collections.abc import Sequence
from pathlib import Path
from typing import Self

import msgspec

from quorate.clerk.addresses import parse_address
from quorate.raft.configuration import MAX_NODE_ID, NodeId
from quorate.runtime.local_ports import LOOPBACK

FILE_NAME = "cluster.json"


class LocalClusterError(Exception):
    """The local cluster cannot be started; the text says what is wrong and what to do."""


class LocalMember(msgspec.Struct, frozen=True):
    """One node: its id and its addresses on this machine, `HOST:PORT`."""

    id: NodeId
    client: str
    peer: str


class ClusterFile(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a local cluster is.

    Attributes:
        cluster_id: drawn when it was made.
        members: its nodes.
        initialized: whether every node's data directory has been made. Once it is, no node is
            ever given a new one: a node that has lost its data must not forget its votes.
    """

    cluster_id: str
    members: tuple[LocalMember, ...]
    initialized: bool = False

    def __post_init__(self) -> None:
        if not self.members or len({member.id for member in self.members}) < len(self.members):
            raise ValueError("its members are one or more, each with an id of its own")
        for member in self.members:
            if not 1 <= member.id <= MAX_NODE_ID:
                raise ValueError(f"{member.id} is not the id of a node")
            parse_address(member.client)
            parse_address(member.peer)

    @classmethod
    def of_ports(cls, client_ports: Sequence[int], peer_ports: Sequence[int]) -> Self:
        """A new cluster of nodes 1, 2, 3, ... on these ports."""
        members = tuple(
            LocalMember(NodeId(node), f"{LOOPBACK}:{client}", f"{LOOPBACK}:{peer}")
            for node, (client, peer) in enumerate(zip(client_ports, peer_ports, strict=True), 1)
        )
        return cls(cluster_id=f"local-{secrets.token_hex(4)}", members=members)

    @classmethod
    def load(cls, directory: Path) -> Self | None:
        """The cluster of this directory; None if it holds none.

        Raises:
            LocalClusterError: the file cannot be read, or is not what was written.
        """
        path = directory / FILE_NAME
        try:
            return msgspec.json.decode(path.read_bytes(), type=cls)
        except FileNotFoundError:
            return None
        except OSError as error:
            raise LocalClusterError(f"cannot read {path}: {error.strerror}") from error
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            raise LocalClusterError(
                f"{path} does not describe a cluster: {error}. Restore it, or choose another "
                "directory"
            ) from error

    def save(self, directory: Path) -> None:
        """Writes it to the directory, which is made if need be; whole or not at all.

        Raises:
            LocalClusterError: it cannot be written.
        """
        path = directory / FILE_NAME
        temporary = path.with_suffix(".new")
        try:
            directory.mkdir(parents=True, exist_ok=True)
            temporary.write_bytes(msgspec.json.format(msgspec.json.encode(self)) + b"\n")
            temporary.replace(path)
        except OSError as error:
            raise LocalClusterError(
                f"cannot write {path}: {error.strerror}. Choose a directory that you may write to"
            ) from error
