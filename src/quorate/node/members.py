"""The operator's commands on the members of the cluster, `QUORATE.MEMBER ...`.

Only the leader executes them, each as one entry of the log, and answers as soon as that is
appended: whether it has been committed is seen in the status of the leader. A command that is
repeated because its answer was lost does no harm, though there may be no such member any more.

And what the leader does by itself: the members that a cluster is started with are known by their
addresses only. As soon as each has said which data directory it has, that goes into the
configuration, so that all servers agree on it.
"""

from collections.abc import Mapping

from quorate.clerk.addresses import check_is_found
from quorate.node.requests import CommandError, printable
from quorate.raft.configuration import (
    MAX_NODE_ID,
    ChangeRefusal,
    Configuration,
    ConfigurationError,
    Member,
    NodeId,
)
from quorate.raft.core import Raft

_MAX_TEXT_BYTES = 256  # of an address or a data id, as in the hello of a peer


class Members:
    """Changes the members of the cluster.

    Args:
        raft: the consensus core.
        data_ids: of this server and of the others, as far as they were ever heard.
    """

    def __init__(self, raft: Raft, data_ids: Mapping[NodeId, str]) -> None:
        self._raft = raft
        self._data_ids = dict(data_ids)

    def identified(self, node: NodeId, data_id: str) -> None:
        """Another server has said which data directory it has, and is believed."""
        self._data_ids[node] = data_id

    def complete(self, now: int) -> None:
        """Puts the data ids into the configuration that are missing there, if this server leads."""
        if not self._raft.is_leader:
            return
        completed = configuration = self._raft.configuration
        for member in configuration.members:
            data_id = "" if member.data_id else self._data_ids.get(member.id, "")
            if data_id:
                completed = completed.with_member(
                    Member(member.id, member.peer_address, member.client_address, data_id)
                )
        if completed is not configuration:
            self._raft.change_configuration(completed, now)  # if not now, then with a later turn

    def execute(self, arguments: list[bytes], now: int, *, leader_address: str | None) -> None:
        """Executes a command.

        Args:
            arguments: with the command's name.
            now: in microseconds.
            leader_address: where clients reach the leader, if it is known.

        Raises:
            CommandError: it is not executed; the text says why and what to do.
        """
        if not self._raft.is_leader:
            raise CommandError(leader_address or "no leader is known", code="NOTLEADER")
        try:
            self._perform([arguments[1].upper(), *arguments[2:]], now)
        except ConfigurationError as error:
            raise CommandError(str(error)) from error

    def _perform(self, command: list[bytes], now: int) -> None:
        match command:
            case [b"ADD", node, peer, client, data_id]:
                member = _member(node, peer, client, data_id)
                self._change(self._with_added(member, promote=True), now)
            case [b"ADD", node, peer, client, data_id, option] if option.upper() == b"LEARNER":
                member = _member(node, peer, client, data_id)
                self._change(self._with_added(member, promote=False), now)
            case [b"REMOVE", node]:
                configuration = self._without(_node_id(node), force=False)
                self._lead_no_more_if_removed(configuration, now)
                self._change(configuration, now)
            case [b"REMOVE", node, option] if option.upper() == b"FORCE":
                self._change(self._without(_node_id(node), force=True), now)
            case [b"PROMOTE", node]:
                self._change(self._with_promoting(_node_id(node)), now)
            case [b"ADDRESS", node, peer, client]:
                self._change(self._with_addresses(_node_id(node), peer, client), now)
            case [b"TRANSFER"]:
                self._transfer(None, now)
            case [b"TRANSFER", node]:
                self._transfer(_node_id(node), now)
            case _:
                raise CommandError(
                    "syntax: QUORATE.MEMBER ADD id peer client data-id [LEARNER] | "
                    "REMOVE id [FORCE] | PROMOTE id | ADDRESS id peer client | TRANSFER [id]"
                )

    # ------------------------------------------------------------------ changes

    def _change(self, configuration: Configuration, now: int) -> None:
        if configuration == self._raft.configuration:
            return
        outcome = self._raft.change_configuration(configuration, now)
        if isinstance(outcome, ChangeRefusal):
            raise CommandError(f"not now: {outcome.value}", code="TRYAGAIN")

    def _with_added(self, member: Member, *, promote: bool) -> Configuration:
        configuration = self._raft.configuration
        if configuration.member(member.id) == member:  # it was added before
            if member.id in configuration.promoting and not promote:
                raise CommandError(
                    f"member {member.id} is to vote as soon as it has caught up: if it is not to, "
                    f"`quorate member remove {member.id}` first"
                )
            is_learner = not configuration.is_voter(member.id)
            return self._with_promoting(member.id) if promote and is_learner else configuration
        self._check_addresses(member)
        return configuration.with_learner(member, promote=promote)

    def _with_promoting(self, node: NodeId) -> Configuration:
        configuration = self._raft.configuration
        if configuration.is_voter(node):
            return configuration
        return configuration.with_promoting(node)

    def _without(self, node: NodeId, *, force: bool) -> Configuration:
        if (
            self._raft.configuration.member(node) is None
            and not self._raft.configuration_is_committed
        ):
            # It may be this very command, repeated, that has removed it, and that may be lost yet.
            raise CommandError(f"not now: {ChangeRefusal.CHANGE_UNDER_WAY.value}", code="TRYAGAIN")
        configuration = self._raft.configuration.without(node)
        if not force:
            self._check_quorum(configuration, node)
        return configuration

    def _with_addresses(self, node: NodeId, peer: bytes, client: bytes) -> Configuration:
        present = self._raft.configuration.member(node)
        if present is None:
            raise CommandError(f"there is no member {node}")
        member = Member(node, _address(peer), _address(client), present.data_id)
        self._check_addresses(member)
        return self._raft.configuration.with_member(member)

    def _check_addresses(self, member: Member) -> None:
        if member.peer_address == member.client_address:
            raise CommandError(
                f"clients and servers cannot both connect to {member.client_address}: give "
                "different ports"
            )
        for other in self._raft.configuration.members:
            theirs = {other.peer_address, other.client_address}
            shared = theirs & {member.peer_address, member.client_address}
            if other.id != member.id and shared:
                raise CommandError(
                    f"member {other.id} has the address {shared.pop()}: each needs its own"
                )

    def _check_quorum(self, configuration: Configuration, gone: NodeId) -> None:
        """Refuses what would leave a cluster that can commit nothing."""
        followers = self._raft.followers
        others = {node: followers[node] for node in configuration.voter_ids if node in followers}
        silent = [node for node, follower in others.items() if not follower.is_in_touch]
        unable = [node for node, follower in others.items() if not follower.is_able]
        count = len(configuration.voters)
        if count - len(silent) < configuration.majority:
            raise CommandError(
                f"without member {gone}, {configuration.majority} of {count} voters would be "
                "needed, but "
                f"{', '.join(map(str, silent))} cannot be reached: nothing could be written any "
                "more. Remove those instead, or bring them back. If you know that they are "
                "about to come back, force it with `quorate member remove --force`"
            )
        if count - len(unable) < configuration.majority:
            names = ", ".join(map(str, unable))
            raise CommandError(
                f"not now: voter {names} is being brought up, and is needed without member {gone}",
                code="TRYAGAIN",
            )

    # ------------------------------------------------------------------ leadership

    def _lead_no_more_if_removed(self, configuration: Configuration, now: int) -> None:
        """A leader that is to go has another server lead first.

        It could remove itself (dissertation §4.2.2), but then could not tell its clients what has
        become of what they had sent until then.
        """
        if configuration.member(self._raft.me) is not None:
            return
        successor = self._raft.successor(now)
        if successor is not None:
            self._raft.transfer_leadership(successor, now)
            raise CommandError("not now: leadership is handed over first", code="TRYAGAIN")

    def _transfer(self, to: NodeId | None, now: int) -> None:
        successor = self._raft.successor(now)
        to = to or successor
        if not self._raft.is_leader:
            raise CommandError("not now: this server has just ceased to lead", code="TRYAGAIN")
        if to is None:
            raise CommandError("there is no other voter in touch that could lead")
        if to == self._raft.leader:
            return
        if not self._raft.configuration.is_voter(to):
            raise CommandError(f"node {to} is no voter, so it cannot lead")
        # All writes would wait for it until the leader gives up, once for each repetition.
        follower = self._raft.followers.get(to)
        if follower is not None and not follower.is_in_touch:
            raise CommandError(f"node {to} cannot be reached, so it cannot lead")
        if follower is not None and follower.is_far_behind:
            raise CommandError(f"not now: node {to} is being brought up", code="TRYAGAIN")
        if not self._raft.transfer_leadership(to, now):
            raise CommandError("not now: leadership is being handed over", code="TRYAGAIN")


def _member(node: bytes, peer: bytes, client: bytes, data_id: bytes) -> Member:
    if not data_id or len(data_id) > _MAX_TEXT_BYTES or not data_id.isascii():
        raise CommandError(f"bad data id '{printable(data_id)}': see `quorate status` of the node")
    return Member(_node_id(node), _address(peer), _address(client), data_id.decode())


def _node_id(argument: bytes) -> NodeId:
    if not argument.isdigit() or len(argument) > 10 or not 1 <= int(argument) <= MAX_NODE_ID:
        raise CommandError(f"'{printable(argument)}' is not the id of a node")
    return NodeId(int(argument))


def _address(argument: bytes) -> str:
    text = printable(argument, _MAX_TEXT_BYTES)
    try:
        check_is_found(text)
    except ValueError as error:
        raise CommandError(str(error)) from error
    return text
