"""The subcommands of `quorate member`."""

import asyncio
import sys
from collections.abc import Callable, Coroutine
from typing import Any

import click
import msgspec

from quorate.clerk.addresses import check_is_found
from quorate.cli.errors import CommandFailure, ExitStatus
from quorate.cli.member.leader import LeaderClient, member_of
from quorate.cli.parameters import Seconds, servers_option, show_help_without_command
from quorate.cli.tables import Row, print_plain_table, print_rich_table
from quorate.node.status import MemberStatus, NodeStatus

_START_EMPTY = "give it an empty data directory and start it with `--join`"
_CLEAR_LINE = "\r\x1b[K"
_HEADINGS = ("id", "role", "client", "peer", "lacks", "silent", "data id")

_timeout_option = click.option(
    "--timeout",
    type=Seconds(0.01, 86_400),
    default=60.0,
    show_default=True,
    help="Seconds to wait until it is done.",
)
_Command = Callable[..., Any]


def _with_options(command: _Command) -> _Command:
    return servers_option(_timeout_option(command))


def _node_argument(name: str) -> Callable[[_Command], _Command]:
    return click.argument(name, type=click.IntRange(min=1), metavar="ID")


def _address_argument(name: str, metavar: str) -> Callable[[_Command], _Command]:
    return click.argument(name, metavar=metavar, callback=_parse_address)


def _parse_address(_ctx: click.Context, _parameter: click.Parameter, text: str) -> str:
    try:
        check_is_found(text)
    except ValueError as error:
        raise click.BadParameter(str(error)) from error
    return text


@click.group(invoke_without_command=True)
@click.pass_context
def member(ctx: click.Context) -> None:
    """Shows and changes the members of a cluster."""
    show_help_without_command(ctx)


# --------------------------------------------------------------------- looking


@member.command("list")
@_with_options
@click.option("--json", "as_json", is_flag=True, help="Print a JSON list.")
def list_members(
    servers: tuple[str, ...],
    timeout: float,
    as_json: bool,  # noqa: FBT001 - click's way of calling
) -> None:
    """Lists the members, as the leader knows them."""

    async def run() -> NodeStatus:
        return await LeaderClient(servers, timeout_s=timeout).status()

    status = asyncio.run(run())
    if as_json:
        click.echo(msgspec.json.format(msgspec.json.encode(status.members)))
        return
    rows = [_row(status, member) for member in status.members]
    if sys.stdout.isatty():
        print_rich_table(_HEADINGS, rows, {}, sys.stdout, None)
    else:
        print_plain_table(_HEADINGS, rows, sys.stdout)
    if not status.configuration_is_committed:
        click.echo("a change is under way: a majority has not confirmed it yet")


def _row(status: NodeStatus, member: MemberStatus) -> Row:
    lacks = "" if member.match_index is None else str(status.last_index - member.match_index)
    silent = "" if member.silent_ms is None else f"{member.silent_ms / 1000:.1f} s"
    return (
        str(member.id),
        _role(status, member),
        member.client_address,
        member.peer_address,
        lacks,
        silent,
        member.data_id[:8] or "not known yet",
    )


def _role(status: NodeStatus, member: MemberStatus) -> str:
    if member.id == status.id:
        return "leader" if member.votes else "leader, to go"
    if member.votes:
        return "voter"
    return "learner, to vote" if member.is_promoting else "learner"


# --------------------------------------------------------------------- changing


@member.command()
@_address_argument("server", "CLIENTHOST:PORT")
@click.option("--learner", is_flag=True, help="It gets the log, but does not vote.")
@_with_options
def add(server: str, learner: bool, servers: tuple[str, ...], timeout: float) -> None:  # noqa: FBT001 - click's way of calling
    """Lets a node in that was started with `quorate serve --join`.

    It is found at the given client address. It gets the log, and is made a voter when it has
    caught up.
    """

    async def run() -> str:
        leader = LeaderClient(servers, timeout_s=timeout)
        new = await _newcomer(server, leader)
        known = member_of(await _let_in(leader, new, learner=learner), new.id)
        # One that votes already is no learner, whatever was asked for.
        return f"node {new.id} is a {'voter' if known is not None and known.votes else 'learner'}"

    _report(run())


