"""A majority is lost for ever: a new cluster of one, made from the data of one survivor.

Raft has no answer to this. Whatever the survivor's log holds counts as committed from then on, so
this takes an operator who knows that the others will not come back: what only they had is lost,
and of two clusters that are made from two survivors each would go its own way.

The order of the steps, so that a crash leaves the old node or the new one and nothing in between:

1. What the log says is made durable, as at any start; an earlier recovery that was interrupted in
   step 3 is completed by that. Still the old node.
2. The identity is replaced: new cluster, new data id, and the `Foundation`. The rename of that one
   file is the moment at which there is the new node.
3. The entry that the foundation describes is appended to the log. If a crash comes before, the next
   start does it (`opening`), and so does running the recovery again.

The new cluster id keeps the nodes of the old cluster out, should they come back after all; the new
data id keeps what they, and processes of the old node, remember of this directory from counting.
"""

from dataclasses import dataclass

import msgspec

from quorate.raft.configuration import MAX_REMOVED, Configuration, Member, NodeId
from quorate.raft.ready import DurableState
from quorate.storage.disk import Disk
from quorate.storage.errors import RecoveryError
from quorate.storage.identity import Foundation, Identity, load_identity, save_identity
from quorate.storage.opening import examine_log, last_index, open_log


@dataclass(frozen=True, slots=True)
class Survivor:
    """What a directory would bring into a new cluster.

    Attributes:
        identity: whose it is.
        last_index: of the last entry of its log.
        last_term: of that entry. Of several survivors that with the greatest (term, index) has
            everything that a majority of them ever acknowledged.
        configuration: the latest in its log.
        warnings: what an operator should know of how it was found.
    """

    identity: Identity
    last_index: int
    last_term: int
    configuration: Configuration
    warnings: tuple[str, ...]


def examine_survivor(
    disk: Disk, node: NodeId, *, cluster_id: str | None = None, member: Member | None = None
) -> Survivor:
    """See what the directory holds. Read-only.

    Args:
        disk: the directory.
        node: whose it is meant to be.
        cluster_id: what the new cluster is to be called, if that is known.
        member: this node in it, if that is known too; see `make_new_cluster`.

    Raises:
        RecoveryError: it is another node's, or nothing that a cluster, or one with this id, could
            be made from.
        StorageError: it cannot be read, or is damaged.
    """
    identity = _identity_of(disk, node)
    if cluster_id == identity.cluster_id:
        foundation = _check_is_unfinished(disk, identity)
        if member is not None:
            _check_is_as_before(disk, identity, foundation, member)
    return _examined(disk, identity)[0]


def make_new_cluster(disk: Disk, *, cluster_id: str, member: Member) -> Identity:
    """Make this directory that of the only member of a new cluster, with all that its log holds.

    Once more with the same arguments it completes what a crash interrupted.

    Args:
        disk: the directory.
        cluster_id: of the new cluster; another than before.
        member: this node in it: its number as before, its addresses, and a new, random data id.

    Raises:
        RecoveryError: no cluster can be made of it so. Nothing was changed.
        StorageError: it cannot be read or written, or is damaged.
    """
    identity = _identity_of(disk, member.id)
    if identity.cluster_id != cluster_id:
        _examined(disk, identity)  # refused before anything is written
        log, _ = open_log(disk, identity)
        log.close()
        # Again, for an interrupted recovery may have left its own entry to be appended just now.
        survivor, state = _examined(disk, identity)
        foundation = Foundation(
            index=survivor.last_index + 1,
            term=state.term + 1,
            configuration=Configuration(
                voters=(member,), removed=_gone(identity, survivor.configuration)
            ),
        )
        identity = Identity(
            cluster_id=cluster_id,
            node=identity.node,
            data_id=member.data_id,
            members=(member,),
            boot=identity.boot,
            foundation=foundation,
        )
        save_identity(disk, identity)
    else:
        _check_is_as_before(disk, identity, _check_is_unfinished(disk, identity), member)
    log, _ = open_log(disk, identity)
    log.close()
    return identity


def _identity_of(disk: Disk, node: NodeId) -> Identity:
    identity = load_identity(disk)
    if identity.node != node:
        raise RecoveryError(
            f"{disk.location('')} is the data directory of node {identity.node}, not of node "
            f"{node}: give the number that it has"
        )
    return identity


def _examined(disk: Disk, identity: Identity) -> tuple[Survivor, DurableState]:
    restart = examine_log(disk, identity)
    state = restart.state
    if state.snapshot_is_lost:
        raise RecoveryError(
            f"{restart.warnings[0]}. So the state before that is not here: no cluster can be made "
            "from this directory. Take another survivor"
        )
    if last_index(state) == 0:
        raise RecoveryError(
            f"the log in {disk.location('')} is empty, so there is nothing to save: take another "
            "survivor, or start a new cluster with `quorate serve --initialize`"
        )
    configured = [entry.configuration for entry in state.entries if entry.configuration is not None]
    survivor = Survivor(
        identity=identity,
        last_index=last_index(state),
        last_term=state.entries[-1].term if state.entries else state.snapshot.term,
        configuration=configured[-1] if configured else state.snapshot.configuration,
        warnings=restart.warnings,
    )
    return survivor, state


def _gone(identity: Identity, configuration: Configuration) -> tuple[str, ...]:
    """The data directories of the old cluster; none of them comes back."""
    old = {member.data_id for member in configuration.members} | {identity.data_id}
    old |= set(identity.peer_data_ids.values())
    gone = (*configuration.removed, *sorted(old - {"", *configuration.removed}))
    return gone[-MAX_REMOVED:]


def _check_is_unfinished(disk: Disk, identity: Identity) -> Foundation:
    """See that the cluster has its id from a recovery, and that no node has started since."""
    foundation = identity.foundation
    if foundation is None:
        raise RecoveryError(
            f"{identity.cluster_id} is the id that the cluster has already: give the new one "
            "another, so that it lets no node of the old one in"
        )
    if last_index(examine_log(disk, identity).state) > foundation.index:
        raise RecoveryError(
            f"{disk.location('')} belongs to cluster {identity.cluster_id} since an earlier "
            "recovery, and a node has run on it since: start that, or, if the majority of that "
            "cluster is lost too, give another id"
        )
    return foundation


def _check_is_as_before(
    disk: Disk, identity: Identity, foundation: Foundation, member: Member
) -> None:
    """See that this is the same recovery as the earlier one, which it is to complete."""
    (before,) = foundation.configuration.voters
    if msgspec.structs.replace(member, data_id=before.data_id) != before:
        raise RecoveryError(
            f"{disk.location('')} belongs to cluster {identity.cluster_id} since a recovery with "
            f"the addresses {before.peer_address} for peers and {before.client_address} for "
            "clients: give the same ones, and change them when the node runs"
        )
