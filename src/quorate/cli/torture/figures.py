"""The figures of a torture: what became of the calls, how long they took, and meanwhile what."""

from bisect import bisect_left, bisect_right
from collections import Counter, defaultdict
from collections.abc import Sequence
from itertools import pairwise

import msgspec

from quorate.checker import Kind
from quorate.cli.torture.ledger import Ending, Fate
from quorate.cli.torture.nemesis import Mark

BUCKETS = 400
"""In so many pieces time is drawn."""
_AFTERMATH_US = 2_000_000
"""A gap that begins so soon after a fault is laid to its account too."""
_NEAR_US = 300_000
"""Faults that are so near to each other are not alone."""


class Latency(msgspec.Struct, frozen=True):
    """Of acknowledged calls, in milliseconds."""

    p50: float
    p99: float
    longest: float

    @classmethod
    def of(cls, took_us: Sequence[int]) -> "Latency":
        """Of calls that took so long, in any order."""
        ordered = sorted(took_us) or [0]

        def share(part: float) -> float:
            return ordered[min(len(ordered) - 1, int(part * len(ordered)))] / 1000

        return cls(share(0.5), share(0.99), ordered[-1] / 1000)


class ClientFigures(msgspec.Struct, frozen=True):
    """Of one kind of client.

    Attributes:
        kind: which.
        acknowledged: how many of its calls were.
        latency: of these.
    """

    kind: str
    acknowledged: int
    latency: Latency


class KindFigures(msgspec.Struct, frozen=True):
    """Of one kind of fault.

    Attributes:
        kind: which.
        count: how often it was inflicted.
        longest_s: how long it took at most until all was well again.
        longest_gap_s: the longest time without an acknowledged write in it or right after it.
        alone_gap_s: the same of those that had no other fault beside them; None if all had.
    """

    kind: str
    count: int
    longest_s: float
    longest_gap_s: float
    alone_gap_s: float | None


class Bucket(msgspec.Struct, frozen=True, array_like=True):
    """A piece of time.

    Attributes:
        acknowledged: calls that ended in it so, for each second.
        failed: calls that ended in it otherwise, for each second.
        latency: of the former; None if there were none.
    """

    acknowledged: float
    failed: float
    latency: Latency | None


class Figures(msgspec.Struct, frozen=True, kw_only=True):
    """All of them.

    Attributes:
        seconds: how long it took.
        fates: how many calls had each fate.
        reads: how many of the acknowledged ones were reads.
        longest_gap_s: the longest time without an acknowledged write.
        served: in which share of the buckets something was acknowledged.
        clients: by their kinds; the kind is what their names begin with.
        kinds: the faults, by kind.
        bucket_s: how long a bucket is.
        buckets: of all the time.
    """

    seconds: float
    fates: dict[Fate, int]
    reads: int
    longest_gap_s: float
    served: float
    clients: tuple[ClientFigures, ...]
    kinds: tuple[KindFigures, ...]
    bucket_s: float
    buckets: tuple[Bucket, ...]

    @property
    def acknowledged(self) -> int:
        """How many calls were acknowledged."""
        return self.fates[Fate.ACKNOWLEDGED]

    @property
    def writes(self) -> int:
        """How many of those were writes."""
        return self.acknowledged - self.reads


def figures_of(endings: Sequence[Ending], marks: Sequence[Mark], begun: int, ended: int) -> Figures:
    """The figures of what happened between two times (microseconds)."""
    acknowledged = [ending for ending in endings if ending.fate is Fate.ACKNOWLEDGED]
    writes = sorted(ending.at for ending in acknowledged if ending.kind is not Kind.GET)
    fates = Counter(ending.fate for ending in endings)
    buckets = _buckets(endings, begun, ended)
    return Figures(
        seconds=(ended - begun) / 1e6,
        fates={fate: fates[fate] for fate in Fate},
        reads=sum(ending.kind is Kind.GET for ending in acknowledged),
        longest_gap_s=_longest_gap_us([begun, *writes, ended]) / 1e6,
        served=sum(bucket.latency is not None for bucket in buckets) / BUCKETS,
        clients=_clients(acknowledged),
        kinds=_kinds(marks, writes),
        bucket_s=(ended - begun) / 1e6 / BUCKETS,
        buckets=buckets,
    )


def _clients(acknowledged: Sequence[Ending]) -> tuple[ClientFigures, ...]:
    took: dict[str, list[int]] = defaultdict(list)
    for ending in acknowledged:
        took[ending.client.rpartition("-")[0]].append(ending.took)
    return tuple(ClientFigures(k, len(own), Latency.of(own)) for k, own in sorted(took.items()))


def _kinds(marks: Sequence[Mark], writes: Sequence[int]) -> tuple[KindFigures, ...]:
    of_kind: dict[str, list[Mark]] = defaultdict(list)
    for mark in marks:
        of_kind[mark.kind].append(mark)
    return tuple(
        KindFigures(
            kind,
            len(own),
            max(mark.ended - mark.begun for mark in own) / 1e6,
            max(_gap_around_us(mark, writes, _AFTERMATH_US) for mark in own) / 1e6,
            max((_gap_around_us(m, writes, 0) / 1e6 for m in _alone(own, marks)), default=None),
        )
        for kind, own in sorted(of_kind.items())
    )


def _alone(some: Sequence[Mark], marks: Sequence[Mark]) -> list[Mark]:
    """Those of some that none of all the others is near to."""
    return [
        mark
        for mark in some
        if not any(
            other is not mark
            and other.begun <= mark.ended + _NEAR_US
            and mark.begun <= other.ended + _NEAR_US
            for other in marks
        )
    ]


def _gap_around_us(mark: Mark, writes: Sequence[int], aftermath_us: int) -> int:
    """The longest time between writes of which some is in the fault, or begins soon after it."""
    first = max(0, bisect_left(writes, mark.begun) - 1)
    last = bisect_right(writes, mark.ended + aftermath_us)
    return _longest_gap_us(writes[first : last + 1])


def _longest_gap_us(times: Sequence[int]) -> int:
    return max((later - earlier for earlier, later in pairwise(times)), default=0)


def _buckets(endings: Sequence[Ending], begun: int, ended: int) -> tuple[Bucket, ...]:
    took: list[list[int]] = [[] for _ in range(BUCKETS)]
    failed = [0] * BUCKETS
    width = max(1, (ended - begun) // BUCKETS + 1)
    for ending in endings:
        position = min(BUCKETS - 1, max(0, (ending.at - begun) // width))
        if ending.fate is Fate.ACKNOWLEDGED:
            took[position].append(ending.took)
        else:
            failed[position] += 1
    return tuple(
        Bucket(len(own) * 1e6 / width, count * 1e6 / width, Latency.of(own) if own else None)
        for own, count in zip(took, failed, strict=True)
    )
