"""Who cannot be let in is refused before the member whose number it has is removed for it."""

from __future__ import annotations

import asyncio
import sys

import msgspec
import pytest
from tests.cli.answering import Answering, answering, member, status

NOT_EXECUTED = 3


@pytest.mark.parametrize("command", ["add", "rejoin"])
@pytest.mark.parametrize(
    ("address", "reason"),
    [
        ("0.0.0.0:1", "node 3: nobody else finds the node at 0.0.0.0:1: give it the address of"),
        ("a..b:1", "node 3: bad server address 'a..b:1': no host has such a name"),
        ("h:2", "member 2 has the address h:2, and so has node 3: each needs its own"),
    ],
)
def test_a_newcomer_that_nobody_would_find(command: str, address: str, reason: str) -> None:
    async def run() -> None:
        async with answering(2) as (leads, new):
            lost = msgspec.structs.replace(member(3, "h:3"), is_in_touch=False, silent_ms=9999)
            members = (member(1, leads.address), member(2, "h:2"), lost)
            leads.says = status(1, leads.address, *members, role="leader")
            new.says = status(
                3,
                new.address,
                peer_address=address,
                data_id="new",
                last_index=0,
                configuration_index=0,
            )
            assert await refusal(command, new, leads) == f"quorate: error: {reason}"
            assert leads.ordered == []

    async def refusal(command: str, new: Answering, leads: Answering) -> str:
        """What it says, as far as the reason goes."""
        ended = await asyncio.create_subprocess_exec(
            *(sys.executable, "-P", "-m", "quorate.cli", "member", command, new.address),
            f"--servers={leads.address}",
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        printed, error = await ended.communicate()
        assert (printed, ended.returncode) == (b"", NOT_EXECUTED)
        return error.decode()[: len(f"quorate: error: {reason}")]

    asyncio.run(run())
