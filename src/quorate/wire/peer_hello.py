"""Who a server says it is when a connection begins, and whether to talk to it.

Servers of two versions must be able to tell each other that they don't fit. So `Hello` and
`Refusal`, and the frames around them, only ever change by fields appended to them.
"""

from typing import Annotated

import msgspec

from quorate.codec.errors import DecodeError
from quorate.raft.configuration import MAX_NODE_ID, Membership, NodeId

PROTOCOL_VERSION = 2
"""Grows with each change of the messages between servers."""

MAX_HELLO_BYTES = 8192
"""The longest body of a `Hello` or a `Refusal`: all that a stranger can make a server keep."""

_MAX_REASON_CHARACTERS = MAX_HELLO_BYTES // 4 - 16  # at 4 bytes each, and the array around it

_Sender = Annotated[NodeId, msgspec.Meta(ge=1, le=MAX_NODE_ID)]
_Text = Annotated[str, msgspec.Meta(max_length=256)]


class Hello(msgspec.Struct, frozen=True, array_like=True, kw_only=True, gc=False):
    """The first frame in each direction.

    Attributes:
        version: the `PROTOCOL_VERSION` that the sender speaks.
        cluster_id: of the cluster that the sender belongs to; up to 256 characters, as the other
            texts here.
        sender: the node that speaks.
        to: the node that the sender means to speak to. None for the side that was connected to:
            it speaks to whoever calls.
        data_id: of the sender's data directory.
        boot: how often the sender has been started on that directory.
        client_address: where the sender serves clients, `HOST:PORT`.
        peer_address: where the sender listens to other servers, `HOST:PORT`; to be called there,
            whatever the members' list says.
        member_since: the index of the latest configuration that the sender knows to be committed,
            or of the snapshot that holds it, if that names it as a member with this very data
            directory; 0 if not. As it is committed, and no directory comes back once it was
            removed, no earlier configuration says anything about it that still counts.
        life: random, of the sender's process.
        has_joined: the sender's data directory was made when the cluster existed already.
    """

    version: int = PROTOCOL_VERSION
    cluster_id: _Text
    sender: _Sender
    to: NodeId | None
    data_id: _Text
    boot: int
    client_address: _Text
    peer_address: _Text = ""
    member_since: int = 0
    life: _Text = ""
    has_joined: bool = False


