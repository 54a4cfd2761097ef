"""The page on a recorded life, as its data and as a real browser shows it."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

import msgspec
import pytest
from tests.cli import browser as browsers
from tests.faults import raft_plants

from quorate.cli.swarm.page import render
from quorate.sim.errors import InvariantError
from quorate.sim.life import Life
from quorate.sim.recorder import Recorder
from quorate.sim.recording import Call, Failure, Mark, Message, Recording, ServerState
from quorate.sim.world import SECOND_US, World

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from tests.cli.browser import Browser

    Shown = Callable[..., Browser]

EMPTY = Recording(
    ended=0,
    nodes=(),
    states=(),
    messages=(),
    marks=(),
    calls=(),
    failure=None,
    messages_since=0,
    details_since=0,
    calls_since=0,
)


def follower(node: int, at: int = 0) -> ServerState:
    return ServerState(at=at, node=node, role="follower", term=1, leader=2, last_index=3)


def message(kind: str, sent: int, *, fate: str = "arrived", fields: str = "term 2") -> Message:
    ended = sent if fate == "lost" else sent + 200
    return Message(
        kind=kind,
        sender=1,
        to=2,
        sent=sent,
        ended=ended,
        fate=fate,
        id=sent,
        fields=fields,
        is_twin=False,
    )


SMALL = Recording(
    ended=10_000,
    nodes=(1, 2),
    states=(
        follower(1),
        ServerState(at=0, node=2, role="leader", term=1, leader=2, last_index=3, commit_index=2),
        ServerState(at=5_000, node=1, role="candidate", term=2, last_index=3, last_term=1),
        ServerState(at=8_000, node=2, role="down", why="its power went"),
    ),
    messages=(
        message("AppendEntries", 1_000, fields="term 1, entry 3 of term 1"),
        message("Heartbeat", 2_000),
        message("RequestVote", 5_100),
        message("RequestVote", 6_000, fate="lost"),
        message("RequestVote", 9_000),
    ),
    marks=(
        Mark(at=4_000, until=7_000, what="cut off", nodes=(1,)),
        Mark(at=8_000, until=None, what="without power", nodes=(2,)),
    ),
    calls=(
        Call(
            client="clerk-0",
            connection="",
            what="append clerk-0:1; to key-0",
            begun=500,
            ended=3_000,
            outcome="acknowledged",
            result="length 10",
            is_wrong=False,
        ),
        Call(
            client="reader-1",
            connection="4",
            what="read key-0",
            begun=3_500,
            ended=6_500,
            outcome="answered",
            result="0 bytes",
            is_wrong=True,
        ),
    ),
    failure=Failure(kind="HistoryError", text="a read was stale", at=10_000, nodes=()),
    messages_since=0,
    details_since=0,
    calls_since=0,
)
NONE = "\N{EN DASH}"
STEPS_OF_SMALL = 4 + 4 + 3 + 2 + 4 + 1
"""States, messages but the heartbeat, arrivals of them, marks, both ends of calls, the failure."""


def data_of(page: str) -> dict[str, Any]:
    found = re.search(r'id="recording">(.*?)</script>', page, re.DOTALL)
    assert found is not None
    data: dict[str, Any] = json.loads(found[1])
    return data


# ---------------------------------------------------------------------- the file


def test_a_page_holds_the_whole_recording() -> None:
    data = data_of(render(SMALL, title="Seed 17", replay="replay 17"))
    assert (data["title"], data["replay"]) == ("Seed 17", "replay 17")
    (first, *_) = data["life"]["messages"]
    assert dict(zip(data["fields"]["messages"], first, strict=True))["kind"] == "AppendEntries"
    for rows, fields in data["fields"].items():
        assert all(len(row) == len(fields) for row in data["life"][rows])


def test_it_loads_nothing_from_elsewhere() -> None:
    page = render(SMALL, title="Seed 17")
    assert not re.search(r"https?://|\b(src|href)=|@import|url\(|fetch\(|import\(", page)


# ---------------------------------------------------------------------- in a browser


@pytest.fixture(scope="module")
def tab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    if browsers.PATH is None:
        pytest.skip("there is no chromium")
    with browsers.browser(tmp_path_factory.mktemp("profile")) as browser:
        yield browser


@pytest.fixture
def shown(tab: Browser, tmp_path: Path) -> Iterator[Shown]:
    """Shows a recording in a browser that must have nothing to complain of."""

    def show(recording: Recording, *, title: str = "Seed 17", dark: bool = False) -> Browser:
        path = tmp_path / "life.html"
        path.write_text(render(recording, title=title), "utf-8")
        tab.open(path, dark=dark)
        return tab

    yield show
    assert not tab.complaints


def rows_of_servers(browser: Browser) -> list[list[str]]:
    rows: list[list[str]] = browser.ask(
        "[...document.querySelectorAll('#servers tbody tr')]"
        ".map((row) => [...row.cells].map((cell) => cell.innerText))"
    )
    return rows


def listed(browser: Browser) -> list[str]:
    events: list[str] = browser.ask(
        "[...document.querySelectorAll('#events li span')].map((item) => item.textContent)"
    )
    return events


def drawing(browser: Browser, canvas: str) -> str:
    """What a canvas shows, to be compared."""
    image: str = browser.ask(f"document.getElementById('{canvas}').toDataURL()")
    return image


def clock(browser: Browser) -> float:
    return float(browser.text("#clock").removesuffix(" s"))


def tick(browser: Browser, label: str) -> None:
    """Ticks or unticks a filter."""
    number = browser.ask(
        "[...document.querySelectorAll('#filters label')]"
        f".findIndex((label) => label.textContent.trim() === {json.dumps(label)})"
    )
    browser.ask(f"document.querySelectorAll('#filters label')[{number}].click()")
    browser.settle()


def place(browser: Browser, canvas: str, across: float, down: float) -> tuple[float, float]:
    """A place in the window: in a canvas, behind the names, by shares of its size."""
    left, top, width, height = browser.ask(
        f"(({{left, top, width, height}}) => [left, top, width, height])"
        f"(document.getElementById('{canvas}').getBoundingClientRect())"
    )
    return left + 92 + (width - 92) * across, top + height * down


def test_it_opens_with_what_went_wrong(shown: Shown) -> None:
    browser = shown(SMALL)
    assert browser.ask("document.title") == "failed: Seed 17"
    assert browser.text("#headline") == "HistoryError: a read was stale"
    # The call that the check found wrong is chosen: where it returned.
    assert clock(browser) == 0.0065
    assert "the check found wrong" in browser.text("#details")
    assert f"{STEPS_OF_SMALL} in all" in browser.text("#around")
    assert rows_of_servers(browser) == [
        ["1", "candidate", "2", NONE, "0", "0", "0", "3 (1)", NONE],
        ["2", "leader", "1", "2", "2", "0", "0", "3 (0)", NONE],
    ]


def test_steps_go_from_event_to_event_and_back(shown: Shown) -> None:
    browser = shown(SMALL)
    browser.press("Home")
    seen = []
    behind_the_beginning = STEPS_OF_SMALL - 2
    for _ in range(behind_the_beginning + 1):
        browser.press("ArrowRight")
        seen.append((clock(browser), browser.text("#events li.chosen")))
    times = [time for time, _ in seen]
    assert times == sorted(times)
    assert len({event for _, event in seen}) == behind_the_beginning
    assert seen[-1] == seen[-2]  # there is nothing behind the failure
    assert times[-1] == 0.01
    browser.press("ArrowLeft")
    assert clock(browser) == 0.0092
    browser.click("#on")
    assert clock(browser) == 0.01
    assert browser.ask("document.getElementById('on').disabled")


def test_long_steps_go_to_turning_points_alone(shown: Shown) -> None:
    browser = shown(SMALL)
    browser.press("Home")
    times = []
    for _ in range(5):
        browser.press("ArrowRight", shift=True)
        times.append(clock(browser))
    assert times == [0.004, 0.005, 0.008, 0.008, 0.01]
    browser.click("#turn-back")
    assert clock(browser) == 0.008
    assert rows_of_servers(browser)[1][1:] == ["down", "its power went"]


def test_a_filter_hides_messages_and_steps_over_them(shown: Shown) -> None:
    browser = shown(SMALL)
    browser.press("0")
    before = drawing(browser, "lanes")
    assert any("RequestVote" in event for event in listed(browser))
    tick(browser, "elections")
    assert not any("RequestVote" in event for event in listed(browser))
    assert drawing(browser, "lanes") != before
    tick(browser, "elections")
    assert drawing(browser, "lanes") == before
    assert not any("Heartbeat" in event for event in listed(browser))
    tick(browser, "heartbeats")
    assert any("Heartbeat" in event for event in listed(browser))
    tick(browser, "lost only")
    # Two: one that was lost, and one that came to a server that was down.
    assert len([event for event in listed(browser) if event.startswith("1 → 2")]) == 2
    tick(browser, "2")
    assert not any(event.startswith("1 → 2") for event in listed(browser))


def test_a_search_finds_steps_and_dims_the_rest(shown: Shown) -> None:
    browser = shown(SMALL)
    browser.press("0")
    before = drawing(browser, "calls")
    browser.press("/")
    for letter in "Key-0":
        browser.press(letter)
    assert browser.text("#matches") == "4 found"
    assert all("key-0" in event for event in listed(browser))
    browser.press("Enter", shift=True)
    assert clock(browser) == 0.0035
    browser.press("Enter", shift=True)
    assert clock(browser) == 0.003
    browser.press("Escape")
    assert browser.text("#matches") == ""
    tick(browser, "calls")
    tick(browser, "calls")
    assert drawing(browser, "calls") != before  # another call is chosen now


def test_the_failure_is_jumped_to_from_anywhere(shown: Shown) -> None:
    browser = shown(SMALL)
    browser.press("Home")
    assert clock(browser) == 0
    browser.press("f")
    assert clock(browser) == 0.0065
    browser.press("Home")
    browser.click("#jump")
    assert clock(browser) == 0.0065
    # From where it was noticed, a button leads back to the call.
    browser.press("End")
    browser.press("ArrowLeft")
    browser.press("ArrowRight")
    assert clock(browser) == 0.01
    browser.click("#details button")
    assert clock(browser) == 0.0035


def test_the_strip_above_is_a_slider(shown: Shown) -> None:
    browser = shown(SMALL)
    x, y = place(browser, "overview", 0.25, 0.5)
    browser.mouse("mousePressed", x, y)
    browser.settle()
    assert clock(browser) == pytest.approx(0.0025, abs=0.0001)
    x, _ = place(browser, "overview", 0.75, 0.5)
    browser.mouse("mouseMoved", x, y, buttons=1)
    browser.mouse("mouseReleased", x, y)
    browser.settle()
    assert clock(browser) == pytest.approx(0.0075, abs=0.0001)
    now = browser.ask("Number(document.getElementById('overview').ariaValueNow)")
    assert now == pytest.approx(7_500, abs=100)


def test_the_wheel_zooms_around_the_mouse_and_a_drag_moves(shown: Shown) -> None:
    browser = shown(SMALL)
    browser.press("0")
    assert browser.text("#span") == "10.4 ms on the screen"
    x, y = place(browser, "lanes", 0.5, 0.9)
    browser.mouse("mouseWheel", x, y, deltaX=0, deltaY=-500)
    browser.settle()
    closer = browser.text("#span")
    assert float(closer.split()[0]) < 5
    at_mouse = "timeAt(92 + (view.width - 92) / 2)"
    assert browser.ask(at_mouse) == pytest.approx(5_100, abs=100)
    browser.mouse("mousePressed", x, y)
    browser.mouse("mouseMoved", x - 200, y, buttons=1)
    browser.mouse("mouseReleased", x - 200, y)
    browser.settle()
    assert browser.ask(at_mouse) > 5_300
    assert browser.text("#span") == closer


def test_what_the_mouse_points_at_is_told_and_chosen(shown: Shown) -> None:
    browser = shown(SMALL)
    browser.press("0")
    # In the first lane, where node 1 is a candidate.
    x, y = browser.ask(
        "(({left, top}) => [left + x(9500), top + barTop(0) + 5])"
        "(document.getElementById('lanes').getBoundingClientRect())"
    )
    browser.mouse("mouseMoved", x, y, button="none", clickCount=0)
    assert "candidate" in browser.text("#tip")
    browser.mouse("mousePressed", x, y)
    browser.mouse("mouseReleased", x, y)
    browser.settle()
    assert clock(browser) == 0.005
    assert "follower → candidate" in browser.text("#details")


def test_time_goes_on_by_itself_and_stops(shown: Shown) -> None:
    browser = shown(SMALL)
    browser.press("Home")
    browser.press(" ")
    browser.ask(
        "new Promise((on) => { const see = () => cursor.now > 100 ? on()"
        " : requestAnimationFrame(see); see(); })"
    )
    assert browser.ask("document.getElementById('play').ariaPressed") == "true"
    browser.press(" ")
    stopped = clock(browser)
    browser.settle()
    assert clock(browser) == stopped > 0


def test_light_and_dark_differ_and_both_are_drawn(shown: Shown) -> None:
    light = drawing(shown(SMALL), "lanes")
    dark = drawing(shown(SMALL, dark=True), "lanes")
    assert light != dark


def test_what_the_operator_did_is_no_fault(shown: Shown) -> None:
    wanted = Mark(at=9_500, until=None, what="operator: remove", nodes=(2,))
    browser = shown(msgspec.structs.replace(SMALL, marks=(*SMALL.marks, wanted)))
    assert "2 faults" in browser.text("#summary")
    assert "operator: remove: node 2" in listed(browser)
    tick(browser, "operator")
    assert "operator: remove: node 2" not in listed(browser)
    assert "without power: node 2" in listed(browser)


def test_an_empty_recording_says_so(shown: Shown) -> None:
    browser = shown(EMPTY)
    assert "Nothing was recorded" in browser.text("#note")
    browser.press("ArrowRight")
    browser.press("+")


def test_what_was_left_out_is_told(shown: Shown) -> None:
    long = msgspec.structs.replace(SMALL, ended=9_000_000, messages_since=4_000_000)
    browser = shown(long)
    assert "Left out of this long life: messages before 4.0 s." in browser.text("#note")


def test_nothing_in_a_recording_is_taken_for_html(shown: Shown) -> None:
    evil = "</script><script>document.title = 'broken'</script><b id=injected>/*page.css*/"
    recording = msgspec.structs.replace(
        SMALL,
        marks=(Mark(at=10, until=None, what=evil, nodes=(1,)),),
        failure=Failure(kind=evil, text=evil, at=10_000, nodes=(1,)),
    )
    browser = shown(recording, title=evil)
    assert browser.ask("document.title") == f"failed: {evil}"
    assert browser.ask("document.getElementById('injected')") is None
    assert evil in browser.text("#headline")


def test_a_real_life_that_failed_is_shown(shown: Shown) -> None:
    recorder = Recorder()
    with pytest.MonkeyPatch.context() as patches:
        raft_plants.the_vote_is_not_persisted(patches)
        with pytest.raises(InvariantError) as raised:
            World(Life(seed=1, seconds=2), recorder).run()
    recording = recorder.recording()
    browser = shown(recording)
    assert str(raised.value) in browser.text("#headline")
    assert clock(browser) == pytest.approx(recording.ended / SECOND_US)
    assert len(rows_of_servers(browser)) == len(recording.nodes)
    failing = browser.text("#servers tr.failing")
    assert recording.failure is not None
    assert failing.startswith(str(recording.failure.nodes[0]))
