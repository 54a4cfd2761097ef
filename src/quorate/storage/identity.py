"""Who this data directory belongs to, and which directories the peers have.

One small file, replaced as a whole: a temporary file is written, synced and renamed, then the
directory is synced. It is the last thing that initialisation writes, so a directory is
initialised exactly if it has this file.

The file is JSON, so that an operator can read it: `{"checksum":"...","identity":{...}}`, where
the checksum is the CRC32C of the bytes of the identity's value, in hexadecimal.
"""

import google_crc32c
import msgspec

from quorate.raft.configuration import Configuration, Member, NodeId
from quorate.storage.disk import Disk
from quorate.storage.errors import CorruptionError, IdentityError, UnsupportedFormatError

FORMAT_VERSION = 1
"""The version of the file's format."""
FILE_NAME = "identity.json"
TEMPORARY_NAME = "identity.json.new"


class Foundation(msgspec.Struct, frozen=True, kw_only=True):
    """That this directory's cluster was made anew from what it held of another; see `disaster`.

    The log has to hold the entry that says so. As long as it does not, it ends right before.

    Attributes:
        index: of that entry.
        term: of that entry; greater than any before it.
        configuration: what it says: this node is the only member.
    """

    index: int
    term: int
    configuration: Configuration


class Identity(msgspec.Struct, frozen=True, kw_only=True):
    """The identity of a data directory; replaced, never changed in place.

    Attributes:
        format_version: the version of the file's format.
        cluster_id: the cluster that the node belongs to.
        node: the node's number.
        data_id: random, made with the directory: a directory that was wiped and made anew has
            another one.
        boot: how often a node was started on this directory.
        members: the members that the cluster was started with; none if the node has joined later.
        peer_data_ids: the `data_id` of each peer that was ever heard, when it was last heard; of
            those that the cluster was started with.
        foundation: how the cluster was made from the data of another one, if it was.
    """

    cluster_id: str
    node: NodeId
    data_id: str
    members: tuple[Member, ...]
    boot: int = 0
    peer_data_ids: dict[NodeId, str] = {}
    foundation: Foundation | None = None
    format_version: int = FORMAT_VERSION

    def with_peer(self, node: NodeId, data_id: str) -> "Identity":
        """This identity with a peer's `data_id` as it is now; itself if that is known already."""
        if self.peer_data_ids.get(node) == data_id:
            return self
        return msgspec.structs.replace(self, peer_data_ids={**self.peer_data_ids, node: data_id})

    def with_next_boot(self) -> "Identity":
        """This identity, one start later."""
        return msgspec.structs.replace(self, boot=self.boot + 1)


class _Envelope(msgspec.Struct):
    checksum: str
    identity: msgspec.Raw


class _Version(msgspec.Struct):
    format_version: int


_encoder = msgspec.json.Encoder()


def has_identity(disk: Disk) -> bool:
    """Whether the directory was initialised."""
    return FILE_NAME in disk.names()


def save_identity(disk: Disk, identity: Identity) -> None:
    """Make this the directory's identity, durably."""
    value = _encoder.encode(identity)
    data = _encoder.encode(_Envelope(_checksum(value), msgspec.Raw(value)))
    if TEMPORARY_NAME in disk.names():  # a crash left it
        disk.remove(TEMPORARY_NAME)
    file = disk.create(TEMPORARY_NAME)
    file.write_at(0, data)
    file.sync()
    file.close()
    disk.rename(TEMPORARY_NAME, FILE_NAME)
    disk.sync_directory()


def load_identity(disk: Disk) -> Identity:
    """The directory's identity.

    Raises:
        IdentityError: the directory is not initialised.
        CorruptionError: the file is not what was written.
        UnsupportedFormatError: another version of Quorate wrote it.
    """
    location = disk.location(FILE_NAME)
    if not has_identity(disk):
        raise IdentityError(
            f"{disk.location('')} is not the data directory of a node: if the cluster is new, "
            "initialise it with `quorate serve --initialize`"
        )
    file = disk.open(FILE_NAME)
    data = file.read_all()
    file.close()
    try:
        envelope = msgspec.json.decode(data, type=_Envelope)
        value = bytes(envelope.identity)
        if envelope.checksum != _checksum(value):
            raise CorruptionError(location, 0, "the identity does not match its checksum")
        version = msgspec.json.decode(value, type=_Version).format_version
        if version != FORMAT_VERSION:
            raise UnsupportedFormatError(location, found=version, supported=FORMAT_VERSION)
        return msgspec.json.decode(value, type=Identity)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise CorruptionError(location, 0, f"not an identity: {error}") from error


def _checksum(value: bytes) -> str:
    return f"{google_crc32c.value(value):08x}"
