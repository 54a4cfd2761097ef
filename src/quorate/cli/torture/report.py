"""What a torture has shown, as text."""

import math
from collections.abc import Iterator

from quorate.cli.amounts import shown_bytes
from quorate.cli.torture.findings import Findings
from quorate.cli.torture.ledger import Fate

_SHOWN = 5
"""So many examples of what is wrong are shown."""


def report(findings: Findings) -> str:
    """The report, lines of text."""
    return "\n".join(
        (*_calls(findings), "", *_faults(findings), "", *_promises(findings), "", verdict(findings))
    )


def verdict(findings: Findings) -> str:
    """In one line."""
    if findings.has_passed:
        return "PASSED: linearizable; nothing acknowledged is lost, nothing is there twice"
    if findings.figures.writes == 0:
        return "FAILED: no write was acknowledged"
    return "FAILED: the servers have not kept what they promise"


def _calls(findings: Findings) -> Iterator[str]:
    plan, figures = findings.plan, findings.figures
    yield (
        f"{plan.nodes} nodes, seed {plan.seed}, {figures.seconds:.0f} s, "
        f"{len(findings.marks)} faults"
    )
    yield ""
    fates = figures.fates
    yield _row(figures.acknowledged, f"calls acknowledged ({figures.writes:,} writes)")
    yield _row(fates[Fate.NOT_EXECUTED], "not executed, as their clients were told")
    yield _row(fates[Fate.UNKNOWN], "of unknown outcome")
    yield _row(
        fates[Fate.DISPROVED], "of unknown outcome, until the same Clerk looked: not executed"
    )
    yield _row(findings.resent, "commands that redis-py has sent again")
    for client in figures.clients:
        latency = client.latency
        yield (
            f"{client.kind:<11}{client.acknowledged:>8,} acknowledged: p50 {latency.p50:.1f} ms, "
            f"p99 {latency.p99:.0f} ms, longest {latency.longest:,.0f} ms"
        )
    yield f"some were acknowledged in {figures.served:.0%} of the time"
    yield f"longest time without an acknowledged write: {figures.longest_gap_s:.2f} s"
    yield (
        f"longest time for which the torture itself did not get to run: "
        f"{findings.stood_still_s:.2f} s"
    )
    if math.isfinite(findings.recovered_s):
        yield f"in the end all nodes were back after {findings.recovered_s:.1f} s"
    for holdings in findings.holdings:
        yield (
            f"node {holdings.node} held at most {shown_bytes(holdings.memory_bytes)} of memory and "
            f"{holdings.files} open files{'' if holdings.is_bounded else ', which is TOO MUCH'}"
        )


def _faults(findings: Findings) -> Iterator[str]:
    yield f"{'fault':<24}{'times':>6}{'longest':>10}{'longest gap':>14}{'if alone':>11}"
    for kind in findings.figures.kinds:
        alone = "" if kind.alone_gap_s is None else f"{kind.alone_gap_s:>9.2f} s"
        yield (
            f"{kind.kind:<24}{kind.count:>6}{kind.longest_s:>8.1f} s{kind.longest_gap_s:>12.2f} s"
            f"{alone}"
        )


def _promises(findings: Findings) -> Iterator[str]:
    judgement = findings.judgement
    account = judgement.account
    yield f"{judgement.operations:,} operations on {judgement.keys:,} keys were judged"
    for elements, text in (
        (account.lost, "lost: acknowledged, but not there"),
        (account.doubled, "doubled: there oftener than they were sent"),
        (account.not_executed, "there, though not to be executed"),
        (account.unasked, "there, though nobody has sent them"),
        (judgement.differing, "keys of which nodes have different values"),
        (judgement.undecided, "keys for which no judgement was found in time"),
    ):
        examples = "".join(f" {element!r}" for element in elements[:_SHOWN])
        yield _row(len(elements), f"{text}{':' if examples else ''}{examples}")
    yield _row(len(judgement.illegal), "keys that are not linearizable")
    yield from judgement.illegal[:_SHOWN]
    yield _row(len(findings.troubles), "other troubles, such as nodes that ended by themselves")
    yield from findings.troubles[:_SHOWN]


def _row(count: int, text: str) -> str:
    return f"{count:>10,}  {text}"
