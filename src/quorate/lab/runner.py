"""Runs one scenario with a seed, on a clock, in an edition; knows nothing of what it does.

What its clients saw is judged when it has ended, wherever there is time for that (`judgement`).
"""

import enum
import traceback
from collections.abc import Callable

import msgspec

from quorate.checker import Operation
from quorate.clerk.errors import ClerkError
from quorate.lab.costs import NOTHING, VIRTUAL
from quorate.lab.edition import Edition
from quorate.lab.errors import CheckFailedError
from quorate.lab.results import SECOND_US, Result
from quorate.lab.scenario import Scenario
from quorate.lab.world import World
from quorate.sim.errors import LivenessError
from quorate.sim.pace import RealPace, VirtualPace
from quorate.sim.scheduler import Scheduler
from quorate.sim.tasks import Tasks

HUNG_AFTER_US = 600 * SECOND_US
"""The course's limit for a whole package of tests; here a test alone that takes it is hung."""


class ClockKind(enum.StrEnum):
    """How time passes."""

    VIRTUAL = "virtual"
    REAL = "real"


class Outcome(msgspec.Struct, frozen=True, kw_only=True):
    """What became of one run of one scenario.

    Attributes:
        name: the scenario's.
        variant: the scenario's.
        seed: of the run.
        lines: what the course prints, in order.
        results: of the parts that have passed.
        failure: the check that has failed, in the course's words; None if none has.
        details: where in the code an assertion has failed, or where a history broke; empty for a
            check of the course.
        duration_us: how long the test took on its own clock.
        trace: a checksum of all calls and replies: the same for two runs of a seed.
        judged: how many operations of clients were found linearizable.
    """

    name: str
    variant: str
    seed: int
    lines: list[str]
    results: list[Result]
    failure: str | None
    details: str
    duration_us: int
    trace: int
    judged: int = 0


class Run(msgspec.Struct, frozen=True, kw_only=True):
    """A run that has ended, as far as it can be told without a judgement on its histories.

    Attributes:
        outcome: what became of it; not a failure if only its histories show one.
        histories: what clients have done in it, if that is still to be judged.
    """

    outcome: Outcome
    histories: list[list[Operation]]


def play_scenario(
    scenario: Scenario,
    *,
    seed: int,
    clock: ClockKind,
    edition: Edition,
    report: Callable[[str], None] = lambda _: None,
) -> Run:
    """Runs one scenario to its end, and leaves its histories to others.

    Args:
        scenario: which.
        seed: decides all that is left to chance.
        clock: how time passes.
        edition: of the course.
        report: is given each line of the course as soon as it is known.

    Raises:
        Exception: what is neither a check, nor an assertion, nor a call that fails comes out as it
            is.
    """
    lines: list[str] = []

    def take(line: str) -> None:
        lines.append(line)
        report(line)

    is_virtual = clock is ClockKind.VIRTUAL
    tasks = Tasks(Scheduler(VirtualPace() if is_virtual else RealPace()))
    costs = VIRTUAL if is_virtual else NOTHING
    world = World(
        tasks,
        seed=seed,
        costs=costs,
        edition=edition,
        report=take,
        takes_snapshots=scenario.takes_snapshots,
    )
    failure, details = None, ""
    tasks.spawn(_watch(world))
    try:
        tasks.run(scenario.run(world))
        world.check_time()
    except (CheckFailedError, LivenessError) as error:
        failure = str(error)
    except ClerkError as error:
        failure = f"a clerk's call failed: {error}"
    except AssertionError as error:
        failure = f"an assertion of the product failed: {error}"
        details = "".join(traceback.format_exception(error))
    finally:
        world.network.close()
        tasks.cancel_all()
    outcome = Outcome(
        name=scenario.name,
        variant=scenario.variant,
        seed=seed,
        lines=lines,
        results=world.results,
        failure=failure,
        details=details,
        duration_us=tasks.now,
        trace=world.network.trace.checksum,
    )
    return Run(outcome=outcome, histories=world.histories if failure is None else [])


async def _watch(world: World) -> None:
    await world.tasks.sleep(HUNG_AFTER_US)
    raise CheckFailedError("test hung: it did not end within 600 seconds")
