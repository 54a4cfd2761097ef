"""What is recorded of a life is what happened, and changes nothing of it."""

from __future__ import annotations

import random
from collections import Counter
from functools import cache
from itertools import pairwise
from typing import TYPE_CHECKING

import msgspec
import pytest
from tests.faults import raft_plants, replica_plants

from quorate.node.node import Node
from quorate.raft.configuration import NodeId
from quorate.raft.messages import AppendEntries, AppendEntriesAnswer, PreVote
from quorate.sim.errors import HistoryError, InvariantError
from quorate.sim.history import History
from quorate.sim.life import Life
from quorate.sim.network import PERFECT, Network
from quorate.sim.recorder import MAX_TEXT, Recorder
from quorate.sim.recording import Recording, ServerState
from quorate.sim.report import Report
from quorate.sim.scheduler import Scheduler
from quorate.sim.trace import Trace
from quorate.sim.world import SECOND_US, World

if TYPE_CHECKING:
    from tests.faults.search import Plant

ONE, TWO = NodeId(1), NodeId(2)
SEED = 5


def live(seed: int, recorder: Recorder | None = None, *, churn: bool = False) -> Report:
    return World(Life(seed=seed, seconds=2, churn=churn), recorder).run()


@cache
def recorded(seed: int, *, churn: bool = False) -> tuple[Report, Recording]:
    recorder = Recorder()
    report = live(seed, recorder, churn=churn)
    return report, recorder.recording()


def gist(state: ServerState) -> tuple[object, ...]:
    """What of a state is kept of the whole of a life."""
    return state.node, state.role, state.why, state.is_paused, state.term, state.leader


def turns(recording: Recording) -> list[ServerState]:
    """The states with which something other than a log begins."""
    latest: dict[int, ServerState] = {}
    found: list[ServerState] = []
    for state in recording.states:
        before = latest.get(state.node)
        if before is None or gist(before) != gist(state):
            found.append(state)
        latest[state.node] = state
    return found


# ---------------------------------------------------------------------- a life


@pytest.mark.parametrize("churn", [False, True])
def test_a_recorded_life_is_the_same_to_the_last_byte(*, churn: bool) -> None:
    report, _ = recorded(SEED, churn=churn)
    assert report == live(SEED, churn=churn)


@pytest.mark.parametrize("churn", [False, True])
def test_a_recording_agrees_with_the_report(*, churn: bool) -> None:
    report, recording = recorded(SEED, churn=churn)
    assert recording.failure is None
    assert recording.ended == report.virtual_us
    assert len(recording.nodes) == report.servers
    led = {state.term for state in recording.states if state.role == "leader"}
    assert len(led) == report.leaders
    assert sum(not message.is_twin for message in recording.messages) == report.messages
    outcomes = Counter(call.outcome for call in recording.calls)
    assert outcomes["acknowledged"] == report.acknowledged
    assert outcomes["unknown"] == report.unknown
    assert outcomes["not executed"] == report.not_executed
    assert outcomes["answered"] == report.reads
    assert max(state.commit_index for state in recording.states) == report.committed


@pytest.mark.parametrize("churn", [False, True])
def test_states_follow_each_other_in_time_and_each_is_another(*, churn: bool) -> None:
    report, recording = recorded(SEED, churn=churn)
    assert [s.at for s in recording.states] == sorted(s.at for s in recording.states)
    assert {state.node for state in recording.states} == set(recording.nodes)
    assert len(recording.nodes) == report.servers
    for node in recording.nodes:
        own = [state for state in recording.states if state.node == node]
        for before, after in pairwise(own):
            assert msgspec.structs.replace(before, at=after.at) != after
    down = [state for state in recording.states if state.role == "down"]
    assert down
    assert all(state.why for state in down)
    assert any(message.kind == "Hello" for message in recording.messages) == churn


# ---------------------------------------------------------------------- a life that fails


def failing(plant: Plant, error: type[Exception]) -> Recording:
    """The first life in which somebody notices a planted bug."""
    for seed in range(1, 11):
        recorder = Recorder()
        with pytest.MonkeyPatch.context() as patches:
            plant(patches)
            try:
                live(seed, recorder)
            except error:
                return recorder.recording()
    pytest.fail("nobody has noticed")


def test_a_violated_invariant_is_recorded_with_the_server_that_it_names() -> None:
    recording = failing(raft_plants.the_vote_is_not_persisted, InvariantError)
    failure = recording.failure
    assert failure is not None
    assert failure.kind == "InvariantError"
    (node,) = failure.nodes
    assert failure.text.startswith(f"node {node} votes for")
    assert failure.at == recording.ended
    # What it was at that moment is there too.
    latest = [state for state in recording.states if state.node == node][-1]
    assert latest.role == "candidate"


def test_an_error_that_names_nobody_is_put_down_to_the_server_that_was_busy() -> None:
    def receive(_node: Node, *_what: object) -> bool:
        raise AssertionError

    recorder = Recorder()
    with pytest.MonkeyPatch.context() as patches:
        patches.setattr(Node, "receive", receive)
        with pytest.raises(AssertionError):
            live(SEED, recorder)
    recording = recorder.recording()
    failure = recording.failure
    assert failure is not None
    assert failure.text == "an assertion does not hold"
    (arrived,) = [message for message in recording.messages if message.fate == "arrived"]
    assert failure.nodes == (arrived.to,)
    assert failure.at == arrived.ended


