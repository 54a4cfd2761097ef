"""What a torture has shown, as a web page: latency and throughput over time, with the faults.

The page is one file that loads nothing. Its looks are in `page.html`; this module says what
it shows.
"""

import importlib.resources
from collections.abc import Sequence

import msgspec

from quorate.cli.torture.figures import Bucket
from quorate.cli.torture.findings import Findings
from quorate.cli.torture.report import report, verdict


class _Band(msgspec.Struct, frozen=True):
    """A fault, from when to when in seconds."""

    kind: str
    begin: float
    end: float
    texts: Sequence[str]


class _Page(msgspec.Struct, frozen=True):
    passed: bool
    verdict: str
    headline: str
    seconds: float
    bucket: float
    buckets: Sequence[Bucket]
    bands: Sequence[_Band]
    report: str


def render(findings: Findings) -> str:
    """The page, as HTML."""
    template = importlib.resources.files(__package__).joinpath("page.html").read_text("utf-8")
    data = msgspec.json.encode(_page(findings)).decode()
    # So that nothing in it can end the script that holds it.
    return template.replace("/*DATA*/null", data.replace("<", "\\u003c"))


def _page(findings: Findings) -> _Page:
    plan, figures = findings.plan, findings.figures
    return _Page(
        passed=findings.has_passed,
        verdict=verdict(findings),
        headline=f"{plan.nodes} nodes, {figures.seconds:.0f} s, seed {plan.seed}: "
        f"{len(findings.marks)} faults, {figures.acknowledged:,} calls acknowledged",
        seconds=figures.seconds,
        bucket=figures.bucket_s,
        buckets=figures.buckets,
        bands=[
            _Band(
                mark.kind,
                round((mark.begun - findings.begun) / 1e6, 2),
                round((mark.ended - findings.begun) / 1e6, 2),
                mark.texts,
            )
            for mark in findings.marks
        ],
        report=report(findings),
    )