@member.command()
@_node_argument("node")
@click.option("--force", is_flag=True, help="Even if the rest has no majority that can be reached.")
@_with_options
def remove(node: int, force: bool, servers: tuple[str, ...], timeout: float) -> None:  # noqa: FBT001 - click's way of calling
    """Removes a member. Its data directory cannot come back; stop the node afterwards."""

    async def run() -> str:
        leader = LeaderClient(servers, timeout_s=timeout)
        status = await leader.status()
        if member_of(status, node) is None:
            raise CommandFailure(
                f"there is no member {node}: see `quorate member list`", ExitStatus.NOT_EXECUTED
            )
        await _remove(leader, node, force=force)
        return f"node {node} is no member any more: stop it, if it runs"

    _report(run())


@member.command()
@_node_argument("node")
@_with_options
def promote(node: int, servers: tuple[str, ...], timeout: float) -> None:
    """Makes a learner a voter, as soon as it has caught up."""

    async def run() -> str:
        leader = LeaderClient(servers, timeout_s=timeout)

        def is_done(status: NodeStatus) -> bool:
            known = member_of(status, node)
            return known is not None and known.votes and status.configuration_is_committed

        await leader.order(["PROMOTE", node], is_done, _watcher(node))
        return f"node {node} is a voter"

    _report(run())


@member.command()
@_address_argument("server", "CLIENTHOST:PORT")
@click.option("--force", is_flag=True, help="Even if the member that it replaces still runs.")
@_with_options
def rejoin(server: str, force: bool, servers: tuple[str, ...], timeout: float) -> None:  # noqa: FBT001 - click's way of calling
    """Lets a member in again that has lost its data.

    Start it on an empty data directory with `quorate serve --join`; it is found at the given client
    address. What it was is removed, and what it is now is added: it gets all data from the leader.
    """

    async def run() -> str:
        leader = LeaderClient(servers, timeout_s=timeout)
        new = await _newcomer(server, leader)
        former = member_of(await leader.status(), new.id)
        replaces = former is not None and former.data_id != new.data_id
        if replaces:
            if not force:
                await _check_is_gone(leader, new)
            await _remove(leader, new.id, force=False, unless=new.data_id)
        # As what it was; if an earlier attempt has removed it, nobody knows that any more.
        learner = former is not None and not former.votes and not former.is_promoting
        await _let_in(leader, new, learner=learner)
        role = "learner" if learner else "voter"
        return f"node {new.id} is a {role}{' again' if replaces else ''}"

    _report(run())


@member.command()
@click.argument("node", type=click.IntRange(min=1), metavar="[ID]", required=False)
@_with_options
def transfer(node: int | None, servers: tuple[str, ...], timeout: float) -> None:
    """Hands leadership over, to the given node or to the one that is suited best."""

    async def run() -> str:
        leader = LeaderClient(servers, timeout_s=timeout)
        before = (await leader.status()).id

        def is_done(status: NodeStatus) -> bool:
            return status.id == node if node is not None else status.id != before

        words: list[str | int] = ["TRANSFER"] if node is None else ["TRANSFER", node]
        status = await leader.order(words, is_done)
        return f"node {status.id} leads term {status.term}"

    _report(run())


@member.command("set-address")
@_node_argument("node")
@_address_argument("client", "CLIENTHOST:PORT")
@_address_argument("peer", "PEERHOST:PORT")
@_with_options
def set_address(
    node: int, client: str, peer: str, servers: tuple[str, ...], timeout: float
) -> None:
    """Tells the members where a node is from now on.

    Start it there first, on its own data directory and with the new addresses.
    """

    async def run() -> str:
        leader = LeaderClient(servers, timeout_s=timeout)

        def is_done(status: NodeStatus) -> bool:
            known = member_of(status, node)
            moved = known is not None and (known.client_address, known.peer_address) == (
                client,
                peer,
            )
            return moved and status.configuration_is_committed

        await leader.order(["ADDRESS", node, peer, client], is_done)
        return f"node {node} is at {client} for clients and at {peer} for the other nodes"

    _report(run())


# --------------------------------------------------------------------- steps


async def _newcomer(server: str, leader: LeaderClient) -> NodeStatus:
    """The node at this address, which is to become a member.

    One with a history of its own is not let in, though its cluster may have the same id: where its
    log is as long and of the same terms as the leader's, Raft takes it for the same log.
    """
    new = await leader.status_of(server)
    if new is None:
        raise CommandFailure(
            f"{server} cannot be reached: start the node there with `quorate serve --join` first"
        )
    # Asked later than the node: whoever has made it a member, the leader knows of that by now.
    status = await leader.status()
    if new.cluster_id != status.cluster_id:
        raise CommandFailure(
            f"node {new.id} at {server} belongs to cluster {new.cluster_id}, not to "
            f"{status.cluster_id}: {_START_EMPTY}"
        )
    known = member_of(status, new.id)
    is_member = known is not None and known.data_id == new.data_id
    if (new.members or new.last_index > 0) and not is_member:
        raise CommandFailure(
            f"node {new.id} at {server} has a history of its own: it belonged to another cluster "
            "of the same id, or was removed from the cluster, or a leader has failed while it was "
            f"being added; {_START_EMPTY}"
        )
    _check_addresses(new, status)
    return new


