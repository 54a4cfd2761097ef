"""`quorate explain`: why there is no leader, or why a write does not commit, and what to do."""

import asyncio
from collections.abc import Sequence

import click

from quorate.cli.amounts import shown_duration
from quorate.cli.errors import CommandFailure
from quorate.cli.one_cluster import cluster_of, of_cluster
from quorate.cli.parameters import answer_timeout_option, servers_option
from quorate.node.status import LinkStatus, MemberStatus, NodeStatus
from quorate.runtime.ask import ask_statuses, leader_among


@click.command()
@servers_option
@answer_timeout_option
def explain(servers: tuple[str, ...], timeout: float) -> None:
    """Says how the cluster is, what is wrong with it, and what to do.

    It asks the given nodes and all members that they know of. The exit status is 1 if the cluster
    cannot serve.
    """
    findings, serves = explanation(asyncio.run(_ask_all(servers, timeout)))
    for line in findings:
        click.echo(line)
    if not serves:
        raise CommandFailure("the cluster does not serve; what to do stands above")


async def _ask_all(servers: Sequence[str], timeout_s: float) -> list[NodeStatus]:
    """The statuses of the given nodes and of the members that they tell of, each once.

    By data id: a member that has lost its data, or was replaced, shares its number with another.
    """
    found: dict[str, NodeStatus] = {}
    asked: set[str] = set()
    to_ask = set(servers)
    cluster_id: str | None = None
    while to_ask:
        statuses = await ask_statuses(sorted(to_ask), timeout_s=timeout_s)
        cluster_id = cluster_id or cluster_of(statuses)
        for status in of_cluster(cluster_id, statuses):
            found[status.data_id] = status
        asked |= to_ask
        members = [member for status in found.values() for member in status.members]
        to_ask = {m.client_address for m in members if m.client_address and m.data_id not in found}
        to_ask -= asked
    return sorted(found.values(), key=lambda status: (status.id, status.data_id))


def explanation(statuses: Sequence[NodeStatus]) -> tuple[list[str], bool]:
    """What there is to say, line by line, and whether the cluster serves.

    Args:
        statuses: what those nodes say of themselves that have answered.
    """
    if not statuses:
        return ["none of these nodes answers: start them, or give other addresses"], False
    leader = leader_among(statuses)
    # The list that a cluster is started with has index 0, as the empty one of a newcomer.
    newest = leader or max(statuses, key=lambda s: (len(s.members) > 0, s.configuration_index))
    if not newest.members:
        text = (
            f"node {newest.id} belongs to no cluster yet: `quorate member add "
            f"{newest.client_address}`, and give the addresses of that cluster's nodes here"
        )
        return [text], False
    members = [status for status in statuses if _is_member(status, newest)]
    strangers = [status for status in statuses if status not in members]
    if leader is not None and _has_majority(leader):
        return [*_of_leader(leader), *_of_nodes(members), *map(_about_stranger, strangers)], True
    return _without_leader(newest, members, strangers, leader), False


# --------------------------------------------------------------------- with a leader


def _has_majority(leader: NodeStatus) -> bool:
    voters = [member for member in leader.members if member.votes]
    in_touch = [member for member in voters if member.id == leader.id or member.is_in_touch]
    return len(in_touch) > len(voters) // 2


def _of_leader(leader: NodeStatus) -> list[str]:
    lines = [f"node {leader.id} leads term {leader.term}"]
    uncommitted = leader.last_index - leader.commit_index
    if uncommitted:
        lines.append(f"{uncommitted} entries of its log are not committed yet")
    links = {link.to: link for link in leader.links}
    for member in leader.members:
        if member.id == leader.id:
            continue
        kind = "voter" if member.votes else "learner"
        if not member.is_in_touch:
            silent = shown_duration(member.silent_ms or 0)
            lines.append(f"{kind} {member.id} has answered nothing for {silent}")
            lines += _about_silence(member, links.get(member.id))
        elif (lacks := leader.last_index - (member.match_index or 0)) > 0:
            lines.append(f"{kind} {member.id} lacks {lacks} entries and is getting them")
    if not leader.configuration_is_committed:
        lines.append("a change of the members is under way")
    if leader.is_transferring:
        lines.append(f"node {leader.id} is handing its leadership over: writes wait")
    return lines