def test_calls_that_contradict_each_other_are_marked() -> None:
    recording = failing(replica_plants.duplicates_are_not_detected, HistoryError)
    failure = recording.failure
    assert failure is not None
    assert "times in" in failure.text
    (call,) = [call for call in recording.calls if call.is_wrong]
    assert call.what.startswith("append ")


# ---------------------------------------------------------------------- bounds


def test_of_a_long_life_the_end_is_whole_and_the_turning_points_are_all_there() -> None:
    recorder = Recorder(max_messages=300, max_details=100, max_calls=50)
    live(SEED, recorder)
    recording, (_, whole) = recorder.recording(), recorded(SEED)
    assert recording.messages == whole.messages[-300:]
    assert recording.calls == whole.calls[-50:]
    assert recording.states[-100:] == whole.states[-100:]
    assert turns(recording) == turns(whole)
    assert len(recording.states) < len(whole.states)
    for some, everything, since in (
        (recording.messages, whole.messages, recording.messages_since),
        (recording.states, whole.states, recording.details_since),
        (recording.calls, whole.calls, recording.calls_since),
    ):
        assert since > 0
        assert [x for x in some if time_of(x) >= since] == [
            x for x in everything if time_of(x) >= since
        ]
    assert (whole.messages_since, whole.details_since, whole.calls_since) == (0, 0, 0)


def time_of(row: msgspec.Struct) -> int:
    for name in ("at", "sent", "begun"):
        time = getattr(row, name, None)
        if isinstance(time, int):
            return time
    raise AssertionError(row)


def test_a_long_complaint_loses_its_middle() -> None:
    recorder = Recorder()
    recorder.failed(InvariantError("begins " + "x" * 10 * MAX_TEXT + " ends"))
    failure = recorder.recording().failure
    assert failure is not None
    assert len(failure.text) < MAX_TEXT + 100
    assert failure.text.startswith("begins ")
    assert failure.text.endswith(" ends")


# ---------------------------------------------------------------------- messages and marks


class Wire:
    """A network between two servers, and a recorder of it."""

    def __init__(self) -> None:
        self.scheduler = Scheduler()
        self.recorder = Recorder()
        self.recorder.begin(self.scheduler, (), History())
        trace = Trace(self.scheduler)
        self.network = Network(self.scheduler, random.Random(1), PERFECT, trace, self.recorder)

    def send(self, sender: NodeId, to: NodeId, message: PreVote | AppendEntries) -> None:
        self.network.send(sender, to, message, lambda _sender, _message: None)

    def answer(self, sender: NodeId, to: NodeId, request: AppendEntries) -> None:
        answer = AppendEntriesAnswer(request.id, request.term, True, 5, 0, 0)
        self.network.send(sender, to, answer, lambda _sender, _message: None)

    def wait(self) -> None:
        self.scheduler.run_until(self.scheduler.now + SECOND_US, lambda: None)


def test_the_fate_of_each_message_is_known() -> None:
    wire = Wire()
    vote = PreVote(id=7, term=3, last_log_index=5, last_log_term=2)
    link = [(ONE, TWO)]
    wire.send(ONE, TWO, vote)
    wire.wait()
    wire.send(ONE, TWO, vote)
    wire.network.cut(link)
    wire.wait()
    wire.send(ONE, TWO, vote)
    wire.network.mend(link)
    wire.send(ONE, TWO, vote)
    arrived, cut_off, lost, under_way = wire.recorder.recording().messages
    assert [m.fate for m in (arrived, cut_off, lost, under_way)] == [
        "arrived",
        "cut off",
        "lost",
        "under way",
    ]
    assert arrived.ended is not None
    assert arrived.ended > arrived.sent == 0
    assert cut_off.ended is not None
    assert cut_off.ended > cut_off.sent
    assert lost.ended == lost.sent
    assert under_way.ended is None
    assert (arrived.kind, arrived.id) == ("PreVote", 7)
    assert arrived.fields == "term 3, last entry 5 of term 2"


def test_heartbeats_and_their_answers_are_told_from_other_messages() -> None:
    wire = Wire()
    heartbeat = AppendEntries(
        id=1, term=3, prev_log_index=5, prev_log_term=2, leader_commit=4, entries=()
    )
    wire.send(ONE, TWO, heartbeat)
    wire.answer(TWO, ONE, heartbeat)
    # An id is unique for its sender alone.
    wire.answer(ONE, TWO, heartbeat)
    kinds = [message.kind for message in wire.recorder.recording().messages]
    assert kinds == ["Heartbeat", "HeartbeatAnswer", "AppendEntriesAnswer"]


def test_what_befalls_servers_is_marked_with_its_time() -> None:
    wire = Wire()
    wire.wait()
    wire.recorder.mark("killed", [ONE], None)
    wire.recorder.mark("cut off", [ONE, TWO], 3 * SECOND_US)
    killed, cut_off = wire.recorder.recording().marks
    assert (killed.at, killed.until, killed.what, killed.nodes) == (SECOND_US, None, "killed", (1,))
    assert (cut_off.at, cut_off.until, cut_off.nodes) == (SECOND_US, 3 * SECOND_US, (1, 2))
