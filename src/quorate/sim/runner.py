"""Lives lives, and makes the ones that fail as small as they get."""

import contextlib
import re
import time
import traceback
from pathlib import Path

import msgspec

from quorate.sim.life import Life
from quorate.sim.rare_turns import counted_turns
from quorate.sim.recorder import Recorder
from quorate.sim.recording import Recording
from quorate.sim.report import Report
from quorate.sim.world import SECOND_US, World


class Failure(msgspec.Struct, frozen=True, kw_only=True):
    """How a life failed.

    Attributes:
        kind: the name of the exception.
        text: what it says.
        where: the line of the code that noticed.
        at_us: when, in virtual microseconds.
        faults: the kinds of trouble that had come by then.
        parts: the clients that there were.
    """

    kind: str
    text: str
    where: str
    at_us: int
    faults: tuple[str, ...]
    parts: tuple[str, ...]


class Outcome(msgspec.Struct, frozen=True, kw_only=True):
    """What became of a life.

    Attributes:
        life: which.
        report: what happened in it, if all was well.
        failure: what was not.
        faults: how often each kind of trouble came.
        turns: how often each rare turn was taken.
        cpu_s: seconds of a processor that it took.
    """

    life: Life
    report: Report | None
    failure: Failure | None
    faults: dict[str, int]
    turns: dict[str, int]
    cpu_s: float


def live(life: Life) -> Outcome:
    """Lives it to its end, or to its failure."""
    begun = time.process_time()
    report: Report | None = None
    failure: Failure | None = None
    with counted_turns() as turns:
        world = World(life)
        try:
            report = world.run()
        except Exception as error:  # noqa: BLE001 - whatever the product raises is a failure of it
            failure = _failure(error, world)
    return Outcome(
        life=life,
        report=report,
        failure=failure,
        faults=world.faults,
        turns=dict(turns),
        cpu_s=time.process_time() - begun,
    )


def record(life: Life) -> Recording:
    """Lives it and writes down what happens, to its end or its failure."""
    recorder = Recorder()
    with contextlib.suppress(Exception):  # it is in the recording
        World(life, recorder).run()
    return recorder.recording()


def _failure(error: Exception, world: World) -> Failure:
    (where,) = traceback.extract_tb(error.__traceback__)[-1:]
    return Failure(
        kind=type(error).__name__,
        text=str(error) or (where.line or ""),
        where=f"{Path(where.filename).name}:{where.lineno}",
        at_us=world.now,
        faults=tuple(world.faults),
        parts=world.parts,
    )


def shrink(failed: Outcome) -> Outcome:
    """The smallest life found that fails in the same way; perhaps the one that is given.

    It ends when it fails, and lacks one kind of trouble, and one client, after the other, as far as
    it still fails without. A failure is the same if the same line of code notices it.
    """
    assert failed.failure is not None
    smallest = failed
    seconds = failed.failure.at_us // SECOND_US + 1
    if seconds < failed.life.seconds:
        smallest = _smaller_of(smallest, msgspec.structs.replace(failed.life, seconds=seconds))
    for name in (*failed.failure.faults, *failed.failure.parts):
        if name not in smallest.life.without:
            without = tuple(sorted((*smallest.life.without, name)))
            smallest = _smaller_of(
                smallest, msgspec.structs.replace(smallest.life, without=without)
            )
    return smallest


def _smaller_of(known: Outcome, candidate: Life) -> Outcome:
    outcome = live(candidate)
    return outcome if _sameness(outcome) == _sameness(known) else known


def _sameness(outcome: Outcome) -> tuple[str, str, str] | None:
    """Equal for failures of one sort; several promises are checked in one line at the end."""
    failure = outcome.failure
    if failure is None:
        return None
    return failure.kind, failure.where, re.sub(r"\d+", "", failure.text)[:60]
