"""How `quorate member` finds the leader, and finds it again."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator

import pytest
from tests.cli.answering import answering, member, status

from quorate.cli.errors import CommandFailure, ExitStatus
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


@contextlib.asynccontextmanager
async def one_of_two_hangs(*, timeout_s: float) -> AsyncIterator[LeaderClient]:
    """A client of two servers; one leads, and the other one never answers."""
    async with answering(2) as (leads, hangs):
        members = (member(1, leads.address), member(2, hangs.address))
        leads.says = status(1, leads.address, *members, role="leader")
        yield LeaderClient([leads.address, hangs.address], timeout_s=timeout_s)


def test_a_server_that_hangs_costs_its_time_once_and_not_at_each_step() -> None:
    async def run() -> None:
        async with one_of_two_hangs(timeout_s=20) as client:
            await client.status()
            began = time.perf_counter()
            for _ in range(10):
                await client.status()
            assert time.perf_counter() - began < 1

    asyncio.run(run())


def test_a_server_that_hangs_leaves_time_for_the_order() -> None:
    async def run() -> None:
        async with one_of_two_hangs(timeout_s=1) as client:
            with pytest.raises(CommandFailure, match="REMOVE 2 was not done within 1 s; it") as it:
                await client.order(["REMOVE", 2], lambda _status: False)
            assert it.value.status is ExitStatus.OUTCOME_UNKNOWN

    asyncio.run(run())


def test_who_led_and_leads_no_more_is_not_asked_alone() -> None:
    async def run() -> None:
        async with answering(2) as (one, two):
            members = (member(1, one.address), member(2, two.address))
            one.says = status(1, one.address, *members, role="leader")
            two.says = status(2, two.address, *members)
            client = LeaderClient([one.address], timeout_s=20)
            await client.status()
            one.says = status(1, one.address, *members)
            two.says = status(2, two.address, *members, role="leader", term=2)
            assert (await client.status()).id == 2

    asyncio.run(run())


@pytest.mark.parametrize("leader_hangs_at_the_order", [False, True])
def test_no_wait_is_longer_than_what_is_left_of_the_timeout(
    *, leader_hangs_at_the_order: bool
) -> None:
    async def run() -> None:
        async with answering(1) as (one,):
            if leader_hangs_at_the_order:
                one.says = status(1, one.address, member(1, one.address), role="leader")
            client = LeaderClient([one.address], timeout_s=0.3)

            def hang(_status: object) -> None:
                one.says = None

            with pytest.raises(CommandFailure):
                await client.order(["REMOVE", 2], lambda _status: False, hang)

    began = time.perf_counter()
    asyncio.run(run())
    assert time.perf_counter() - began < 1
