"""The page, as its data and as a real browser shows it."""

import html
import re
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.pages import browse, data_of

from quorate.checker import KeyVerdict, Kind, Operation, check
from quorate.checker.page import MAX_SHOWN, render

Drawn = Callable[[str], list[Operation]]

STALE = """
    A: [put a] [put b ] [put d]
    B:   [get a]
    C:                 [get a]
    D:      [put c ...
    E: [get ...
"""


def verdict_on(history: list[Operation]) -> KeyVerdict:
    (verdict,) = check(history).keys
    return verdict


def test_it_shows_each_operation_in_a_row_of_its_client(drawn: Drawn) -> None:
    data = data_of(render(verdict_on(drawn(STALE))))
    bars = [(data["lanes"][b["lane"]], b["act"], b["state"], b["step"]) for b in data["bars"]]
    assert sorted(bars) == [
        ("A", 'put "a"', "placed", 1),
        ("A", 'put "b"', "placed", 3),
        ("A", 'put "d"', "unplaced", None),
        ("B", 'get → "a"', "placed", 2),
        ("C", 'get → "a"', "blocked", None),
        ("D", 'put "c"', "unplaced", None),
    ]


def test_operations_take_effect_in_their_order_and_within_their_times(drawn: Drawn) -> None:
    bars = data_of(render(verdict_on(drawn(STALE))))["bars"]
    placed = sorted((bar for bar in bars if bar["step"] is not None), key=lambda b: b["step"])
    instants = [bar["at"] for bar in placed]
    assert instants == sorted(set(instants))
    assert all(bar["begin"] <= bar["at"] <= bar["end"] for bar in placed)


def test_what_one_client_did_at_a_time_has_rows_of_its_own(drawn: Drawn) -> None:
    history = drawn("""
        c10: [put a     ]
        c2:  [put b     ]
        c2:     [put c     ]
    """)
    assert data_of(render(verdict_on(history)))["lanes"] == ["c2", "c2", "c10"]


def test_of_a_long_history_it_shows_what_is_around_the_break() -> None:
    history = [
        Operation(
            client="A",
            kind=Kind.PUT,
            key=b"k",
            argument=b"%d" % n,
            called=2 * n,
            returned=2 * n + 1,
        )
        for n in range(5000)
    ]
    wrong = Operation(client="B", kind=Kind.GET, key=b"k", result=b"", called=8000, returned=8001)
    data = data_of(render(verdict_on([*history, wrong])))
    assert len(data["bars"]) == MAX_SHOWN
    assert data["total"] == 5001
    (blocked,) = [bar for bar in data["bars"] if bar["state"] == "blocked"]
    assert blocked["called"] == 8000
    assert {bar["state"] for bar in data["bars"]} == {"placed", "blocked", "later"}


def test_it_loads_nothing_from_elsewhere(drawn: Drawn) -> None:
    page = render(verdict_on(drawn(STALE)))
    assert set(re.findall(r"https?://[^\"']+", page)) == {"http://www.w3.org/2000/svg"}
    assert not re.search(r"\b(src|href)=|@import|url\(", page)


# ---------------------------------------------------------------------- in a browser


@pytest.fixture
def browsed(tmp_path: Path) -> Callable[[KeyVerdict], str]:
    """The document that a browser makes of the page on a key."""
    return lambda verdict: browse(render(verdict), tmp_path)


def text_of(document: str, element: str) -> str:
    found = re.search(rf'<\w+[^>]* id="{element}"[^>]*>(.*?)</(?:p|code|dl|ol|div)>', document)
    assert found is not None, element
    return html.unescape(re.sub(r"<[^>]*>", " ", found[1]))


def test_a_browser_shows_where_it_broke(drawn: Drawn, browsed: Callable[[KeyVerdict], str]) -> None:
    document = browsed(verdict_on(drawn(STALE)))
    assert '<title>illegal: key "k"</title>' in document
    assert 'Nothing explains client C\'s get → "a"' in text_of(document, "headline")
    assert len(re.findall(r'<g class="bar ', document)) == 6
    assert len(re.findall(r'<g class="bar get blocked chosen"', document)) == 1
    assert len(re.findall(r'<circle class="dot', document)) == 3
    assert "nothing explains its return" in text_of(document, "details")


def test_nothing_in_a_history_is_taken_for_html(browsed: Callable[[KeyVerdict], str]) -> None:
    evil = b"</script><script>document.title = 'broken'</script><b id=injected>"
    history = [
        Operation(
            client=evil.decode(), kind=Kind.PUT, key=evil, argument=evil, called=0, returned=1
        ),
        Operation(client="B", kind=Kind.GET, key=evil, result=evil * 2, called=2, returned=3),
    ]
    document = browsed(verdict_on(history))
    assert "<title>illegal:" in document
    assert "<b id=" not in document