def _about_silence(member: MemberStatus, link: LinkStatus | None) -> list[str]:
    found = [] if link is None or link.is_up else [f"  {link.trouble}"]
    if link is not None and link.is_refused:  # who refuses has said what to do
        return found
    removal = f"`quorate member remove {member.id}`"
    return [*found, f"  start it, or look at the network; if it is lost for ever, {removal}"]


# --------------------------------------------------------------------- without


def _without_leader(
    newest: NodeStatus,
    members: Sequence[NodeStatus],
    strangers: Sequence[NodeStatus],
    leader: NodeStatus | None,
) -> list[str]:
    voters = {member.id: member for member in newest.members if member.votes}
    here = {status.id: status for status in members if status.id in voters}
    lost = {s.id: s for s in strangers if s.id in voters and s.id not in here}
    about_nodes = _of_nodes(members)
    about_nodes += [_about_stranger(status) for status in strangers if status.id not in lost]
    gone = [member for member in voters.values() if member.id not in here | lost]
    needed = len(voters) // 2 + 1
    lines = [
        "there is no leader"
        if leader is None
        else f"node {leader.id} leads term {leader.term}, but a majority does not answer it"
    ]
    if len(here) < needed:
        lines.append(
            f"{needed} of the {len(voters)} voters are needed, and only {len(here)} of them can be "
            "reached from here"
        )
        lines += [_about_lost_data(status) for status in lost.values()]
        lines += [
            f"voter {member.id} at {member.client_address} cannot be reached: start it, or look "
            "at the network"
            for member in gone
        ]
        lines.append(
            "if a majority is lost for ever, `quorate recover` makes a new cluster of what is left"
        )
        return lines + about_nodes
    for status in lost.values():
        rejoin = f"`quorate member rejoin {status.client_address}`"
        lines.append(_about_lost_data(status))
        lines.append(f"  if that is lost, {rejoin} as soon as there is a leader")
    best = max(here.values(), key=lambda status: (status.last_term, status.last_index))
    for status in here.values():
        lines += _why_not_leader(status, best)
    lines.append(f"{len(here)} of the {len(voters)} voters answer: ask again in a second")
    return lines + about_nodes


def _is_itself(status: NodeStatus, member: MemberStatus) -> bool:
    """Whether the node of a member's number is that member still, and has its data.

    As long as nobody knows the member's data id: who was there from the beginning knows members.
    """
    return status.data_id == member.data_id if member.data_id else bool(status.members)


def _is_member(status: NodeStatus, newest: NodeStatus) -> bool:
    member = next((member for member in newest.members if member.id == status.id), None)
    return member is not None and _is_itself(status, member)


def _about_stranger(status: NodeStatus) -> str:
    """Of one that is no member; that of its number, if there is one, is another one."""
    node = f"node {status.id} at {status.client_address}"
    if status.members:
        return f"{node} is no member any more: stop it"
    return (
        f"{node} is no member yet: `quorate member add {status.client_address}`, or `rejoin` if it "
        "is to replace the member of that number"
    )


def _about_lost_data(status: NodeStatus) -> str:
    return (
        f"node {status.id} at {status.client_address} has lost its data, and does not count as a "
        "voter: start it on the directory that it had"
    )


def _why_not_leader(status: NodeStatus, best: NodeStatus) -> list[str]:
    lines = []
    if status.snapshot_is_lost:
        lines.append(
            f"node {status.id} cannot lead: its snapshot is lost, and it waits for a leader to "
            "send one"
        )
    mine, theirs = (status.last_term, status.last_index), (best.last_term, best.last_index)
    if mine < theirs:
        lines.append(
            f"node {status.id} cannot lead: its log ends with entry {mine[1]} of term {mine[0]}, "
            f"that of node {best.id} with entry {theirs[1]} of term {theirs[0]}"
        )
    voters = {member.id for member in status.members if member.votes}
    if status.id not in voters:
        lines.append(f"node {status.id} does not vote, as far as it knows")
    return lines


def _of_nodes(statuses: Sequence[NodeStatus]) -> list[str]:
    """What single members have trouble with; the leader's links are told of with its followers."""
    answered = {status.id for status in statuses}
    return [
        f"node {status.id} does not reach node {link.to}, which answers here: {link.trouble}"
        for status in statuses
        if status.role != "leader"
        for link in status.links
        if not link.is_up and link.to in answered
    ]
