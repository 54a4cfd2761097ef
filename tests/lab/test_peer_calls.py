"""Messages between servers as calls: each request has its reply, sooner or later or never."""

import random
from collections.abc import Coroutine
from typing import Any

from quorate.lab.costs import VIRTUAL
from quorate.lab.network import LabNetwork, LabServer
from quorate.lab.peer_calls import TOLD_IN_A_ROW, PeerCalls, node_id
from quorate.raft.configuration import NodeId
from quorate.raft.messages import PeerMessage, RequestVote, RequestVoteAnswer
from quorate.raft.ready import Envelope
from quorate.sim.scheduler import Scheduler
from quorate.sim.tasks import Tasks

ZERO, ONE = node_id(0), node_id(1)


def request(number: int) -> RequestVote:
    return RequestVote(id=number, term=1, last_log_index=0, last_log_term=0)


def answer(number: int) -> RequestVoteAnswer:
    return RequestVoteAnswer(id=number, term=1, vote_granted=True)


class Two:
    """Two servers whose messages are only looked at."""

    def __init__(self) -> None:
        self.tasks = Tasks(Scheduler())
        self.network = LabNetwork(self.tasks, random.Random(1), VIRTUAL)
        self.received: list[list[tuple[NodeId, PeerMessage]]] = [[], []]
        self.lost: list[list[NodeId]] = [[], []]
        self.calls = [self._calls(0), self._calls(1)]

    def _calls(self, me: int) -> PeerCalls:
        ends = []
        for other in (0, 1):
            ends.append(self.network.make_end((me, other)))
            self.network.connect((me, other), other)
            self.network.enable((me, other), enabled=True)
        calls = PeerCalls(
            self.tasks,
            ends,
            me,
            lambda sender, message: self.received[me].append((sender, message)),
            self.lost[me].append,
        )
        self.network.add_server(me, LabServer({"Raft": calls}))
        return calls

    def run(self, story: Coroutine[Any, Any, None]) -> None:
        try:
            self.tasks.run(story)
        finally:
            self.tasks.cancel_all()


def test_a_request_and_its_answer_are_one_call() -> None:
    two = Two()

    async def story() -> None:
        two.calls[0].send(Envelope(ONE, request(7)))
        await two.tasks.sleep(1_000)
        assert two.received == [[], [(ZERO, request(7))]]
        two.calls[1].send(Envelope(ZERO, answer(7)))
        await two.tasks.sleep(1_000)
        assert two.received[0] == [(ONE, answer(7))]
        assert two.network.total_count == 1

    two.run(story())


def test_answers_may_come_in_any_order() -> None:
    two = Two()

    async def story() -> None:
        for number in (1, 2, 3):
            two.calls[0].send(Envelope(ONE, request(number)))
        await two.tasks.sleep(1_000)
        for number in (3, 1, 2):
            two.calls[1].send(Envelope(ZERO, answer(number)))
            await two.tasks.sleep(1_000)
        assert two.received[0] == [(ONE, answer(number)) for number in (3, 1, 2)]

    two.run(story())


def test_a_second_answer_and_one_to_nobody_go_nowhere() -> None:
    two = Two()

    async def story() -> None:
        two.calls[0].send(Envelope(ONE, request(1)))
        await two.tasks.sleep(1_000)
        for number in (1, 1, 2):
            two.calls[1].send(Envelope(ZERO, answer(number)))
        await two.tasks.sleep(1_000)
        assert two.received[0] == [(ONE, answer(1))]

    two.run(story())


def test_what_has_no_answer_ends_its_call_with_nothing_after_a_while() -> None:
    two = Two()

    async def story() -> None:
        two.calls[0].send(Envelope(ONE, request(1)))
        await two.tasks.sleep(5_000_000)
        assert len(two.received[1]) == 1
        two.calls[0].send(Envelope(ONE, request(2)))
        await two.tasks.sleep(1_000)
        # Too late: the caller has got its empty reply, and knows nothing.
        two.calls[1].send(Envelope(ZERO, answer(1)))
        await two.tasks.sleep(1_000)
        assert two.received[0] == []

    two.run(story())


def test_calls_that_have_failed_are_told_until_the_server_seems_out_of_reach() -> None:
    two = Two()

    async def call(numbers: range) -> None:
        for number in numbers:
            two.calls[0].send(Envelope(ONE, request(number)))
            await two.tasks.sleep(1_000)
            two.calls[1].send(Envelope(ZERO, answer(number)))
            await two.tasks.sleep(100_000)

    async def story() -> None:
        two.network.enable((0, 1), enabled=False)
        await call(range(1, 10))
        assert two.lost == [TOLD_IN_A_ROW * [ONE], []]
        two.network.enable((0, 1), enabled=True)
        await call(range(10, 11))
        two.network.enable((0, 1), enabled=False)
        await call(range(11, 12))
        assert two.lost == [(TOLD_IN_A_ROW + 1) * [ONE], []]

    two.run(story())


def test_a_dead_server_takes_in_nothing_and_lets_its_callers_go() -> None:
    two = Two()

    async def story() -> None:
        two.calls[0].send(Envelope(ONE, request(1)))
        await two.tasks.sleep(1_000)
        two.calls[1].end()
        two.calls[0].send(Envelope(ONE, request(2)))
        await two.tasks.sleep(1_000)
        assert two.received == [[], [(ZERO, request(1))]]

    two.run(story())


def test_what_comes_back_to_a_dead_server_is_not_taken_in() -> None:
    two = Two()

    async def story() -> None:
        two.calls[0].send(Envelope(ONE, request(1)))
        await two.tasks.sleep(1_000)
        two.calls[0].end()
        two.calls[1].send(Envelope(ZERO, answer(1)))
        await two.tasks.sleep(1_000)
        assert two.received[0] == []

    two.run(story())


def test_requests_are_counted_by_their_message() -> None:
    two = Two()

    async def story() -> None:
        two.calls[0].send(Envelope(ONE, request(1)))
        two.calls[0].send(Envelope(ONE, request(2)))
        await two.tasks.sleep(1_000)

    two.run(story())
    assert two.calls[1].received == {"RequestVote": 2}
    assert two.calls[0].received == {}
