"""`quorate explain`: why there is no leader, or why a write does not commit, and what to do."""

import asyncio
from collections.abc import Sequence

import click

from quorate.cli.amounts import shown_duration
from quorate.cli.errors import CommandFailure
from quorate.cli.one_cluster import cluster_of, of_cluster
from quorate.cli.parameters import Seconds, servers_option
from quorate.node.status import MemberStatus, NodeStatus
from quorate.runtime.ask import ask_statuses, leader_among

_SILENT_MS = 1000
"""A member that has answered nothing for so long has some trouble."""


@click.command()
@servers_option
@click.option(
    "--timeout",
    type=Seconds(0.01, 3600),
    default=2.0,
    show_default=True,
    help="Seconds to wait for each node.",
)
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
    """The statuses of the given nodes and of the members that they tell of, each once."""
    found: dict[int, NodeStatus] = {}
    asked: set[str] = set()
    to_ask = set(servers)
    cluster_id: str | None = None
    while to_ask:
        statuses = await ask_statuses(sorted(to_ask), timeout_s=timeout_s)
        cluster_id = cluster_id or cluster_of(statuses)
        for status in of_cluster(cluster_id, statuses):
            found[status.id] = status
        asked |= to_ask
        members = [member for status in found.values() for member in status.members]
        to_ask = {m.client_address for m in members if m.client_address and m.id not in found}
        to_ask -= asked
    return [found[node] for node in sorted(found)]


def explanation(statuses: Sequence[NodeStatus]) -> tuple[list[str], bool]:
    """What there is to say, line by line, and whether the cluster serves.

    Args:
        statuses: what those nodes say of themselves that have answered.
    """
    if not statuses:
        return ["none of these nodes answers: start them, or give other addresses"], False
    leader = leader_among(statuses)
    newest = leader or max(statuses, key=lambda status: status.configuration_index)
    if not newest.members:
        text = (
            f"node {newest.id} belongs to no cluster yet: `quorate member add "
            f"{newest.client_address}`, and give the addresses of that cluster's nodes here"
        )
        return [text], False
    if leader is not None and _has_majority(leader):
        return [*_of_leader(leader), *_of_nodes(statuses)], True
    return [*_without_leader(newest, statuses, leader), *_of_nodes(statuses)], False


# --------------------------------------------------------------------- with a leader


def _has_majority(leader: NodeStatus) -> bool:
    voters = [member for member in leader.members if member.votes]
    in_touch = [m for m in voters if m.id == leader.id or not _is_silent(m)]
    return len(in_touch) > len(voters) // 2


def _is_silent(member: MemberStatus) -> bool:
    return member.silent_ms is None or member.silent_ms > _SILENT_MS


def _of_leader(leader: NodeStatus) -> list[str]:
    lines = [f"node {leader.id} leads term {leader.term}"]
    uncommitted = leader.last_index - leader.commit_index
    if uncommitted:
        lines.append(f"{uncommitted} entries of its log are not committed yet")
    troubles = {link.to: link.trouble for link in leader.links}
    for member in leader.members:
        if member.id == leader.id:
            continue
        kind = "voter" if member.votes else "learner"
        if _is_silent(member):
            silent = shown_duration(member.silent_ms or 0)
            lines.append(f"{kind} {member.id} has answered nothing for {silent}")
            lines += _about_silence(member, troubles.get(member.id, ""))
        elif (lacks := leader.last_index - (member.match_index or 0)) > 0:
            lines.append(f"{kind} {member.id} lacks {lacks} entries and is getting them")
    if not leader.configuration_is_committed:
        lines.append("a change of the members is under way")
    if leader.is_transferring:
        lines.append(f"node {leader.id} is handing its leadership over: writes wait")
    return lines


def _about_silence(member: MemberStatus, trouble: str) -> list[str]:
    found = [f"  {trouble}"] if trouble else []
    if "refused: " in trouble or "refuses" in trouble:  # by a server, which has said what to do
        return found
    removal = f"`quorate member remove {member.id}`"
    return [*found, f"  start it, or look at the network; if it is lost for ever, {removal}"]


# --------------------------------------------------------------------- without


def _without_leader(
    newest: NodeStatus, statuses: Sequence[NodeStatus], leader: NodeStatus | None
) -> list[str]:
    answered = {status.id: status for status in statuses}
    voters = [member for member in newest.members if member.votes]
    gone = [member for member in voters if member.id not in answered]
    needed = len(voters) // 2 + 1
    lines = [
        "there is no leader"
        if leader is None
        else f"node {leader.id} leads term {leader.term}, but a majority does not answer it"
    ]
    if len(voters) - len(gone) < needed:
        lines.append(
            f"{needed} of the {len(voters)} voters are needed, and only {len(voters) - len(gone)} "
            "of them can be reached from here"
        )
        lines += [
            f"voter {member.id} at {member.client_address} cannot be reached: start it, or look "
            "at the network"
            for member in gone
        ]
        lines.append(
            "if a majority is lost for ever, `quorate recover` makes a new cluster of what is left"
        )
        return lines
    here = [answered[member.id] for member in voters if member.id in answered]
    best = max(here, key=lambda status: (status.last_term, status.last_index))
    for status in here:
        lines += _why_not_leader(status, best)
    lines.append(f"{len(here)} of the {len(voters)} voters answer: ask again in a second")
    return lines


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
    """What single nodes have trouble with, but for what the leader has told of."""
    answered = {status.id for status in statuses}
    return [
        f"node {status.id} does not reach node {link.to}, which answers here: {link.trouble}"
        for status in statuses
        if status.role != "leader"
        for link in status.links
        if not link.is_up and link.to in answered
    ]
