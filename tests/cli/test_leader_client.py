"""How `quorate member` finds the leader, and finds it again."""

from __future__ import annotations

import asyncio

from tests.cli.answering import answering, member, status

from quorate.cli.member.leader import LeaderClient


def test_when_the_only_given_server_dies_it_goes_on_with_the_members_it_told_of() -> None:
    async def run() -> None:
        async with answering(2) as (one, two):
            members = (member(1, one.address), member(2, two.address))
            one.says = status(1, one.address, *members, role="leader")
            two.says = status(2, two.address, *members)
            client = LeaderClient([one.address], timeout_s=20)
            assert (await client.status()).id == 1
            one.vanish()
            two.says = status(2, two.address, *members, role="leader", term=2)
            assert (await client.status()).id == 2

    asyncio.run(run())
