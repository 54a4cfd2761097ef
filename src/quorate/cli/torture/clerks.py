"""Clients that use a Clerk, of either kind; `program.py` says what they do with it."""

import asyncio
import random
import threading
from collections.abc import Sequence

from quorate.checker import Kind
from quorate.clerk.errors import ClerkError
from quorate.cli.torture.ledger import Call, Ledger
from quorate.cli.torture.program import Program
from quorate.runtime.async_clerk import AsyncClerk
from quorate.runtime.clerk import Clerk

_METHODS = {
    Kind.GET: "get_or_none",
    Kind.PUT: "put",
    Kind.APPEND: "append",
    Kind.DELETE: "delete",
}


async def run_async_clerk(
    servers: Sequence[str],
    name: str,
    tasks: int,
    ledger: Ledger,
    rng: random.Random,
    stopping: threading.Event,
) -> None:
    """Several tasks that share one AsyncClerk, until they are to stop."""
    programs = [
        Program(f"{name}.{task}", ledger, random.Random(rng.random()))
        for task in range(1, tasks + 1)
    ]
    async with AsyncClerk(servers) as clerk:
        await asyncio.gather(*(_run_task(clerk, program, stopping) for program in programs))


async def _run_task(clerk: AsyncClerk, program: Program, stopping: threading.Event) -> None:
    while not stopping.is_set():
        await asyncio.sleep(program.pause_s())
        call, timeout_s = program.next_step()
        try:
            answer = await getattr(clerk, _METHODS[call.kind])(*_words(call), timeout=timeout_s)
        except ClerkError as error:
            program.failed(call, error)
        else:
            program.answered(call, answer)
    program.stop()


def run_clerk(
    servers: Sequence[str],
    name: str,
    ledger: Ledger,
    rng: random.Random,
    stopping: threading.Event,
) -> None:
    """One Clerk in a thread of its own, until it is to stop."""
    program = Program(name, ledger, rng)
    with Clerk(servers) as clerk:
        while not stopping.wait(program.pause_s()):
            call, timeout_s = program.next_step()
            try:
                answer = getattr(clerk, _METHODS[call.kind])(*_words(call), timeout=timeout_s)
            except ClerkError as error:
                program.failed(call, error)
            else:
                program.answered(call, answer)
    program.stop()


def _words(call: Call) -> list[bytes]:
    return [call.key] if call.argument is None else [call.key, call.argument]
