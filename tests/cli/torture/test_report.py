"""The figures of a torture, its report and its page."""

import re
from pathlib import Path

import msgspec
import pytest
from tests.cli.torture.histories import Story
from tests.pages import browse, data_of

from quorate.checker import Kind
from quorate.cli.torture.figures import BUCKETS, figures_of
from quorate.cli.torture.findings import Findings, Plan
from quorate.cli.torture.ledger import Ending, Fate
from quorate.cli.torture.nemesis import Mark
from quorate.cli.torture.page import render
from quorate.cli.torture.processes import MAX_FILES, Holdings
from quorate.cli.torture.report import report
from quorate.raft.configuration import NodeId

SECOND = 1_000_000


def ending(at_s: float, kind: Kind = Kind.APPEND, fate: Fate = Fate.ACKNOWLEDGED) -> Ending:
    return Ending("redis-py-1", int(at_s * SECOND), 3_000, kind, fate)


def mark(kind: str, begun_s: float, ended_s: float) -> Mark:
    return Mark(kind, int(begun_s * SECOND), int(ended_s * SECOND), ["</script>"])


ENDINGS = [
    *(ending(tenth / 10) for tenth in range(100)),
    *(ending(13 + tenth / 10) for tenth in range(70)),
    ending(11, Kind.GET),
    ending(11, fate=Fate.UNKNOWN),
    ending(12, fate=Fate.NOT_EXECUTED),
]
MARKS = [mark("pause", 2, 4), mark("kill -9", 9.5, 12), mark("pause", 17, 17.5)]


@pytest.fixture
def findings(tmp_path: Path) -> Findings:
    return Findings(
        plan=Plan(seconds=20, nodes=3, seed=7, directory=tmp_path),
        begun=0,
        figures=figures_of(ENDINGS, MARKS, 0, 20 * SECOND),
        marks=tuple(MARKS),
        judgement=Story().append(b"a.1;", 0, 10).judged(b"a.1;"),
        resent=5,
        recovered_s=0.5,
        stood_still_s=0.25,
        holdings=(Holdings(NodeId(1), 40 * 2**20, 30),),
        troubles=(),
    )


def test_figures() -> None:
    figures = figures_of(ENDINGS, MARKS, 0, 20 * SECOND)
    assert figures.acknowledged == 171
    assert figures.reads == 1
    assert figures.fates[Fate.UNKNOWN] == 1
    (client,) = figures.clients
    assert (client.kind, client.acknowledged, client.latency.p99) == ("redis-py", 171, 3.0)
    assert 0.3 < figures.served < 0.5  # ten calls a second are in every other piece of time
    assert figures.longest_gap_s == pytest.approx(3.1, abs=1e-4)  # a read does not end it
    kill, pause = figures.kinds
    assert (kill.kind, kill.count, kill.longest_s) == ("kill -9", 1, 2.5)
    assert kill.longest_gap_s == pytest.approx(3.1, abs=1e-4)
    assert (pause.kind, pause.count, pause.longest_s) == ("pause", 2, 2.0)
    assert kill.alone_gap_s == kill.longest_gap_s
    assert pause.alone_gap_s == pytest.approx(0.1, abs=1e-4)
    assert pause.longest_gap_s == pytest.approx(0.1, abs=1e-4)
    assert len(figures.buckets) == BUCKETS
    calls = sum(b.acknowledged for b in figures.buckets) * figures.bucket_s
    assert calls == pytest.approx(171, rel=0.01)


def test_what_a_fault_does_alone_is_told_of_those_that_have_no_other_beside_them() -> None:
    marks = [mark("pause", 2, 4), mark("delays", 3, 12), mark("pause", 17, 17.5)]
    delays, pause = figures_of(ENDINGS, marks, 0, 20 * SECOND).kinds
    assert delays.alone_gap_s is None
    assert delays.longest_gap_s == pytest.approx(3.1, abs=1e-4)
    assert pause.alone_gap_s == pytest.approx(0.1, abs=1e-4)


def test_the_report_tells_what_happened_and_that_all_is_well(findings: Findings) -> None:
    text = report(findings)
    for line in (
        r"3 nodes, seed 7, 20 s, 3 faults",
        r" 171  calls acknowledged \(170 writes\)",
        r" 1  not executed",
        r" 1  of unknown outcome",
        r" 5  commands that redis-py has sent again",
        r"redis-py +171 acknowledged: p50 3\.0 ms, p99 3 ms, longest 3 ms",
        r"longest time without an acknowledged write: 3\.10 s",
        r"did not get to run: 0\.25 s",
        r"node 1 held at most 40\.0 MiB of memory and 30 open files",
        r"pause +2 +2\.0 s +0\.10 s +0\.10 s",
        r" 0  lost",
        r"PASSED: linearizable",
    ):
        assert re.search(line, text), line
    assert findings.has_passed


def test_a_report_of_what_is_wrong_names_it(findings: Findings) -> None:
    for changed, line in (
        ({"judgement": Story().append(b"a.1;", 0, 10).judged(b"")}, r" 1  lost.*b'a\.1;'"),
        ({"troubles": ("node 2 has ended by itself: why",)}, "node 2 has ended by itself: why"),
        ({"holdings": (Holdings(NodeId(1), 1, MAX_FILES + 1),)}, "201 open files, which is TOO"),
        ({"figures": figures_of([], [], 0, SECOND)}, " 0  calls acknowledged"),
    ):
        wrong = msgspec.structs.replace(findings, **changed)
        assert not wrong.has_passed
        assert re.search(line, report(wrong)), line
        assert "FAILED" in report(wrong)
        assert "PASSED" not in report(wrong)


# ---------------------------------------------------------------------- the page


def test_the_page_has_it_all_and_loads_nothing(findings: Findings) -> None:
    page = render(findings)
    data = data_of(page)
    assert data["passed"] is True
    assert data["report"] == report(findings)
    assert [(b["kind"], b["begin"], b["end"]) for b in data["bands"]] == [
        ("pause", 2, 4),
        ("kill -9", 9.5, 12),
        ("pause", 17, 17.5),
    ]
    assert len(data["buckets"]) == BUCKETS
    assert page.count("</script>") == 1
    assert set(re.findall(r"https?://[^\"']+", page)) == {"http://www.w3.org/2000/svg"}
    assert not re.search(r"\b(src|href)=|@import|url\(", page)


def test_a_browser_draws_it(findings: Findings, tmp_path: Path) -> None:
    document = browse(render(findings), tmp_path)
    assert document.count('<rect class="bar"') == 3
    assert document.count('<rect class="band"') == 3 * 3
    assert len(re.findall(r'<path class="(?:p50|p99|longest)" d="M', document)) == 3
    assert '<path class="acknowledged" d="M' in document
    assert "PASSED" in document
