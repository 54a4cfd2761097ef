"""`quorate explain` and `quorate member` look at one cluster."""

from __future__ import annotations

import asyncio

import click
import pytest
from click.testing import CliRunner
from tests.cli.answering import Answering, answering, member, status

from quorate.cli.errors import CommandFailure
from quorate.cli.explain import explain
from quorate.cli.member.command import member as member_command

Command = tuple[click.Command, tuple[str, ...]]

EXPLAIN: Command = (explain, ())
LIST: Command = (member_command, ("list",))


def outcome(command: Command, *servers: Answering) -> str:
    """What the command prints, or why it fails."""
    function, words = command
    given = ",".join(server.address for server in servers)
    ended = CliRunner().invoke(function, [*words, f"--servers={given}", "--timeout=2"])
    if isinstance(ended.exception, CommandFailure):
        return f"{ended.output}failed: {ended.exception}"
    assert ended.exception is None
    return ended.output


def lead(server: Answering, node: int, cluster_id: str, *others: Answering, term: int = 1) -> None:
    """It leads a cluster in which the others are nodes 8, 9, ..."""
    members = [member(node, server.address)]
    members += [member(8 + number, other.address) for number, other in enumerate(others)]
    server.says = status(
        node, server.address, *members, role="leader", cluster_id=cluster_id, term=term
    )


@pytest.mark.parametrize("command", [EXPLAIN, LIST])
@pytest.mark.parametrize("node", [1, 2])
def test_servers_of_two_clusters_are_refused(command: Command, node: int) -> None:
    """Whatever their ids: they were taken for one cluster, with the leader of the higher term."""

    async def run() -> None:
        async with answering(2) as (one, other):
            lead(one, 1, "c")
            lead(other, node, "d")
            said = await asyncio.to_thread(outcome, command, one, other)
            assert said == (
                f"failed: node 1 at {one.address} belongs to cluster c, node {node} at "
                f"{other.address} belongs to cluster d: give the servers of one cluster"
            )

    asyncio.run(run())


@pytest.mark.parametrize("command", [EXPLAIN, LIST])
def test_a_node_of_another_cluster_at_a_members_address_is_not_heard(
    command: Command,
) -> None:
    async def run() -> None:
        async with answering(2) as (one, other):
            lead(one, 1, "c", other)
            lead(other, 7, "d", term=9)
            said = await asyncio.to_thread(outcome, command, one)
            assert said.startswith(("node 1 leads term 1", "id "))
            assert "failed" not in said

    asyncio.run(run())