def _check_addresses(new: NodeStatus, status: NodeStatus) -> None:
    """Sees that the leader will take the addresses in: a member is removed for it first."""
    mine = {new.client_address, new.peer_address}
    for address in sorted(mine):
        try:
            check_is_found(address)
        except ValueError as error:
            raise CommandFailure(f"node {new.id}: {error}", ExitStatus.NOT_EXECUTED) from error
    for other in status.members:
        shared = mine & {other.client_address, other.peer_address}
        if other.id != new.id and shared:
            raise CommandFailure(
                f"member {other.id} has the address {shared.pop()}, and so has node {new.id}: "
                "each needs its own",
                ExitStatus.NOT_EXECUTED,
            )


async def _check_is_gone(leader: LeaderClient, new: NodeStatus) -> None:
    """Sees that the member which this node is to replace does not run.

    It is asked itself. As its address may lead nowhere from here, the leader's word counts too. Of
    one that has just ended that is fresh; so it counts whether another one comes.

    Raises:
        CommandFailure: it does; so it is likely that the new node was started with a wrong id.
    """
    before: NodeStatus | None = None
    present = member_of(await leader.status(), new.id)
    answer = None
    if present is not None and present.client_address:
        answer = await leader.status_of(present.client_address)
    while True:
        status = await leader.status()
        former = member_of(status, new.id)
        if former is None or former.data_id == new.data_id:
            return
        answers = answer is not None and answer.data_id == former.data_id
        if former.is_in_touch is False and not answers:
            return
        leads_itself = former.silent_ms is None
        if answers or leads_itself or was_heard_of(new.id, before, status):
            raise CommandFailure(
                f"member {new.id} runs, at {former.client_address} and with other data: if it is "
                f"to be replaced, stop it first, or do it with --force; if not, start the node at "
                f"{new.client_address} with another --id, on an empty data directory"
            )
        before = status
        await leader.pause(f"it could not be seen whether the present member {new.id} runs")


def was_heard_of(node: int, before: NodeStatus | None, now: NodeStatus) -> bool:
    """Whether the leader has heard of it between two of its answers."""
    if before is None or (before.id, before.term) != (now.id, now.term):
        return False  # a new leader counts the silence from its election on
    was, present = member_of(before, node), member_of(now, node)
    if was is None or was.silent_ms is None or present is None or present.silent_ms is None:
        return False
    return present.silent_ms <= was.silent_ms


async def _let_in(leader: LeaderClient, new: NodeStatus, *, learner: bool) -> NodeStatus:
    """Makes it a member; returns the leader's status when it is one."""

    def is_done(status: NodeStatus) -> bool:
        known = member_of(status, new.id)
        is_in = known is not None and known.data_id == new.data_id and (learner or known.votes)
        return is_in and status.configuration_is_committed

    words: list[str | int] = ["ADD", new.id, new.peer_address, new.client_address, new.data_id]
    return await leader.order(words + (["LEARNER"] if learner else []), is_done, _watcher(new.id))


async def _remove(leader: LeaderClient, node: int, *, force: bool, unless: str = "") -> None:
    def is_done(status: NodeStatus) -> bool:
        known = member_of(status, node)
        is_gone = known is None or (unless != "" and known.data_id == unless)
        return is_gone and status.configuration_is_committed

    words: list[str | int] = ["REMOVE", node]
    await leader.order(words + (["FORCE"] if force else []), is_done)


def _watcher(node: int) -> Callable[[NodeStatus], None]:
    """Shows on a terminal how far a learner is."""

    def watch(status: NodeStatus) -> None:
        known = member_of(status, node)
        if sys.stdout.isatty() and known is not None and known.match_index is not None:
            text = f"node {node}: has {known.match_index} of {status.last_index} entries"
            click.echo(f"{_CLEAR_LINE}{text}", nl=False)

    return watch


def _report(work: Coroutine[None, None, str]) -> None:
    try:
        text = asyncio.run(work)
    finally:
        if sys.stdout.isatty():  # over what the watcher has shown
            click.echo(_CLEAR_LINE, nl=False)
    click.echo(text)
