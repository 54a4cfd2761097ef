"""What a torture is to do, and what has come of it."""

from pathlib import Path

import msgspec

from quorate.cli.torture.figures import Figures
from quorate.cli.torture.judgement import Judgement
from quorate.cli.torture.nemesis import Mark
from quorate.cli.torture.node import PROGRAM
from quorate.cli.torture.processes import Holdings


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """What is to be done.

    Attributes:
        seconds: for how long faults are inflicted.
        nodes: how many servers there are.
        seed: decides which kinds of faults there are, and in which order; upon whom they come
            depends on the moment too.
        directory: where everything is kept.
        program: what each server runs.
    """

    seconds: float
    nodes: int
    seed: int
    directory: Path
    program: tuple[str, ...] = PROGRAM


class Findings(msgspec.Struct, frozen=True, kw_only=True):
    """What has come of it.

    Attributes:
        plan: what was to be done.
        begun: when the clients began, in microseconds; the marks' times are of the same clock.
        figures: of the calls.
        marks: the faults, in the order in which they began.
        judgement: on what the clients have seen.
        resent: how many commands plain clients have sent again.
        recovered_s: how long it took in the end until all was well.
        stood_still_s: for how long this process did not get to run, at most.
        holdings: what the processes held then.
        troubles: what else is wrong, as texts.
    """

    plan: Plan
    begun: int
    figures: Figures
    marks: tuple[Mark, ...]
    judgement: Judgement
    resent: int
    recovered_s: float
    stood_still_s: float
    holdings: tuple[Holdings, ...]
    troubles: tuple[str, ...]

    @property
    def has_passed(self) -> bool:
        """Whether the cluster has kept all its promises, and something was shown by that."""
        is_bounded = all(holdings.is_bounded for holdings in self.holdings)
        is_clean = self.judgement.is_clean and not self.troubles and is_bounded
        return is_clean and self.figures.writes > 0