class Refusal(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """The last frame of a server that does not talk to the other one.

    Attributes:
        reason: for the log of the refused server: what is wrong and what to do.
        was_removed: whether the reason is that the refused server was removed from the cluster.
    """

    reason: str
    was_removed: bool = False


_encoder = msgspec.msgpack.Encoder()
_hello_decoder = msgspec.msgpack.Decoder(Hello)
_refusal_decoder = msgspec.msgpack.Decoder(Refusal)


def encode_hello(hello: Hello) -> bytes:
    """The hello as the body of a frame."""
    return _encoder.encode(hello)


def decode_hello(body: bytes) -> Hello:
    """The inverse of `encode_hello`; fields that a later version appended are ignored.

    Raises:
        DecodeError: the bytes are not a hello.
    """
    try:
        return _hello_decoder.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise DecodeError(f"not a hello: {error}") from error


def encode_refusal(refusal: Refusal) -> bytes:
    """The refusal as the body of a frame; a reason that is too long for it is cut short."""
    reason = refusal.reason[:_MAX_REASON_CHARACTERS]
    return _encoder.encode(Refusal(reason, refusal.was_removed))


def decode_refusal(body: bytes) -> Refusal:
    """The inverse of `encode_refusal`.

    Raises:
        DecodeError: the bytes are not a refusal.
    """
    try:
        return _refusal_decoder.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise DecodeError(f"not a refusal: {error}") from error


def was_removed(theirs: Hello, membership: Membership) -> bool:
    """Whether the members' list says for good that the sender's data directory was removed."""
    committed = membership.committed
    return committed is not None and theirs.data_id in committed.removed


def member_since(data_id: str, node: NodeId, membership: Membership) -> int:
    """What a node says as `Hello.member_since`, by what it knows of the members."""
    # Only what is committed is true of all later configurations too, up to a removal.
    me = None if membership.committed is None else membership.committed.member(node)
    return membership.committed_index if me is not None and me.data_id == data_id else 0


def refuse_reason(
    mine: Hello,
    theirs: Hello,
    *,
    membership: Membership,
    remembered_data_id: str | None,
    previous: Hello | None,
    is_second: bool,
) -> str | None:
    """Why `mine.sender` must not talk to `theirs.sender`, or None if it may.

    The text is for the operators of both: it goes into this node's log and, as a `Refusal`, into
    the other's.

    A server that is no member is talked to all the same, for this node's list of members may be an
    old one. Not so one whose data directory was removed from the cluster, or is another one than
    that of the member: a server that has lost its data has forgotten its votes. Those that the
    cluster was started with may be known by their ids alone yet, but not one that came later is one
    of them. But if it knows a later committed configuration that names it with this directory,
    then this node is behind.

    Args:
        mine: what this node says, or would say, on this connection.
        theirs: what the other side said.
        membership: the members as this node knows them.
        remembered_data_id: the data directory that `theirs.sender` had when this node met it, if
            the cluster was started with that; None otherwise.
        previous: the last hello of `theirs.sender` that this process has accepted, if any.
        is_second: `theirs` is of a process that was seen to run beside the one of `previous`.
    """
    me, they = mine.sender, theirs.sender
    if theirs.version != mine.version:
        return (
            f"node {they} speaks version {theirs.version} of the protocol between servers and "
            f"node {me} version {mine.version}: run the same release of quorate on both"
        )
    if theirs.cluster_id != mine.cluster_id:
        return (
            f"node {they} belongs to cluster {theirs.cluster_id!r} and node {me} to cluster "
            f"{mine.cluster_id!r}: check the members' peer addresses and data directories"
        )
    if they == me:
        return (
            f"the servers at both ends say that they are node {me}: give each server an id of "
            "its own, and check that no member's peer address leads back to the node itself"
        )
    if theirs.to not in (None, me):
        return (
            f"node {they} means to reach node {theirs.to}, but reached node {me}: "
            "check the members' peer addresses"
        )
    if mine.to not in (None, they):
        return (
            f"node {me} means to reach node {mine.to}, but reached node {they}: "
            "check the members' peer addresses"
        )
    if (
        previous is not None
        and previous.data_id == theirs.data_id
        and previous.life != theirs.life
        and (is_second or previous.boot >= theirs.boot)
    ):
        return (
            f"another process says that it is node {they}, on a copy of its data directory: stop "
            "the one that is refused, and never start a node on a copy. If there is only one, its "
            "machine had failed, and it is let in within seconds"
        )
    if (
        previous is not None
        and previous.data_id != theirs.data_id
        and previous.member_since > max(theirs.member_since, membership.committed_index)
    ):
        # Else the two would take turns here, each breaking off the other's connections.
        return f"node {they} was replaced, and another one has its number by now: stop it"
    if theirs.member_since > membership.committed_index:
        # Later ones of this node that are not committed don't count: they follow one that is out
        # of date, so they never will be.
        return None
    if was_removed(theirs, membership):
        return (
            f"node {they} was removed from the cluster: stop it. To have it back, start it on an "
            f"empty data directory with `quorate serve --join`, and `quorate member add` it"
        )
    member = membership.configuration.member(they)
    if member is not None and not member.data_id and theirs.has_joined:
        return (
            f"node {they} has lost its data: the cluster was started with it, but its data "
            f"directory is a new one. Start it on the old one; if that is lost, "
            f"`quorate member rejoin` it"
        )
    known_data_id = None if member is None else member.data_id or remembered_data_id
    if known_data_id not in (None, theirs.data_id):
        return (
            f"node {they} has lost its data: its data directory is {theirs.data_id!r}, but the "
            f"cluster knows it by {known_data_id!r}. Start it on that directory; if it is lost, "
            f"start it on an empty one with `quorate serve --join`, and `quorate member rejoin` it"
        )
    return None
